#include "fs/call.h"

#include "db/budget.h"
#include "fs/removal.h"
#include "fs/report.h"

#include <errno.h>
#include <string.h>

struct calls {
	pthread_mutex_t lock; /* guards the ring */
	struct call ring;
};

struct calls *calls_new(void) {
	struct calls *calls = calloc(1, sizeof(*calls));
	if (calls == NULL)
		return NULL;
	pthread_mutex_init(&calls->lock, NULL);
	calls->ring.next = calls->ring.prev = &calls->ring;
	return calls;
}

void calls_free(struct calls *calls) {
	if (calls == NULL)
		return;
	pthread_mutex_destroy(&calls->lock);
	free(calls);
}

void calls_interrupt(struct calls *calls) {
	LOCK_SCOPE(&calls->lock);
	for (struct call *call = calls->ring.next; call != &calls->ring; call = call->next)
		db_cancel_fire(&call->cancel);
}

bool call_may_wait(struct fs *fs) {
	return atomic_fetch_add(&fs->waiting, 1) < fs->opt->threads / 2;
}

void call_waited(struct fs *fs) {
	atomic_fetch_sub(&fs->waiting, 1);
}

static void add_call(struct calls *calls, struct call *call) {
	LOCK_SCOPE(&calls->lock);
	call->prev = calls->ring.prev;
	call->next = &calls->ring;
	call->prev->next = call->next->prev = call;
}

static void remove_call(struct calls *calls, struct call *call) {
	LOCK_SCOPE(&calls->lock);
	call->prev->next = call->next;
	call->next->prev = call->prev;
}

static void on_interrupt(fuse_req_t req, void *data) {
	struct call *call = data;
	(void)req;
	db_cancel_fire(&call->cancel);
}

void call_begin(struct call *call, fuse_req_t req, bool interruptible) {
	memset(call, 0, sizeof(*call));
	pthread_mutex_init(&call->cancel.lock, NULL);
	call->req = req;
	call->fs = fuse_req_userdata(req);
	call->interruptible = interruptible;
	removals_before(call);
	call->outer = db_budget_enter();
	if (!interruptible)
		return;
	add_call(call->fs->calls, call);
	fuse_req_interrupt_func(req, on_interrupt, call);
}

void call_end(struct call *call) {
	if (call->interruptible)
		remove_call(call->fs->calls, call);
	db_error_clear(&call->err);
	pthread_mutex_destroy(&call->cancel.lock);
	if (call->req != NULL)
		db_budget_leave(call->outer);
}

struct db_cancel *call_cancel(struct call *call) {
	return call->interruptible ? &call->cancel : NULL;
}

int call_told(struct call *call, const char *path, int rc) {
	if (rc != 0 && call->err.sentence != NULL) {
		atomic_fetch_add(&call->fs->count.errors, 1);
		report_error(call->fs->report, path, -rc, call->err.sqlstate, call->err.sentence);
		db_error_clear(&call->err);
	}
	return rc;
}

int call_error(struct call *call, int errnum, const char *fmt, ...) {
	AUTO_BUF struct buf text = { 0 };
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	return db_error_set(&call->err, errnum, "%s",
			    text.data != NULL ? text.data : "out of memory");
}
