#include "fs/names/removal.h"

#include "fs/core/part.h"
#include "fs/names/intent.h"
#include "fs/names/removal_state.h"
#include "util/clock.h"
#include "util/job.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/process.h"
#include "util/thread.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

enum {
	LOCK_WAIT_US = US_PER_S, /* for another thread's statement in the same removal */
	BUSY_AGAIN_US = 2000     /* a removal that is in use is looked at again after this */
};

/* -- processes --------------------------------------------------------------------------------- */

static bool has_ended(const struct removal *r) {
	struct pollfd fd = { .fd = r->pidfd, .events = POLLIN };
	return poll(&fd, 1, 0) > 0;
}

static bool knows_thread(const struct removal *r, pid_t tid) {
	for (int i = 0; i < TIDS; i++)
		if (r->tids[i] == tid)
			return true;
	return false;
}

/* The removal of the process that thread TID is of; NULL if it has none. The lock of all is
 * held. */
static struct removal *find_locked(struct removals *all, pid_t tid) {
	struct removal *r = all->list;
	while (r != NULL && !knows_thread(r, tid))
		r = r->next;
	if (r != NULL || all->list == NULL || tid == 0)
		return r;
	pid_t tgid = process_of(tid);
	for (r = all->list; r != NULL && r->tgid != tgid; r = r->next)
		;
	if (r != NULL && tgid != 0)
		r->tids[r->next_tid++ % TIDS] = tid;
	return tgid != 0 ? r : NULL;
}

static struct removal *make_locked(struct removals *all, pid_t tid) {
	pid_t tgid = process_of(tid);
	AUTO_FD int pidfd = tgid != 0 ? (int)syscall(SYS_pidfd_open, tgid, 0) : -1;
	struct removal *r = pidfd >= 0 ? calloc(1, sizeof(*r)) : NULL;
	if (r == NULL)
		return NULL;
	mutex_init(&r->lock, MUTEX_REMOVAL);
	r->all = all;
	r->tgid = tgid;
	r->tids[r->next_tid++] = tid;
	r->pidfd = pidfd;
	pidfd = -1;
	r->next = all->list;
	all->list = r;
	atomic_fetch_add(&all->fs->uncommitted.n, 1);
	return r;
}

/* A user less. Its lock is not held. */
static void leave(struct removal *r) {
	LOCK_SCOPE(&fs_lists);
	if (--r->users > 0 || r->n > 0)
		return;
	r->all->slots += r->slot;
	struct removal **p = &r->all->list;
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	atomic_fetch_sub(&r->all->fs->uncommitted.n, 1);
	close(r->pidfd);
	mutex_destroy(&r->lock);
	free(r->names);
	free(r);
}

/* One user ends it all. */
static int finish_all_of(struct removal *r) {
	mutex_lock(&r->lock);
	int rc = removal_finish(r, true);
	mutex_unlock(&r->lock);
	leave(r);
	return rc;
}

/* -- the clock --------------------------------------------------------------------------------- */

/* A *finisher*, a job that commits what is due of one removal, of which it is a user, or all of it
 * if the process has ended. It may wait for a lock, which may be that of another removal
 * whose time is not over yet: so it is not the clock that commits. */
static void finish_job(void *arg) {
	struct removal *r = arg;
	struct removals *all = r->all;
	mutex_lock(&fs_lists);
	bool everything = all->stopping || has_ended(r);
	mutex_unlock(&fs_lists);
	mutex_lock(&r->lock);
	(void)(everything ? removal_finish(r, true) : removal_finish_ripe(r));
	mutex_unlock(&r->lock);
	mutex_lock(&fs_lists);
	r->finishing = false;
	mutex_unlock(&fs_lists);
	leave(r);
	LOCK_SCOPE(&fs_lists);
	all->finishers--; /* the last that it does with ALL, which may be freed then */
	removals_wake(all);
}

/* One whose process has ended, or whose time is over and that was not in use in this ROUND; with
 * a user more. The lock of all is held. */
