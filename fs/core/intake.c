#include "fs/core/intake.h"

#include "fs/core/pace.h"
#include "util/mutex.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum state { SERVES, READS, HAS_READ };

struct slot {
	atomic_int tid; /* of the thread that has it; 0: none */
	atomic_int state;
};

enum { QUEUE_BYTES = 64 << 20 };

/* A request that waits for its turn. */
struct queued {
	struct queued *next;
	size_t size;
	char request[];
};

struct intake {
	intake_quick_fn quick;
	void *arg;
	unsigned most;
	struct mutex lock; /* guards all below but the slots */
	unsigned serving;  /* requests that are not quick. While there is a queue: `most` */
	struct queued *first, **last;
	size_t bytes; /* in the queue */
	/* Requests under way, also quick ones, by the turn in which they began. When those of the
	 * other turn have ended, `passing` is over, and a turn begins for what is in `waiting`. */
	unsigned running[2];
	unsigned turn; /* of those that begin now */
	struct intake_wait *passing, *waiting;
	unsigned n;
	struct slot slots[];
};

static _Thread_local struct slot *mine;
static _Thread_local enum { NOTHING, QUICK, ANY } serves; /* what this thread serves */
static _Thread_local unsigned began;                      /* the turn in which that began */

struct intake *intake_new(unsigned most, intake_quick_fn quick, void *arg) {
	unsigned n = most + INTAKE_SPARE;
	struct intake *intake = calloc(1, sizeof(*intake) + n * sizeof(intake->slots[0]));
	if (intake == NULL)
		return NULL;
	intake->quick = quick;
	intake->arg = arg;
	intake->most = most;
	intake->n = n;
	intake->last = &intake->first;
	mutex_init(&intake->lock, MUTEX_INTAKE);
	return intake;
}

/* -- what waits for requests ------------------------------------------------------------------- */

/* The waits that are over, taken out. The lock is held. */
static struct intake_wait *take_over(struct intake *intake) {
	struct intake_wait *over = NULL;
	while (intake->running[!intake->turn] == 0 &&
	       (intake->passing != NULL || intake->waiting != NULL)) {
		for (struct intake_wait *w; (w = intake->passing) != NULL;) {
			intake->passing = w->next;
			w->next = over;
			over = w;
		}
		intake->passing = move_ptr(intake->waiting);
		if (intake->passing != NULL)
			intake->turn = !intake->turn;
	}
	return over;
}

static void call_over(struct intake_wait *w) {
	while (w != NULL) {
		struct intake_wait *next = w->next;
		w->over(w->arg);
		w = next;
	}
}

void intake_after(struct intake *intake, struct intake_wait *wait) {
	mutex_lock(&intake->lock);
	wait->next = intake->waiting;
	intake->waiting = wait;
	struct intake_wait *over = take_over(intake);
	mutex_unlock(&intake->lock);
	call_over(over);
}

/* This thread serves a request. The lock is held. */
static void begin_locked(struct intake *intake, bool quick) {
	serves = quick ? QUICK : ANY;
	intake->serving += !quick;
	began = intake->turn;
	intake->running[began]++;
}

static void end_locked(struct intake *intake) {
	if (serves == ANY)
		intake->serving--;
	if (serves != NOTHING)
		intake->running[began]--;
	serves = NOTHING;
}

/* -- requests ---------------------------------------------------------------------------------- */

void intake_free(struct intake *intake) {
	if (intake == NULL)
		return;
	call_over(move_ptr(intake->passing));
	call_over(move_ptr(intake->waiting));
	for (struct queued *q = intake->first, *next; q != NULL; q = next) {
		next = q->next;
		free(q);
	}
	mutex_destroy(&intake->lock);
	free(intake);
}

static void set(enum state state) {
	if (mine != NULL)
		atomic_store(&mine->state, state);
}

static void take_slot(struct intake *intake) {
	for (unsigned i = 0; i < intake->n && mine == NULL; i++) {
		int none = 0;
		if (atomic_compare_exchange_strong(&intake->slots[i].tid, &none, gettid()))
			mine = &intake->slots[i];
	}
}

static ssize_t read_request(int fd, void *buf, size_t len) {
	set(READS);
	ssize_t n = read(fd, buf, len);
	int errnum = errno;
	set(HAS_READ);
	errno = errnum;
	return n;
}

/* This thread is free. If one waits that it may serve, takes it; returns its size. 0: there is
 * none. */
static ssize_t next_queued(struct intake *intake, void *buf) {
	struct queued *q = NULL;
	struct intake_wait *over;
	{
		LOCK_SCOPE(&intake->lock);
		end_locked(intake);
		over = take_over(intake);
		if (intake->first != NULL && intake->serving < intake->most) {
			q = intake->first;
			intake->first = q->next;
			if (intake->first == NULL)
				intake->last = &intake->first;
			intake->bytes -= q->size;
			begin_locked(intake, false);
		}
	}
	call_over(over);
	if (q == NULL)
		return 0;
	ssize_t size = (ssize_t)q->size;
	memcpy(buf, q->request, q->size);
	free(q);
	return size;
}

/* Takes up a request that was read. Returns false if it was put into the queue. */
static bool take_up(struct intake *intake, const void *request, size_t size) {
	LOCK_SCOPE(&intake->lock);
	struct queued *q = NULL;
	bool quick = intake->quick(intake->arg, request, size);
	if (!quick && intake->serving >= intake->most && intake->bytes + size <= QUEUE_BYTES)
		q = malloc(sizeof(*q) + size);
	if (q == NULL) {
		begin_locked(intake, quick);
		return true;
	}
	q->next = NULL;
	q->size = size;
	memcpy(q->request, request, size);
	*intake->last = q;
	intake->last = &q->next;
	intake->bytes += size;
	return false;
}

ssize_t intake_read(struct intake *intake, int fd, void *buf, size_t len) {
	if (mine == NULL)
		take_slot(intake);
	set(HAS_READ); /* what it takes from the queue is on its way */
	ssize_t n = next_queued(intake, buf);
	while (n == 0) {
		n = read_request(fd, buf, len);
		if (n <= 0)
			return n;
		if (!take_up(intake, buf, (size_t)n))
			n = 0;
	}
	return n;
}

bool intake_is_quick(void) {
	return serves == QUICK;
}

void intake_known(void) {
	set(SERVES);
}

static bool has_queue(struct intake *intake) {
	LOCK_SCOPE(&intake->lock);
	return intake->first != NULL;
}

bool intake_any(struct intake *intake) {
	if (has_queue(intake))
		return true;
	for (unsigned i = 0; i < intake->n; i++) {
		struct slot *slot = &intake->slots[i];
		int state = atomic_load(&slot->state), tid = atomic_load(&slot->tid);
		/* one that reads and does not sleep may have the request, and not know it yet */
		if (state == HAS_READ || (state == READS && pace_of_thread(tid) != PACE_SLEEPS))
			return true;
	}
	return false;
}
