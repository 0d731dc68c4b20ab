/* What the files that make statements ask of each other. Private to them. */
#pragma once

#include "schema/layout/place_sql.h"
#include "schema/expr/sql_build.h"
#include "schema/expr/line_sql.h"

/* INSERT of the row of a column file: its keys, and VALUE for the column. */
void put_insert_column(struct buf *sql, const struct place *place, const char *value);

/* " RETURNING ...": refuses the statement, whatever it has changed, if a trigger has given the row
 * another key than its name says. The sentence has SQL_OTHER_KEY, the column and its value.
 * RENAMED: the first of the parameters that are the new own keys; 0: the keys are the path's.
 * Nothing where rules may return nothing. */
void put_key_guard(struct buf *sql, const struct place *place, int renamed);

/* The kinds' own statements. */
void sql_build_find_document(struct place *place);
/* Makes `pieces` of `body`. */
void sql_build_pieces(struct place *place);
void sql_build_query(struct place *place);
void sql_build_rows(struct place *place);
void sql_build_table(struct place *place);
/* What tells that a file of rows, or of a table's document, is there, without its size; and a page
 * of the names of such. */
void sql_rows_bare(struct place *place, struct db_statement *st);
void sql_rows_names(struct place *place, bool next, struct db_statement *st);
void sql_build_pages(struct place *place);
/* True if the statements of PLACE, a rows file or a directory, go by the summary: sql_slice.c makes
 * them. PLAIN is the statement that asks the table itself; MTIME, SIZE are its expressions. */
bool by_summary(const struct place *place);
void sql_slice_find(const struct place *place, const char *plain, struct db_statement *st);
void sql_slice_put_owned(struct buf *sql, const struct place *place, const char *mtime,
			 const char *size);
void sql_slice_list(struct place *place, bool next, struct db_statement *st);
