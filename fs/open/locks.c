#include "fs/open/locks.h"

#include "fs/core/part.h"
#include "fs/core/fs.h"
#include "util/clock.h"
#include "util/mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BUCKETS = 256 };

struct held {
	struct held *next;
	struct lock lock;
};

struct waiting {
	struct waiting *next;
	struct lock wanted;
	void *ticket;
	struct held *spare; /* for the lock itself and a range that it cuts in two */
};

/* The files whose identity falls into it. */
struct bucket {
	struct held *held;
	struct waiting *first, **last; /* in the order in which they came */
};

struct locks {
	pthread_cond_t gone; /* a lock went; the rest is guarded by fs_lists */
	atomic_size_t any;   /* locks and requests that wait; read without the lock, too */
	struct bucket buckets[BUCKETS];
	struct waiting *granted, **granted_last;
};

static bool locks_open(struct fs *fs) {
	struct locks *locks = fs->locks = calloc(1, sizeof(*locks));
	if (locks == NULL)
		return false;
	clock_condition(&locks->gone);
	for (int i = 0; i < BUCKETS; i++)
		locks->buckets[i].last = &locks->buckets[i].first;
	locks->granted_last = &locks->granted;
	return true;
}

static void free_list(struct held *spare) {
	while (spare != NULL) {
		struct held *next = spare->next;
		free(spare);
		spare = next;
	}
}

static void free_waiting(struct waiting *w) {
	free_list(w->spare);
	free(w);
}

static void locks_close(struct fs *fs) {
	struct locks *locks = fs->locks;
	for (int i = 0; i < BUCKETS; i++)
		free_list(locks->buckets[i].held);
	pthread_cond_destroy(&locks->gone);
	free(locks);
}

const struct mount_part locks_part = { "locks", locks_open, locks_close };

static struct bucket *bucket_of(struct locks *locks, uint64_t ino) {
	return &locks->buckets[(ino ^ (ino >> 32)) % BUCKETS];
}

static bool overlaps(const struct lock *a, const struct lock *b) {
	return a->ino == b->ino && a->kind == b->kind && a->from <= b->to && b->from <= a->to;
}

static bool is_his(const struct lock *a, const struct lock *b) {
	return a->ino == b->ino && a->kind == b->kind && a->owner == b->owner;
}

/* The first lock of another owner that is in WANTED's way. */
static struct held *find_conflict(struct locks *locks, const struct lock *wanted) {
	struct held *h = bucket_of(locks, wanted->ino)->held;
	if (wanted->type == F_UNLCK)
		return NULL;
	while (h != NULL && (h->lock.owner == wanted->owner || !overlaps(&h->lock, wanted) ||
			     (h->lock.type == F_RDLCK && wanted->type == F_RDLCK)))
		h = h->next;
	return h;
}

/* -- what one owner has of a file -------------------------------------------------------------- */

/* Takes the range of WHAT away from its owner. SPARE has what a range that is cut in two needs. */
static void cut(struct locks *locks, const struct lock *what, struct held **spare) {
	struct held **at = &bucket_of(locks, what->ino)->held;
	while (*at != NULL) {
		struct held *h = *at;
		struct lock *l = &h->lock;
		if (!is_his(l, what) || !overlaps(l, what)) {
			at = &h->next;
			continue;
		}
		if (l->from < what->from && l->to > what->to) {
			struct held *behind = *spare;
			*spare = behind->next;
			*behind = *h;
			behind->lock.from = what->to + 1;
			h->next = behind;
			l->to = what->from - 1;
			atomic_fetch_add(&locks->any, 1);
		} else if (l->from < what->from) {
			l->to = what->from - 1;
		} else if (l->to > what->to) {
			l->from = what->to + 1;
		} else {
			*at = h->next;
			free(h);
			atomic_fetch_sub(&locks->any, 1);
			continue;
		}
		at = &h->next;
	}
}

/* Two ranges that touch are one: else a program that locks byte by byte would fill the memory. */
static bool joins(const struct lock *a, const struct lock *b) {
	return is_his(a, b) && a->type == b->type && a->via == b->via &&
	       ((a->to < LOCK_END && a->to + 1 == b->from) ||
		(b->to < LOCK_END && b->to + 1 == a->from));
}

