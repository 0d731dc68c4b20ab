/* Pieces of the statements that write documents. Private to schema/. */
#pragma once

#include "schema/statements/sql.h"
#include "schema/statements/sql_parts.h"

/* The relation that is written through PLACE, and its index in the scope. */
const struct relation *target_of(const struct place *place);
int target_table(const struct place *place);

/* True if the path alone gives COLUMN its value. */
bool is_bound(const struct place *place, const struct column *column);

/* True if the statement gives COLUMN a value out of the document. */
bool takes_value(const struct place *place, const struct shape *shape, const struct column *column);

/* d."name" */
void put_d(struct buf *sql, const char *before, const char *name);

/* " AND d.column = t.column" */
void put_same(struct buf *sql, const struct place *place, const struct column *column);
/* The same for each identity that the document says: it cannot be changed. */
void put_same_identity(struct buf *sql, const struct place *place, const struct shape *shape);

/* What an UPDATE sets COLUMN to, behind others in SET; and in DIFFERS (may be NULL) whether that
 * changes something. A value changes if it is shown in another way than the old one: not every
 * type has an equality, and SQL NULL and the null of JSON are both written null. */
void put_change(struct buf *set, struct buf *differs, const struct place *place,
		const struct shape *shape, const struct column *column);

/* In DIFFERS, behind others, whether the row differs in a column that the role may not update. */
void put_fixed(struct buf *differs, const struct place *place, const struct shape *shape);

/* Makes rows that stand in each other's way step aside: what an UPDATE sets so that a row whose
 * unique values change has, until then, values that no row has; and in MOVES which rows. Columns
 * BUT (may be NULL) stay, and those that the role may not read or update. NUMBER: an expression
 * that is another number for each row. False if nothing can step aside. */
bool put_aside(struct buf *set, struct buf *moves, const struct place *place,
	       const struct shape *shape, const struct name_list *but, const char *number);
/* A FROM item: JSON, an expression of type json, as the row d of REL, or with SET as many rows. */
void put_record(struct buf *sql, const struct relation *rel, bool set, const char *json);

/* FROM items: the document as the row d, and, where the overflow column or the order needs it, as
 * e.j. */
void put_source(struct buf *sql, const struct place *place, const struct shape *shape,
		enum sql_source from);

/* "AND ..." for what the document repeats of the path: it must agree. A new row (INSERT) must say
 * which bucket it falls in. */
void put_agreement(struct buf *sql, const struct place *place, const struct shape *shape,
		   bool insert);

/* " FROM source, parents WHERE ...": the documents that may be rows here. */
void put_rows(struct buf *sql, const struct place *place, const struct shape *shape,
	      enum sql_source from);

/* "INSERT INTO rel (columns) SELECT values FROM source, parents WHERE ...". With no document, SHAPE
 * is empty and there is no source. Returns false if no column would get a value. */
bool put_insert(struct buf *sql, const struct place *place, const struct shape *shape,
		enum sql_source from);

/* " AND NOT EXISTS (...)": the row's key is not among those of the first parameter behind
 * the path's, an array of objects. */
void put_absent(struct buf *sql, const struct place *place);

/* " AND ...": the row was there in SNAPSHOT, a pg_snapshot that sql_is_snapshot(). Nothing if it is
 * NULL, and of what has no xmin: views and foreign tables. */
void put_older(struct buf *sql, const struct place *place, const char *snapshot);
