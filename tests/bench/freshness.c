/* How long it takes until a change by others shows in a mount, and whether any change never does.
 *
 * Usage: freshness CONNINFO DIRECTORY FIRST NAMES UPDATES RATE READERS
 *
 * One thread commits updates of the table docs: update I is of name FIRST + I % NAMES, and says I.
 * The first NAMES are made before anybody reads; then come UPDATES, RATE a second, which are
 * measured. READERS threads open, read and close without ever stopping. Reader R waits for each
 * update I with I % READERS = R: while such have been committed and not been seen yet, it reads
 * those; and after each of them, or if there are none, the next of all names. An update is lost if
 * its name goes on showing an older one until the next update of it, or for 5 seconds at the end. A
 * document is wrong if it is none of the versions that were written, or older than what the same
 * reader has seen of it.
 *
 * Prints: updates seconds, median and 99 % of the delays in seconds, the longest, lost, wrong,
 * reads. */
#include "at_once.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, BODY_ROOM = 4096, TEXT = 50, AT_THE_END_S = 5, WAITING = 256 };

static struct {
	const char *conninfo, *directory;
	int first, names, updates, readers;
	int end; /* the number behind the last update */
	double rate, seconds;
	double *committed;  /* when update I was answered */
	double *delays;     /* seconds until update I + NAMES was seen; negative: never */
	atomic_int written; /* updates that are committed */
	atomic_bool failed;
	atomic_long lost, wrong, reads;
} all;

static bool failed(const char *what, const char *why) {
	fprintf(stderr, "freshness: %s: %s\n", what, why);
	all.failed = true;
	return false;
}

/* -- the writer -------------------------------------------------------------------------------- */

static bool update(PGconn *conn, int i) {
	char name[16], number[16];
	const char *const values[] = { name, number };
	snprintf(name, sizeof(name), "%05d", all.first + i % all.names);
	snprintf(number, sizeof(number), "%d", i);
	PGresult *res = PQexecPrepared(conn, "s", 2, values, NULL, NULL, 0);
	bool good = PQresultStatus(res) == PGRES_COMMAND_OK && strcmp(PQcmdTuples(res), "1") == 0;
	PQclear(res);
	return good || failed("update", PQerrorMessage(conn));
}

/* Returns a connection with the statement prepared, and all names in their first version. */
static PGconn *begin(void) {
	static const char sql[] =
		"update docs set doc = jsonb_build_object('n', $2::int, 'text', repeat('x', $2::int % 50)) "
		"where name = $1";
	PGconn *conn = PQconnectdb(all.conninfo);
	PQclear(PQexec(conn, "set synchronous_commit = off")); /* the disk is not measured */
	PQclear(PQprepare(conn, "s", sql, 0, NULL));
	while (all.written < all.names && update(conn, all.written))
		all.written++;
	return conn;
}

static void *writer_main(void *arg) {
	PGconn *conn = arg;
	double start = now();
	for (int i = all.names; i < all.end && !all.failed; i++) {
		double early = start + (i - all.names) / all.rate - now();
		if (early > 0)
			nanosleep(&(struct timespec){ .tv_nsec = (long)(early * 1e9) }, NULL);
		if (!update(conn, i))
			break;
		all.committed[i] = now();
		all.written = i + 1;
	}
	all.seconds = now() - start;
	return NULL;
}

/* -- the readers ------------------------------------------------------------------------------- */

/* One reader, and the updates it waits for. */
struct reader {
	pthread_t thread;
	int *seen; /* the latest version of each name */
	int waiting[WAITING], n;
	int next; /* the next update to wait for */
	int walk; /* the next of all names to read */
};

/* Returns the version that BODY is, -1 if it is none that was written. */
static int version_of(const char *body) {
	char *rest, text[TEXT + 1] = "", expected[BODY_ROOM];
	const char *start = strstr(body, "\"n\": ");
	if (start == NULL)
		return -1;
	long n = strtol(start + strlen("\"n\": "), &rest, 10);
	memset(text, 'x', (size_t)(n % TEXT));
	text[n % TEXT] = '\0';
	snprintf(expected, sizeof(expected), "{\n    \"n\": %ld,\n    \"text\": \"%s\"\n}\n", n,
		 text);
	return n >= 0 && strcmp(body, expected) == 0 ? (int)n : -1;
}

