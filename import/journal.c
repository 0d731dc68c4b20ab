/* A text file. The first line names the import. Then "D SIZE SECONDS.NANOSECONDS PATH": copied, as
 * it was then; and "A SIZE SECONDS.NANOSECONDS OFFSET GOOD PATH". Control characters and '%' in
 * paths are %XX. A line that a crash has cut off does not count. */
#include "import/journal.h"

#include "util/text/name.h"
#include "util/hash.h"
#include "util/private_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

struct journal {
	int fd; /* of O_APPEND: lines of several threads do not mix */
	char *path;
};

/* Decodes it in place. */
static void take_path(char *path) {
	char *to = path;
	for (size_t len = strlen(path); len > 0; to++) {
		int byte = percent_byte(path, len);
		size_t taken = byte >= 0 ? 3 : 1;
		*to = byte >= 0 ? (char)byte : *path;
		path += taken;
		len -= taken;
	}
	*to = '\0';
}

static void put_title(struct buf *out, const char *old, const char *mount) {
	buf_puts(out, "rowfs-import 1 ");
	percent_put(out, old, "%", "");
	buf_puts(out, " -> ");
	percent_put(out, mount, "%", "");
	buf_putc(out, '\n');
}

char *journal_place(const char *old, const char *mount, struct buf *why) {
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	AUTO_BUF struct buf out = { 0 }, title = { 0 };
	put_title(&title, old, mount);
	if (state != NULL && state[0] == '/')
		buf_printf(&out, "%s/rowfs", state);
	else if (home != NULL && home[0] == '/')
		buf_printf(&out, "%s/.local/state/rowfs", home);
	else
		buf_puts(why, "neither XDG_STATE_HOME nor HOME say where it goes");
	AUTO_FD int dir = why->len == 0 && !out.failed ? private_dir_open(out.data, why) : -1;
	if (dir < 0)
		return NULL;
	buf_printf(&out, "/import-%016" PRIx64 ".journal",
		   hash_add(HASH_BEGIN, title.data, title.len));
	return buf_take(&out);
}

/* -- reading ----------------------------------------------------------------------------------- */

static void take_line(struct plan *plan, char *line) {
	uint64_t size, offset;
	int64_t good;
	long long s;
	long ns;
	int at = 0;
	bool done = line[0] == 'D';
	if (done ? sscanf(line, "D %" SCNu64 " %lld.%ld %n", &size, &s, &ns, &at) != 3
		 : sscanf(line, "A %" SCNu64 " %lld.%ld %" SCNu64 " %" SCNd64 " %n", &size, &s, &ns,
			  &offset, &good, &at) != 5)
		return;
	take_path(line + at);
	struct item *item = at > 0 ? plan_find(plan, line + at) : NULL;
	if (item == NULL || item->size != size || item->mtime.tv_sec != s ||
	    item->mtime.tv_nsec != ns)
		return;
	if (done) {
		item->was_done = true;
	} else {
		item->begun = true;
		item->offset = offset;
		item->good = good;
	}
}

/* Returns 0 or -errno. The file ends behind its last whole line when this returns. */
static int read_journal(struct journal *journal, const char *title, struct plan *plan,
			struct buf *why) {
	AUTO_FD int fd = dup(journal->fd);
	AUTO_FILE FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	AUTO_FREE char *line = NULL;
	size_t room = 0;
	off_t whole = 0;
	ssize_t n;
	if (f == NULL)
		return -errno;
	fd = -1; /* the stream's */
	while ((n = getline(&line, &room, f)) > 0 && line[n - 1] == '\n') {
		if (whole == 0 && strcmp(line, title) != 0) {
			buf_printf(why,
				   "%s is the journal of another import: choose another "
				   "with --journal",
				   journal->path);
			return -EEXIST;
		}
		line[n - 1] = '\0';
		if (whole > 0)
			take_line(plan, line);
		whole += n;
	}
	if (ftruncate(journal->fd, whole) != 0)
		return -errno;
	return whole > 0 ? 1 : 0;
}

/* -- writing ----------------------------------------------------------------------------------- */

static int append(struct journal *journal, const struct buf *line) {
	if (line->failed)
		return -ENOMEM;
	ssize_t n = write(journal->fd, line->data, line->len);
	if (n != (ssize_t)line->len)
		return n < 0 ? -errno : -ENOSPC;
	return fdatasync(journal->fd) == 0 ? 0 : -errno;
}

/* A line about ITEM, with MORE before its path. */
static int note(struct journal *journal, const struct item *item, char mark, const char *more) {
	AUTO_BUF struct buf line = { 0 };
	buf_printf(&line, "%c %" PRIu64 " %lld.%ld %s", mark, item->size,
		   (long long)item->mtime.tv_sec, item->mtime.tv_nsec, more);
	percent_put(&line, item->path, "%", "");
	buf_putc(&line, '\n');
	return append(journal, &line);
}

int journal_done(struct journal *journal, const struct item *item) {
	return note(journal, item, 'D', "");
}

int journal_offset(struct journal *journal, const struct item *item, uint64_t offset,
		   int64_t good) {
	char more[64];
	snprintf(more, sizeof(more), "%" PRIu64 " %" PRId64 " ", offset, good);
	return note(journal, item, 'A', more);
}

/* It is emptied and added to: only what is a file of this user's, and has no other name. */
static int open_file(const char *path, struct buf *why) {
	AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink > 1) {
		buf_printf(why, "the journal %s is no file of this user's alone", path);
		return -EPERM;
	}
	int out = fd;
	fd = -1;
	return out;
}

int journal_open(const char *path, const char *old, const char *mount, bool restart,
		 struct plan *plan, struct journal **out, struct buf *why) {
	AUTO_BUF struct buf title = { 0 };
	struct journal *journal = calloc(1, sizeof(*journal));
	if (journal == NULL)
		return -ENOMEM;
	put_title(&title, old, mount);
	journal->path = strdup(path);
	journal->fd = open_file(path, why);
	int rc = journal->fd < 0                         ? journal->fd
		 : journal->path == NULL || title.failed ? -ENOMEM
							 : 0;
	if (rc == 0 && flock(journal->fd, LOCK_EX | LOCK_NB) != 0) {
		rc = -errno;
		buf_printf(why, "the journal %s is in use: another import of this tree runs", path);
	}
	if (rc == 0 && restart && ftruncate(journal->fd, 0) != 0)
		rc = -errno;
	if (rc == 0)
		rc = read_journal(journal, title.data, plan, why);
	if (rc == 0)
		rc = append(journal, &title);
	if (rc < 0) {
		if (why->len == 0)
			buf_printf(why, "the journal %s: %s", path, strerror(-rc));
		journal_close(journal, false);
		return rc;
	}
	*out = journal;
	return 0;
}

void journal_close(struct journal *journal, bool remove_it) {
	if (journal == NULL)
		return;
	if (remove_it)
		unlink(journal->path);
	if (journal->fd >= 0)
		close(journal->fd);
	free(journal->path);
	free(journal);
}
