#include "fs/options/option_table.h"

#include <limits.h>
#include <stddef.h>

static const char *const ssl_modes[] = { "disable",   "allow",       "prefer", "require",
					 "verify-ca", "verify-full", NULL };
static const char *const isolation_levels[] = { "read committed", "repeatable read", "serializable",
						NULL };
static const char *const bad_lines_words[] = { "fail", "report", NULL };
static const char *const last_line_words[] = { "reject", "accept", NULL };
static const char *const log_levels[] = { "error", "warning", "info", "debug", NULL };

enum { DAY = 86400, YEAR = 365 * DAY };
#define LARGEST_SIZE 9007199254740992.0 /* 2^53: exact in a double */
#define LARGEST_FIELD 1073741824.0      /* PostgreSQL's own limit for one value */

#define AT(field) offsetof(struct options, field)
/* clang-format off */
#define GROUP(title) { .key = (title) }
#define ENTRY(kind, name, field, ...) \
	{ .key = (name), .type = (kind), .offset = AT(field), __VA_ARGS__ }
/* clang-format on */
#define TEXT(name, field, arg, about)                                                              \
	ENTRY(OPTION_TEXT, name, field, .value_name = (arg), .help = (about))
#define TEXT_ENV(name, field, arg, variable, about)                                                \
	ENTRY(OPTION_TEXT, name, field, .value_name = (arg), .env = (variable), .help = (about))
#define SECRET(name, field, arg, variable, about)                                                  \
	ENTRY(OPTION_TEXT, name, field, .value_name = (arg), .env = (variable), .secret = true,    \
	      .help = (about))
#define FILE_PATH(name, field, arg, about)                                                         \
	ENTRY(OPTION_PATH, name, field, .value_name = (arg), .help = (about))
#define WORD(name, field, dflt, list, variable, about)                                             \
	ENTRY(OPTION_WORD, name, field, .initial = (dflt), .words = (list), .env = (variable),     \
	      .help = (about))
#define BOOL(name, field, dflt, about)                                                             \
	ENTRY(OPTION_BOOL, name, field, .initial = (dflt), .help = (about))
#define NUMBER(kind, name, field, dflt, low, high, arg, variable, about)                           \
	ENTRY(kind, name, field, .initial = (dflt), .min = (low), .max = (high),                   \
	      .value_name = (arg), .env = (variable), .help = (about))
#define INT(name, field, dflt, low, high, arg, about)                                              \
	NUMBER(OPTION_INT, name, field, dflt, low, high, arg, NULL, about)
#define INT_ENV(name, field, dflt, low, high, arg, variable, about)                                \
	NUMBER(OPTION_INT, name, field, dflt, low, high, arg, variable, about)

