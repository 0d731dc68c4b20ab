#include "fs/admin/health.h"
#include "fs/admin/reload.h"

#include "db/query.h"
#include "fs/cache/coherence.h"
#include "fs/core/part.h"
#include "fs/core/report.h"
#include "fs/files/ingest.h"
#include "schema/snapshot/reach.h"
#include "util/clock.h"
#include "util/job.h"
#include "util/mutex.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
	DISK_LEAST = 20,             /* a disk with less than 1/20 of it free is nearly full */
	REJECTED_LEAST = 20,         /* so is rejected/ */
	SERVER_FULL_US = 60000000,   /* so long after an error of the server's disk */
	LOOK_OLD_US = 30 * US_PER_S, /* an older look says nothing */
	SLOW_LOOK_US = US_PER_S,
};

/* What a look is waiting for. */
enum step { STEP_DISK, STEP_DATABASE };

struct health {
	struct fs *fs;
	/* guarded by fs_lists, as the rest */
	pthread_cond_t ended;
	bool looking;
	enum step step;
	int64_t began_us; /* the look under way, or the last one */
	int64_t ended_us; /* the last one; 0: there was none */
	char *failing;    /* what it found: a sentence, or NULL; owned */
	char *degraded;   /* lines; owned */
};

/* -- a look ------------------------------------------------------------------------------------ */

static void look_at_disk(const struct fs *fs, struct buf *reasons) {
	struct statvfs disk;
	const char *dir = fs->opt->state_dir;
	if (fstatvfs(fs->state, &disk) != 0) {
		buf_printf(reasons, "state_dir %s: %s\n", dir, strerror(errno));
		return;
	}
	if ((disk.f_flag & ST_RDONLY) != 0 || faccessat(fs->state, ".", W_OK, AT_EACCESS) != 0)
		buf_printf(reasons, "state_dir %s cannot be written to\n", dir);
	if (disk.f_bavail < disk.f_blocks / DISK_LEAST)
		buf_printf(reasons, "state_dir %s: less than 5 %% of the disk is free (%llu MiB)\n",
			   dir, (unsigned long long)disk.f_bavail * disk.f_frsize >> 20);
	uint64_t rejected = report_rejected_bytes(fs->report), most = fs->opt->rejected_max;
	if (rejected > most - most / REJECTED_LEAST)
		buf_puts(reasons, "less than 5 % of rejected_max is free for refused input\n");
	if (disk.f_files > 0 && disk.f_favail < disk.f_files / DISK_LEAST)
		buf_printf(reasons, "state_dir %s: less than 5 %% of the inodes are free\n", dir);
}

static void set_step(enum step step, struct health *h) {
	LOCK_SCOPE(&fs_lists);
	h->step = step;
}

static void look(void *arg) {
	struct health *h = arg;
	struct db_config config = options_db_config(h->fs->opt);
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf reasons = { 0 };
	AUTO_FREE char *failing = NULL;
	look_at_disk(h->fs, &reasons);
	set_step(STEP_DATABASE, h);
	{
		AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(h->fs);
		config.command_timeout_ms = HEALTH_MS;
		if (reach_ask(&config, HEALTH_MS, s->catalog, &reasons, &err) != 0)
			failing = strdup(db_error_text(&err));
	}
	LOCK_SCOPE(&fs_lists);
	free(h->failing);
	free(h->degraded);
	h->failing = move_ptr(failing);
	h->degraded = buf_take(&reasons);
	h->ended_us = clock_us();
	h->looking = false;
	pthread_cond_broadcast(&h->ended);
}

/* A look that has waited tells those who have waited for it, too: requests are served two at a
 * time. */
static bool is_shared(const struct health *h) {
	return h->ended_us - h->began_us > SLOW_LOOK_US && clock_us() - h->ended_us < SLOW_LOOK_US;
}

/* Begins a look, if none is under way, and none has just told that it had to wait. The lock is
 * held. */
static void begin_look(struct health *h) {
	if (h->looking || is_shared(h))
		return;
	h->began_us = clock_us();
	h->step = STEP_DISK;
	h->looking = job_run(look, h) == 0;
}

/* -- what is said ------------------------------------------------------------------------------ */

struct verdict {
	struct buf failing, degraded; /* lines */
};

static void verdict_free(struct verdict *v) {
	buf_free(&v->failing);
	buf_free(&v->degraded);
}

#define AUTO_VERDICT __attribute__((cleanup(verdict_free)))

