#include "db/pool.h"

#include "db/checkout.h"
#include "db/connect.h"
#include "db/session.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/states.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* Whether connections can be made. */
enum reach {
	REACH_UP,     /* the last attempt worked, or none has failed yet */
	REACH_DOWN,   /* the last attempt failed */
	REACH_TRYING, /* the same, and the one attempt to mend it is being made */
	REACH_STATES
};
enum reach_event { REACH_ON_TRY, REACH_ON_END, REACH_ON_SUCCESS, REACH_ON_FAILURE, REACH_EVENTS };

static const char *const states[REACH_STATES] = { "up", "down", "trying" };
static const char *const events[REACH_EVENTS] = { "try", "end", "success", "failure" };
static const state_next moves[REACH_STATES][REACH_EVENTS] = {
	/* while all is well, any number of attempts may be under way: they do not count */
	[REACH_UP][REACH_ON_SUCCESS] = STATE_TO(REACH_UP),
	[REACH_UP][REACH_ON_FAILURE] = STATE_TO(REACH_DOWN),
	/* one of those has worked before the one attempt's end */
	[REACH_UP][REACH_ON_END] = STATE_TO(REACH_UP),

	[REACH_DOWN][REACH_ON_TRY] = STATE_TO(REACH_TRYING),
	[REACH_DOWN][REACH_ON_SUCCESS] = STATE_TO(REACH_UP),
	[REACH_DOWN][REACH_ON_FAILURE] = STATE_TO(REACH_DOWN),
	/* the same, and then another has failed */
	[REACH_DOWN][REACH_ON_END] = STATE_TO(REACH_DOWN),

	[REACH_TRYING][REACH_ON_END] = STATE_TO(REACH_DOWN),
	[REACH_TRYING][REACH_ON_SUCCESS] = STATE_TO(REACH_UP),
	[REACH_TRYING][REACH_ON_FAILURE] = STATE_TO(REACH_TRYING),
};
struct state_table reach_table = STATE_TABLE("reach", states, events, moves);

/* What a waiter waits for decides which condition he sleeps on:
 * - `freed`: the pool is full; one is woken for each connection that comes back;
 * - `state`: an attempt to connect, or a pause before the next; all are woken when it ends.
 *
 * While the database is `down`, one attempt at a time is made. Its failure counts for everybody who
 * waited for it, and for those who come within `retry_delay / 2` after it. */
struct db_pool {
	struct db_config cfg; /* strings are ours */

	struct mutex lock; /* guards all below */
	pthread_cond_t freed, state;
	struct db_conn *idle; /* LIFO; linked by next */
	int open;             /* connections that exist or are being made */
	int idle_count;
	int freed_waiters, state_waiters;
	enum reach reach;        /* changed by move() only */
	uint64_t failures;       /* attempts that failed, ever: tells a waiter that one has ended */
	int64_t failed_at_us;    /* when the last of them ended */
	int64_t trouble_us;      /* since when nothing has worked; 0: the last use did */
	struct db_error failure; /* and why */
	bool failure_final;      /* it is no use to wait */
	bool healthy;            /* the last use worked */
	char *trouble;           /* text of the last failure of any use; owned */
	int server_version;
	atomic_bool one_snapshot; /* needs no lock */
	unsigned random;
	unsigned marks; /* how often the sessions' settings were changed by db_pool_mark() */
	struct db_stats sums;
};

enum {
	IDLE_LIMIT_S = 300,    /* idle connections beyond min_connections are closed after this */
	CONFLICT_RETRIES = 10, /* a serialization failure is soon over, or never */
	CONFLICT_PAUSE_US = 2000,
	ATTEMPT_LEAST_MS =
		2000, /* for an attempt to connect, however little of the budget is left */
	SURELY_ALIVE_US = US_PER_MS, /* a reader takes what was in use so lately without a look */
};

/* Under the lock. */
static void move(struct db_pool *pool, enum reach_event event) {
	pool->reach = (enum reach)state_move(&reach_table, (int)pool->reach, (int)event);
}

