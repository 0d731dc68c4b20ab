/* The layout file, read: routes, tables and timers as the person wrote them, before the catalog is
 * asked. docs/LAYOUT.md is the language. */
#pragma once

#include "util/arena.h"
#include "util/buf.h"

/* What may be changed at and below a path. */
enum layout_write {
	WRITE_UNSAID,
	WRITE_NONE, /* nothing */
	WRITE_ROWS, /* what changes one row by its key, and appending */
	WRITE_ALL,
};

/* KIND_TABLE: "rows" in a .json, all of them one document. */
enum route_kind { KIND_ROW, KIND_COLUMN, KIND_ROWS, KIND_QUERY, KIND_FILE, KIND_TABLE };

struct name_list {
	char **names;
	int n;
};

/* One entry of a route's "keys": a time bucket of a column. */
struct layout_key {
	char *name; /* as it stands in braces */
	char *column;
	char *unit;   /* "s", "ms", "us", "ns"; NULL for date and timestamp columns */
	char *format; /* of %Y %m %d %H %M %S */
};

/* One entry of a route's "fields": what a name in an ingest file means. */
struct layout_field {
	char *name;
	char *column;
	char *from, *to; /* units of time, "s", "ms", "us", "ns"; both NULL otherwise */
};

/* One entry of a route's "args". */
struct layout_arg {
	char *parameter, *key;
};

struct layout_route {
	char *path;
	enum route_kind kind;
	char *relation; /* KIND_FILE: the table that it is ingested into, or NULL */
	char *column;   /* KIND_COLUMN */
	struct layout_key *keys;
	int nkeys;
	struct layout_arg *args;
	int nargs;
	struct name_list columns, order;
	char *overflow, *mtime;
	char *by; /* KIND_TABLE as an object: the column whose values are its keys */
	/* KIND_FILE with a relation */
	struct layout_field *fields;
	int nfields;
	char *format; /* "csv", "jsonl"; NULL: by the extension */
	bool gzip;
	bool keep_replaced; /* replacing a file keeps the rows that came from it */
	bool remove_rows;   /* removing a file removes them */
	bool refuse_truncate, refuse_remove, as_array;
	enum layout_write write;
	bool broken;   /* a mistake was told of it: not to be looked at further */
	bool optional; /* is left out where the database lacks what it names */
	bool says_optional;
};

/* What "tables" says of one relation. */
struct layout_table {
	char *relation;
	char *mtime;
	struct name_list key;
	struct name_list parents;        /* relation names ... */
	struct name_list parent_columns; /* ... and the foreign-key column for each */
};

struct layout_timer {
	char *call;
	char *every;   /* name of the option that holds the interval, seconds */
	bool optional; /* as of a route */
};

/* What the layout's own "write" says of a path. */
struct layout_rule {
	char *path; /* "/" for all */
	enum layout_write write;
};

struct layout {
	struct layout_route *routes;
	int nroutes;
	struct layout_table *tables;
	int ntables;
	struct layout_timer *timers;
	int ntimers;
	struct layout_rule *rules;
	int nrules;
	bool optional;       /* all routes are that do not say otherwise, and all timers */
	struct arena memory; /* of all of the above */
};

/* Reads LEN bytes of JSON. Every mistake is one line appended to MISTAKES: "route PATH: ...".
 * Returns NULL if it is no JSON object, or there is no memory; otherwise the layout, to be freed
 * by layout_free(), with routes that have mistakes marked as broken. */
MUST_USE struct layout *layout_parse(const char *text, size_t len, struct buf *mistakes);
void layout_free(struct layout *layout);

/* What "tables" says of RELATION, or NULL. Borrowed. */
const struct layout_table *layout_table(const struct layout *layout, const char *relation);

/* What the "args" of ROUTE say of KEY; NULL: nothing. And the name that its query knows KEY by:
 * what they say, else the key's own column name. Borrowed. */
const struct layout_arg *layout_arg(const struct layout_route *route, const char *key);
const char *layout_parameter(const struct layout_route *route, const char *key);

/* True if ROUTE names RELATION: as its own, or in a key. */
bool layout_route_names(const struct layout_route *route, const char *relation);

/* The word of the language for a kind: "row", "column", ... */
const char *route_kind_word(enum route_kind kind);
