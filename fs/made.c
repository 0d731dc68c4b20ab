#include "fs/made.h"

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/process.h"

#include <string.h>

enum { KEPT = 64, KEPT_US = 60 * US_PER_S };

struct document {
	char *path; /* NULL: none */
	struct buf data;
	pid_t pid;     /* of the process that made it */
	int64_t until; /* clock_us() */
};

struct made {
	pthread_mutex_t lock; /* guards the rest */
	struct document all[KEPT];
	unsigned next;
	size_t bytes, most;
};

struct made *made_new(size_t most) {
	struct made *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	pthread_mutex_init(&made->lock, NULL);
	made->most = most;
	return made;
}

static void forget(struct made *made, struct document *doc) {
	made->bytes -= doc->data.len;
	free(doc->path);
	buf_free(&doc->data);
	*doc = (struct document){ 0 };
}

void made_free(struct made *made) {
	if (made == NULL)
		return;
	for (int i = 0; i < KEPT; i++)
		forget(made, &made->all[i]);
	pthread_mutex_destroy(&made->lock);
	free(made);
}

static struct document *find(struct made *made, const char *path) {
	for (int i = 0; i < KEPT; i++)
		if (made->all[i].path != NULL && strcmp(made->all[i].path, path) == 0)
			return &made->all[i];
	return NULL;
}

void made_note(struct made *made, pid_t tid, const char *path, bool is_new, const char *data,
	       size_t len) {
	pid_t pid = is_new ? process_of(tid) : 0;
	LOCK_SCOPE(&made->lock);
	struct document *doc = made->bytes > 0 ? find(made, path) : NULL;
	if (doc == NULL && !is_new)
		return;
	if (doc != NULL)
		pid = is_new ? pid : doc->pid;
	else
		doc = &made->all[made->next++ % KEPT];
	forget(made, doc);
	/* the oldest first */
	for (unsigned i = 0; i < KEPT && made->bytes + len > made->most; i++)
		forget(made, &made->all[(made->next + i) % KEPT]);
	if (len == 0 || len > made->most || pid == 0)
		return;
	buf_add(&doc->data, data, len);
	doc->path = doc->data.failed ? NULL : strdup(path);
	if (doc->path == NULL) {
		buf_free(&doc->data);
		doc->data = (struct buf){ 0 };
		return;
	}
	doc->pid = pid;
	doc->until = clock_us() + KEPT_US;
	made->bytes += len;
}

bool made_take(struct made *made, pid_t tid, const char *path, struct buf *out) {
	pid_t pid = process_of(tid);
	LOCK_SCOPE(&made->lock);
	struct document *doc = find(made, path);
	if (doc == NULL || clock_us() > doc->until || pid != doc->pid)
		return false;
	buf_add(out, doc->data.data, doc->data.len);
	forget(made, doc);
	return !out->failed;
}

void made_forget(struct made *made, const char *path) {
	LOCK_SCOPE(&made->lock);
	struct document *doc = made->bytes > 0 ? find(made, path) : NULL;
	if (doc != NULL)
		forget(made, doc);
}
