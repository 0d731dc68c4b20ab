#include "fs/cache/invalidate.h"

#include "fs/cache/node_mark.h"
#include "fs/inodes/node.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/ticker.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mount.h>

enum {
	TELLERS = 4,
	STOP_MS = 500,
	AGAIN_MS = 1, /* between attempts to tell of what the kernel is about to know */
	AGAIN_MOST_MS = 10000,
	PENDING_MOST = 50000, /* that wait to be told; beyond, all is told */
	STUCK_MS = 20,        /* a teller that waits longer for one lock is not waited for */
	NOTIFY_EPOCH = 8,     /* FUSE_NOTIFY_INC_EPOCH, which older headers do not have */
	DIRECTORIES = 4096,   /* by whose hash it is noted what they do; a power of two */
};

/* By then the kernel has surely taken in what it was given. */
enum { LISTED_US = 60 * US_PER_S };

/* A thread that tells, and its queue. What concerns one directory always goes to the same. */
struct teller {
	struct invalidator *inv;
	struct ticker *clock;
	/* guarded by the lock of the invalidator */
	pthread_cond_t told; /* `done` has moved */
	struct forget *first, **last;
	struct forget *later; /* to be told again */
	uint64_t given, done; /* how many, ever */
	/* clock_us() when it began with the one that it tells now; 0: with none */
	int64_t since_us;
	bool stuck; /* all names were declared out of date since */
};

struct invalidator {
	struct fs *fs;
	_Atomic(struct fuse_session *) se; /* NULL: nothing is told */
	atomic_bool no_epoch;              /* the kernel does not know it */
	struct teller tellers[TELLERS];
	struct ticker *guard;
	/* borrowed; guards what follows, the tellers, and the use of `se` by anybody else */
	struct mutex *lock;
	bool busy;           /* something was given since the guard looked */
	bool all;            /* all is to be told, when little is left of what was listed before */
	atomic_long pending; /* entries of all tellers */

	atomic_uint serving[DIRECTORIES]; /* requests under way in a directory, by its hash */
	/* clock_us() when names of it were last given to the kernel, by the same */
	atomic_llong listed_us[DIRECTORIES];
};

