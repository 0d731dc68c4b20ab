/* What the server has answered, field by field.
 *
 * An answer need not be what was asked for: the server may be another than PostgreSQL, its
 * operators may be somebody else's, and tables may have been written to by a hand. So an answer is
 * judged once, by its form, when it has come; what does not have it is an error (EIO) and is not
 * read. And the functions that read a field are total: they look at nothing that is not there,
 * whether the form was judged or not.
 *
 * Nobody else calls PQgetvalue(), PQgetlength() or PQgetisnull() (tests/lint/run). Pure;
 * thread-safe as the result is. */
#pragma once

#include "db/error.h"
#include "util/cleanup.h"

#include <libpq-fe.h>
#include <stdint.h>

struct db_conn;
struct db_param;
struct db_pool;

enum field_rows { ROWS_ANY, ROWS_ONE, ROWS_ONE_OR_NONE };

/* Judges RES. FORM has a letter for each column, from the first on:
 *
 *     t   text        i   a 64-bit integer              b   t or f
 *     n   an integer that is not negative               x   bytes, in binary format
 *     u   the same, of 32 bits
 *
 * A `?` behind a letter allows NULL; a `*`: any number of such columns, NULL allowed, as many as
 * there are more than the rest of FORM needs. Returns 0, or -EIO with a sentence in ERR that names
 * the row and the column. */
MUST_USE int field_judge(const PGresult *res, enum field_rows rows, const char *form,
			 struct db_error *err);

/* db_query_text(), repeatable and without a cancel, and db_query_on(), with an answer that is
 * judged. *OUT is the caller's (PQclear), also after a failure. */
MUST_USE int db_ask(struct db_pool *pool, const char *sql, const struct db_param *params, int n,
		    enum field_rows rows, const char *form, PGresult **out, struct db_error *err);
MUST_USE int db_ask_on(struct db_conn *conn, const char *sql, const struct db_param *params, int n,
		       enum field_rows rows, const char *form, PGresult **out,
		       struct db_error *err);

/* The text of a field; "" where it is NULL or not there. Borrowed from RES. */
const char *field_text(const PGresult *res, int row, int column);
/* Its length in bytes. */
size_t field_len(const PGresult *res, int row, int column);
/* True if it is NULL, or not there. */
bool field_is_null(const PGresult *res, int row, int column);
/* True if it is t. */
bool field_is_true(const PGresult *res, int row, int column);
/* Its number; 0 where it is none. */
int64_t field_number(const PGresult *res, int row, int column);

/* How many rows the statement changed; 0 where the answer does not say. */
int64_t field_changed(const PGresult *res);
