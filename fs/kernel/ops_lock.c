#include "fs/kernel/ops_lock.h"

#include "fs/cache/coherence.h"
#include "fs/core/kind.h"
#include "fs/open/locks.h"
#include "fs/kernel/ops.h"
#include "fs/kernel/reply.h"
#include "util/mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

/* All of the file that FI has open, by its owner. */
static struct lock lock_of(const struct fuse_file_info *fi, enum lock_kind kind, short type) {
	const struct handle *h = handle_of(fi);
	return (struct lock){
		.ino = h->lock_ino,
		.owner = fi->lock_owner,
		.via = h,
		.kind = kind,
		.type = type,
		.from = 0,
		.to = LOCK_END,
		/* the close of who only reads is not told */
		.closing = (h->flags & O_ACCMODE) == O_RDONLY,
	};
}

static struct lock range_of(const struct fuse_file_info *fi, const struct flock *lock) {
	struct lock range = lock_of(fi, LOCK_RANGE, lock->l_type);
	range.from = lock->l_start;
	if (lock->l_len > 0)
		range.to = lock->l_start + lock->l_len - 1;
	range.pid = lock->l_pid;
	return range;
}

/* -- what is read and written under a lock ----------------------------------------------------- */

static void reply_locked(void *req) {
	fuse_reply_err(req, 0);
}

/* LOCK is H's now: replies so. If the file cannot be read anew, he does not keep it: his program
 * would go by what was there before. */
static void take_up(struct call *call, struct handle *h, const struct lock *lock) {
	int rc = h->kind->locked != NULL ? h->kind->locked(call, h) : 0;
	if (rc == LOCKED_OTHER_KPAGES) {
		rc = coherence_forget_then(call->fs, h->node, reply_locked, call->req);
		if (rc == 0)
			return; /* the request, and H, may be gone by now */
	}
	if (rc != 0) {
		struct lock none = *lock;
		none.type = F_UNLCK;
		(void)locks_set(call->fs->locks, &none, LOCK_AT_ONCE, NULL, NULL);
	}
	reply_status(call, h->node, NULL, rc);
}

/* A lock of H's file is about to become free. What cannot be committed is told by the next fsync
 * or close: hardly a program looks at what unlocking says, and the lock goes in any case. */
static void give_up(struct call *call, struct handle *h) {
	if (h->kind->unlocking == NULL || (h->flags & O_ACCMODE) == O_RDONLY)
		return;
	coherence_begin();
	int rc;
	{
		LOCK_SCOPE(&h->lock);
		rc = h->kind->unlocking(call, h);
		if (rc != 0)
			h->untold = rc;
	}
	reply_told(call, h->node, NULL, rc);
	coherence_await(call->fs);
}

/* -- requests ---------------------------------------------------------------------------------- */

/* One has waited for its lock and has it, or the mount ends. */
static void answer(fuse_req_t req, const struct lock *lock) {
	AUTO_CALL struct call call;
	struct handle *h = (struct handle *)(uintptr_t)lock->via;
	call_begin(&call, req, 0);
	if (lock->type == F_UNLCK)
		reply_status(&call, h->node, NULL, -EINTR);
	else
		take_up(&call, h, lock);
}

void ops_lock_answer(struct fs *fs, bool waiting) {
	struct lock lock;
	void *req;
	while (locks_granted(fs->locks, waiting, &lock, &req))
		answer(req, &lock);
}

/* Called by libfuse when the program that waits was sent a signal; or at once, when it was
 * already. */
static void on_interrupt(fuse_req_t req, void *data) {
	struct fs *fs = data;
	if (locks_cancel(fs->locks, req))
		fuse_reply_err(req, EINTR);
}

static bool is_interrupted(void *req) {
	return fuse_req_interrupted(req) != 0;
}

/* True if a thread may wait a little for a lock to go: at most a quarter of them do. They are
 * not counted among those that wait for the kernel (call_may_wait()): programs that ask for
 * locks again and again would keep all others from waiting. */
static bool may_outwait(struct fs *fs) {
	return atomic_fetch_add(&fs->outwaiting, 1) < (fs->opt->threads + 1) / 4;
}

/* Asks for WANTED, and replies unless it has to wait. */
static void set_lock(fuse_req_t req, struct handle *h, const struct lock *wanted, bool sleep) {
	AUTO_CALL struct call call;
	struct fs *fs = fuse_req_userdata(req);
	call_begin(&call, req, 0);
	if (wanted->type != F_WRLCK)
		give_up(&call, h);
	enum lock_wait wait = sleep ? LOCK_QUEUE : may_outwait(fs) ? LOCK_SOON : LOCK_AT_ONCE;
	if (sleep)
		fuse_req_interrupt_func(req, on_interrupt, fs);
	int rc = locks_set(fs->locks, wanted, wait, req, is_interrupted);
	if (!sleep)
		atomic_fetch_sub(&fs->outwaiting, 1);
	if (rc == LOCK_QUEUED)
		return; /* the request may be answered, and gone, by now */
	if (rc == 0 && wanted->type != F_UNLCK)
		take_up(&call, h, wanted);
	else
		reply_status(&call, h->node, NULL, rc);
}

void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
	      int sleep) {
	struct fs *fs = fuse_req_userdata(req);
	const struct lock wanted = range_of(fi, lock);
	set_lock(req, handle_of(fi), &wanted, sleep != 0);
	ops_lock_answer(fs, false);
}

void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op) {
	struct fs *fs = fuse_req_userdata(req);
	short type = (op & LOCK_EX) != 0 ? F_WRLCK : (op & LOCK_SH) != 0 ? F_RDLCK : F_UNLCK;
	const struct lock wanted = lock_of(fi, LOCK_WHOLE_FILE, type);
	set_lock(req, handle_of(fi), &wanted, (op & LOCK_NB) == 0);
	ops_lock_answer(fs, false);
}

void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock) {
	struct fs *fs = fuse_req_userdata(req);
	struct lock wanted = range_of(fi, lock), in_the_way;
	struct flock out = *lock;
	out.l_type = F_UNLCK;
	if (locks_test(fs->locks, &wanted, &in_the_way)) {
		out.l_type = in_the_way.type;
		out.l_start = in_the_way.from;
		out.l_len = in_the_way.to == LOCK_END ? 0 : in_the_way.to - in_the_way.from + 1;
		out.l_pid = in_the_way.pid;
	}
	fuse_reply_lock(req, &out);
}