const struct option option_table[] = {
	GROUP("Database"),
	SECRET("connection_string", connection_string, "CONNINFO", "DATABASE_URL",
	       "libpq connection string or postgresql:// URI; CONNINFO on the command line is the same"),
	TEXT_ENV("host", host, "HOST", "DB_HOST",
		 "server's host name, address, or directory of its socket"),
	NUMBER(OPTION_PORT, "port", port, NULL, 1, 65535, "PORT", "DB_PORT", "server's port"),
	TEXT_ENV("database", database, "NAME", "DB_NAME", "database"),
	TEXT_ENV("username", username, "NAME", "DB_USER", "role to log in as"),
	SECRET("password", password, "TEXT", "DB_PASSWORD", "password; better kept in ~/.pgpass"),
	WORD("ssl_mode", ssl_mode, NULL, ssl_modes, "DB_SSLMODE", "how far TLS is required"),
	FILE_PATH("ssl_cert", ssl_cert, "FILE", "client certificate"),
	FILE_PATH("ssl_key", ssl_key, "FILE", "key of the client certificate"),
	FILE_PATH("ssl_ca", ssl_ca, "FILE", "certificates of the authorities that are trusted"),
	TEXT("schema_name", schema_name, "NAME", "schema to put first on the search path"),
	TEXT("table_prefix", table_prefix, "TEXT",
	     "put before the name of each relation that a layout names"),
	BOOL("enable_migrations", enable_migrations, "false",
	     "before mounting, do what rowfs init does"),

	GROUP("Connections"),
	INT("min_connections", min_connections, "1", 0, 1000, "N",
	    "connections opened at once and kept"),
	INT_ENV("max_connections", max_connections, "10", 1, 1000, "N", "DB_POOL_SIZE",
		"most connections at once"),
	INT("connection_timeout", db.connect_timeout_s, "30", 1, DAY, "SECONDS",
	    "one attempt to connect, and the wait for a free connection, in seconds"),
	INT("command_timeout", command_timeout, "60", 0, DAY, "SECONDS",
	    "one statement, in seconds; 0: no limit"),
	INT("transaction_timeout", transaction_timeout, "300", 0, DAY, "SECONDS",
	    "one transaction of several statements, in seconds; 0: no limit"),
	INT("retry_attempts", db.retry_attempts, "3", 0, 1000, "N",
	    "further attempts when the connection is lost"),
	NUMBER(OPTION_SECONDS, "retry_delay", retry_delay, "1", 0, 3600, "SECONDS", NULL,
	       "pause before the first of them, in seconds"),
	NUMBER(OPTION_FACTOR, "retry_backoff", db.retry_backoff, "2", 1, 100, "FACTOR", NULL,
	       "each further pause is this much longer"),
	WORD("isolation_level", isolation_level, NULL, isolation_levels, NULL,
	     "of every transaction (default: the server's)"),
	BOOL("enable_prepared_statements", db.prepared_statements, "true",
	     "false behind a pooler that keeps no sessions"),

	GROUP("Rows"),
	INT("fetch_size", fetch_size, "1000", 1, 100000, "ROWS",
	    "rows that a listing asks for at once"),
	INT_ENV("batch_size", batch_size, "5000", 1, 1000000, "ROWS", "DB_BATCH_SIZE",
		"lines of appends that are committed at once"),
	NUMBER(OPTION_SECONDS, "flush_interval", flush_interval, "1", 0.001, 3600, "SECONDS", NULL,
	       "appended lines wait at most this long for others, in seconds"),
	WORD("bad_lines", bad_lines, "fail", bad_lines_words, NULL,
	     "whether a refused line fails fsync and close, or is only reported"),
	WORD("last_line", last_line, "reject", last_line_words, NULL,
	     "whether a last line without a newline is a row where /proc does not tell how its writer ended"),

	GROUP("Files"),
	ENTRY(OPTION_LAYOUT, "layout", layout, .value_name = "FILE",
	      .help = "the layout: a file, or the name of a pack (default: the built-in one)"),
	FILE_PATH("config", config_file, "FILE", "read options from this JSON file"),
	NUMBER(OPTION_SIZE, "max_document", max_document, "16M", 1024, LARGEST_FIELD, "SIZE", NULL,
	       "largest document or column; a larger one is refused with EFBIG"),
	FILE_PATH(
		"state_dir", state_dir, "DIR",
		"where plain files, refused input and notes of what is under way are kept (default: "
		"/var/lib/rowfs for root, otherwise $XDG_STATE_HOME/rowfs or ~/.local/state/rowfs); nobody "
		"else may write to it or above it"),
	NUMBER(OPTION_SIZE, "plain_max", plain_max, "1G", 0, LARGEST_SIZE, "SIZE", NULL,
	       "room for plain files; beyond it ENOSPC"),
	NUMBER(OPTION_SIZE, "disk_max", disk_max, "16G", 0, LARGEST_SIZE, "SIZE", NULL,
	       "room in state_dir for plain files, copies of ingest files that are changed, and large documents "
	       "that are open; beyond it ENOSPC"),
	NUMBER(OPTION_SIZE, "memory_max", memory_max, "1G", 0, LARGEST_SIZE, "SIZE", NULL,
	       "memory for what is written to open files and not committed, and for documents that are open; "
	       "beyond it ENOMEM"),
	NUMBER(OPTION_SIZE, "rejected_max", rejected_max, "1G", 0, LARGEST_SIZE, "SIZE", NULL,
	       "room for refused input in /.rowfs/rejected"),
	INT("errors_max", errors_max, "1000", 1, 1000000, "LINES",
	    "lines kept in /.rowfs/errors.jsonl"),
	NUMBER(OPTION_COHERENCE, "coherence", coherence, "notify", 0, DAY,
	       "notify|ttl=SECONDS|none", NULL,
	       "when what was read is read again: when it has changed; after a time; each time"),
	INT("cache", cache, "64", 1, 1048576, "MIB",
	    "memory for documents that were read lately, in MiB"),
	NUMBER(OPTION_SIZE, "read_cache", read_cache, "2G", 0, LARGEST_SIZE, "SIZE", NULL,
	       "room in state_dir for rows files that were read as a whole; 0: none are kept"),
	INT("threads", threads, "16", 1, 256, "N", "most requests served at once"),

	GROUP("The mount"),
	BOOL("ro", read_only, "false", "read only (rw: the reverse)"),
	BOOL("allow_other", allow_other, "false", "other users may use the mount"),
	BOOL("default_permissions", default_permissions, "false",
	     "the kernel checks owner and mode"),
	NUMBER(OPTION_UID, "uid", uid, NULL, 0, UINT_MAX - 1, "N", NULL,
	       "owner shown for every file (default: who mounts)"),
	NUMBER(OPTION_GID, "gid", gid, NULL, 0, UINT_MAX - 1, "N", NULL,
	       "group shown for every file (default: who mounts)"),
	NUMBER(OPTION_OCTAL, "umask", umask, "022", 0, 0777, "OCTAL", NULL,
	       "mode bits that no file has"),
	TEXT("fsname", fsname, "NAME",
	     "source that mount(8) shows (default: CONNINFO without its password)"),

	GROUP("Log and housekeeping"),
	WORD("log_level", log_level, "info", log_levels, NULL, "least important messages to write"),
	BOOL("log_queries", db.log_queries, "false", "write every statement to the log"),
	BOOL("log_slow_queries", log_slow_queries, "true", "write slow statements to the log"),
	INT("slow_query_threshold", slow_query_threshold, "1000", 1, INT_MAX, "MILLISECONDS",
	    "from when on a statement is slow, in milliseconds"),
	BOOL("enable_metrics", enable_metrics, "true", "serve /.rowfs/metrics"),
	INT("health_check_interval", health_check_interval, "300", 1, YEAR, "SECONDS",
	    "how often the database is asked whether it answers, in seconds"),
	BOOL("enable_auto_cleanup", enable_auto_cleanup, "false",
	     "call the functions of the layout's timers"),
	INT("cleanup_interval", cleanup_interval, "3600", 1, YEAR, "SECONDS",
	    "interval of timers that name it, in seconds"),
};

const int option_count = sizeof(option_table) / sizeof(option_table[0]);