static struct removal *next_due_locked(struct removals *all, unsigned round, bool *ended) {
	for (struct removal *r = all->list; r != NULL; r = r->next) {
		*ended = r->n > 0 && (all->stopping || has_ended(r));
		if (r->finishing || (!*ended && (r->passed == round || removal_due(r) == 0)))
			continue;
		r->users++;
		return r;
	}
	return NULL;
}

/* R is due, or its process has ENDED: it is committed by a finisher, if it is not in use and its
 * process had its time. Returns false if it is in use: its user sees to it. The caller is a user
 * of R, and is no longer. */
static bool finish_due(struct removal *r, bool ended) {
	bool idle = ended || mutex_trylock(&r->lock);
	bool ripe = ended || (idle && removal_ripe(r) > 0);
	if (idle && !ended)
		mutex_unlock(&r->lock);
	if (!ripe) {
		leave(r);
		return idle;
	}
	mutex_lock(&fs_lists);
	r->finishing = true;
	r->all->finishers++;
	mutex_unlock(&fs_lists);
	if (job_run(finish_job, r) != 0)
		finish_job(r);
	return true;
}

/* Waits until there is something to do. The lock of all is held, and let go meanwhile. */
static void rest(struct removals *all, bool busy) {
	struct pollfd fds[1 + 64] = { { .fd = all->wake_fd, .events = POLLIN } };
	int64_t now = clock_us(), until = busy ? now + BUSY_AGAIN_US : NEVER_US;
	nfds_t n = 1;
	uint64_t count;
	for (struct removal *r = all->list; r != NULL && n < 65; r = r->next) {
		if (r->n == 0 || r->finishing)
			continue;
		fds[n++] = (struct pollfd){ .fd = r->pidfd, .events = POLLIN };
		if (!busy && removal_due_us(r) < until)
			until = removal_due_us(r);
	}
	int64_t wait_us = until > now ? until - now : 0;
	struct timespec wait = { .tv_sec = wait_us / US_PER_S,
				 .tv_nsec = wait_us % US_PER_S * 1000 };
	mutex_unlock(&fs_lists);
	(void)ppoll(fds, n, until == NEVER_US ? NULL : &wait, NULL);
	if ((fds[0].revents & POLLIN) != 0 && read(all->wake_fd, &count, sizeof(count)) < 0)
		log_debug("eventfd: %s", strerror(errno));
	mutex_lock(&fs_lists);
}

static void *main_loop(void *arg) {
	struct removals *all = arg;
	struct removal *r;
	bool ended, busy;
	mutex_lock(&fs_lists);
	for (unsigned round = 1; !all->stopping || all->list != NULL || all->finishers > 0;
	     round++) {
		busy = false;
		while ((r = next_due_locked(all, round, &ended)) != NULL) {
			r->passed = round;
			mutex_unlock(&fs_lists);
			busy = !finish_due(r, ended) || busy;
			mutex_lock(&fs_lists);
		}
		if (!all->stopping || all->list != NULL || all->finishers > 0)
			rest(all, busy || all->stopping);
	}
	mutex_unlock(&fs_lists);
	return NULL;
}

/* -- what the parts below ask: see struct uncommitted ------------------------------------------ */

static void finish_ended(struct call *call) {
	struct removals *all = call->fs->removals;
	while (fs_has_uncommitted(call->fs)) {
		mutex_lock(&fs_lists);
		struct removal *r = all->list;
		while (r != NULL &&
		       (r->n == 0 || knows_thread(r, call_thread(call)) || !has_ended(r)))
			r = r->next;
		if (r != NULL)
			r->users++;
		mutex_unlock(&fs_lists);
		if (r == NULL)
			return;
		(void)finish_all_of(r);
	}
}

static unsigned long open_since(struct fs *fs) {
	struct removals *all = fs->removals;
	unsigned long since = ULONG_MAX;
	LOCK_SCOPE(&fs_lists);
	for (const struct removal *r = all->list; r != NULL; r = r->next) {
		unsigned long epoch = r->n > 0 ? r->names[0].epoch : r->epoch;
		since = epoch < since ? epoch : since;
	}
	return since;
}

/* -- life -------------------------------------------------------------------------------------- */

