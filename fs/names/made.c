#include "fs/names/made.h"

#include "fs/core/part.h"
#include "fs/core/fs.h"
#include "util/clock.h"
#include "util/mutex.h"
#include "util/process.h"

#include <stdatomic.h>
#include <string.h>

enum { KEPT = 64, KEPT_US = 60 * US_PER_S };

struct text {
	char *path; /* NULL: none */
	struct buf data;
	pid_t pid;     /* of the process that made it */
	pid_t session; /* of that, or SESSION_UNKNOWN */
	int64_t until; /* clock_us() */
};

struct made {
	atomic_int n; /* texts; may be read without the lock, which is fs_lists */
	struct text all[KEPT];
	unsigned next;
	size_t bytes, most;
};

static bool made_open(struct fs *fs) {
	struct made *made = fs->made = calloc(1, sizeof(*made));
	if (made == NULL)
		return false;
	made->most = fs->opt->max_document;
	return true;
}

static void forget(struct made *made, struct text *text) {
	if (text->path == NULL)
		return;
	made->bytes -= text->data.len;
	free(text->path);
	buf_free(&text->data);
	*text = (struct text){ 0 };
	atomic_fetch_sub(&made->n, 1);
}

static void made_close(struct fs *fs) {
	struct made *made = fs->made;
	for (int i = 0; i < KEPT; i++)
		forget(made, &made->all[i]);
	free(made);
}

const struct mount_part made_part = { "made", made_open, made_close };

bool made_any(const struct made *made) {
	return atomic_load(&made->n) > 0;
}

static struct text *find(struct made *made, const char *path) {
	for (int i = 0; made_any(made) && i < KEPT; i++)
		if (made->all[i].path != NULL && strcmp(made->all[i].path, path) == 0)
			return &made->all[i];
	return NULL;
}

/* Adds LEN bytes to TEXT; the oldest of the others make room. False if there is none: then TEXT is
 * forgotten. */
static bool add(struct made *made, struct text *text, const char *data, size_t len) {
	for (unsigned i = 0; i < KEPT && made->bytes + len > made->most; i++) {
		struct text *oldest = &made->all[(made->next + i) % KEPT];
		if (oldest != text)
			forget(made, oldest);
	}
	bool room = made->bytes + len <= made->most;
	size_t before = text->data.len;
	if (room)
		buf_add(&text->data, data, len);
	if (!room || text->data.failed) {
		text->data.len = before;
		forget(made, text);
		return false;
	}
	made->bytes += len;
	text->until = clock_us() + KEPT_US;
	return true;
}

/* A text of PATH without bytes, in place of the oldest; NULL if out of memory. */
static struct text *begin(struct made *made, const char *path, pid_t pid, pid_t session) {
	struct text *text = &made->all[made->next++ % KEPT];
	forget(made, text);
	text->path = strdup(path);
	if (text->path == NULL)
		return NULL;
	atomic_fetch_add(&made->n, 1);
	text->pid = pid;
	text->session = session;
	text->until = clock_us() + KEPT_US;
	return text;
}

void made_note(struct made *made, pid_t tid, const char *path, bool is_new, const char *data,
	       size_t len) {
	pid_t pid = is_new ? process_of(tid) : 0;
	pid_t session = is_new ? process_session(tid) : SESSION_UNKNOWN;
	LOCK_SCOPE(&fs_lists);
	struct text *text = find(made, path);
	if (text == NULL && !is_new)
		return;
	if (text != NULL) {
		pid = is_new ? pid : text->pid;
		session = is_new ? session : text->session;
		forget(made, text);
	}
	if (len == 0 || pid == 0)
		return;
	text = begin(made, path, pid, session);
	if (text != NULL)
		(void)add(made, text, data, len);
}

bool made_begin(struct made *made, pid_t tid, const char *path) {
	pid_t pid = process_of(tid), session = process_session(tid);
	LOCK_SCOPE(&fs_lists);
	if (pid == 0)
		return false;
	return find(made, path) != NULL || begin(made, path, pid, session) != NULL;
}

bool made_add(struct made *made, const char *path, const char *data, size_t len) {
	LOCK_SCOPE(&fs_lists);
	struct text *text = find(made, path);
	return text != NULL && add(made, text, data, len);
}

static struct text *find_recent(struct made *made, const char *path) {
	struct text *text = find(made, path);
	return text != NULL && clock_us() <= text->until ? text : NULL;
}

static enum made_by who(const struct text *text, pid_t pid, pid_t session) {
	if (text == NULL || pid == 0)
		return MADE_NOT;
	if (pid == text->pid)
		return MADE_BY_PROCESS;
	bool same = session != SESSION_UNKNOWN && session == text->session;
	return same ? MADE_BY_SESSION : MADE_NOT;
}

enum made_by made_by(struct made *made, pid_t tid, const char *path) {
	if (!made_any(made))
		return MADE_NOT;
	pid_t pid = process_of(tid), session = process_session(tid);
	LOCK_SCOPE(&fs_lists);
	return who(find_recent(made, path), pid, session);
}

bool made_take(struct made *made, pid_t tid, const char *path, struct buf *out) {
	pid_t pid = process_of(tid), session = process_session(tid);
	LOCK_SCOPE(&fs_lists);
	struct text *text = find_recent(made, path);
	if (who(text, pid, session) == MADE_NOT)
		return false;
	buf_add(out, text->data.data, text->data.len);
	forget(made, text);
	return !out->failed;
}

void made_forget(struct made *made, const char *path) {
	LOCK_SCOPE(&fs_lists);
	struct text *text = find(made, path);
	if (text != NULL)
		forget(made, text);
}
