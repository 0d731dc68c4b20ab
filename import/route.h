/* The routes of a layout as an import sees them: what each file is on the mount. Only forms of
 * names are compared; whether a name is a key's is for the mount to say. Pure; routes that are
 * read do not change. */
#pragma once

#include "util/arena.h"
#include "util/cleanup.h"

#include <stdbool.h>

/* In the order in which files of one rank are copied: lines may bring rows that documents then
 * bring again, and documents stay as they are then. */
enum file_class {
	CLASS_LINES,  /* many rows, one a line */
	CLASS_TABLE,  /* many rows as one document */
	CLASS_ROW,    /* one row as a document */
	CLASS_COLUMN, /* one column of a row */
	CLASS_INGEST, /* bytes that become rows, too */
	CLASS_PLAIN,  /* no route has the name: as lasting as the mount */
	CLASS_QUERY,  /* read-only */
	CLASS_COUNT
};

struct route {
	char **parts; /* the path's components as patterns */
	int nparts;
	enum file_class what;
	char *relation;   /* NULL for plain bytes */
	int rank;         /* 0: its rows refer to no other relation of the layout's paths */
	bool replaceable; /* CLASS_LINES: writing it anew is allowed */
	bool absent;      /* the database does not have what it needs: the mount leaves it out */
	bool keeps;       /* CLASS_INGEST: writing it anew keeps the rows that came from it */
	bool ingested;    /* CLASS_LINES: ingest files bring rows of the same relation */
};

struct routes {
	struct arena memory; /* of all that the routes have */
	struct route *list;
	int n;
};

/* Reads the texts of /.rowfs/layout.json and /.rowfs/status.json (may be NULL). Returns false if
 * the first is none, or without memory; OUT->memory is to be freed in any case. */
MUST_USE bool routes_read(struct routes *out, const char *layout, const char *status);
/* The route of PATH (below the mount, without a slash in front), or NULL. Literal names win, from
 * the left; then the first route. */
const struct route *routes_match(const struct routes *routes, const char *path);

/* A word for people: "rows", "document" ... */
const char *class_word(enum file_class what);
