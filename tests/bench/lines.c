/* What programs that write and read lines do to a file, by plain system calls.
 *
 * Usage: lines append EVERY SOURCE PATH [SOURCE PATH]...
 *               writes of 8 KiB, fsync each EVERY lines (0: at the end); a pair is a thread
 *        lines sync COUNT SOURCE PATH [SOURCE PATH]...
 *               COUNT lines each, fsync after each; a pair is a thread
 *        lines small SOURCE PATH COUNT    COUNT writes of one line, without fsync
 *        lines read PATH                  from the start to the end
 *        lines tail PATH                  the last line, as tail -n 1 does it
 * Lines that are refused (EINVAL from fsync or close) are no failure here. Prints: lines
 * seconds. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WRITE_SIZE = 8192, READ_SIZE = 131072, MOST_WRITERS = 64 };

/* One thread's work. */
struct work {
	pthread_t thread;
	const char *path;
	char *data;
	size_t len;
	long every, count, done;
	bool good;
};

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool failed(const char *what, const char *path) {
	fprintf(stderr, "lines: %s %s: %s\n", what, path, strerror(errno));
	return false;
}

/* Reads all of PATH into W. */
static bool load(struct work *w, const char *path) {
	struct stat st;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0)
		return failed("open", path);
	w->data = malloc((size_t)st.st_size + 1);
	ssize_t n = 0;
	while (w->data != NULL && w->len < (size_t)st.st_size &&
	       (n = read(fd, w->data + w->len, (size_t)st.st_size - w->len)) > 0)
		w->len += (size_t)n;
	close(fd);
	return (w->data != NULL && n >= 0) || failed("read", path);
}

static bool put(const struct work *w, int fd, const char *data, size_t len) {
	return write(fd, data, len) == (ssize_t)len || failed("write", w->path);
}

static bool settle(const struct work *w, int rc, const char *what) {
	return rc == 0 || errno == EINVAL || failed(what, w->path);
}

static long lines_in(const char *data, size_t len) {
	long n = 0;
	const char *end = data + len, *p = data;
	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		n++;
		p++;
	}
	return n;
}

static void *append_main(void *arg) {
	struct work *w = arg;
	int fd = open(w->path, O_WRONLY | O_APPEND | O_CREAT, 0644);
	long since = 0;
	w->good = fd >= 0 || failed("open", w->path);
	for (size_t at = 0; w->good && at < w->len;) {
		size_t n = w->len - at < WRITE_SIZE ? w->len - at : WRITE_SIZE;
		long lines = lines_in(w->data + at, n);
		w->good = put(w, fd, w->data + at, n);
		at += n;
		since += lines;
		w->done += lines;
		if (w->every > 0 && since >= w->every) {
			w->good = w->good && settle(w, fsync(fd), "fsync");
			since = 0;
		}
	}
	w->good = w->good && settle(w, fsync(fd), "fsync");
	w->good = w->good && settle(w, close(fd), "close");
	return NULL;
}

/* Writes COUNT lines of the data, one at a time. */
static bool one_by_one(struct work *w, int fd, bool sync) {
	const char *p = w->data, *end = w->data + w->len;
	for (w->done = 0; w->done < w->count; w->done++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		if (newline == NULL) {
			p = w->data;
			newline = memchr(p, '\n', w->len);
		}
		if (!put(w, fd, p, (size_t)(newline + 1 - p)))
			return false;
		if (sync && fsync(fd) != 0)
			return failed("fsync", w->path);
		p = newline + 1 < end ? newline + 1 : w->data;
	}
	return true;
}

static void *sync_main(void *arg) {
	struct work *w = arg;
	int fd = open(w->path, O_WRONLY | O_APPEND | O_CREAT, 0644);
	w->good = (fd >= 0 || failed("open", w->path)) && one_by_one(w, fd, true);
	w->good = w->good && (close(fd) == 0 || failed("close", w->path));
	return NULL;
}

static bool run_threads(struct work *works, int n, void *(*body)(void *), long *done) {
	bool good = true;
	for (int i = 0; i < n; i++)
		pthread_create(&works[i].thread, NULL, body, &works[i]);
	for (int i = 0; i < n; i++) {
		pthread_join(works[i].thread, NULL);
		good = good && works[i].good;
		*done += works[i].done;
	}
	return good;
}

static bool read_all(const char *path, long *done) {
	static char buf[READ_SIZE];
	ssize_t n = -1;
	int fd = open(path, O_RDONLY);
	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		*done += lines_in(buf, (size_t)n);
	if (fd >= 0)
		close(fd);
	return n == 0 || failed("read", path);
}

static bool tail(const char *path, long *done) {
	static char buf[WRITE_SIZE];
	struct stat st;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0)
		return failed("open", path);
	off_t from = st.st_size > WRITE_SIZE ? st.st_size - WRITE_SIZE : 0;
	ssize_t n = pread(fd, buf, (size_t)(st.st_size - from), from);
	close(fd);
	if (n != st.st_size - from || n == 0 || buf[n - 1] != '\n')
		return failed("the end is not there", path);
	*done = 1;
	return true;
}

/* A thread for each pair of SOURCE and PATH. */
static bool all_pairs(int argc, char **argv, void *(*body)(void *), double *start, long *done) {
	static struct work works[MOST_WRITERS];
	int n = (argc - 3) / 2;
	bool good = n > 0 && n <= MOST_WRITERS;
	for (int i = 0; good && i < n; i++) {
		works[i].every = works[i].count = strtol(argv[2], NULL, 10);
		works[i].path = argv[4 + 2 * i];
		good = load(&works[i], argv[3 + 2 * i]);
	}
	*start = now();
	return good && run_threads(works, n, body, done);
}

/* The time of the writes alone; what the last fsync takes is another figure. */
static bool small(char **argv, double *start, double *end, long *done) {
	struct work w = { .path = argv[3], .count = strtol(argv[4], NULL, 10) };
	int fd = open(w.path, O_WRONLY | O_APPEND | O_CREAT, 0644);
	if (!load(&w, argv[2]) || fd < 0)
		return failed("open", w.path);
	*start = now();
	bool good = one_by_one(&w, fd, false);
	*end = now();
	*done = w.done;
	return close(fd) == 0 && good;
}

int main(int argc, char **argv) {
	const char *what = argc > 2 ? argv[1] : "";
	double start = now(), end = 0;
	long done = 0;
	bool good = false;

	if (strcmp(what, "append") == 0 && argc > 4)
		good = all_pairs(argc, argv, append_main, &start, &done);
	else if (strcmp(what, "sync") == 0 && argc > 4)
		good = all_pairs(argc, argv, sync_main, &start, &done);
	else if (strcmp(what, "small") == 0 && argc > 4)
		good = small(argv, &start, &end, &done);
	else if (strcmp(what, "read") == 0)
		good = read_all(argv[2], &done);
	else if (strcmp(what, "tail") == 0)
		good = tail(argv[2], &done);
	else
		fprintf(stderr, "lines: what is to be done?\n");
	if (end == 0)
		end = now();
	if (good)
		printf("%ld %.9f\n", done, end - start);
	return good ? 0 : 1;
}
