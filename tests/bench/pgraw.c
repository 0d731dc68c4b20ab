/* libpq alone, with prepared statements: what the database and the socket take, which no file
 * system on top can beat.
 *
 * Usage: pgraw [-p PROCESSES] CONNINFO OPERATION FIRST COUNT [FILE]. Operations: select, update,
 * insert (one row each), list (all rows of the table in pages of 1000), keys (their names alone),
 * records (the same of the table records, as documents), copy (FILE into the table book). Tables as
 * tests/bench/run makes them. Each of PROCESSES has COUNT rows of its own, and a connection that
 * stands, with its statement prepared, before any of them begins. Prints: operations seconds. */
#include "at_once.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NUMBER_ROOM = 16, PAGE = 1000, COPY_SIZE = 8192 };

struct job {
	const char *conninfo, *operation, *file;
	int first, count, params, done;
	PGconn *conn;
};

/* True if RES is a success; clears it. */
static bool succeeded(PGconn *conn, PGresult *res) {
	ExecStatusType status = PQresultStatus(res);
	PQclear(res);
	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN)
		return true;
	fprintf(stderr, "pgraw: %s", PQerrorMessage(conn));
	return false;
}

static bool each(PGconn *conn, int params, int first, int count) {
	for (int i = first; i < first + count; i++) {
		char number[NUMBER_ROOM];
		const char *const values[] = { number, "{\"n\": 1}" };
		snprintf(number, sizeof(number), "%05d", i);
		if (!succeeded(conn, PQexecPrepared(conn, "s", params, values, NULL, NULL, 0)))
			return false;
	}
	return true;
}

/* All rows by keyset pages, as a listing with sizes needs them. */
static bool list(PGconn *conn, int *rows) {
	char last[NUMBER_ROOM] = "";
	int n = PAGE;
	for (*rows = 0; n == PAGE; *rows += n) {
		const char *const values[] = { last };
		PGresult *res = PQexecPrepared(conn, "s", 1, values, NULL, NULL, 0);
		n = PQntuples(res);
		if (n > 0)
			snprintf(last, sizeof(last), "%s", PQgetvalue(res, n - 1, 0));
		if (!succeeded(conn, res))
			return false;
	}
	return true;
}

static bool copy(PGconn *conn, const char *path) {
	char buf[COPY_SIZE];
	size_t n;
	FILE *f = fopen(path, "rb");
	static const char sql[] =
		"copy book (exchange, symbol, timestamp, price) from stdin csv header";
	if (f == NULL || !succeeded(conn, PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0))) {
		if (f != NULL)
			fclose(f);
		return false;
	}
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		PQputCopyData(conn, buf, (int)n);
	fclose(f);
	PQputCopyEnd(conn, NULL);
	bool good = true;
	for (PGresult *res; (res = PQgetResult(conn)) != NULL;)
		good = succeeded(conn, res) && good;
	return good;
}

static bool prepare(void *context, int number) {
	static const struct {
		const char *name, *sql;
		int params;
	} statements[] = {
		{ "select",
		  "select xmin::text || ctid::text, jsonb_pretty(doc) || E'\\n', octet_length(jsonb_pretty(doc)) + 1 from docs where name = $1",
		  1 },
		{ "update", "update docs set doc = $2::jsonb where name = $1", 2 },
		{ "insert", "insert into docs (name, doc) values ($1, $2::jsonb)", 2 },
		{ "list",
		  "select name, xmin::text || ctid::text, octet_length(b.body), b.body from docs, lateral (select jsonb_pretty(doc) || "
		  "E'\\n' as body offset 0) b where name > $1 order by name limit 1000",
		  1 },
		{ "records",
		  "select name, xmin::text || ctid::text, octet_length(b.body), b.body from records t, lateral (select E'{\\n    ' || "
		  "array_to_string(array['\"name\": ' || to_json(name)::text, '\"n\": ' || coalesce(to_json(n)::text, 'null'), "
		  "'\"price\": ' || coalesce(to_json(price)::text, 'null'), '\"at\": ' || coalesce(to_json(at)::text, 'null'), "
		  "'\"ok\": ' || coalesce(to_json(ok)::text, 'null'), '\"note\": ' || coalesce(to_json(note)::text, 'null'), "
		  "'\"tags\": ' || coalesce(to_json(tags)::text, 'null')], E',\\n    ') || E'\\n}\\n' as body offset 0) b "
		  "where name > $1 order by name limit 1000",
		  1 },
		{ "keys", "select name from docs where name > $1 order by name limit 1000", 1 },
	};
	struct job *job = context;
	job->conn = PQconnectdb(job->conninfo);
	if (PQstatus(job->conn) != CONNECTION_OK) {
		fprintf(stderr, "pgraw: %s", PQerrorMessage(job->conn));
		return false;
	}
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
		if (strcmp(job->operation, statements[i].name) == 0) {
			job->params = statements[i].params;
			return succeeded(job->conn,
					 PQprepare(job->conn, "s", statements[i].sql, 0, NULL));
		}
	return true;
}

static bool work(void *context, int number) {
	struct job *job = context;
	if (strcmp(job->operation, "copy") == 0)
		return copy(job->conn, job->file);
	if (strcmp(job->operation, "list") == 0 || strcmp(job->operation, "keys") == 0 ||
	    strcmp(job->operation, "records") == 0)
		return list(job->conn, &job->done);
	return each(job->conn, job->params, job->first + number * job->count, job->count);
}

int main(int argc, char **argv) {
	struct job job = { .file = "" };
	struct crew crew = { .processes = 1, .prepare = prepare, .work = work, .context = &job };
	for (int option; (option = getopt(argc, argv, "+p:")) != -1;)
		crew.processes = (int)strtol(optarg, NULL, 10);
	argv += optind;
	argc -= optind;
	if (argc < 4 || crew.processes < 1) {
		fprintf(stderr,
			"usage: pgraw [-p PROCESSES] CONNINFO OPERATION FIRST COUNT [FILE]\n");
		return 2;
	}
	job.conninfo = argv[0];
	job.operation = argv[1];
	job.first = (int)strtol(argv[2], NULL, 10);
	job.count = (int)strtol(argv[3], NULL, 10);
	if (argc > 4)
		job.file = argv[4];
	job.done = job.count * crew.processes;
	double seconds = at_once(&crew);
	if (seconds >= 0)
		printf("%d %.9f\n", job.done, seconds);
	PQfinish(job.conn);
	return seconds >= 0 ? 0 : 1;
}
