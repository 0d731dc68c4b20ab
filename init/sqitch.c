#include "init/sqitch.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

enum { WORDS_MOST = 12, NOT_THERE = 127, NO_CONNINFO = 126 };

/* Sets libpq's variables from CONNINFO: sqitch, and psql, which it runs, read them. */
static bool export_conninfo(const char *conninfo) {
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);
	if (options == NULL) {
		PQfreemem(message);
		return false;
	}
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (o->val != NULL && o->val[0] != '\0' && o->envvar != NULL)
			setenv(o->envvar, o->val, 1);
	PQconninfoFree(options);
	return true;
}

/* Appends "-c NAME=VALUE" as libpq's variable PGOPTIONS wants it. */
static void put_setting(struct buf *out, const char *name, const char *value) {
	buf_printf(out, " -c %s=", name);
	for (const char *p = value; *p != '\0'; p++) {
		if (*p == ' ' || *p == '\\')
			buf_putc(out, '\\');
		buf_putc(out, *p);
	}
}

/* Appends NAME as an identifier, in quotes. */
static void put_ident(struct buf *out, const char *name) {
	buf_putc(out, '"');
	for (const char *p = name; *p != '\0'; p++) {
		if (*p == '"')
			buf_putc(out, '"');
		buf_putc(out, *p);
	}
	buf_putc(out, '"');
}

/* Behind what the user has there: the last setting of a name counts. */
static bool export_settings(const struct sqitch *s) {
	AUTO_BUF struct buf text = { 0 }, path = { 0 };
	const char *before = getenv("PGOPTIONS");
	buf_puts(&text, before != NULL ? before : "");
	if (s->schema != NULL) {
		put_ident(&path, s->schema);
		put_setting(&text, "search_path", path.failed ? "" : path.data);
	}
	if (s->role != NULL)
		put_setting(&text, "role", s->role);
	return !text.failed && !path.failed && setenv("PGOPTIONS", text.data, 1) == 0;
}

/* In the child. sqitch wants to know who deploys; it is the same for everybody. */
static void be_sqitch(const struct sqitch *s, const struct pack *pack, const char *const *words,
		      int out) {
	const char *argv[WORDS_MOST + 3] = { "sqitch" };
	AUTO_FREE char *directory = NULL;
	int n = 1;
	while (n <= WORDS_MOST && *words != NULL)
		argv[n++] = *words++;
	argv[n] = "db:pg:";
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	if (!export_conninfo(s->conninfo) || !export_settings(s) ||
	    asprintf(&directory, "%s/%s", s->root, pack->name) < 0 || chdir(directory) != 0)
		_exit(NO_CONNINFO); /* banned-ok: the child of a fork */
	setenv("SQITCH_FULLNAME", "rowfs", 0);
	setenv("SQITCH_EMAIL", "rowfs@localhost", 0);
	setenv("LC_ALL", "C.UTF-8", 1);
	setenv("TZ", "UTC", 1);
	execvp("sqitch", (char *const *)(uintptr_t)argv);
	_exit(NOT_THERE); /* banned-ok: the child of a fork */
}

static void read_all(int fd, bool verbose, struct buf *out) {
	char chunk[4096];
	ssize_t n;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		buf_add(out, chunk, (size_t)n);
		if (verbose)
			fwrite(chunk, 1, (size_t)n, stderr);
	}
}

int sqitch_run(const struct sqitch *s, const struct pack *pack, const char *const *words,
	       struct buf *why) {
	AUTO_BUF struct buf said = { 0 };
	int ends[2], how = 0;
	if (pipe2(ends, O_CLOEXEC) != 0) {
		int rc = -errno;
		buf_printf(why, "sqitch: %s", strerror(errno));
		return rc;
	}
	pid_t child = fork();
	if (child == 0)
		be_sqitch(s, pack, words, ends[1]);
	close(ends[1]);
	if (child > 0)
		read_all(ends[0], s->verbose, &said);
	close(ends[0]);
	if (child < 0 || waitpid(child, &how, 0) != child) {
		buf_printf(why, "sqitch: %s", strerror(errno));
		return -EIO;
	}
	if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
		return 0;
	if (WIFEXITED(how) && WEXITSTATUS(how) == NOT_THERE)
		buf_puts(why, "sqitch is not installed: apt install sqitch libdbd-pg-perl");
	else
		buf_printf(why, "sqitch failed in %s/%s:\n%s", s->root, pack->name,
			   said.len > 0 && !said.failed ? said.data : "it said nothing");
	return -EIO;
}
