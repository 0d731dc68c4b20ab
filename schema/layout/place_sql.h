/* The statements of a place, made once: see schema/statements/sql.h. Names in the comments are the
 * parameters after the path's own keys ($1 .. $nparams); K is the number of the place's own
 * keys. */
#pragma once

#include "db/query.h"

/* Columns of `find` and `list`: K key texts, then these. All text, except a bytea column's body.
 * The modification time is in microseconds since 1970; the id is what find_by_id takes. */
enum { FIND_VERSION, FIND_MTIME, FIND_SIZE, FIND_BODY, FIND_ID, FIND_COLUMNS };
#define FOUND_FORM "t*t?i?i?t?t?" /* see field_judge() */

/* Columns of `body`. */
enum { BODY_VERSION, BODY_BYTES };

/* Columns of the cursor of `pieces`. */
enum { PIECE_VERSION, PIECE_OFFSET, PIECE_BYTES };

struct place_sql {
	/* One name: keys in full. No row: it does not exist. FIND_BODY is NULL if longer than
	 * SQL_INLINE_BODY; of a query with a literal name, than SQL_QUERY_BODY. */
	struct db_statement find;
	/* Rows: the same, with neither size nor time where only reading the rows of a table that is
	 * not small tells them: their columns are NULL then, as in the lists. No SQL for other
	 * kinds. */
	struct db_statement glance;
	/* The same, by the primary key's text in place of the own keys (names that are too long);
	 * needs K = 1. */
	struct db_statement find_by_id;
	/* Row, column, table, rows: `find` and `find_by_id` without what has to be rendered, for a
	 * value that cannot be: size and body are NULL. */
	struct db_statement bare, bare_by_id;
	/* A page of names after a cursor: parameters of the parent, K cursor texts (NULL at the
	 * start), limit. */
	struct db_statement list_first, list_next;
	/* Documents: the same without version, time, size and body; no SQL where it would be no
	 * cheaper. */
	struct db_statement names_first, names_next;
	/* A page of list_first is dear: it runs a view, asks another server, or renders many rows
	 * for a name. Only a program that wants attributes gets it. */
	bool list_dear;
	/* Documents: BODY_VERSION and BODY_BYTES alone. */
	struct db_statement body;
	/* Documents: DECLARE of a cursor SQL_PIECES over the body in pieces of SQL_PIECE bytes, in
	 * order; for one that is too large to be held in memory. */
	char *pieces;
	/* Rows: pages of lines, with their cursor texts. From the start (limit, wanted bytes);
	 * behind a cursor (cursor texts, limit, wanted bytes); and, last line first, from the end
	 * (limit, wanted bytes), with the file's size as the first column. A page ends after
	 * `limit` rows, or with the row behind the one that completes the wanted bytes. */
	struct db_statement page_first, page_next, page_last;
	/* Rows: COPY ... TO STDOUT of those cursor texts that are no fields of the line, and the
	 * line; from the start, behind a cursor, and backwards from a cursor's own line. The
	 * parameters are settings; a cursor text that may be NULL is "" for NULL and has a letter
	 * before it otherwise. CSV, or for JSON Lines COPY's text format with the line as the last
	 * column. */
	char *copy_first, *copy_next, *copy_before;
	int copy_extra;        /* fields of COPY before the line */
	int *cursor_field;     /* of each cursor text: which field of COPY it is */
	bool *cursor_nullable; /* of each cursor text */
	char *header;          /* rows in CSV: the header line with its newline; else NULL */
	/* Validates the own keys' texts: one boolean, canonical or not; class 22 if no such value.
	 * NULL if all are text. */
	struct db_statement check;
	/* Query: what it takes of the path, in the types that it takes; class 22 if a key is no
	 * such value. No SQL if it takes nothing. */
	struct db_statement arguments;
	/* Column: a row if it is shown as $ is; set to $; append $ to it; set to NULL. */
	struct db_statement same, set, append, clear;
	/* Column: its row, if `set` may change it. */
	struct db_statement row;
	/* Row: delete it; delete it if no child row refers to it (rmdir); insert it by its keys
	 * alone (mkdir; a column's file: with $ as the column's value); change keys to the K texts
	 * that follow. Rows: delete what the file shows. */
	struct db_statement remove, remove_empty, insert, rename;
	bool insertable; /* every column but the keys may be left out */
	int cursor;      /* number of cursor texts of a line */
};

#define SQL_PIECES "pieces"
#define SQL_FETCH_PIECES "FETCH 4 FROM " SQL_PIECES
enum { SQL_PIECE = 262144 };

/* Largest body that `find`, `list`, and `find` of a query bring along, bytes. */
enum { SQL_INLINE_BODY = 65536, SQL_LIST_BODY = 4096, SQL_QUERY_BODY = 1 << 20 };