/* PAUSE, give or take a fifth, so that many daemons do not come back in step. Under the lock. */
static int64_t jittered(struct db_pool *pool, double pause_us) {
	pool->random = pool->random * 1664525u + 1013904223u;
	double factor = 0.8 + 0.4 * ((double)(pool->random >> 8) / (double)(1u << 24));
	return (int64_t)(pause_us * factor);
}

/* The pause before further try number N (1 is the first). */
static int64_t retry_pause_us(struct db_pool *pool, int n) {
	double pause = (double)pool->cfg.retry_delay_ms * US_PER_MS;
	for (int i = 1; i < n; i++)
		pause *= pool->cfg.retry_backoff > 1.0 ? pool->cfg.retry_backoff : 1.0;
	const double longest = 3600.0 * US_PER_S;
	return jittered(pool, pause < longest ? pause : longest);
}

static void wait_on(struct db_pool *pool, pthread_cond_t *cond, int *waiters, int64_t until_us) {
	++*waiters;
	if (until_us == NEVER_US)
		mutex_wait(cond, &pool->lock);
	else
		mutex_wait_until(cond, &pool->lock, until_us);
	--*waiters;
}

/* Somebody may now take or make a connection. Under the lock. */
static void one_is_free(struct db_pool *pool) {
	if (pool->freed_waiters > 0)
		pthread_cond_signal(&pool->freed);
	else if (pool->state_waiters > 0)
		pthread_cond_broadcast(&pool->state);
}

void pool_wake(struct db_pool *pool) {
	LOCK_SCOPE(&pool->lock);
	pthread_cond_broadcast(&pool->freed);
	pthread_cond_broadcast(&pool->state);
}

static void note_trouble(struct db_pool *pool, const char *sentence) {
	free(pool->trouble);
	pool->trouble = strdup(sentence != NULL ? sentence : "unknown");
	pool->healthy = false;
}

/* Takes all idle connections out, for the caller to close without the lock. */
static struct db_conn *detach_idle(struct db_pool *pool) {
	struct db_conn *list = pool->idle;
	pool->idle = NULL;
	pool->open -= pool->idle_count;
	pool->idle_count = 0;
	if (list != NULL)
		pthread_cond_broadcast(&pool->freed);
	return list;
}

static void close_list(struct db_conn *c) {
	while (c != NULL) {
		struct db_conn *next = c->next;
		conn_close(c);
		c = next;
	}
}

/* Under the lock. */
static void trouble_since(struct db_pool *pool, int64_t since_us) {
	if (pool->trouble_us == 0)
		pool->trouble_us = since_us;
}

/* All pauses between tries, microseconds, and a fifth more: they are jittered. */
static int64_t budget_us(const struct db_pool *pool) {
	double sum = 0, pause = (double)pool->cfg.retry_delay_ms * US_PER_MS * 1.2;
	for (int i = 0; i < pool->cfg.retry_attempts && sum < 3600.0 * US_PER_S; i++) {
		sum += pause;
		pause *= pool->cfg.retry_backoff > 1.0 ? pool->cfg.retry_backoff : 1.0;
	}
	return (int64_t)sum;
}

/* When the patience P of a call is at its end, if the database stays away. Under the lock. */
static int64_t patience_until_us(const struct db_pool *pool, const struct patience *p) {
	int64_t from = pool->trouble_us > p->began_us ? pool->trouble_us : p->began_us;
	return from + budget_us(pool);
}

void pool_lost(struct db_pool *pool, const struct db_error *err, int64_t since_us) {
	mutex_lock(&pool->lock);
	trouble_since(pool, since_us > 0 ? since_us : clock_us());
	if (pool->healthy)
		log_warning("%s", err->sentence != NULL ? err->sentence : "connection lost");
	note_trouble(pool, err->sentence);
	struct db_conn *list = detach_idle(pool);
	mutex_unlock(&pool->lock);
	close_list(list);
}

