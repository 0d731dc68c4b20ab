#include "fs/inodes/reopen.h"

#include "util/clock.h"

enum { TOLD_US = US_PER_S, WANTED_US = 5 * US_PER_S };

static const char *const states[REOPEN_STATES] = { "none", "told", "wanted" };
static const char *const events[REOPEN_EVENTS] = { "stale", "again", "over", "expel", "lapse" };
static const state_next moves[REOPEN_STATES][REOPEN_EVENTS] = {
	[REOPEN_NONE][REOPEN_ON_STALE] = STATE_TO(REOPEN_TOLD),
	[REOPEN_NONE][REOPEN_ON_EXPEL] = STATE_TO(REOPEN_WANTED),

	[REOPEN_TOLD][REOPEN_ON_STALE] = STATE_TO(REOPEN_TOLD), /* it opens another path */
	[REOPEN_TOLD][REOPEN_ON_AGAIN] = STATE_TO(REOPEN_TOLD), /* and gets what there is */
	[REOPEN_TOLD][REOPEN_ON_OVER] = STATE_TO(REOPEN_NONE),
	[REOPEN_TOLD][REOPEN_ON_LAPSE] = STATE_TO(REOPEN_NONE),

	[REOPEN_WANTED][REOPEN_ON_EXPEL] = STATE_TO(REOPEN_WANTED),
	[REOPEN_WANTED][REOPEN_ON_LAPSE] = STATE_TO(REOPEN_NONE),
};
struct state_table reopen_table = STATE_TABLE("reopen", states, events, moves);

static void move(struct reopen *r, enum reopen_event event) {
	r->state = (enum reopen_state)state_move(&reopen_table, (int)r->state, (int)event);
}

/* R, which is in none of its states for longer than it may be. */
static struct reopen *at_time(struct reopen *r, int64_t now_us) {
	if (r->state != REOPEN_NONE && now_us >= r->until_us)
		move(r, REOPEN_ON_LAPSE);
	return r;
}

static struct reopen *of_thread(struct reopens *all, pid_t tid) {
	return &all->threads[(unsigned)tid % REOPEN_THREADS];
}

static struct reopen *of_file(struct reopens *all, uint64_t ino) {
	return &all->files[ino % REOPEN_FILES];
}

bool reopen_may_tell(struct reopens *all, pid_t tid, uint64_t ino, int64_t now_us) {
	struct reopen *r = at_time(of_thread(all, tid), now_us);
	bool told = r->state == REOPEN_TOLD;
	if (tid == 0 || (told && r->tid != tid)) /* 0: of another PID namespace */
		return false;
	bool again = told && r->ino == ino;
	move(r, again ? REOPEN_ON_AGAIN : REOPEN_ON_STALE);
	if (again)
		return false;
	r->tid = tid;
	r->ino = ino;
	r->until_us = now_us + TOLD_US;
	return true;
}

void reopen_over(struct reopens *all, pid_t tid) {
	struct reopen *r = of_thread(all, tid);
	if (r->state == REOPEN_TOLD && r->tid == tid)
		move(r, REOPEN_ON_OVER);
}

void reopen_expel(struct reopens *all, uint64_t ino, int64_t now_us) {
	struct reopen *r = at_time(of_file(all, ino), now_us);
	move(r, REOPEN_ON_EXPEL);
	r->ino = ino;
	r->until_us = now_us + WANTED_US;
}

bool reopen_is_wanted(struct reopens *all, uint64_t ino, int64_t now_us) {
	const struct reopen *r = at_time(of_file(all, ino), now_us);
	return r->state == REOPEN_WANTED && r->ino == ino;
}
