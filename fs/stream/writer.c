#include "fs/stream/writer.h"

#include "db/budget.h"
#include "fs/stream/batch.h"
#include "fs/stream/fence.h"
#include "schema/snapshot/snapshot.h"
#include "schema/state/ledger.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/ticker.h"

#include <errno.h>
#include <string.h>

enum {
	BATCH_BYTES = 4 * 1024 * 1024, /* a batch with more is full, however few lines it has */
	/* a stream that was not used for so long is left to be forgotten, and so is a lane */
	STREAM_IDLE_S = 3600,
};

struct lane {
	struct lane *next;
	struct writer *writer;
	struct snapshot *snapshot; /* that the columns belong to; held; NULL: none */
	atomic_int sources;        /* while there are none, only the clock touches it */
	struct stream_sql sql;
	const struct column **columns; /* owned array */
	struct batch_target target;
	struct once once;  /* numbered: the batches, one after the other */
	bool opened;       /* the stream's row is there; the committing thread's, as the next */
	int64_t used_us;   /* clock_us() of the last commit */
	struct mutex lock; /* guards what follows */
	pthread_cond_t changed; /* a batch is done */
	/* Two batches take turns, so that a commit needs no memory. Neither is ever NULL. */
	struct batch *gathering, *other;
	bool committing;
	bool wanted;   /* the clock shall commit it */
	uint64_t done; /* number of the last batch that is done */
};

struct writer {
	struct engine *engine;
	struct mutex lock; /* guards lanes */
	struct lane *lanes;
	struct ticker *clock;
};

/* -- committing -------------------------------------------------------------------------------- */

static void new_stream(struct lane *lane) {
	lane->once = (struct once){ 0 };
	ledger_new_uuid(lane->once.stream);
	lane->opened = false;
}

/* The batch being committed has its lines at the server, or must send them anew: see batch.h. */
static void follow(struct lane *lane, bool may) {
	LOCK_SCOPE(&lane->lock);
	batch_follow(lane->gathering, may);
}

/* Makes the stream's row, once. Returns 0, or -errno with ERR filled. */
static int open_stream(struct lane *lane, struct db_error *err) {
	struct engine *engine = lane->writer->engine;
	if (lane->target.once == NULL || lane->opened)
		return 0;
	int rc = fence_open(engine->fence, engine->pool, lane->once.stream, err);
	lane->opened = rc == 0;
	return rc;
}

static enum sent commit(struct lane *lane, struct batch *b, struct db_error *err) {
	if (b->n == 0)
		return SENT;
	if (clock_us() - lane->used_us > (int64_t)STREAM_IDLE_S * US_PER_S)
		new_stream(lane); /* the old one may have been trimmed: see fs/admin/timer.c */
	lane->used_us = clock_us();
	if (open_stream(lane, err) == 0)
		return batch_commit(b, &lane->target, err);
	batch_give_up(b, &lane->target, err);
	return FAILED;
}

/* Commits the gathering batch. Called with the lane's lock held, which it gives up meanwhile;
 * nobody else is committing. */
static void commit_gathering(struct lane *lane) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct batch *b = lane->gathering, *next = lane->other;
	uint64_t number = b->number;
	batch_reset(next, number + 1, BATCH_WAITS);
	lane->gathering = next;
	lane->other = b;
	lane->committing = true;
	lane->wanted = false;
	mutex_unlock(&lane->lock);
	int64_t outer = db_budget_enter();
	enum sent end = commit(lane, b, &err);
	db_budget_leave(outer);
	if (end != SENT) {
		log_warning("lines are not committed and kept in rejected/: %s",
			    err.sentence != NULL ? err.sentence : "?");
		fence_doubt(lane->writer->engine->fence);
		new_stream(lane); /* where the old one stands may be in doubt */
	}
	batch_reset(b, number, BATCH_WAITS); /* its sources may wait for it to be freed */
	mutex_lock(&lane->lock);
	lane->committing = false;
	lane->done = number;
	batch_follow(lane->gathering, true);
	pthread_cond_broadcast(&lane->changed);
}

