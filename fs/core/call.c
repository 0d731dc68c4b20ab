#include "fs/core/call.h"

#include "db/budget.h"
#include "fs/core/intake.h"
#include "fs/core/report.h"
#include "util/mutex.h"
#include "util/process.h"

#include <string.h>

enum { SEEKERS = 64 }; /* calls that are looked at */

struct mutex fs_lists = MUTEX_INIT(MUTEX_LISTS);

struct calls {
	/* guarded by fs_lists */
	struct call ring;
	uint64_t last; /* number of a call */
};

struct calls *calls_new(void) {
	struct calls *calls = calloc(1, sizeof(*calls));
	if (calls == NULL)
		return NULL;
	calls->ring.next = calls->ring.prev = &calls->ring;
	return calls;
}

void calls_interrupt(struct calls *calls) {
	for (struct call *call = calls->ring.next; call != &calls->ring; call = call->next)
		if (call->interruptible)
			db_cancel_fire(&call->cancel);
}

bool calls_seek(struct calls *calls, pid_t process) {
	pid_t threads[SEEKERS];
	int n = 0;
	bool seeks = false;
	mutex_lock(&fs_lists);
	for (struct call *call = calls->ring.next; call != &calls->ring && n < SEEKERS;
	     call = call->next)
		if (call->seeks)
			threads[n++] = call_thread(call);
	mutex_unlock(&fs_lists);
	for (int i = 0; i < n && !seeks; i++)
		seeks = threads[i] == process || process_of(threads[i]) == process;
	return seeks;
}

bool calls_has(struct calls *calls, uint64_t number) {
	LOCK_SCOPE(&fs_lists);
	const struct call *call = calls->ring.next;
	while (call != &calls->ring && call->number != number)
		call = call->next;
	return call != &calls->ring;
}

bool call_may_wait(struct fs *fs) {
	return atomic_fetch_add(&fs->waiting, 1) < fs->opt->threads / 2;
}

void call_waited(struct fs *fs) {
	atomic_fetch_sub(&fs->waiting, 1);
}

static void on_interrupt(fuse_req_t req, void *data) {
	struct call *call = data;
	db_cancel_fire(&call->cancel);
}

void call_begin(struct call *call, fuse_req_t req, unsigned flags) {
	memset(call, 0, sizeof(*call));
	mutex_init(&call->cancel.lock, MUTEX_CANCEL);
	call->req = req;
	call->thread = fuse_req_ctx(req)->pid;
	call->fs = fuse_req_userdata(req);
	call->interruptible = (flags & CALL_READS) != 0;
	call->seeks = (flags & CALL_SEEKS) != 0 && fs_has_uncommitted(call->fs);
	if (call->seeks)
		(void)call_number(call);
	intake_known();
	if (!intake_is_quick() && fs_has_uncommitted(call->fs))
		call->fs->uncommitted.finish(call);
	call->outer = db_budget_enter();
	if (call->interruptible)
		fuse_req_interrupt_func(req, on_interrupt, call);
}

uint64_t call_number(struct call *call) {
	struct calls *calls = call->fs->calls;
	LOCK_SCOPE(&fs_lists);
	if (call->listed)
		return call->number;
	call->prev = calls->ring.prev;
	call->next = &calls->ring;
	call->prev->next = call->next->prev = call;
	call->number = ++calls->last;
	call->listed = true;
	return call->number;
}

void call_end(struct call *call) {
	if (call->listed) {
		LOCK_SCOPE(&fs_lists);
		call->prev->next = call->next;
		call->next->prev = call->prev;
	}
	db_error_end(&call->err);
	mutex_destroy(&call->cancel.lock);
	if (call->req != NULL)
		db_budget_leave(call->outer);
}

struct db_cancel *call_cancel(struct call *call) {
	if (!call->interruptible)
		return NULL;
	/* from now on the end of the mount must be able to interrupt it; most look-ups need no
	 * query, and are never listed */
	if (call->req != NULL && !call->listed)
		(void)call_number(call);
	return &call->cancel;
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