static void add_counts(struct db_pool *pool, struct db_conn *c) {
	pool->sums.queries += c->counts.queries;
	pool->sums.query_errors += c->counts.query_errors;
	pool->sums.timeouts += c->counts.timeouts;
	pool->sums.cancels += c->counts.cancels;
	pool->sums.query_us += c->counts.query_us;
	pool->sums.slow_queries += c->counts.slow_queries;
	memset(&c->counts, 0, sizeof(c->counts));
}

/* The idle connection that was used longest ago, if it has been idle for too long. Under the
 * lock. */
static struct db_conn *take_expired(struct db_pool *pool) {
	struct db_conn **p = &pool->idle;
	if (pool->open <= pool->cfg.min_connections || *p == NULL)
		return NULL;
	while ((*p)->next != NULL)
		p = &(*p)->next;
	if (clock_us() - (*p)->idle_since_us < (int64_t)IDLE_LIMIT_S * US_PER_S)
		return NULL;
	struct db_conn *c = *p;
	*p = NULL;
	pool->idle_count--;
	pool->open--;
	return c;
}

void pool_give(struct db_pool *pool, struct db_conn *c) {
	bool dead = conn_is_dead(c) || c->state != CONN_LENT;

	buf_free(&c->news);
	conn_move(c, CONN_ON_GIVE);
	mutex_lock(&pool->lock);
	add_counts(pool, c);
	struct db_conn *expired = take_expired(pool);
	dead = dead || c->marks != pool->marks; /* another one has the mark: see db_pool_mark() */
	if (dead) {
		pool->open--;
	} else {
		pool->healthy = true;
		pool->trouble_us = 0;
		c->reused = true;
		c->idle_since_us = clock_us();
		c->next = pool->idle;
		pool->idle = c;
		pool->idle_count++;
	}
	/* who is woken takes the lock first of all */
	bool wanted = pool->freed_waiters > 0;
	if (!wanted)
		one_is_free(pool);
	mutex_unlock(&pool->lock);
	if (wanted)
		pthread_cond_signal(&pool->freed);
	conn_close(expired);
	if (dead)
		conn_close(c);
}

/* Takes the warmest idle connection that is still alive; the dead ones that it meets are closed.
 * READS: nothing is in doubt if it turns out to be dead after all. Under the lock. */
static struct db_conn *take_idle(struct db_pool *pool, bool reads) {
	while (pool->idle != NULL) {
		struct db_conn *c = pool->idle;
		pool->idle = c->next;
		pool->idle_count--;
		c->next = NULL;
		bool sure = reads && c->state == CONN_IDLE &&
			    clock_us() - c->idle_since_us < SURELY_ALIVE_US;
		if (sure || conn_alive(c)) {
			conn_move(c, CONN_ON_LEND);
			return c;
		}
		log_debug("an idle connection was closed by the server");
		pool->open--;
		conn_close(c);
	}
	return NULL;
}

static void attempt_failed(struct db_pool *pool, bool final, const struct db_error *err) {
	const char *sentence = db_error_text(err);

	if (pool->reach == REACH_UP)
		log_warning("%s", sentence);
	else
		log_debug("%s", sentence);
	move(pool, REACH_ON_FAILURE);
	pool->failure_final = final;
	pool->failures++;
	pool->failed_at_us = clock_us();
	pool->sums.connect_failures++;
	note_trouble(pool, sentence);
	db_error_set(&pool->failure, err->errnum, "%s", sentence);
	memcpy(pool->failure.sqlstate, err->sqlstate, sizeof(err->sqlstate));
}

/* Makes a connection; unlocks for the time that it takes. Returns 0 or -errno with ERR filled;
 * *FINAL tells that trying again is useless. */