/* What the look found; WAITS: one that begins now, or is under way. */
static void judge_look(struct health *h, bool waits, struct verdict *v) {
	LOCK_SCOPE(&fs_lists);
	int64_t now = clock_us();
	if (waits)
		begin_look(h);
	int64_t until = h->began_us + (int64_t)HEALTH_MS * US_PER_MS;
	for (int rc = 0; waits && rc == 0 && h->looking;)
		rc = mutex_wait_until(&h->ended, &fs_lists, until);
	now = clock_us();
	if (h->looking && now >= until) {
		buf_printf(h->step == STEP_DISK ? &v->degraded : &v->failing,
			   "%s has not answered for %.1f s\n",
			   h->step == STEP_DISK ? "the disk of state_dir" : "the database",
			   (double)(now - h->began_us) / US_PER_S);
		return;
	}
	if (h->ended_us == 0 || (!waits && now - h->ended_us > LOOK_OLD_US))
		return;
	if (h->failing != NULL)
		buf_printf(&v->failing, "%s\n", h->failing);
	buf_puts(&v->degraded, h->degraded != NULL ? h->degraded : "");
}

/* What the mount knows by itself. */
static void judge_mount(struct fs *fs, struct verdict *v) {
	struct db_stats db;
	db_pool_stats(fs->pool, &db);
	if (db.waiting > 0 && db.idle == 0 && db.open >= fs->opt->max_connections)
		buf_printf(&v->degraded,
			   "all %d connections are in use, and %d requests wait for one\n", db.open,
			   db.waiting);
	int waiting = ingest_streams_failing(fs);
	if (waiting > 0)
		buf_printf(&v->degraded, "%d ingest files have bytes that could not be committed\n",
			   waiting);
	if (report_server_was_full(fs->report, SERVER_FULL_US))
		buf_puts(&v->degraded, "the server's disk is full, or was in the last minute\n");
	AUTO_BUF struct buf misfits = { 0 };
	if (!reload_fits(fs, &misfits))
		buf_printf(&v->degraded, "%s\n",
			   misfits.data != NULL ? misfits.data : "out of memory");
	if (coherence_is_deaf(fs))
		buf_puts(&v->degraded, "the session that hears of changes is lost\n");
}

static void judge(struct call *call, bool waits, struct verdict *v) {
	judge_look(call->fs->health, waits, v);
	judge_mount(call->fs, v);
}

/* Each line of LINES behind WORD. */
static void put_lines(struct buf *out, const char *word, const struct buf *lines) {
	for (const char *p = lines->len > 0 ? lines->data : ""; *p != '\0';) {
		int len = (int)strcspn(p, "\n");
		buf_printf(out, "%s: %.*s\n", word, len, p);
		p += len + (p[len] == '\n');
	}
}

void health_text(struct call *call, struct buf *out) {
	AUTO_VERDICT struct verdict v = { 0 };
	judge(call, true, &v);
	put_lines(out, "failing", &v.failing);
	put_lines(out, "degraded", &v.degraded);
	if (v.failing.len + v.degraded.len == 0)
		buf_puts(out, "ok\n");
}

static void put_members(struct buf *out, const struct buf *lines, int *n) {
	for (const char *p = lines->len > 0 ? lines->data : ""; *p != '\0';) {
		size_t len = strcspn(p, "\n");
		buf_puts(out, (*n)++ > 0 ? ", " : "");
		buf_json_string(out, p, len);
		p += len + (p[len] == '\n');
	}
}

void health_json(struct call *call, struct buf *out) {
	AUTO_VERDICT struct verdict v = { 0 };
	int n = 0;
	judge(call, false, &v);
	buf_printf(out, "    \"health\": \"%s\",\n    \"health_reasons\": [",
		   v.failing.len > 0    ? "failing"
		   : v.degraded.len > 0 ? "degraded"
					: "ok");
	put_members(out, &v.failing, &n);
	put_members(out, &v.degraded, &n);
	buf_puts(out, "],\n");
}

/* -- as a part --------------------------------------------------------------------------------- */

static bool health_open(struct fs *fs) {
	struct health *h = fs->health = calloc(1, sizeof(*h));
	if (h == NULL)
		return false;
	h->fs = fs;
	clock_condition(&h->ended);
	return true;
}

/* Waits for a look that is under way: some seconds if the server is silent. */
static void health_close(struct fs *fs) {
	struct health *h = fs->health;
	{
		LOCK_SCOPE(&fs_lists);
		while (h->looking)
			mutex_wait(&h->ended, &fs_lists);
	}
	pthread_cond_destroy(&h->ended);
	free(h->failing);
	free(h->degraded);
	free(h);
}

const struct mount_part health_part = { "health", health_open, health_close };
