/* The measured loops of the benchmark: file operations by plain system calls, so that no
 * interpreter's time is in them.
 *
 * Usage: drive [-p PROCESSES] [-r ROUNDS] OPERATION PREFIX WIDTH SUFFIX FIRST COUNT [BODY]. File I
 * is PREFIX, I with at least WIDTH digits, SUFFIX; for ls and lsl PREFIX is a directory; for append
 * PREFIX is the file and BODY a file whose bytes are appended. Each of PROCESSES has COUNT files of
 * its own, one range behind the other, and goes through them ROUNDS times. Prints: operations
 * seconds. */
#include "at_once.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, READ_SIZE = 131072, APPEND_SIZE = 8192 };

struct job {
	const char *operation, *prefix, *suffix, *body;
	int width, first, count, rounds, done;
};

static char scratch[READ_SIZE];

static bool failed(const char *what, const char *path) {
	fprintf(stderr, "drive: %s %s: %s\n", what, path, strerror(errno));
	return false;
}

static bool read_one(const char *path, const char *body) {
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return failed("open", path);
	ssize_t n;
	do
		n = read(fd, scratch, sizeof(scratch));
	while (n == (ssize_t)sizeof(scratch));
	close(fd);
	return n >= 0 || failed("read", path);
}

static bool stat_one(const char *path, const char *body) {
	struct stat st;
	return lstat(path, &st) == 0 || failed("lstat", path);
}

static bool write_one(const char *path, const char *body, int flags) {
	int fd = open(path, O_WRONLY | flags, 0644);
	if (fd < 0)
		return failed("open", path);
	if (write(fd, body, strlen(body)) < 0) {
		close(fd);
		return failed("write", path);
	}
	return close(fd) == 0 || failed("close", path);
}

static bool rewrite_one(const char *path, const char *body) {
	return write_one(path, body, O_TRUNC);
}

static bool create_one(const char *path, const char *body) {
	return write_one(path, body, O_CREAT | O_EXCL);
}

static bool unlink_one(const char *path, const char *body) {
	return unlink(path) == 0 || failed("unlink", path);
}

static bool each(const struct job *job, int first, bool (*one)(const char *, const char *)) {
	for (int i = first; i < first + job->count; i++) {
		char path[PATH_ROOM];
		snprintf(path, sizeof(path), "%s%0*d%s", job->prefix, job->width, i, job->suffix);
		if (!one(path, job->body))
			return false;
	}
	return true;
}

/* Lists the directory once; with ATTRIBUTES, as `ls -l` does. Sets *LISTED. */
static bool list(const char *path, bool attributes, int *listed) {
	DIR *dir = opendir(path);
	const struct dirent *entry;
	struct stat st;
	if (dir == NULL)
		return failed("opendir", path);
	*listed = 0;
	while ((entry = readdir(dir)) != NULL) {
		if (attributes && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			failed("fstatat", entry->d_name);
		(*listed)++;
	}
	closedir(dir);
	return true;
}

static bool append(const char *path, const char *source) {
	int in = open(source, O_RDONLY), out = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
	bool good = in >= 0 && out >= 0;
	ssize_t n = 0;
	while (good && (n = read(in, scratch, APPEND_SIZE)) > 0)
		good = write(out, scratch, (size_t)n) == n;
	good = good && n == 0;
	if (!good)
		failed("append", path);
	if (in >= 0)
		close(in);
	if (out >= 0 && close(out) != 0)
		good = failed("close", path);
	return good;
}

static bool work(void *context, int number) {
	static const struct {
		const char *name;
		bool (*one)(const char *, const char *);
	} loops[] = { { "read", read_one },
		      { "stat", stat_one },
		      { "rewrite", rewrite_one },
		      { "create", create_one },
		      { "unlink", unlink_one } };
	struct job *job = context;
	bool found = false, good = true;
	for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
		if (strcmp(job->operation, loops[i].name) != 0)
			continue;
		found = true;
		for (int round = 0; good && round < job->rounds; round++)
			good = each(job, job->first + number * job->count, loops[i].one);
	}
	if (strcmp(job->operation, "ls") == 0 || strcmp(job->operation, "lsl") == 0)
		return list(job->prefix, job->operation[2] != '\0', &job->done);
	if (strcmp(job->operation, "append") == 0)
		return append(job->prefix, job->body);
	return found && good;
}

int main(int argc, char **argv) {
	struct job job = { .rounds = 1 };
	struct crew crew = { .processes = 1, .work = work, .context = &job };
	for (int option; (option = getopt(argc, argv, "+p:r:")) != -1;)
		*(option == 'p' ? &crew.processes : &job.rounds) = (int)strtol(optarg, NULL, 10);
	argv += optind;
	argc -= optind;
	if (argc < 6 || crew.processes < 1) {
		fprintf(stderr,
			"usage: drive [-p PROCESSES] [-r ROUNDS] OPERATION PREFIX WIDTH SUFFIX "
			"FIRST COUNT [BODY]\n");
		return 2;
	}
	job.operation = argv[0];
	job.prefix = argv[1];
	job.width = (int)strtol(argv[2], NULL, 10);
	job.suffix = argv[3];
	job.first = (int)strtol(argv[4], NULL, 10);
	job.count = (int)strtol(argv[5], NULL, 10);
	job.body = argc > 6 ? argv[6] : "";
	job.done = job.count * job.rounds * crew.processes;
	double seconds = at_once(&crew);
	if (seconds >= 0)
		printf("%d %.9f\n", job.done, seconds);
	return seconds >= 0 ? 0 : 1;
}