static int attempt(struct db_pool *pool, int allowed_ms, struct db_cancel *cancel,
		   struct db_conn **out, bool *final, struct db_error *err) {
	bool mends = pool->reach != REACH_UP;
	int64_t started = clock_us();

	pool->open++;
	pool->sums.connects++;
	if (mends)
		move(pool, REACH_ON_TRY);
	unsigned marks = pool->marks;
	mutex_unlock(&pool->lock);
	int rc = session_open(&pool->cfg, -1, allowed_ms, cancel, out, final, err);
	mutex_lock(&pool->lock);
	if (mends)
		move(pool, REACH_ON_END);
	if (rc == 0) {
		(*out)->marks = marks;
		if (pool->reach != REACH_UP)
			log_info("the database is back");
		move(pool, REACH_ON_SUCCESS);
		pool->healthy = true;
		pool->server_version = PQserverVersion((*out)->pg);
		pool->one_snapshot = (*out)->one_snapshot;
	} else {
		pool->open--;
		if (rc != -EINTR) {
			trouble_since(pool, started);
			attempt_failed(pool, *final, err);
		}
		one_is_free(pool);
	}
	pthread_cond_broadcast(&pool->state);
	return rc;
}

static int copy_failure(struct db_pool *pool, struct db_error *err) {
	int rc = db_error_set(err, pool->failure.errnum, "%s", pool->failure.sentence);
	memcpy(err->sqlstate, pool->failure.sqlstate, sizeof(err->sqlstate));
	err->retryable = !pool->failure_final;
	return rc;
}

/* Counts a failed attempt against P. Returns 0 if there is budget left. */
static int count_failure(struct db_pool *pool, struct patience *p, struct db_error *err) {
	int64_t until = patience_until_us(pool, p), now = clock_us();
	p->connects_failed++;
	if (p->no_retry || pool->failure_final || p->connects_failed > pool->cfg.retry_attempts ||
	    now >= until)
		return copy_failure(pool, err);
	pool->sums.retries++;
	p->not_before_us = now + retry_pause_us(pool, p->connects_failed);
	if (p->not_before_us > until)
		p->not_before_us = until;
	return 0;
}

/* The next step while the database is down. Returns 1 if it is P's turn to try, 0 to look again, or
 * -errno. */
static int step_while_down(struct db_pool *pool, struct patience *p, struct db_error *err) {
	int64_t now = clock_us();
	int64_t fresh_us = (int64_t)pool->cfg.retry_delay_ms * US_PER_MS / 2;

	if (now < p->not_before_us) {
		wait_on(pool, &pool->state, &pool->state_waiters, p->not_before_us);
		return 0;
	}
	if (pool->reach == REACH_TRYING) {
		uint64_t before = pool->failures;
		wait_on(pool, &pool->state, &pool->state_waiters, NEVER_US);
		return pool->failures > before && pool->reach != REACH_UP
			       ? count_failure(pool, p, err)
			       : 0;
	}
	if (now - pool->failed_at_us < fresh_us)
		return count_failure(pool, p, err);
	return 1;
}

static int check_cancel(struct db_cancel *cancel, struct db_error *err) {
	return cancel_fired(cancel) ? db_error_set(err, EINTR, "the request was interrupted") : 0;
}

static int wait_for_free(struct db_pool *pool, int64_t until_us, struct db_error *err) {
	if (clock_us() >= until_us) {
		pool->sums.timeouts++;
		return db_error_set(err, ETIMEDOUT,
				    "all %d connections are busy: mount with more max_connections",
				    pool->cfg.max_connections);
	}
	wait_on(pool, &pool->freed, &pool->freed_waiters, until_us);
	return 0;
}

/* How long an attempt to connect may take: if all is well so far, it may be the first sign of
 * trouble. Under the lock. */
static int allowed_ms(const struct db_pool *pool, const struct patience *p) {
	int64_t now = clock_us();
	int64_t until = pool->trouble_us > 0 ? patience_until_us(pool, p) : now + budget_us(pool);
	int64_t left = (until - now) / US_PER_MS;
	return left < ATTEMPT_LEAST_MS ? ATTEMPT_LEAST_MS : left > INT_MAX ? INT_MAX : (int)left;
}

