/* What the database's catalog says of the relations and functions that a layout names. Immutable
 * once it is read, so any thread may read it; catalog_changed() says whether it is still true. */
#pragma once

#include "db/query.h"
#include "schema/layout/layout.h"

#include <stdint.h>

struct column {
	char *name;
	char *type;    /* for a cast, without length: "character varying", "my_domain" */
	char *base;    /* the same below any domain */
	char category; /* pg_type.typcategory of the base type */
	char kind; /* pg_type.typtype of the base type: 'b'ase, 'c'omposite, 'e'num, 'r'ange ... */
	char *operators; /* the schema of its type's =, < and >; "" if that is not known */
	int modifier;    /* pg_attribute.atttypmod: length, precision and scale; -1: none */
	bool not_null, has_default, generated, identity_always;
	/* What the mount's role may do, as granted when the catalog was read, and what the server
	 * can: a view's expression is never updated. */
	bool selectable, insertable, updatable;
	/* Left out of what is read, or set: there are others of the relation that the role may
	 * read, or update. A role without any such right is left to the server's answer. */
	bool hidden, fixed;
};

/* A unique key: the primary one is first and marked. */
struct unique_key {
	struct name_list columns;
	bool primary;
	bool hidden; /* one of its columns is */
};

/* A unique or exclusion index that is checked for each row as it is written, and not at the end of
 * the statement. */
struct row_check {
	struct name_list columns;  /* all that it looks at */
	struct name_list compared; /* of these: its keys, and what their expressions are made of */
	bool nulls;                /* NULLs are equal, too */
};

struct foreign_key {
	int64_t relation; /* oid of the referenced relation */
	struct name_list columns, references;
};

struct relation {
	char *layout_name; /* as the layout writes it */
	int64_t oid;
	char *schema, *name;
	char *full_name; /* both, quoted where needed: as of rowfs.full_name() */
	char kind;       /* pg_class.relkind */
	/* tables inherit from it: their rows are among its rows, but its keys do not hold for
	 * them */
	bool inherited;
	bool referenced;    /* foreign keys of some table refer to it */
	bool takes_copy;    /* a table without rules and row security: COPY does what INSERT does */
	bool readable;      /* the mount's role may SELECT from it */
	bool versions;      /* and its xmin, ctid and tableoid; a view has none */
	bool deletable;     /* its rows can be deleted, and the role may */
	bool rewrites_rows; /* triggers may change or drop a row before it is inserted */
	struct column *columns;
	int ncolumns;
	struct unique_key *keys;
	int nkeys;
	struct row_check *checks;
	int nchecks;
	struct foreign_key *parents;
	int nparents;
	struct name_list rules; /* their names; a view's own is none */
};

struct function {
	char *layout_name;
	char *schema, *name;
	int ndefaults;
	struct function_argument {
		char *name, *type;
	} * arguments;
	int narguments;
};

struct catalog {
	struct relation *relations;
	int nrelations;
	struct function *functions;
	int nfunctions;
	char *names, *prefix;  /* what was asked for: as of catalog.sql */
	char *fingerprint;     /* of the database's schema, before: see catalog_changed() */
	char *database, *user; /* as the server names them */
	bool read_only;        /* a standby server, or read-only transactions are the default */
	bool has_ledger;  /* rowfs.applied exists: appends can be repeated after a lost COMMIT */
	bool has_streams; /* rowfs.stream is there: the same for streams of lines */
	bool has_proof;   /* rowfs.file_rows has the column xids */
	bool has_file_relations; /* rowfs.file says of which table a file is */
	/* the database is not in UTF-8: a text has other bytes in a file than there */
	bool recodes;
	struct arena memory; /* of all of the above; keys that the layout gives are the layout's */
};

/* Reads all that LAYOUT names, with PREFIX ("" for none) before every relation's name. Names that
 * the database does not know are simply absent. Returns 0 or -errno with ERR filled. Free with
 * catalog_free(). */
MUST_USE int catalog_load(struct db_pool *pool, const struct layout *layout, const char *prefix,
			  struct catalog **out, struct db_error *err);
void catalog_free(struct catalog *catalog);

/* For the session that asks catalog_changed(), as its greeting (db/config.h): a few rows of the
 * catalog are looked for by their indexes, whatever the planner thinks of how many there are. */
extern const char catalog_greeting[];

/* Asks whether the database's schema is still what CATALOG was read from, as far as anything that
 * is served rests on it. *CHANGED: it is not. Waits for no lock of a table. Returns 0 or -errno
 * with ERR filled. Thread-safe. */
MUST_USE int catalog_changed(struct db_pool *pool, const struct catalog *catalog, bool *changed,
			     struct db_error *err);

/* Look-ups; NULL if absent. Borrowed. */
const struct relation *catalog_relation(const struct catalog *catalog, const char *layout_name);
const struct function *catalog_function(const struct catalog *catalog, const char *layout_name);
const struct column *relation_column(const struct relation *relation, const char *name);

/* The columns that identify a row: the primary key, else the first unique key of NOT NULL columns,
 * else NULL. A key with a hidden column is none. */
const struct name_list *relation_key(const struct relation *relation);

/* True if NAME is in LIST. */
bool name_list_has(const struct name_list *list, const char *name);
