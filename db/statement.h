/* A statement and its parameters. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A statement that is used again and again. Zero-initialise all but `sql`; run.c numbers it at
 * first use, and no other ever has that number. */
struct db_statement {
	const char *sql;
	atomic_uint id;
	atomic_ullong hash; /* of sql; 0 until known */
};

enum { DB_TEXT = 25, DB_BYTEA = 17 }; /* type OIDs from pg_type */

struct db_param {
	const char *data; /* NULL is SQL NULL; not necessarily NUL-terminated */
	size_t len;       /* bytes */
	unsigned oid;     /* DB_TEXT or DB_BYTEA; 0 is DB_TEXT */
};

enum {
	DB_REPEATABLE = 1, /* running it twice does no harm: repeat after a lost connection */
	DB_NO_RETRY = 2,   /* fail at the first lost connection (health checks) */
	DB_BINARY = 4,     /* ask for results in binary format (bytea bodies) */
};

/* A C string as a text parameter. S must outlive the call; NULL is SQL NULL. */
static inline struct db_param db_text(const char *s) {
	return (struct db_param){ .data = s, .len = s != NULL ? strlen(s) : 0, .oid = DB_TEXT };
}

enum { NUMBER_TEXT = 24 }; /* room for the text of a 64-bit integer */

/* The same of VALUE, whose text is put into TEXT. */
static inline struct db_param db_number(char text[NUMBER_TEXT], int64_t value) {
	snprintf(text, NUMBER_TEXT, "%lld", (long long)value);
	return db_text(text);
}
