/* What runs by the clock: the layout's timers, a look at the database's health, the ledger's
 * trimming. One thread. */
#include "fs/core/part.h"
#include "fs/cache/coherence.h"
#include "fs/rows/rows_write.h"
#include "fs/names/orphans.h"
#include "schema/state/ledger.h"
#include "schema/count/watch.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/ticker.h"

enum { FLUSH_LEAST_US = 10000, FOLD_S = 3, LEDGER_TRIM_S = 3600, TASKS_MOST = 64 };

struct task {
	const char *sql; /* NULL: to flush */
	int64_t every_us, due_us;
};

struct timer {
	struct fs *fs;
	struct ticker *clock;
	struct snapshot *snapshot; /* whose timers they are; the clock's own, as the next two */
	struct task tasks[TASKS_MOST];
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
static void flush(struct timer *timer, const struct task *task) {
	rows_flush(timer->fs, clock_us() - task->every_us);
	orphans_tend(timer->fs, false);
}

/* What triggers noted, brought together: nobody sees a difference, and if it fails the next one
 * does it. */
static void fold(struct timer *timer, const struct task *task) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (db_query_text(timer->fs->pool, task->sql, NULL, 0, DB_NO_RETRY, NULL, NULL, &err) != 0)
		log_debug("timer: %s: %s", task->sql, db_error_text(&err));
	db_error_clear(&err);
	if (watch_again(timer->fs->pool, timer->snapshot->tree, &err) != 0)
		log_debug("timer: whether tables have got triggers: %s", db_error_text(&err));
	coherence_own(timer->fs, &err);
}

static void run(struct timer *timer, const struct task *task) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (db_query_text(timer->fs->pool, task->sql, NULL, 0, 0, NULL, NULL, &err) != 0)
		log_error("timer: %s: %s", task->sql, db_error_text(&err));
	coherence_changed(timer->fs, &err);
}

/* What is to be done for TREE. */
static void add_all(struct timer *timer, const struct tree *tree) {
	const struct options *opt = timer->fs->opt;
	bool folds = false;
	timer->ntasks = 0;
	/* twice as often, so that nothing waits longer than the interval */
	if (!opt->read_only) {
		int64_t half = (int64_t)(opt->flush_interval * US_PER_S / 2);
		timer->tasks[timer->ntasks++] = (struct task){
			.every_us = half > FLUSH_LEAST_US ? half : FLUSH_LEAST_US,
		};
	}
	add(timer, db_health_sql, opt->health_check_interval);
	if (tree->has_ledger)
		add(timer, ledger_trim_named_sql, LEDGER_TRIM_S);
	if (tree->has_streams)
		add(timer, ledger_trim_streams_sql, LEDGER_TRIM_S);
	for (int i = 0; i < tree->nslices; i++)
		folds = folds || tree->slices[i]->usable;
	if (folds && !opt->read_only)
		add(timer, watch_fold_sql, FOLD_S);
	for (int i = 0; i < tree->ntimers && opt->enable_auto_cleanup; i++)
		add(timer, tree->timers[i].sql, (int)options_interval(opt, tree->timers[i].every));
}

/* Another layout has other timers. */
static void follow(struct timer *timer) {
	AUTO_SNAPSHOT struct snapshot *now = fs_snapshot(timer->fs);
	if (now == timer->snapshot)
		return;
	snapshot_drop(timer->snapshot);
	timer->snapshot = move_ptr(now);
	add_all(timer, timer->snapshot->tree);
}

/* Runs the next task if it is due. */
static int64_t tend(void *arg) {
	struct timer *timer = arg;
	follow(timer);
	struct task *first = &timer->tasks[0];
	for (int i = 1; i < timer->ntasks; i++)
		if (timer->tasks[i].due_us < first->due_us)
			first = &timer->tasks[i];
	int64_t wait = first->due_us - clock_us();
	if (wait > 0)
		return wait;
	if (first->sql == NULL)
		flush(timer, first);
	else if (first->sql == watch_fold_sql)
		fold(timer, first);
	else
		run(timer, first);
	first->due_us = clock_us() + first->every_us;
	return 0;
}

static bool timer_open(struct fs *fs) {
	struct timer *timer = fs->timer = calloc(1, sizeof(*timer));
	if (timer == NULL)
		return false;
	timer->fs = fs;
	follow(timer);
	if (timer->ntasks > 0)
		timer->clock = ticker_start(tend, timer);
	if (timer->ntasks > 0 && timer->clock == NULL)
		log_warning("nothing will run by the clock");
	return true;
}

/* Waits for a statement under way to end. */
static void timer_close(struct fs *fs) {
	ticker_stop(fs->timer->clock);
	snapshot_drop(fs->timer->snapshot);
	free(fs->timer);
}

const struct mount_part timer_part = { "timer", timer_open, timer_close };