int pool_take(struct db_pool *pool, struct patience *p, struct db_cancel *cancel,
	      struct db_conn **out, struct db_error *err) {
	LOCK_SCOPE(&pool->lock);
	int64_t busy_until_us = deadline_after_ms(pool->cfg.command_timeout_ms);

	for (;;) {
		int rc = check_cancel(cancel, err);
		if (rc < 0) {
			/* A signal that came for us is somebody else's now. */
			one_is_free(pool);
			return rc;
		}
		*out = take_idle(pool, cancel != NULL);
		if (*out != NULL)
			return 0;
		if (pool->open >= pool->cfg.max_connections) {
			int64_t until = patience_until_us(pool, p);
			bool sooner = pool->trouble_us > 0 && until < busy_until_us;
			rc = wait_for_free(pool, sooner ? until : busy_until_us, err);
			if (rc < 0)
				return rc;
			continue;
		}
		rc = pool->reach != REACH_UP ? step_while_down(pool, p, err) : 1;
		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		bool final;
		rc = attempt(pool, allowed_ms(pool, p), cancel, out, &final, err);
		if (rc == 0 || rc == -EINTR)
			return rc;
		rc = count_failure(pool, p, err);
		if (rc < 0)
			return rc;
	}
}

/* Sleeps, unless there is a reason to stop. Under the lock. */
static int pause_locked(struct db_pool *pool, int64_t pause_us, struct db_cancel *cancel,
			struct db_error *err) {
	int64_t until = clock_us() + pause_us;
	int rc = 0;
	pool->sums.retries++;
	while ((rc = check_cancel(cancel, err)) == 0 && clock_us() < until)
		wait_on(pool, &pool->state, &pool->state_waiters, until);
	return rc;
}

int pool_retry_loss(struct db_pool *pool, struct patience *p, bool stale, struct db_cancel *cancel,
		    struct db_error *err) {
	LOCK_SCOPE(&pool->lock);
	if (stale && !p->stale_seen) {
		p->stale_seen = true;
		pool->sums.retries++;
		return 0;
	}
	p->losses++;
	int64_t left = patience_until_us(pool, p) - clock_us();
	if (p->no_retry || p->losses > pool->cfg.retry_attempts || (p->losses > 1 && left <= 0))
		return -EIO;
	int64_t pause = p->losses > 1 ? retry_pause_us(pool, p->losses - 1) : 0;
	if (pause > left)
		pause = left > 0 ? left : 0;
	return pause_locked(pool, pause, cancel, err);
}

int pool_retry_conflict(struct db_pool *pool, struct patience *p, struct db_cancel *cancel,
			struct db_error *err) {
	LOCK_SCOPE(&pool->lock);
	if (++p->conflicts > CONFLICT_RETRIES)
		return -EBUSY;
	int shift = p->conflicts < 7 ? p->conflicts - 1 : 6;
	return pause_locked(pool, jittered(pool, CONFLICT_PAUSE_US << shift), cancel, err);
}

static char *copy_string(const char *s) {
	return s != NULL ? strdup(s) : NULL;
}

static struct db_pool *pool_alloc(const struct db_config *cfg) {
	struct db_pool *pool = calloc(1, sizeof(*pool));
	if (pool == NULL)
		return NULL;
	mutex_init(&pool->lock, MUTEX_POOL);
	clock_condition(&pool->freed);
	clock_condition(&pool->state);
	pool->cfg = *cfg;
	pool->cfg.search_path = copy_string(cfg->search_path);
	pool->cfg.isolation_level = copy_string(cfg->isolation_level);
	pool->cfg.mark = copy_string(cfg->mark);
	pool->cfg.greeting = copy_string(cfg->greeting);
	if (pool->cfg.max_connections < 1)
		pool->cfg.max_connections = 1;
	pool->healthy = true;
	pool->random = (unsigned)clock_us() ^ (unsigned)getpid();
	return pool;
}

