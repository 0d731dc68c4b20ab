#include "fs/admin/timer.h"

#include "fs/rows/rows.h"
#include "fs/names/orphans.h"
#include "schema/state/ledger.h"
#include "schema/count/watch.h"
#include "schema/state/stream.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>

enum { FLUSH_LEAST_US = 10000, FOLD_S = 3, LEDGER_TRIM_S = 3600, TASKS_MOST = 64 };

struct task {
	const char *sql; /* NULL: to flush */
	int64_t every_us, due_us;
};

struct timer {
	struct fs *fs;
	pthread_t thread;
	pthread_mutex_t lock; /* guards stop */
	pthread_cond_t wake;
	bool stop;
	struct task tasks[TASKS_MOST]; /* the thread's own */
	int ntasks;
};

static void add(struct timer *timer, const char *sql, int every_s) {
	if (every_s <= 0 || timer->ntasks == TASKS_MOST)
		return;
	int64_t every = (int64_t)every_s * US_PER_S;
	timer->tasks[timer->ntasks++] =
		(struct task){ .sql = sql, .every_us = every, .due_us = clock_us() + every };
}

/* Lines that are gathered in open files: see rows_write.c; and files that wait for a rename. Those
 * that go by COPY have a clock of their own, in writer.c. */
static void flush(struct timer *timer, struct task *task) {
	handles_flush(timer->fs, clock_us() - task->every_us, rows_flush);
	orphans_tend(timer->fs, false);
	task->due_us = clock_us() + task->every_us;
}

/* What triggers noted, brought together: nobody sees a difference, and if it fails the next one
 * does it. */
static void fold(struct timer *timer, struct task *task) {
	struct db_error err = { 0 };
	if (db_query_text(timer->fs->pool, task->sql, NULL, 0, DB_NO_RETRY, NULL, NULL, &err) != 0)
		log_debug("timer: %s: %s", task->sql,
			  err.sentence != NULL ? err.sentence : "failed");
	db_error_clear(&err);
	if (watch_again(timer->fs->pool, timer->fs->tree, &err) != 0)
		log_debug("timer: whether tables have got triggers: %s",
			  err.sentence != NULL ? err.sentence : "failed");
	db_error_clear(&err);
	task->due_us = clock_us() + task->every_us;
}

static void run(struct timer *timer, struct task *task) {
	struct db_error err = { 0 };
	if (task->sql == NULL) {
		flush(timer, task);
		return;
	}
	if (task->sql == watch_fold_sql) {
		fold(timer, task);
		return;
	}
	if (db_query_text(timer->fs->pool, task->sql, NULL, 0, 0, NULL, NULL, &err) != 0)
		log_error("timer: %s: %s", task->sql,
			  err.sentence != NULL ? err.sentence : "failed");
	db_error_clear(&err);
	fs_changed(timer->fs);
	task->due_us = clock_us() + task->every_us;
}

/* Waits until AT or until the end. Returns false at the end. */
static bool wait_until(struct timer *timer, int64_t at) {
	struct timespec until = timespec_of_us(at);
	LOCK_SCOPE(&timer->lock);
	int rc = 0;
	while (!timer->stop && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&timer->wake, &timer->lock, &until);
	return !timer->stop;
}

static void *timer_main(void *arg) {
	struct timer *timer = arg;
	for (;;) {
		struct task *first = &timer->tasks[0];
		for (int i = 1; i < timer->ntasks; i++)
			if (timer->tasks[i].due_us < first->due_us)
				first = &timer->tasks[i];
		if (!wait_until(timer, first->due_us))
			return NULL;
		run(timer, first);
	}
}

int timer_start(struct fs *fs, struct timer **out) {
	struct timer *timer = calloc(1, sizeof(*timer));
	if (timer == NULL)
		return -ENOMEM;
	timer->fs = fs;
	/* twice as often, so that nothing waits longer than the interval */
	if (!fs->opt->read_only) {
		int64_t half = (int64_t)(fs->opt->flush_interval * US_PER_S / 2);
		timer->tasks[timer->ntasks++] = (struct task){
			.every_us = half > FLUSH_LEAST_US ? half : FLUSH_LEAST_US,
		};
	}
	add(timer, db_health_sql, fs->opt->health_check_interval);
	if (fs->tree->has_ledger)
		add(timer, ledger_trim, LEDGER_TRIM_S);
	if (fs->tree->has_streams)
		add(timer, stream_trim_sql, LEDGER_TRIM_S);
	bool folds = false;
	for (int i = 0; i < fs->tree->nslices; i++)
		folds = folds || fs->tree->slices[i]->usable;
	if (folds && !fs->opt->read_only)
		add(timer, watch_fold_sql, FOLD_S);
	for (int i = 0; i < fs->tree->ntimers && fs->opt->enable_auto_cleanup; i++)
		add(timer, fs->tree->timers[i].sql,
		    (int)options_interval(fs->opt, fs->tree->timers[i].every));
	pthread_mutex_init(&timer->lock, NULL);
	clock_condition(&timer->wake);
	if (timer->ntasks > 0 && pthread_create(&timer->thread, NULL, timer_main, timer) != 0)
		timer->ntasks = 0;
	*out = timer;
	return 0;
}

void timer_stop(struct timer *timer) {
	if (timer == NULL)
		return;
	{
		LOCK_SCOPE(&timer->lock);
		timer->stop = true;
		pthread_cond_signal(&timer->wake);
	}
	if (timer->ntasks > 0)
		pthread_join(timer->thread, NULL);
	pthread_mutex_destroy(&timer->lock);
	pthread_cond_destroy(&timer->wake);
	free(timer);
}