static fuse_ino_t ino_of(const struct node *node) {
	bool root = node->type == NODE_PLACE && node->place->parent == NULL;
	return root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

/* -- directories in use ------------------------------------------------------------------------ */

/* By its address alone: when a request ends, the kernel may have forgotten DIR. */
static size_t hash_of(const struct node *dir) {
	return ((uintptr_t)dir >> 6) & (DIRECTORIES - 1);
}

void invalidate_serves(struct invalidator *inv, const struct node *dir, bool busy) {
	atomic_uint *serving = &inv->serving[hash_of(dir)];
	if (busy)
		atomic_fetch_add(serving, 1);
	else
		atomic_fetch_sub(serving, 1);
}

static bool is_served(struct invalidator *inv, const struct node *dir) {
	return atomic_load(&inv->serving[hash_of(dir)]) > 0;
}

void invalidate_lists(struct invalidator *inv, const struct node *dir) {
	atomic_store(&inv->listed_us[hash_of(dir)], clock_us());
}

bool invalidate_is_listed(struct invalidator *inv, const struct node *dir) {
	int64_t at = atomic_load(&inv->listed_us[hash_of(dir)]);
	return at != 0 && clock_us() - at < LISTED_US;
}

static void free_forget(struct invalidator *inv, struct forget *f) {
	if (f->then != NULL)
		f->then(f->arg);
	node_put(inv->fs->nodes, f->node);
	free(f->name);
	free(f);
}

bool invalidate_names(struct invalidator *inv) {
	LOCK_SCOPE(inv->lock);
	struct fuse_session *se = atomic_load(&inv->se);
	struct fuse_out_header header = { .len = sizeof(header), .error = NOTIFY_EPOCH };
	if (se == NULL || atomic_load(&inv->no_epoch))
		return se == NULL;
	if (write(fuse_session_fd(se), &header, sizeof(header)) == sizeof(header))
		return true;
	if (errno == EINVAL)
		atomic_store(&inv->no_epoch, true);
	return false;
}

bool invalidates_by_name(struct invalidator *inv) {
	return atomic_load(&inv->no_epoch);
}

/* -- tellers ----------------------------------------------------------------------------------- */

/* A directory that is somebody's working directory would lose its path if its name were dropped:
 * the name is looked up again instead. A kernel that cannot do that keeps no names of directories:
 * see coherence_reply(). */
static int tell_name(struct invalidator *inv, struct fuse_session *se, const struct forget *f) {
	fuse_ino_t ino = ino_of(f->node);
	size_t len = strlen(f->name);
	if (!f->directory)
		return fuse_lowlevel_notify_inval_entry(se, ino, f->name, len);
	if (!inv->fs->expires)
		return 0;
#ifdef ROWFS_EXPIRE_FLAGS
	return fuse_lowlevel_notify_expire_entry(se, ino, f->name, len, FUSE_LL_EXPIRE_ONLY);
#else
	return fuse_lowlevel_notify_expire_entry(se, ino, f->name, len);
#endif
}

/* True if F's name need not be told now: it would wait for a request that is under way, and all
 * others in the directory for it. All names are declared out of date instead. But one that is just
 * taken in from a listing counts as looked up then: *AGAIN. */
static bool is_passed_over(struct invalidator *inv, struct forget *f, bool *again) {
	bool late = f->until_us != 0 && clock_us() >= f->until_us;
	if (f->name == NULL || late || !is_served(inv, f->node))
		return false;
	f->expired = f->expired || invalidate_names(inv);
	*again = f->expired && invalidate_is_listed(inv, f->node);
	return f->expired;
}

/* Returns true if it is to be told again: the reply that makes the node, or the name, known to the
 * kernel may still be on its way. */
static bool tell(struct invalidator *inv, struct forget *f) {
	struct fuse_session *se = atomic_load(&inv->se);
	bool again = false;
	if (se == NULL || is_passed_over(inv, f, &again))
		return again;
	if (f->name == NULL)
		node_unkeep(inv->fs->nodes, f->node);
	int rc = f->name != NULL ? tell_name(inv, se, f)
				 : fuse_lowlevel_notify_inval_inode(se, ino_of(f->node),
								    f->data ? 0 : -1, 0);
	if (rc != 0 && rc != -ENOENT) /* which is: it does not know it */
		log_debug("the kernel was not told to forget: %s", strerror(-rc));
	return rc == -ENOENT && f->name == NULL && node_is_known(inv->fs->nodes, f->node) &&
	       (f->until_us == 0 || clock_us() < f->until_us);
}

static void append(struct teller *t, struct forget *f) {
	f->next = NULL;
	*t->last = f;
	t->last = &f->next;
}

/* F is to be told again, soon. The lock is held. */
static void put_back(struct teller *t, struct forget *f) {
	if (f->until_us == 0)
		f->until_us = clock_us() + AGAIN_MOST_MS * US_PER_MS;
	f->next = t->later;
	t->later = f;
}

/* The next one, or NULL. The lock is held. */
static struct forget *take(struct teller *t) {
	struct forget *f = t->first;
	if (f == NULL)
		return NULL;
	t->first = f->next;
	if (t->first == NULL)
		t->last = &t->first;
	return f;
}

/* Tells all that waits. */
static int64_t tell_all(void *arg) {
	struct teller *t = arg;
	struct mutex *lock = t->inv->lock;
	mutex_lock(lock);
	for (struct forget *f; (f = t->later) != NULL;) {
		t->later = f->next;
		append(t, f);
	}
	for (struct forget *f; (f = take(t)) != NULL;) {
		t->since_us = clock_us();
		t->stuck = false;
		mutex_unlock(lock);
		bool first = f->until_us == 0, again = tell(t->inv, f);
		if (!again) {
			free_forget(t->inv, f);
			atomic_fetch_sub(&t->inv->pending, 1);
		}
		mutex_lock(lock);
		t->since_us = 0;
		t->done += first;
		pthread_cond_broadcast(&t->told);
		if (again)
			put_back(t, f);
	}
	bool again = t->later != NULL;
	mutex_unlock(lock);
	return again ? (int64_t)AGAIN_MS * US_PER_MS : TICKER_REST;
}

/* True if T waits too long, and nobody has done anything about it. *IDLE is cleared if it has
 * something to do. */
static bool is_stuck(struct teller *t, bool *idle) {
	LOCK_SCOPE(t->inv->lock);
	*idle = *idle && t->first == NULL && t->since_us == 0;
	if (t->since_us == 0 || t->stuck || clock_us() - t->since_us < STUCK_MS * US_PER_MS)
		return false;
	t->stuck = true;
	return true;
}

/* Takes LIST over. */
static void give(struct invalidator *inv, struct forget *list) {
	while (list != NULL) {
		struct forget *f = list;
		list = f->next;
		f->next = NULL;
		if (atomic_load(&inv->se) == NULL) {
			free_forget(inv, f);
			continue;
		}
		struct teller *t = &inv->tellers[(ino_of(f->node) >> 6) % TELLERS];
		atomic_fetch_add(&inv->pending, 1);
		LOCK_SCOPE(t->inv->lock);
		if (t->first == NULL)
			ticker_call(t->clock);
		append(t, f);
		t->given++;
	}
}

/* Lists all that is to be told, if it is wanted and little of the list before is left. Returns
 * whether it still waits. */
static bool list_all(struct invalidator *inv) {
	struct forget *list = NULL;
	{
		LOCK_SCOPE(inv->lock);
		if (!inv->all || atomic_load(&inv->pending) > PENDING_MOST / 2)
			return inv->all;
		inv->all = false;
	}
	nodes_list(inv->fs->nodes, NULL, !invalidate_names(inv), &list);
	give(inv, list);
	return false;
}

/* Sees to it that nothing waits behind a slow look-up, and lists all where that is wanted. */
static int64_t guard(void *arg) {
	struct invalidator *inv = arg;
	bool idle = true, stuck = false;
	{
		LOCK_SCOPE(inv->lock);
		inv->busy = false;
	}
	for (int i = 0; i < TELLERS; i++)
		stuck |= is_stuck(&inv->tellers[i], &idle);
	if (stuck)
		(void)invalidate_names(inv);
	idle = !list_all(inv) && idle;
	return idle ? TICKER_REST : (int64_t)STUCK_MS * US_PER_MS / 2;
}

static void call_guard(struct invalidator *inv, bool all) {
	LOCK_SCOPE(inv->lock);
	if (!inv->busy || (all && !inv->all))
		ticker_call(inv->guard);
	inv->busy = true;
	inv->all = inv->all || all;
}

/* -- from outside ------------------------------------------------------------------------------ */

void invalidate(struct invalidator *inv, struct forget *list) {
	if (list == NULL)
		return;
	bool many = atomic_load(&inv->pending) > PENDING_MOST && list->then == NULL;
	if (many)
		invalidate_not(inv, list);
	else
		give(inv, list);
	call_guard(inv, many);
}

void invalidate_all(struct invalidator *inv) {
	call_guard(inv, true);
}

void invalidate_attributes(struct invalidator *inv, const struct forget *list) {
	LOCK_SCOPE(inv->lock);
	struct fuse_session *se = atomic_load(&inv->se);
	for (; list != NULL && se != NULL; list = list->next)
		if (list->name == NULL)
			(void)fuse_lowlevel_notify_inval_inode(se, ino_of(list->node), -1, 0);
}

void invalidate_not(struct invalidator *inv, struct forget *list) {
	while (list != NULL) {
		struct forget *next = list->next;
		free_forget(inv, list);
		list = next;
	}
}

long invalidate_pending(const struct invalidator *inv) {
	return atomic_load(&inv->pending);
}

void invalidate_wait(struct invalidator *inv, int ms) {
	int64_t until = clock_us() + (int64_t)ms * US_PER_MS;
	for (int i = 0; i < TELLERS; i++) {
		struct teller *t = &inv->tellers[i];
		LOCK_SCOPE(t->inv->lock);
		uint64_t given = t->given;
		int rc = 0;
		while (t->done < given && rc == 0)
			rc = mutex_wait_until(&t->told, t->inv->lock, until);
	}
}

struct invalidator *invalidator_new(struct fs *fs, struct mutex *lock) {
	struct invalidator *inv = calloc(1, sizeof(*inv));
	bool ok = true;
	if (inv == NULL)
		return NULL;
	inv->fs = fs;
	inv->lock = lock;
	for (int i = 0; i < TELLERS; i++) {
		struct teller *t = &inv->tellers[i];
		t->inv = inv;
		t->last = &t->first;
		clock_condition(&t->told);
		t->clock = ticker_start(tell_all, t);
		ok = ok && t->clock != NULL;
	}
	inv->guard = ticker_start(guard, inv);
	if (!ok || inv->guard == NULL) {
		invalidator_free(inv);
		return NULL;
	}
	return inv;
}

void invalidator_serve(struct invalidator *inv, struct fuse_session *se) {
	atomic_store(&inv->se, se);
}

static bool is_idle(struct teller *t) {
	LOCK_SCOPE(t->inv->lock);
	int64_t until = clock_us() + STOP_MS * US_PER_MS;
	int rc = 0;
	while ((t->since_us != 0 || t->first != NULL || t->later != NULL) && rc == 0)
		rc = mutex_wait_until(&t->told, t->inv->lock, until);
	return t->since_us == 0;
}

void invalidator_stop(struct invalidator *inv) {
	bool idle = true;
	{
		LOCK_SCOPE(inv->lock);
		atomic_store(&inv->se, NULL);
	}
	for (int i = 0; i < TELLERS; i++)
		idle = is_idle(&inv->tellers[i]) && idle;
	/* it waits for a look-up that nobody will answer any more */
	if (!idle && umount2(inv->fs->opt->mountpoint, MNT_FORCE) != 0)
		log_warning("a thread waits for the kernel: %s", strerror(errno));
	for (int i = 0; i < TELLERS && !idle; i++)
		(void)is_idle(&inv->tellers[i]);
}

void invalidator_free(struct invalidator *inv) {
	if (inv == NULL)
		return;
	atomic_store(&inv->se, NULL);
	ticker_stop(inv->guard);
	for (int i = 0; i < TELLERS; i++) {
		struct teller *t = &inv->tellers[i];
		ticker_stop(t->clock);
		(void)tell_all(t); /* nobody: what is left is freed */
		pthread_cond_destroy(&t->told);
	}
	free(inv);
}