static void add(struct locks *locks, const struct lock *lock, struct held **spare) {
	struct held *new = *spare, **at = &bucket_of(locks, lock->ino)->held;
	*spare = new->next;
	new->lock = *lock;
	while (*at != NULL) {
		struct held *h = *at;
		if (!joins(&h->lock, &new->lock)) {
			at = &h->next;
			continue;
		}
		if (h->lock.from < new->lock.from)
			new->lock.from = h->lock.from;
		else
			new->lock.to = h->lock.to;
		*at = h->next;
		free(h);
		atomic_fetch_sub(&locks->any, 1);
	}
	*at = new;
	new->next = NULL;
	atomic_fetch_add(&locks->any, 1);
}

/* Nothing is in the way: WANTED's owner has what he asks for. */
static void take(struct locks *locks, const struct lock *wanted, struct held **spare) {
	cut(locks, wanted, spare);
	if (wanted->type != F_UNLCK)
		add(locks, wanted, spare);
}

static struct held *make_spare(void) {
	struct held *first = calloc(1, sizeof(*first));
	if (first == NULL)
		return NULL;
	first->next = calloc(1, sizeof(*first));
	if (first->next == NULL)
		free(move_ptr(first));
	return first;
}

/* -- who waits --------------------------------------------------------------------------------- */

static void take_out(struct locks *locks, struct bucket *b, struct waiting **at) {
	struct waiting *w = *at;
	*at = w->next;
	if (b->last == &w->next)
		b->last = at;
	w->next = NULL;
	atomic_fetch_sub(&locks->any, 1);
}

/* A lock of INO went, or became less: those that waited for it get theirs, in the order in which
 * they came. */
static void grant(struct locks *locks, uint64_t ino) {
	struct bucket *b = bucket_of(locks, ino);
	struct waiting **at = &b->first;
	pthread_cond_broadcast(&locks->gone);
	while (*at != NULL) {
		struct waiting *w = *at;
		if (w->wanted.ino != ino || find_conflict(locks, &w->wanted) != NULL) {
			at = &w->next;
			continue;
		}
		take(locks, &w->wanted, &w->spare);
		take_out(locks, b, at);
		*locks->granted_last = w;
		locks->granted_last = &w->next;
	}
}

/* The request of OWNER that waits for a range. */
static const struct waiting *waits(struct locks *locks, uint64_t owner) {
	for (int i = 0; i < BUCKETS; i++)
		for (struct waiting *w = locks->buckets[i].first; w != NULL; w = w->next)
			if (w->wanted.kind == LOCK_RANGE && w->wanted.owner == owner)
				return w;
	return NULL;
}

/* True if WANTED's owner would wait for one who waits for him. Of several locks in the way, the
 * first is followed, as the kernel does. */
static bool would_deadlock(struct locks *locks, const struct lock *wanted) {
	enum { STEPS = 64 };
	const struct lock *next = wanted;
	for (int i = 0; i < STEPS && wanted->kind == LOCK_RANGE; i++) {
		const struct held *in_the_way = find_conflict(locks, next);
		const struct waiting *w =
			in_the_way != NULL ? waits(locks, in_the_way->lock.owner) : NULL;
		if (w == NULL)
			return false;
		next = &w->wanted;
		const struct held *then = find_conflict(locks, next);
		if (then != NULL && then->lock.owner == wanted->owner)
			return true;
	}
	return false;
}

static int queue(struct locks *locks, const struct lock *wanted, void *ticket,
		 struct held **spare) {
	struct bucket *b = bucket_of(locks, wanted->ino);
	if (would_deadlock(locks, wanted))
		return -EDEADLK;
	struct waiting *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOLCK;
	*w = (struct waiting){ .wanted = *wanted, .ticket = ticket, .spare = move_ptr(*spare) };
	*b->last = w;
	b->last = &w->next;
	atomic_fetch_add(&locks->any, 1);
	return LOCK_QUEUED;
}

/* True if WANTED's owner has just that lock of flock(2). */
static bool has_already(struct locks *locks, const struct lock *wanted) {
	struct held *h = bucket_of(locks, wanted->ino)->held;
	while (h != NULL && !is_his(&h->lock, wanted))
		h = h->next;
	return h != NULL && h->lock.type == wanted->type;
}

/* -- from outside ------------------------------------------------------------------------------ */

/* Waits until nothing that goes by itself is in WANTED's way, or for too long. */
static struct held *outwait(struct locks *locks, const struct lock *wanted) {
	int64_t until = clock_us() + LOCK_CLOSE_MS * US_PER_MS;
	struct held *h = find_conflict(locks, wanted);
	while (h != NULL && h->lock.closing &&
	       mutex_wait_until(&locks->gone, &fs_lists, until) == 0)
		h = find_conflict(locks, wanted);
	return h;
}

