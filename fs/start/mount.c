#include "fs/start/mount.h"

#include "fs/cache/coherence.h"
#include "fs/start/daemon.h"
#include "fs/kernel/ending.h"
#include "fs/open/handle.h"
#include "fs/files/ingest.h"
#include "fs/start/install.h"
#include "fs/start/migrate.h"
#include "fs/start/place.h"
#include "fs/start/served.h"
#include "fs/stream/engine.h"
#include "fs/stream/fence.h"
#include "fs/core/intake.h"
#include "fs/kernel/kinds.h"
#include "fs/open/locks.h"
#include "fs/names/made.h"
#include "fs/names/moved.h"
#include "fs/bytes/plain.h"
#include "fs/list/prefetch.h"
#include "fs/names/removal.h"
#include "fs/core/report.h"
#include "fs/rows/rotations.h"
#include "fs/kernel/session.h"
#include "fs/admin/timer.h"
#include "fs/inodes/fresh.h"
#include "fs/rows/transcript.h"
#include "fs/list/trail.h"
#include "fs/names/intent.h"
#include "fs/names/orphans.h"
#include "fs/stream/writer.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/private_dir.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* -- what a mount needs besides ---------------------------------------------------------------- */

static void committed(void *arg, const struct tally *lines) {
	struct fs *fs = arg;
	if (lines != NULL)
		coherence_appended(fs, lines);
	fs_changed(fs);
}

static void set_engine(struct fs *fs) {
	const struct options *opt = fs->opt;
	*fs->stream = (struct engine){
		.buckets = fs->buckets,
		.pool = fs->pool,
		.tree = fs->tree,
		.count = &fs->count,
		.batch_size = opt->batch_size,
		.flush_us = (int64_t)(opt->flush_interval * US_PER_S),
		.feeding_most = opt->max_connections / 2 - 1, /* others need some, too */
		.changed = committed,
		.arg = fs,
	};
}

static bool open_state(struct fs *fs) {
	const struct options *opt = fs->opt;
	AUTO_BUF struct buf why = { 0 };
	set_engine(fs);
	if (!place_open(fs))
		return false;
	int rc = plain_new(fs->place, opt->plain_max, &fs->disk, &fs->plain, &why);
	if (rc == 0)
		rc = report_new(fs->place, opt->errors_max, opt->rejected_max, &fs->report, &why);
	fs->stream->report = fs->report;
	if (rc == 0) {
		fs->rotations = private_dir_below(fs->place, "rotations", &why);
		rc = fs->rotations < 0 ? fs->rotations : 0;
	}
	if (rc != 0) {
		place_complain(opt, rc, &why);
		return false;
	}
	if (!opt->read_only)
		rotations_recover(fs);
	fs->trails = trails_new();
	fs->prefetch = prefetch_new();
	fs->transcripts = transcripts_new(fs);
	fs->bodies = bodies_new((uint64_t)opt->cache << 20);
	fs->fresh = fresh_new(fs->tree->nall);
	fs->nodes = fs->bodies != NULL ? nodes_new(fs) : NULL;
	fs->calls = calls_new();
	fs->intake = intake_new((unsigned)opt->threads, session_is_quick, fs);
	fs->handles = handles_new();
	fs->moved = moved_new();
	fs->made = made_new(fs->opt->max_document);
	fs->intents = intents_new();
	fs->orphans = orphans_new();
	fs->removals = removals_new(fs);
	fs->ingest = ingest_streams_new();
	fs->locks = locks_new();
	fs->writer = writer_new(fs->stream);
	return fs->nodes != NULL && fs->trails != NULL && fs->prefetch != NULL &&
	       fs->transcripts != NULL && fs->calls != NULL && fs->intake != NULL &&
	       fs->handles != NULL && fs->moved != NULL && fs->made != NULL &&
	       fs->intents != NULL && fs->orphans != NULL && fs->removals != NULL &&
	       fs->ingest != NULL && fs->locks != NULL && fs->writer != NULL && fs->fresh != NULL &&
	       coherence_open(fs);
}

static void close_state(struct fs *fs, bool served) {
	removals_free(move_ptr(fs->removals));
	writer_free(fs->writer);
	transcripts_free(fs->transcripts);
	coherence_end(fs);
	nodes_free(fs->nodes);
	bodies_free(fs->bodies);
	trails_free(fs->trails);
	prefetch_free(fs->prefetch);
	calls_free(fs->calls);
	intake_free(fs->intake);
	handles_free(fs->handles);
	moved_free(fs->moved);
	made_free(fs->made);
	intents_free(fs->intents);
	orphans_free(fs->orphans);
	ingest_streams_free(fs->ingest);
	locks_free(fs->locks);
	plain_free(fs->plain, served);
	if (fs->rotations >= 0)
		close(fs->rotations);
	report_free(fs->report);
	fence_free(fs->stream->fence); /* the last of the place: another daemon may begin now */
	if (fs->place >= 0)
		close(fs->place);
	if (fs->state >= 0)
		close(fs->state);
}

