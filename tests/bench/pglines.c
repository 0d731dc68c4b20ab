/* libpq alone doing what tests/bench/lines has a file system do.
 *
 * Usage: pglines CONNINFO copy SQL SOURCE EVERY
 *               COPY of EVERY lines at a time, fed 8 KiB at a time; SOURCE may be "-"
 *        pglines CONNINFO insert SQL SOURCE WRITERS COUNT
 *               each of WRITERS threads commits COUNT rows one by one
 *        pglines CONNINFO many SQL SOURCE COUNT SIZE
 *               executemany: SIZE rows bound and executed, one Sync, as asyncpg does it
 * SQL takes the fields of a line (plain CSV, an empty one is NULL) as its parameters. Prints:
 * lines seconds. */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIECE = 8192, FIELDS = 8, LINE_ROOM = 512, MOST_WRITERS = 64 };

struct work {
	pthread_t thread;
	const char *conninfo, *sql, *source;
	long count, done;
	bool good;
};

/* All threads begin when all are connected. */
static pthread_barrier_t ready;

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool failed(PGconn *conn) {
	fprintf(stderr, "pglines: %s", PQerrorMessage(conn));
	return false;
}

static bool finish_copy(PGconn *conn) {
	bool good = PQputCopyEnd(conn, NULL) == 1;
	for (PGresult *res; (res = PQgetResult(conn)) != NULL; PQclear(res))
		good = good && PQresultStatus(res) == PGRES_COMMAND_OK;
	return good || failed(conn);
}

static bool start_copy(PGconn *conn, const char *sql) {
	PGresult *res = PQexec(conn, sql);
	bool good = PQresultStatus(res) == PGRES_COPY_IN;
	PQclear(res);
	return good || failed(conn);
}

static bool copy(PGconn *conn, const char *sql, const char *source, long every, long *done) {
	FILE *f = strcmp(source, "-") == 0 ? stdin : fopen(source, "r");
	char piece[PIECE + LINE_ROOM];
	size_t len = 0;
	bool good = f != NULL && start_copy(conn, sql);

	while (good && fgets(piece + len, LINE_ROOM, f) != NULL) {
		len += strlen(piece + len);
		bool last = ++*done % every == 0;
		if (len < PIECE && !last)
			continue;
		good = PQputCopyData(conn, piece, (int)len) == 1;
		len = 0;
		if (last)
			good = good && finish_copy(conn) && start_copy(conn, sql);
	}
	good = good && (len == 0 || PQputCopyData(conn, piece, (int)len) == 1) && finish_copy(conn);
	if (f != NULL)
		fclose(f);
	return good;
}

/* Cuts LINE into its fields. Returns how many. */
static int cut(char *line, const char *fields[FIELDS]) {
	int n = 0;
	line[strcspn(line, "\r\n")] = '\0';
	while (n < FIELDS && line != NULL) {
		char *comma = strchr(line, ',');
		if (comma != NULL)
			*comma = '\0';
		fields[n++] = line[0] != '\0' ? line : NULL;
		line = comma != NULL ? comma + 1 : NULL;
	}
	return n;
}

static bool next_line(FILE *f, char line[LINE_ROOM], const char *fields[FIELDS], int *n) {
	if (fgets(line, LINE_ROOM, f) == NULL)
		return false;
	*n = cut(line, fields);
	return true;
}

static PGconn *open_prepared(const char *conninfo, const char *sql) {
	PGconn *conn = PQconnectdb(conninfo);
	PGresult *res = PQprepare(conn, "s", sql, 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		failed(conn);
	PQclear(res);
	return conn;
}

static void *insert_main(void *arg) {
	struct work *w = arg;
	const char *fields[FIELDS];
	char line[LINE_ROOM];
	int n;
	FILE *f = fopen(w->source, "r");
	PGconn *conn = open_prepared(w->conninfo, w->sql);

	pthread_barrier_wait(&ready);
	w->good = f != NULL;
	while (w->good && w->done < w->count && next_line(f, line, fields, &n)) {
		PGresult *res = PQexecPrepared(conn, "s", n, fields, NULL, NULL, 0);
		w->good = PQresultStatus(res) == PGRES_COMMAND_OK || failed(conn);
		PQclear(res);
		w->done++;
	}
	PQfinish(conn);
	if (f != NULL)
		fclose(f);
	return NULL;
}

static bool insert_all(char **argv, double *start, long *done) {
	static struct work works[MOST_WRITERS];
	int n = (int)strtol(argv[5], NULL, 10);
	bool good = n > 0 && n <= MOST_WRITERS;
	if (!good)
		return false;
	pthread_barrier_init(&ready, NULL, (unsigned)n + 1);
	for (int i = 0; i < n; i++) {
		works[i] = (struct work){ .conninfo = argv[1],
					  .sql = argv[3],
					  .source = argv[4],
					  .count = strtol(argv[6], NULL, 10) };
		pthread_create(&works[i].thread, NULL, insert_main, &works[i]);
	}
	pthread_barrier_wait(&ready);
	*start = now();
	for (int i = 0; i < n; i++) {
		pthread_join(works[i].thread, NULL);
		good = good && works[i].good;
		*done += works[i].done;
	}
	return good;
}

/* Takes the answers of a batch up to its Sync. */
static bool take_answers(PGconn *conn) {
	bool good = true;
	for (;;) {
		PGresult *res = PQgetResult(conn);
		if (res == NULL)
			continue; /* between two statements */
		ExecStatusType status = PQresultStatus(res);
		PQclear(res);
		if (status == PGRES_PIPELINE_SYNC)
			return good || failed(conn);
		good = good && status == PGRES_COMMAND_OK;
		if (PQstatus(conn) != CONNECTION_OK)
			return failed(conn);
	}
}

static bool many(char **argv, double *start, long *done) {
	const char *fields[FIELDS];
	char line[LINE_ROOM];
	long count = strtol(argv[5], NULL, 10), size = strtol(argv[6], NULL, 10);
	int n;
	FILE *f = fopen(argv[4], "r");
	PGconn *conn = open_prepared(argv[1], argv[3]);
	bool good = f != NULL && PQenterPipelineMode(conn) == 1;

	*start = now();
	while (good && *done < count) {
		long in_batch = 0;
		while (in_batch < size && *done < count && next_line(f, line, fields, &n)) {
			PQsendQueryPrepared(conn, "s", n, fields, NULL, NULL, 0);
			in_batch++;
			++*done;
		}
		if (in_batch == 0)
			break;
		good = PQpipelineSync(conn) == 1 && take_answers(conn);
	}
	PQfinish(conn);
	if (f != NULL)
		fclose(f);
	return good;
}

int main(int argc, char **argv) {
	const char *what = argc > 5 ? argv[2] : "";
	double start = now();
	long done = 0;
	bool good = false;

	if (strcmp(what, "copy") == 0) {
		PGconn *conn = PQconnectdb(argv[1]);
		start = now();
		good = copy(conn, argv[3], argv[4], strtol(argv[5], NULL, 10), &done);
		PQfinish(conn);
	} else if (strcmp(what, "insert") == 0 && argc > 6) {
		good = insert_all(argv, &start, &done);
	} else if (strcmp(what, "many") == 0 && argc > 6) {
		good = many(argv, &start, &done);
	} else {
		fprintf(stderr, "pglines: what is to be done?\n");
	}
	if (good)
		printf("%ld %.9f\n", done, now() - start);
	return good ? 0 : 1;
}