static bool is_full(const struct lane *lane) {
	return lane->gathering->n >= lane->writer->engine->batch_size ||
	       lane->gathering->data.len >= BATCH_BYTES;
}

/* Until batch NUMBER is done. */
static void commit_until(struct lane *lane, uint64_t number) {
	while (lane->done < number) {
		if (lane->committing)
			mutex_wait(&lane->changed, &lane->lock);
		else
			commit_gathering(lane);
	}
}

/* -- gathering --------------------------------------------------------------------------------- */

/* Puts UNIT into the gathering batch; if there is no memory, into an empty one. */
static int put(struct lane *lane, struct source *source, const struct unit *unit) {
	int rc = batch_put(lane->gathering, source, unit);
	if (rc != -ENOMEM || lane->gathering->n == 0)
		return rc;
	commit_until(lane, lane->gathering->number);
	return batch_put(lane->gathering, source, unit);
}

int source_put(struct source *source, const struct unit *unit) {
	struct lane *lane = source->lane;
	bool full = false;
	{
		LOCK_SCOPE(&lane->lock);
		while (is_full(lane))
			commit_until(lane,
				     lane->committing ? lane->done + 1 : lane->gathering->number);
		int rc = put(lane, source, unit);
		if (rc != 0)
			return rc;
		source->batch = lane->gathering->number;
		batch_feed(lane->gathering, &lane->target);
		full = is_full(lane) && !lane->wanted;
		lane->wanted = lane->wanted || full;
	}
	if (full)
		ticker_call(lane->writer->clock);
	return 0;
}

int source_commit(struct source *source, int *refused) {
	struct lane *lane = source->lane;
	{
		LOCK_SCOPE(&lane->lock);
		commit_until(lane, source->batch);
	}
	*refused = atomic_exchange(&source->refused, 0);
	return atomic_exchange(&source->given_up, 0);
}

static void lane_free(struct lane *lane) {
	stream_sql_free(&lane->sql);
	batch_free(lane->gathering);
	batch_free(lane->other);
	mutex_destroy(&lane->lock);
	pthread_cond_destroy(&lane->changed);
	snapshot_drop(lane->snapshot);
	free(lane->columns);
	free(lane);
}

/* -- by the clock ------------------------------------------------------------------------------ */

/* Commits what is full or has waited for flush_interval. Returns how long the next has to wait,
 * microseconds. */
static int64_t tend(struct lane *lane, int64_t interval) {
	LOCK_SCOPE(&lane->lock);
	struct batch *b = lane->gathering;
	int64_t age = b->began_us > 0 ? clock_us() - b->began_us : 0;
	bool due = lane->wanted || (b->began_us > 0 && age >= interval);
	if (!due || lane->committing)
		return due ? US_PER_MS : interval - age;
	commit_gathering(lane);
	return interval;
}

/* A lane without sources, whose batches are empty therefore, that was not used for long: taken out,
 * or NULL. A layout that is served no more goes with its last lane. */
static struct lane *take_idle(struct writer *writer) {
	int64_t now = clock_us();
	LOCK_SCOPE(&writer->lock);
	for (struct lane **at = &writer->lanes; *at != NULL; at = &(*at)->next) {
		struct lane *lane = *at;
		if (atomic_load(&lane->sources) > 0 ||
		    now - lane->used_us <= (int64_t)STREAM_IDLE_S * US_PER_S)
			continue;
		*at = lane->next;
		return lane;
	}
	return NULL;
}

static int64_t tend_all(void *arg) {
	struct writer *writer = arg;
	int64_t interval = writer->engine->flush_us, wait = interval;
	for (struct lane *idle; (idle = take_idle(writer)) != NULL;)
		lane_free(idle);
	mutex_lock(&writer->lock);
	/* lanes are only ever added in front, and taken out by this thread */
	struct lane *first = writer->lanes;
	mutex_unlock(&writer->lock);
	for (struct lane *lane = first; lane != NULL; lane = lane->next) {
		int64_t one = tend(lane, interval);
		wait = one < wait ? one : wait;
	}
	return wait;
}