static bool removals_open(struct fs *fs) {
	struct removals *all = fs->removals = calloc(1, sizeof(*all));
	if (all == NULL)
		return false;
	all->fs = fs;
	fs->uncommitted.finish = finish_ended;
	fs->uncommitted.since = open_since;
	all->slots = fs->opt->max_connections / 3;
	all->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	all->started = all->wake_fd >= 0 && !fs->opt->read_only &&
		       thread_start(&all->thread, main_loop, all) == 0;
	all->none = !all->started;
	return true;
}

/* Commits all. No request may come, and nothing is uncommitted behind it: nobody asks any more. */
static void removals_close(struct fs *fs) {
	struct removals *all = fs->removals;
	if (all->started) {
		mutex_lock(&fs_lists);
		all->none = all->stopping = true;
		mutex_unlock(&fs_lists);
		removals_wake(all);
		pthread_join(all->thread, NULL);
	}
	if (all->wake_fd >= 0)
		close(all->wake_fd);
	free(all);
}

const struct mount_part removals_part = { "removals", removals_open, removals_close };

/* -- requests ---------------------------------------------------------------------------------- */

/* The removal of the caller's process, with a user more; NULL if it has none. */
static struct removal *own(struct call *call) {
	struct removals *all = call->fs->removals;
	if (!fs_has_uncommitted(call->fs) || call_thread(call) == 0)
		return NULL;
	LOCK_SCOPE(&fs_lists);
	struct removal *r = find_locked(all, call_thread(call));
	if (r != NULL)
		r->users++;
	return r;
}

/* The same, made if need be. NULL if the process cannot be known. */
static struct removal *own_or_new(struct call *call) {
	struct removals *all = call->fs->removals;
	LOCK_SCOPE(&fs_lists);
	if (all->none)
		return NULL;
	struct removal *r = find_locked(all, call_thread(call));
	if (r == NULL)
		r = make_locked(all, call_thread(call));
	if (r == NULL)
		return NULL;
	r->users++;
	if (r->users == 1)
		r->epoch = atomic_load(&call->fs->epoch);
	if (!r->slot && r->n == 0 && r->users == 1 && all->slots > 0) {
		r->slot = true;
		all->slots--;
	}
	return r;
}

/* True if a single thread removes one name after another: what it has not made anew by now it
 * will hardly make anew, and it is committed before the next, which has its full time then. R's
 * lock is held. */
static bool goes_on(const struct removal *r) {
	LOCK_SCOPE(&fs_lists);
	if (r->n == 0 || r->next_tid > 1)
		return false;
	int64_t since_us = clock_us() - r->names[0].since_us;
	return r->n >= REMOVAL_NAMES / 2 ||
	       (since_us > REMOVAL_US / 2 && since_us - removal_waited_us(r) > REMOVAL_US / 2);
}

void removal_begin(struct call *call) {
	call->removal = NULL;
	struct removal *r = call_thread(call) != 0 ? own_or_new(call) : NULL;
	if (r == NULL)
		return;
	if (!mutex_lock_until(&r->lock, clock_us() + LOCK_WAIT_US)) {
		leave(r);
		return;
	}
	if (goes_on(r))
		(void)removal_finish(r, true);
	r->first = 0;
	r->began = atomic_load(&call->fs->epoch);
	call->removal = r;
}

int removal_end(struct call *call, struct node *node, const struct where *w, int rc) {
	struct removal *r = move_ptr(call->removal);
	if (rc == 0 && (r == NULL || r->first == 0))
		removal_is_over(call->fs, node, call_thread(call));
	if (r == NULL)
		return rc;
	if (!r->slot) /* what would forbid it has been said */
		db_held_drop(move_ptr(r->tx));
	if (rc == 0 && r->first > 0 && !removal_add(r, node, w, call, r->first))
		rc = call_error(call, ENOMEM, "out of memory");
	else if (rc != 0 &&
		 r->first > 0) /* the server has taken it, and it is an error all the same */
		removal_withdraw(r, r->first);
	(void)removal_finish(r, false);
	mutex_unlock(&r->lock);
	leave(r);
	return rc;
}