/* The server is starting (57P03), stopping (57P01, 57P02), or went away under us. */
static bool is_passing(const char *state) {
	return strncmp(state, "57P0", 4) == 0 || strcmp(state, "08006") == 0;
}

/* Opens the first connections. A mistake is told at once; only a server that is starting or
 * stopping is waited for. */
static int open_first(struct db_pool *pool, struct db_error *err) {
	int want = pool->cfg.min_connections > 1 ? pool->cfg.min_connections : 1;
	if (want > pool->cfg.max_connections)
		want = pool->cfg.max_connections;
	for (int tries = 0; pool->open < want;) {
		struct db_conn *c = NULL;
		bool final;
		LOCK_SCOPE(&pool->lock);
		int rc = attempt(pool, 0, NULL, &c, &final, err);
		if (rc == 0) {
			conn_move(c, CONN_ON_GIVE);
			c->next = pool->idle;
			c->idle_since_us = clock_us();
			pool->idle = c;
			pool->idle_count++;
			continue;
		}
		if (!is_passing(err->sqlstate) || ++tries > pool->cfg.retry_attempts)
			return rc;
		rc = pause_locked(pool, retry_pause_us(pool, tries), NULL, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int db_pool_new(const struct db_config *cfg, struct db_pool **out, struct db_error *err) {
	int rc = conninfo_check(cfg->conninfo, err);
	if (rc < 0)
		return rc;
	struct db_pool *pool = pool_alloc(cfg);
	if (pool == NULL)
		return db_error_set(err, ENOMEM, "cannot make the connection pool: out of memory");
	rc = open_first(pool, err);
	if (rc < 0) {
		db_pool_free(pool);
		return rc;
	}
	db_error_clear(err);
	*out = pool;
	return 0;
}

void db_pool_free(struct db_pool *pool) {
	if (pool == NULL)
		return;
	close_list(pool->idle);
	pthread_cond_destroy(&pool->freed);
	pthread_cond_destroy(&pool->state);
	mutex_destroy(&pool->lock);
	db_error_clear(&pool->failure);
	free(pool->trouble);
	free((char *)pool->cfg.search_path);
	free((char *)pool->cfg.isolation_level);
	free((char *)pool->cfg.mark);
	free((char *)pool->cfg.greeting);
	free(pool);
}

int db_pool_mark(struct db_pool *pool, const char *mark, const char *greeting) {
	AUTO_FREE char *copy = strdup(mark);
	AUTO_FREE char *words = strdup(greeting);
	if (copy == NULL || words == NULL)
		return -ENOMEM;
	mutex_lock(&pool->lock);
	__atomic_store_n(&pool->cfg.mark, move_ptr(copy), __ATOMIC_RELEASE);
	__atomic_store_n(&pool->cfg.greeting, move_ptr(words), __ATOMIC_RELEASE);
	pool->marks++;
	struct db_conn *list = detach_idle(pool);
	mutex_unlock(&pool->lock);
	close_list(list);
	return 0;
}

void db_pool_stats(struct db_pool *pool, struct db_stats *out) {
	LOCK_SCOPE(&pool->lock);
	*out = pool->sums;
	out->open = pool->open;
	out->idle = pool->idle_count;
	out->waiting = pool->freed_waiters + pool->state_waiters;
}

void db_pool_reset_stats(struct db_pool *pool) {
	LOCK_SCOPE(&pool->lock);
	memset(&pool->sums, 0, sizeof(pool->sums));
}

int db_pool_server_version(struct db_pool *pool) {
	LOCK_SCOPE(&pool->lock);
	return pool->server_version;
}

bool db_pool_one_snapshot(struct db_pool *pool) {
	return pool->one_snapshot;
}

bool db_pool_healthy(struct db_pool *pool, char *text, size_t len) {
	LOCK_SCOPE(&pool->lock);
	if (!pool->healthy && len > 0)
		snprintf(text, len, "%s", pool->trouble != NULL ? pool->trouble : "unknown");
	return pool->healthy;
}
