/* Pieces of SQL that the statements of all kinds share. Private to schema/. */
#pragma once

#include "schema/layout/place.h"

/* Most pieces take the text BEFORE them, "" for none. "name"; "schema"."name" */
void put_name(struct buf *sql, const char *before, const char *name);
void put_relation(struct buf *sql, const char *before, const struct relation *rel);
/* t3."name" */
void put_column(struct buf *sql, const char *before, int table, const char *name);
/* REL's own rows, without those of tables that inherit from it: what a key determines, and all that
 * is ever changed. */
void put_own_rows(struct buf *sql, const char *before, const struct relation *rel);
/* The scope's tables, "rel t0, rel t1", without table EXCEPT (-1 for all); nothing, not even
 * BEFORE, if there are none. Returns how many. */
int put_tables(struct buf *sql, const char *before, const struct place *place, int except);
/* "true AND joins AND key conditions" for all of the path, own keys included unless WITHOUT_OWN. */
void put_conditions(struct buf *sql, const char *before, const struct place *place,
		    bool without_own);
/* The same, without what speaks of table EXCEPT. */
void put_parent_conditions(struct buf *sql, const char *before, const struct place *place,
			   int except);
/* The same, without PLACE's own keys. */
void put_listed_parent_conditions(struct buf *sql, const struct place *place, int except);
/* "AND a.c = b.d" for each column pair of TABLE's join; nothing for the first table. */
void put_join(struct buf *sql, const struct place *place, int table);
/* The condition that ALIAS's columns carry the value of KEY. */
void put_key_condition(struct buf *sql, const struct key *key, const char *alias);
/* "SELECT text, lower, upper" of the time bucket that the text $1 names, or that the integer $1
 * falls in; NULLs for a number that is in none. */
void put_bucket(struct buf *sql, const char *unit, const char *format, bool by_text);
/* KEY's text as it stands in a name, made of the scope's table. */
void put_key_text(struct buf *sql, const struct key *key);
/* How many bytes the text that the expression TEXT is has in PLACE's file: files are UTF-8,
 * whatever the database's encoding is. */
void put_bytes_of(struct buf *sql, const struct place *place, const char *text);
/* " = ", or another operator OP between A and B (NULL: a value of A's type): that of their type,
 * whatever operators somebody has made for varchar, enums and others that PostgreSQL has only by
 * way of another type. Such an operator binds as tightly as ||, and not as =. */
void put_operator(struct buf *sql, const char *op, const struct column *a, const struct column *b);
/* A column that stands for the N columns before, of which BEFORE does, and NEXT (NULL: one of
 * PostgreSQL's types): an operator between rows of all of them is put as for it. */
const struct column *column_alike(int n, const struct column *before, const struct column *next);
/* Microseconds since 1970 of COLUMN, as text; AGGREGATE is "max" for groups, "" otherwise. NULL
 * column: NULL. */
void put_mtime(struct buf *sql, int table, const struct column *column, const char *aggregate);
/* The row as a pretty JSON document ending in a newline; columns of table ALIAS. */
void put_document(struct buf *sql, const struct place *place, const char *alias);
/* The row as a pretty JSON object that stands LEVEL levels deep (1: by itself), without the column
 * EXCEPT (may be NULL); no newline at its end. */
void put_object(struct buf *sql, const struct place *place, const char *alias, int level,
		const struct column *except);

bool is_text_type(const struct column *column);

/* Takes the text out of SQL into ST. */
/* BEFORE, and column NAME of ALIAS. */
void put_of(struct buf *sql, const char *before, const char *alias, const char *name);
void statement_take(const struct place *place, struct db_statement *st, struct buf *sql);
/* SELECT list of own keys' texts, each followed by a comma. */
void put_own_keys(struct buf *sql, const char *before, const struct place *place);
/* The id column: the primary key's text, else md5 of the key; "NULL" where there is no single own
 * key. */
void put_id(struct buf *sql, const struct place *place);
/* The same for a list: NULL where a name surely has room for the key. */
void put_list_id(struct buf *sql, const struct place *place);
/* "AND key IS NOT NULL" for each own key: what has no key has no name. */
void put_keys_not_null(struct buf *sql, const struct place *place);
/* "AND (keys) > (cursor)" with parameters from FIRST. */
void put_list_cursor(struct buf *sql, const struct place *place, int first);
/* The keys, as a list is ordered or grouped by them. */
void put_list_order(struct buf *sql, const struct place *place);
/* What follows the conditions of a list, up to its LIMIT: keys that are there, for a further page
 * (NEXT) those behind the cursor, GROUPED by them or not, in their order. */
void put_list_rest(struct buf *sql, const struct place *place, bool next, bool grouped);