/* True if NODE goes with a document of R. Its lock is held. */
static bool goes_with(struct nodes *nodes, const struct removal *r, const struct node *node) {
	bool goes = false;
	for (int i = 0; i < r->n && !goes; i++)
		goes = node_is_below(nodes, node, r->names[i].gone, r->names[i].ngone);
	return goes;
}

bool removal_lists(struct call *call, const struct node *dir) {
	struct removal *r = own(call);
	if (r == NULL)
		return false;
	mutex_lock(&r->lock);
	(void)removal_finish(r, goes_with(call->fs->nodes, r, dir));
	bool removing = r->n > 0;
	mutex_unlock(&r->lock);
	leave(r);
	return removing;
}

bool removal_covers(struct call *call, struct node *node) {
	struct nodes *nodes = call->fs->nodes;
	AUTO_WHERE struct where w = { 0 };
	struct removal *r = own(call);
	if (r == NULL)
		return false;
	mutex_lock(&r->lock);
	bool covered = goes_with(nodes, r, node);
	if (covered && (node_where(nodes, node, &w) != 0 || !removal_add(r, node, &w, call, 0)))
		log_debug("%s: out of memory",
			  w.path != NULL ? w.path : "?"); /* it goes all the same */
	(void)removal_finish(r, false);
	mutex_unlock(&r->lock);
	leave(r);
	return covered;
}

/* True if a name of R has INO; *GOES: if a directory with INO goes with one. */
static bool has_name(const struct removal *r, uint64_t ino, bool *goes) {
	*goes = false;
	for (int i = 0; i < r->n; i++)
		for (int k = 0; k < r->names[i].ngone; k++)
			*goes = *goes || r->names[i].gone[k] == ino;
	return removal_index(r, ino) >= 0;
}

bool removal_hides(struct call *call, const struct node *dir, const char *name) {
	struct removals *all = call->fs->removals;
	if (!fs_has_uncommitted(call->fs) || call_thread(call) == 0)
		return false;
	uint64_t ino = node_child_ino(dir, name);
	bool hidden = false, goes = false;
	{
		LOCK_SCOPE(&fs_lists);
		struct removal *r = all->list;
		while (r != NULL && !has_name(r, ino, &goes) && !goes)
			r = r->next;
		if (r == NULL || find_locked(all, call_thread(call)) != r)
			return false;
		hidden = removal_index(r, ino) >= 0;
	}
	if (goes && !hidden && intent_of(call_thread(call), name) == INTENT_MAKE)
		(void)removal_commit(call);
	return hidden;
}

/* The removal of whichever process has the name with INO, with a user more; NULL if none has. */
static struct removal *whose(struct removals *all, uint64_t ino) {
	if (!fs_has_uncommitted(all->fs))
		return NULL;
	LOCK_SCOPE(&fs_lists);
	struct removal *r = all->list;
	while (r != NULL && removal_index(r, ino) < 0)
		r = r->next;
	if (r != NULL)
		r->users++;
	return r;
}

bool removal_has(struct call *call, const struct node *dir, const char *name) {
	struct removal *r = fs_has_uncommitted(call->fs)
				    ? whose(call->fs->removals, node_child_ino(dir, name))
				    : NULL;
	if (r != NULL)
		leave(r);
	return r != NULL;
}

bool removal_take_back(struct call *call, uint64_t ino) {
	struct removal *r = whose(call->fs->removals, ino);
	if (r == NULL)
		return false;
	mutex_lock(&r->lock);
	int k = removal_index(r, ino);
	if (k >= 0) {
		removal_undo(r, k);
		(void)removal_finish(r, false);
	}
	mutex_unlock(&r->lock);
	leave(r);
	return k >= 0;
}

void removal_wait(struct call *call) {
	struct removal *r = own(call);
	if (r == NULL)
		return;
	mutex_lock(&r->lock);
	mutex_unlock(&r->lock);
	leave(r);
}

int removal_commit(struct call *call) {
	struct removal *r = own(call);
	return r != NULL ? finish_all_of(r) : 0;
}