int locks_set(struct locks *locks, const struct lock *wanted, enum lock_wait wait, void *ticket,
	      bool (*gone)(void *ticket)) {
	struct held *spare = make_spare();
	int rc = 0;
	if (spare == NULL)
		return -ENOLCK;
	{
		LOCK_SCOPE(&fs_lists);
		bool whole = wanted->kind == LOCK_WHOLE_FILE;
		if (whole && !has_already(locks, wanted)) {
			cut(locks, wanted, &spare);
			grant(locks, wanted->ino);
		}
		const struct held *h =
			wait == LOCK_SOON ? outwait(locks, wanted) : find_conflict(locks, wanted);
		if (h == NULL) {
			take(locks, wanted, &spare);
			grant(locks, wanted->ino);
		} else if (wait != LOCK_QUEUE) {
			rc = -EAGAIN;
		} else {
			rc = gone != NULL && gone(ticket) ? -EINTR
							  : queue(locks, wanted, ticket, &spare);
		}
	}
	free_list(spare);
	return rc;
}

bool locks_test(struct locks *locks, const struct lock *wanted, struct lock *out) {
	LOCK_SCOPE(&fs_lists);
	const struct held *h = find_conflict(locks, wanted);
	if (h != NULL)
		*out = h->lock;
	return h != NULL;
}

void locks_flushed(struct locks *locks, uint64_t ino, uint64_t owner, const void *via) {
	if (atomic_load(&locks->any) == 0)
		return;
	LOCK_SCOPE(&fs_lists);
	const struct lock all = {
		.ino = ino, .owner = owner, .kind = LOCK_RANGE, .from = 0, .to = LOCK_END
	};
	cut(locks, &all, NULL); /* all of it: nothing is cut in two */
	for (struct held *h = bucket_of(locks, ino)->held; h != NULL; h = h->next)
		if (h->lock.via == via)
			h->lock.closing = true;
	grant(locks, ino);
}

/* Takes what was asked for through VIA out of B. */
static struct held *take_via(struct locks *locks, struct bucket *b, const void *via) {
	struct held *went = NULL, **at = &b->held;
	while (*at != NULL) {
		struct held *h = *at;
		if (h->lock.via != via) {
			at = &h->next;
			continue;
		}
		*at = h->next;
		h->next = went;
		went = h;
		atomic_fetch_sub(&locks->any, 1);
	}
	return went;
}

void locks_released(struct locks *locks, const void *via) {
	if (atomic_load(&locks->any) == 0)
		return;
	LOCK_SCOPE(&fs_lists);
	for (int i = 0; i < BUCKETS; i++) {
		struct held *went = take_via(locks, &locks->buckets[i], via);
		for (const struct held *h = went; h != NULL; h = h->next)
			if (h->next == NULL || h->next->lock.ino != h->lock.ino)
				grant(locks, h->lock.ino);
		free_list(went);
	}
}

bool locks_cancel(struct locks *locks, const void *ticket) {
	LOCK_SCOPE(&fs_lists);
	for (int i = 0; i < BUCKETS; i++) {
		struct waiting **at = &locks->buckets[i].first;
		while (*at != NULL && (*at)->ticket != ticket)
			at = &(*at)->next;
		struct waiting *w = *at;
		if (w == NULL)
			continue;
		take_out(locks, &locks->buckets[i], at);
		free_waiting(w);
		return true;
	}
	return false;
}

static struct waiting *next_waiting(struct locks *locks) {
	for (int i = 0; i < BUCKETS; i++) {
		struct bucket *b = &locks->buckets[i];
		struct waiting *w = b->first;
		if (w == NULL)
			continue;
		take_out(locks, b, &b->first);
		w->wanted.type = F_UNLCK;
		return w;
	}
	return NULL;
}

bool locks_granted(struct locks *locks, bool all, struct lock *out, void **ticket) {
	LOCK_SCOPE(&fs_lists);
	struct waiting *w = locks->granted;
	if (w != NULL) {
		locks->granted = w->next;
		if (locks->granted == NULL)
			locks->granted_last = &locks->granted;
	} else if (all) {
		w = next_waiting(locks);
	}
	if (w == NULL)
		return false;
	*out = w->wanted;
	*ticket = w->ticket;
	free_waiting(w);
	return true;
}