struct writer *writer_new(struct engine *engine) {
	struct writer *writer = calloc(1, sizeof(*writer));
	if (writer == NULL)
		return NULL;
	writer->engine = engine;
	mutex_init(&writer->lock, MUTEX_WRITER);
	writer->clock = ticker_start(tend_all, writer);
	if (writer->clock != NULL)
		return writer;
	mutex_destroy(&writer->lock);
	free(writer);
	return NULL;
}

void writer_free(struct writer *writer) {
	if (writer == NULL)
		return;
	ticker_stop(writer->clock);
	while (writer->lanes != NULL) {
		struct lane *lane = writer->lanes;
		writer->lanes = lane->next;
		{
			LOCK_SCOPE(&lane->lock);
			if (lane->gathering->n > 0)
				commit_until(lane, lane->gathering->number);
		}
		lane_free(lane);
	}
	mutex_destroy(&writer->lock);
	free(writer);
}

/* -- lanes and sources ------------------------------------------------------------------------- */

static struct lane *lane_new(struct writer *writer, struct snapshot *snapshot,
			     const struct relation *rel, const struct column *const *columns,
			     int n) {
	struct lane *lane = calloc(1, sizeof(*lane));
	if (lane == NULL)
		return NULL;
	mutex_init(&lane->lock, MUTEX_LANE);
	pthread_cond_init(&lane->changed, NULL);
	lane->writer = writer;
	lane->snapshot = snapshot != NULL ? snapshot_hold(snapshot) : NULL;
	lane->used_us = clock_us();
	lane->gathering = batch_new(1);
	lane->other = batch_new(0);
	lane->columns = calloc((size_t)n, sizeof(*lane->columns));
	if (lane->columns == NULL || lane->gathering == NULL || lane->other == NULL ||
	    !stream_sql_make(rel, columns, n, &lane->sql)) {
		lane_free(lane);
		return NULL;
	}
	memcpy(lane->columns, columns, (size_t)n * sizeof(*columns));
	lane->target = (struct batch_target){
		.engine = writer->engine,
		.copy = lane->sql.copy,
		.lane = lane,
		.follow = follow,
		.sql = &lane->sql,
		.ncolumns = n,
		.once = writer->engine->has_streams ? &lane->once : NULL,
	};
	new_stream(lane);
	return lane;
}

static bool is_lane_of(const struct lane *lane, const struct column *const *columns, int n) {
	/* a column belongs to one relation: the same columns are the same table */
	return lane->target.ncolumns == n &&
	       memcmp(lane->columns, columns, (size_t)n * sizeof(*columns)) == 0;
}

/* The lane of the COLUMNS, made if it is not there, with one source more; NULL if out of memory. */
static struct lane *find_lane(struct writer *writer, struct snapshot *snapshot,
			      const struct relation *rel, const struct column *const *columns,
			      int n) {
	LOCK_SCOPE(&writer->lock);
	struct lane *lane = writer->lanes;
	while (lane != NULL && !is_lane_of(lane, columns, n))
		lane = lane->next;
	if (lane == NULL && (lane = lane_new(writer, snapshot, rel, columns, n)) != NULL) {
		lane->next = writer->lanes;
		writer->lanes = lane;
	}
	if (lane != NULL)
		atomic_fetch_add(&lane->sources, 1);
	return lane;
}

int source_open(struct writer *writer, struct snapshot *snapshot, const struct relation *rel,
		const struct column *const *columns, int ncolumns, const char *path,
		struct source **out) {
	struct source *source = source_new(path);
	if (source == NULL)
		return -ENOMEM;
	source->lane = find_lane(writer, snapshot, rel, columns, ncolumns);
	if (source->lane == NULL) {
		source_drop(source);
		return -ENOMEM;
	}
	source->of_lane = &source->lane->sources;
	*out = source;
	return 0;
}
