/* Every option of rowfs, in one table (option_table.c): the command line, the configuration
 * file, the environment, the help text, the man page and /.rowfs/config.json are all made from it.
 */
#pragma once

#include "db/pool.h"
#include "util/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum coherence { COHERENCE_NOTIFY, COHERENCE_TTL, COHERENCE_NONE };

struct options {
	/* what to mount, and where */
	char *mountpoint;  /* absolute, resolved */
	char *layout;      /* path of the layout file; NULL = the default layout */
	char *config_file; /* -o config=FILE; NULL = none */
	/* assembled, may hold a password, which is nowhere else: only db/ may see it */
	char *conninfo;
	bool foreground; /* -f */
	bool debug;      /* -d: libfuse's own debug output; implies foreground */
	bool install;    /* check --install: make what the layout needs */

	/* as they were given; `conninfo` is made of them. The first and the password are NULL
	 * after that */
	char *connection_string, *host, *port, *database, *username, *password;
	char *ssl_mode, *ssl_cert, *ssl_key, *ssl_ca;

	/* database; names as in SYSTEMS: see option_table.c for defaults and units */
	/* what only db/ reads, in its own units; see options_db_config() for the rest of it */
	struct db_config db;
	int min_connections, max_connections;
	int command_timeout;     /* seconds */
	int transaction_timeout; /* seconds */
	double retry_delay;      /* seconds */
	char *isolation_level;
	int fetch_size;        /* rows a page */
	int batch_size;        /* rows a batch of appends */
	double flush_interval; /* seconds that appended lines wait at most */
	char *bad_lines;       /* "fail" or "report" */
	char *last_line;       /* "accept" or "reject": where /proc does not tell who wrote it */
	char *schema_name, *table_prefix;
	bool enable_migrations;

	/* logging */
	char *log_level;
	bool log_slow_queries;
	int slow_query_threshold; /* milliseconds */

	/* housekeeping */
	bool enable_metrics;
	int health_check_interval; /* seconds */
	int cleanup_interval;      /* seconds */
	bool enable_auto_cleanup;

	/* file system */
	uint64_t max_document; /* bytes; a larger document is refused with EFBIG */
	uint64_t plain_max;    /* bytes of plain files; beyond: ENOSPC */
	uint64_t disk_max;     /* bytes of all local files but those with a limit of their own */
	uint64_t memory_max;   /* bytes in memory of files that are open; beyond: ENOMEM */
	char *state_dir;       /* where plain files and rejected input live; absolute */
	uint64_t read_cache;   /* bytes of transcripts (fs/rows/transcript.h) */
	int cache;             /* MiB that bodies of documents take at most */
	int threads;           /* most requests served at once */
	int errors_max;        /* lines kept in /.rowfs/errors.jsonl */
	uint64_t rejected_max; /* bytes kept in /.rowfs/rejected */
	enum coherence coherence;
	double ttl; /* seconds that a look-up stays good, where changes are not told */
	uid_t uid;  /* owner shown for every file */
	gid_t gid;
	mode_t umask;
	bool read_only; /* -o ro */
	bool allow_other, default_permissions;
	char *fsname;      /* shown by mount(8); never holds a password */
	char *mount_flags; /* "nosuid,noexec,...", for libfuse's -o as they are; NULL = none */
};

enum command { COMMAND_MOUNT, COMMAND_CHECK, COMMAND_INIT };

/* Fills OPT from, weakest first: built-in defaults, PG* (left to libpq), DB_* and DATABASE_URL, the
 * configuration file, the command line. ARGV[0] is the name of the command; what follows it is
 *   mount  [--layout FILE] [--config FILE] [-s] [-o opts] [-f] [-d] [CONNINFO] MOUNTPOINT
 *   check  [--install] [--config FILE] [-o opts] [LAYOUT [CONNINFO]]
 *   init   [--config FILE] [-o opts] [CONNINFO]
 * Arguments of ARGV that hold a secret are overwritten in place, and so are variables of the
 * environment. Returns 0; otherwise a sentence is in ERR and the return value is the exit
 * status: 2 for a mistake in the options, 1 for a mountpoint that cannot be used. options_free()
 * frees in both cases. */
MUST_USE int options_parse(struct options *opt, enum command command, int argc, char **argv,
			   struct buf *err);
void options_free(struct options *opt);

/* The parameters of the pool, pointing into OPT. */
struct db_config options_db_config(const struct options *opt);

/* The value of the option called KEY, if it is a time, in seconds; otherwise -1. For a layout's
 * timers. */
double options_interval(const struct options *opt, const char *key);

/* All options with their values as one pretty JSON object, secrets left out. */
void options_to_json(const struct options *opt, struct buf *out);

/* Help text of all options, for `rowfs --help`; troff for the man page, for `rowfs --help=man`. */
void options_help(struct buf *out, bool troff);
