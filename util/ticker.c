#include "util/ticker.h"

#include "util/clock.h"
#include "util/mutex.h"
#include "util/thread.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct ticker {
	ticker_fn tend;
	void *arg;
	pthread_t thread;
	struct mutex lock; /* guards the rest; no other lock is taken while it is held */
	pthread_cond_t wake;
	bool called, stop;
};

/* Waits until UNTIL_US, a call, or the end. Returns false at the end. */
static bool wait_until(struct ticker *ticker, int64_t until_us) {
	LOCK_SCOPE(&ticker->lock);
	int rc = 0;
	while (!ticker->called && !ticker->stop && rc != ETIMEDOUT)
		rc = until_us == NEVER_US
			     ? (mutex_wait(&ticker->wake, &ticker->lock), 0)
			     : mutex_wait_until(&ticker->wake, &ticker->lock, until_us);
	ticker->called = false;
	return !ticker->stop;
}

static int64_t after(int64_t us) {
	return us == TICKER_REST ? NEVER_US : clock_us() + us;
}

static void *ticker_main(void *arg) {
	struct ticker *ticker = arg;
	int64_t due_us = clock_us();
	while (wait_until(ticker, due_us))
		due_us = after(ticker->tend(ticker->arg));
	return NULL;
}

static void ticker_free(struct ticker *ticker) {
	mutex_destroy(&ticker->lock);
	pthread_cond_destroy(&ticker->wake);
	free(ticker);
}

struct ticker *ticker_start(ticker_fn tend, void *arg) {
	struct ticker *ticker = calloc(1, sizeof(*ticker));
	if (ticker == NULL)
		return NULL;
	ticker->tend = tend;
	ticker->arg = arg;
	mutex_init(&ticker->lock, MUTEX_TICKER);
	clock_condition(&ticker->wake);
	if (thread_start(&ticker->thread, ticker_main, ticker) == 0)
		return ticker;
	ticker_free(ticker);
	return NULL;
}

void ticker_call(struct ticker *ticker) {
	LOCK_SCOPE(&ticker->lock);
	ticker->called = true;
	pthread_cond_signal(&ticker->wake);
}

void ticker_stop(struct ticker *ticker) {
	if (ticker == NULL)
		return;
	{
		LOCK_SCOPE(&ticker->lock);
		ticker->stop = true;
		pthread_cond_signal(&ticker->wake);
	}
	pthread_join(ticker->thread, NULL);
	ticker_free(ticker);
}