/* Reads a name once. Returns its version, negative if there is none to be had. */
static int look(struct reader *r, int name) {
	char path[PATH_ROOM], body[BODY_ROOM];
	snprintf(path, sizeof(path), "%s/%05d.json", all.directory, all.first + name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, body, sizeof(body) - 1) : -1;
	if (n < 0)
		failed(path, strerror(errno));
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return -1;
	body[n] = '\0';
	int version = version_of(body);
	all.reads++;
	if (version < 0 && all.wrong == 0)
		fprintf(stderr, "freshness: %s is none of the versions: %s\n", path, body);
	if (version < r->seen[name])
		all.wrong++;
	else
		r->seen[name] = version;
	return version;
}

/* Settles update I if its name shows it by now. One that is over-written without having been seen
 * is lost. */
static bool settled(struct reader *r, int i) {
	int version = look(r, i % all.names);
	double t = now();
	if (version < i) {
		if (t - all.committed[i] < AT_THE_END_S)
			return false;
		version = all.end;
	}
	all.delays[i - all.names] = version == i ? t - all.committed[i] : -1;
	all.lost += version != i;
	return true;
}

static void *reader_main(void *arg) {
	struct reader *r = arg;
	while (!all.failed && (r->next < all.end || r->n > 0)) {
		for (; r->next < all.written && r->n < WAITING; r->next += all.readers)
			r->waiting[r->n++] = r->next;
		look(r, r->walk++ % all.names);
		int left = 0;
		for (int i = 0; i < r->n; i++)
			if (!settled(r, r->waiting[i]))
				r->waiting[left++] = r->waiting[i];
		r->n = left;
	}
	return NULL;
}

/* -- all together ------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void tell(void) {
	long seen = all.updates - all.lost;
	const double *d = all.delays + all.lost; /* the lost ones come first */
	qsort(all.delays, (size_t)all.updates, sizeof(*all.delays), by_size);
	if (seen == 0)
		failed("nothing was seen", all.directory);
	else
		printf("%d %.3f %.6f %.6f %.6f %ld %ld %ld\n", all.updates, all.seconds,
		       d[seen / 2], d[seen * 99 / 100], d[seen - 1], all.lost, all.wrong,
		       all.reads);
}

static void *reserve(int n, size_t size) {
	void *p = calloc((size_t)n, size);
	if (p == NULL)
		failed("memory", strerror(errno));
	return p;
}

/* All names are read before the first update: they are warm then. */
static void warm(struct reader *readers) {
	for (int i = 0; i < all.readers && !all.failed; i++) {
		struct reader *r = &readers[i];
		r->next = all.names + i;
		r->seen = reserve(all.names, sizeof(*r->seen));
		for (int name = 0; name < all.names && !all.failed; name++)
			look(r, name);
	}
}

int main(int argc, char **argv) {
	pthread_t writer;
	if (argc != 8) {
		fprintf(stderr,
			"usage: freshness CONNINFO DIRECTORY FIRST NAMES UPDATES RATE READERS\n");
		return 2;
	}
	all.conninfo = argv[1];
	all.directory = argv[2];
	all.first = (int)strtol(argv[3], NULL, 10);
	all.names = (int)strtol(argv[4], NULL, 10);
	all.updates = (int)strtol(argv[5], NULL, 10);
	all.rate = strtod(argv[6], NULL);
	all.readers = (int)strtol(argv[7], NULL, 10);
	all.end = all.names + all.updates;
	all.committed = reserve(all.end, sizeof(double));
	all.delays = reserve(all.updates, sizeof(double));
	struct reader *readers = reserve(all.readers, sizeof(*readers));
	PGconn *conn = all.failed ? NULL : begin();
	if (!all.failed)
		warm(readers);
	all.reads = 0;
	if (all.failed)
		return 1;
	pthread_create(&writer, NULL, writer_main, conn);
	for (int i = 0; i < all.readers; i++)
		pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]);
	pthread_join(writer, NULL);
	for (int i = 0; i < all.readers; i++)
		pthread_join(readers[i].thread, NULL);
	PQfinish(conn);
	if (!all.failed)
		tell();
	return all.failed ? 1 : 0;
}
