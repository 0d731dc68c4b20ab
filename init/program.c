#include "init/program.h"

#include "db/quote.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { NOT_THERE = 127, NOT_PREPARED = 126, BY_SIGNAL = 128 };

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
	for (const char *at = value; *at != '\0'; at++) {
		if (*at == ' ' || *at == '\\')
			buf_putc(out, '\\');
		buf_putc(out, *at);
	}
}

/* Behind what the user has there: the last setting of a name counts. */
static bool export_settings(const struct program *p) {
	AUTO_BUF struct buf text = { 0 }, path = { 0 };
	const char *before = getenv("PGOPTIONS");
	buf_puts(&text, before != NULL ? before : "");
	if (p->schema != NULL) {
		db_quote_ident(&path, p->schema);
		put_setting(&text, "search_path", path.failed ? "" : path.data);
	}
	if (p->role != NULL)
		put_setting(&text, "role", p->role);
	return !text.failed && !path.failed && setenv("PGOPTIONS", text.data, 1) == 0;
}

/* In the child. */
static void be_program(const struct program *p, const char *name, const char *const *argv, int in,
		       int out) {
	AUTO_FREE char *directory = NULL;
	if (in >= 0)
		dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	if (!export_conninfo(p->conninfo) || !export_settings(p) ||
	    asprintf(&directory, "%s/%s", p->root, name) < 0 || chdir(directory) != 0)
		_exit(NOT_PREPARED); /* banned-ok: the child of a fork */
	/* sqitch wants to know who deploys; it is the same for everybody */
	setenv("SQITCH_FULLNAME", "rowfs", 0);
	setenv("SQITCH_EMAIL", "rowfs@localhost", 0);
	setenv("LC_ALL", "C.UTF-8", 1);
	setenv("TZ", "UTC", 1);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
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

/* INPUT as a file, so that nobody waits for a pipe to be emptied. -1 with errno. */
static int as_file(const struct buf *input) {
	int fd = memfd_create("input", MFD_CLOEXEC);
	for (size_t at = 0; fd >= 0 && at < input->len;) {
		ssize_t n = write(fd, input->data + at, input->len - at);
		if (n < 0 && errno != EINTR) {
			close(fd);
			return -1;
		}
		at += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		(void)lseek(fd, 0, SEEK_SET);
	return fd;
}

int program_run(const struct program *p, const char *name, const char *const *argv,
		const struct buf *input, struct buf *out) {
	AUTO_FD int in = input != NULL ? as_file(input) : -1;
	int ends[2], how = 0;
	if ((input != NULL && in < 0) || pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	pid_t child = fork();
	int rc = child < 0 ? -errno : 0;
	if (child == 0)
		be_program(p, name, argv, in, ends[1]);
	close(ends[1]);
	if (rc == 0)
		read_all(ends[0], p->verbose, out);
	close(ends[0]);
	if (rc == 0 && waitpid(child, &how, 0) != child)
		rc = -errno;
	if (rc != 0)
		return rc;
	return WIFEXITED(how) ? WEXITSTATUS(how) : BY_SIGNAL + WTERMSIG(how);
}
