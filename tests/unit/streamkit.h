/* A stream engine without a mount: a pool, a database that has a ledger, a directory for
 * refused lines and notes. */
#pragma once

#include "fs/stream/fence.h"
#include "fs/stream/writer.h"
#include "tests/unit/dbkit.h"
#include "tests/unit/linekit.h"

#include <fcntl.h>

/* The ledger's tables, and one that takes lines: a number above 0, and any text. */
static inline void streamkit_tables(struct db_pool *pool) {
	kit_run(pool, "CREATE SCHEMA rowfs");
	kit_run(pool, "CREATE TABLE rowfs.applied (op uuid PRIMARY KEY, "
		      "at timestamptz NOT NULL DEFAULT now())");
	kit_run(pool, "CREATE TABLE rowfs.stream (stream uuid PRIMARY KEY, "
		      "off bigint NOT NULL DEFAULT 0, touched timestamptz NOT NULL DEFAULT now())");
	kit_run(pool, "CREATE TABLE public.t "
		      "(id bigserial PRIMARY KEY, a integer CHECK (a > 0), b text)");
}

struct streamkit {
	struct engine engine;
	struct counters count;
	struct relation rel;
	struct column columns[2];
	const struct column *order[2];
	struct writer *writer;
	char dir[64];
	int place;
	atomic_int changes; /* calls of engine.changed */
};

static inline void kit_changed(void *arg, const struct tally *lines, struct db_error *err) {
	struct streamkit *kit = arg;
	(void)lines;
	atomic_fetch_add(&kit->changes, 1);
}

static inline void streamkit_open(struct streamkit *kit, struct db_pool *pool) {
	AUTO_BUF struct buf why = { 0 };
	AUTO_DB_ERROR struct db_error err = { 0 };
	pid_t other;
	*kit = (struct streamkit){ .dir = "/tmp/rowfs-stream.XXXXXX" };
	kit->columns[0] = kit_column("a", PLAIN("integer"), 'N', false);
	kit->columns[1] = kit_column("b", PLAIN("text"), 'S', false);
	kit->order[0] = &kit->columns[0];
	kit->order[1] = &kit->columns[1];
	kit->rel = (struct relation){ .schema = (char *)"public", .name = (char *)"t" };
	if (mkdtemp(kit->dir) == NULL ||
	    (kit->place = open(kit->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		exit(1);
	kit->engine = (struct engine){
		.pool = pool,
		.has_ledger = true,
		.has_streams = true,
		.count = &kit->count,
		.batch_size = 5000,
		.flush_us = (int64_t)3600 * US_PER_S, /* the test says when */
		.feeding_most = 4,
		.changed = kit_changed,
		.arg = kit,
	};
	CHECK_INT(fence_claim(kit->place, 0, &kit->engine.fence, &other), 0);
	CHECK_INT(fence_end_earlier(kit->engine.fence, pool, &err), 0);
	CHECK_INT(report_new(kit->place, 1000, 64 << 20, &kit->engine.report, &why), 0);
	kit->writer = writer_new(&kit->engine);
	CHECK(kit->writer != NULL);
}

static inline void streamkit_close(struct streamkit *kit) {
	writer_free(kit->writer);
	report_free(kit->engine.report);
	fence_free(kit->engine.fence);
	close(kit->place);
	char *argv[] = { (char *)"rm", (char *)"-rf", kit->dir, NULL };
	pid_t pid;
	if (posix_spawnp(&pid, "rm", NULL, NULL, argv, environ) == 0)
		waitpid(pid, NULL, 0);
}

static inline struct source *streamkit_source(struct streamkit *kit, const char *path) {
	struct source *source = NULL;
	CHECK_INT(source_open(kit->writer, NULL, &kit->rel, kit->order, 2, path, &source), 0);
	return source;
}

/* Puts N lines FIRST, FIRST + 1 ..., each with a text of ROOM bytes, as one unit. */
static inline int streamkit_put(struct source *source, int first, int n, int room) {
	AUTO_BUF struct buf data = { 0 };
	AUTO_FREE struct unit_line *lines = calloc((size_t)n, sizeof(*lines));
	AUTO_FREE size_t *at = calloc((size_t)n + 1, sizeof(*at));
	for (int i = 0; i < n; i++) {
		buf_printf(&data, "%d,%0*d", first + i, room, first + i);
		at[i + 1] = data.len;
	}
	for (int i = 0; i < n; i++)
		lines[i] = (struct unit_line){ .text = data.data + at[i],
					       .len = (uint32_t)(at[i + 1] - at[i]),
					       .number = (uint64_t)(first + i) };
	const struct unit unit = { .lines = lines, .n = n };
	return source_put(source, &unit);
}
