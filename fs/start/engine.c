/* The stream engine of a mount: what it needs of the mount, and what it tells. */
#include "fs/stream/engine.h"
#include "fs/cache/coherence.h"
#include "fs/core/part.h"
#include "fs/stream/writer.h"
#include "util/clock.h"

static void committed(void *arg, const struct tally *lines, struct db_error *err) {
	struct fs *fs = arg;
	if (lines != NULL)
		coherence_appended(fs, lines);
	coherence_changed(fs, err);
}

static void engine_close(struct fs *fs) {
	writer_free(fs->writer);
	free(fs->stream);
}

static bool engine_open(struct fs *fs) {
	const struct options *opt = fs->opt;
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	fs->stream = calloc(1, sizeof(*fs->stream));
	if (fs->stream == NULL)
		return false;
	*fs->stream = (struct engine){
		.buckets = fs->buckets,
		.pool = fs->pool,
		.has_ledger = s->tree->has_ledger,
		.has_streams = s->tree->has_streams,
		.report = fs->report,
		.fence = fs->fence,
		.count = &fs->count,
		.batch_size = opt->batch_size,
		.flush_us = (int64_t)(opt->flush_interval * US_PER_S),
		.feeding_most = opt->max_connections / 2 - 1, /* others need some, too */
		.changed = committed,
		.arg = fs,
	};
	fs->writer = writer_new(fs->stream);
	if (fs->writer != NULL)
		return true;
	engine_close(fs);
	return false;
}

const struct mount_part engine_part = { "engine", engine_open, engine_close };
