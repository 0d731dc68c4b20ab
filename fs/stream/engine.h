/* What every part of the stream engine needs, and all that it knows of the mount. Filled before the
 * first line and not changed afterwards, but for what is atomic. Any thread may read it. */
#pragma once

#include "db/pool.h"
#include "fs/core/counters.h"
#include "fs/core/report.h"
struct tally;

struct engine {
	struct db_pool *pool; /* all pointers are borrowed */
	struct bucket_cache *buckets;
	bool has_ledger, has_streams; /* what the database has of rowfs */
	struct report *report;        /* where refused lines are told */
	struct fence *fence;          /* NULL where nothing is served */
	struct counters *count;
	int batch_size;     /* lines of a full batch */
	int64_t flush_us;   /* microseconds that a line waits for others at most */
	int feeding_most;   /* COPYs that may wait for more lines at a time */
	atomic_int feeding; /* that do */
	/* This mount has committed something, or may have: LINES says what, or NULL if triggers
	 * have counted it; then the news in ERR say it. Takes the news, and effect before it
	 * returns. Called from any thread, without a lock of the engine. */
	void (*changed)(void *arg, const struct tally *lines, struct db_error *err);
	void *arg; /* of `changed` */
};
