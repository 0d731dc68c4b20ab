#include "util/mutex.h"

#include "util/clock.h"
#include "util/log.h"

#ifdef ROWFS_DEBUG

enum { HELD_MOST = 16 };

static _Thread_local const struct mutex *held[HELD_MOST];
static _Thread_local int nheld;
static _Thread_local uint64_t taken;

static const char *name_of(const struct mutex *m) {
#define MUTEX_NAME_(name) #name,
	static const char *const names[MUTEX_RANKS] = { MUTEX_RANKS_(MUTEX_NAME_) };
#undef MUTEX_NAME_
	return names[m->rank];
}

static void stop(const char *what, const struct mutex *m, const struct mutex *other) {
	log_error("BUG: lock %s %s lock %s: see util/mutex.h", name_of(m), what, name_of(other));
	abort(); /* banned-ok: of debug builds only; a test must not pass over it */
}

void mutex_check(const struct mutex *m) {
	for (int i = 0; i < nheld; i++)
		if (held[i]->rank >= m->rank)
			stop("is waited for with", m, held[i]);
}

void mutex_note_taken(const struct mutex *m) {
	taken++;
	if (nheld == HELD_MOST)
		stop("is one lock too many beside", m, held[0]);
	held[nheld++] = m;
}

void mutex_note_given(const struct mutex *m) {
	int at = nheld - 1;
	while (at >= 0 && held[at] != m)
		at--;
	if (at < 0)
		stop("is given back, which this thread does not have, not even as", m, m);
	for (nheld--; at < nheld; at++)
		held[at] = held[at + 1];
}

uint64_t mutex_taken(void) {
	return taken;
}

#endif

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer does not see pthread_mutex_clocklock(), and would miss that M is held. */
static int lock_until(struct mutex *m, int64_t until_us) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	struct timespec until = timespec_of_us((int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000 +
					       until_us - clock_us());
	return pthread_mutex_timedlock(&m->lock, &until);
}
#else
static int lock_until(struct mutex *m, int64_t until_us) {
	struct timespec until = timespec_of_us(until_us);
	return pthread_mutex_clocklock(&m->lock, CLOCK_MONOTONIC, &until);
}
#endif

bool mutex_lock_until(struct mutex *m, int64_t until_us) {
	mutex_check(m);
	if (lock_until(m, until_us) != 0)
		return false;
	mutex_note_taken(m);
	return true;
}

/* A condition's wait takes the lock again at its end: what was taken since must be given back. */
static void begin_wait(const struct mutex *m) {
	mutex_note_given(m);
	mutex_check(m);
}

void mutex_wait(pthread_cond_t *condition, struct mutex *m) {
	begin_wait(m);
	pthread_cond_wait(condition, &m->lock);
	mutex_note_taken(m);
}

int mutex_wait_until(pthread_cond_t *condition, struct mutex *m, int64_t until_us) {
	struct timespec until = timespec_of_us(until_us);
	begin_wait(m);
	int rc = pthread_cond_timedwait(condition, &m->lock, &until);
	mutex_note_taken(m);
	return rc;
}