/* -- serving ----------------------------------------------------------------------------------- */

/* Files that are still open when the mount ends: what was written to them is committed all the
 * same. */
static void close_handles(struct fs *fs) {
	struct handle *h;
	while ((h = handles_any(fs->handles)) != NULL) {
		struct call call = { .fs = fs };
		pthread_mutex_init(&call.cancel.lock, NULL);
		if (h->kind->sync != NULL) {
			LOCK_SCOPE(&h->lock); /* the clock, or the ending, may work on it */
			(void)h->kind->sync(&call, h, SYNC_RELEASE);
		}
		call_end(&call);
		handle_free(fs, h);
	}
}

struct first_look {
	char path[PATH_MAX];
	pthread_t thread;
};

/* Tells the caller of `rowfs mount` once the mount answers. */
static void *look(void *arg) {
	struct first_look *first = arg;
	struct stat st;
	daemon_ready(stat(first->path, &st) == 0 ? 0 : 1);
	return NULL;
}

static int serve(struct fs *fs, struct ending *ending) {
	struct first_look first;
	struct timer *timer = NULL;
	snprintf(first.path, sizeof(first.path), "%s", fs->opt->mountpoint);
	ending_mounts(ending);
	struct fuse_session *se = session_mount(fs);
	if (se == NULL)
		return 1;
	if (!fs->opt->read_only) {
		ingest_claim(fs);
		ingest_sweep(fs);
	}
	fs->session = se;
	coherence_serve(fs, se);
	transcripts_serve(fs->transcripts, fuse_session_fd(se));
	bool looks = pthread_create(&first.thread, NULL, look, &first) == 0;
	if (timer_start(fs, &timer) != 0)
		log_warning("nothing will run by the clock");
	session_serve(fs, se, ending);
	if (looks)
		pthread_join(first.thread, NULL);
	timer_stop(timer);
	prefetch_end(fs);
	removals_end(fs->removals); /* before open files: they may wait for its locks */
	close_handles(fs);
	ending_committed(ending);
	orphans_tend(fs, true);
	transcripts_free(move_ptr(fs->transcripts));
	writer_free(move_ptr(fs->writer));
	coherence_end(fs);
	db_pool_shutdown(fs->pool);
	return 0;
}

/* Its memory has the password, and rows: no other program of this user may read it, and no core
 * file has it. LeakSanitizer reads it as another program would. */
static void keep_memory_private(void) {
#ifndef __SANITIZE_ADDRESS__
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
}

int rowfs_mount(const struct options *opt) {
	enum log_level level = LOG_LEVEL_WARNING;
	if (opt->log_level != NULL)
		(void)log_level_parse(opt->log_level, &level);
	if (session_is_mounted(opt->mountpoint)) {
		fprintf(stderr, "rowfs: %s: rowfs is mounted here already\n", opt->mountpoint);
		return 1;
	}
	if (!opt->foreground) {
		int status = daemon_begin();
		if (status >= 0)
			return status;
	}
	log_setup(level, !opt->foreground);
	keep_memory_private();
	ending_block_signals();
	struct engine stream = { 0 };
	struct fs fs = {
		.kinds = &all_kinds,
		.opt = opt,
		.stream = &stream,
		.state = -1,
		.place = -1,
		.rotations = -1,
		.started = time(NULL),
		.epoch = 1,
		.disk.most = opt->disk_max,
		.memory.most = opt->memory_max,
	};
	struct ending *ending = ending_start(&fs);
	bool ok = ending != NULL && (!opt->enable_migrations || migrate_core(opt) == 0) &&
		  served_open(&fs, opt->read_only ? WATCH_LOOK : WATCH_REPAIR) && open_state(&fs);
	if (ok) {
		install_version(&fs, true);
		install_note(&fs);
	}
	int status = ok ? serve(&fs, ending) : 1;
	daemon_ready(status != 0 ? status : 1); /* no effect after the first look */
	close_state(&fs, status == 0);
	coherence_free(&fs);
	fresh_free(fs.fresh);
	served_close(&fs);
	ending_stop(ending);
	return status;
}
