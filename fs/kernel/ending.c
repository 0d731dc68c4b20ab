#include "fs/kernel/ending.h"

#include "fs/core/call.h"
#include "fs/open/handle.h"
#include "fs/core/kind.h"
#include "fs/core/part.h"
#include "fs/core/report.h"
#include "fs/kernel/reply.h"
#include "util/clock.h"
#include "util/job.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

enum {
	AGAIN_MS = 50,
	HELP_MS = 5000,  /* from when on files are committed out of their turn */
	LAST_MS = 25000, /* from when on nobody is waited for */
	UNMOUNT_MS = 2000,
	HELPERS = 4,
};

struct ending {
	struct fs *fs;
	pthread_t thread;
	pthread_cond_t changed;  /* all below is guarded by fs_lists */
	bool mounts;             /* see ending_mounts() */
	struct fuse_session *se; /* NULL: there is none (any more) that is this thread's to end */
	bool loops;
	pthread_t loop;
	bool over;
	bool helped, committed;
	int helpers;
	bool unmounted;
};

static sigset_t ending_signals(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP); /* ends nothing: see thread_main() */
	return set;
}

/* -- after 5 s --------------------------------------------------------------------------------- */

/* Commits what H has, as fsync does, unless somebody works on it. */
static void commit(struct fs *fs, struct handle *h) {
	AUTO_CALL struct call call = CALL_OF(fs);
	if (h->kind->sync == NULL || !mutex_trylock(&h->lock))
		return;
	reply_told(&call, h->node, NULL, h->kind->sync(&call, h, SYNC_FSYNC));
	mutex_unlock(&h->lock);
}

static void help(void *arg) {
	struct ending *e = arg;
	struct handle *h;
	while ((h = handles_claim(e->fs->handles)) != NULL) {
		commit(e->fs, h);
		handles_unclaim(e->fs->handles, h);
	}
	LOCK_SCOPE(&fs_lists);
	e->helpers--;
	pthread_cond_broadcast(&e->changed);
}

static void help_locked(struct ending *e) {
	e->helped = true;
	for (int i = 0; i < HELPERS && !e->committed; i++) {
		if (job_run(help, e) != 0)
			return;
		e->helpers++;
	}
}

/* Files that are still open when the mount ends: what was written to them is committed all the
 * same. */
static void close_handles(struct fs *fs) {
	struct handle *h;
	while ((h = handles_any(fs->handles)) != NULL) {
		AUTO_CALL struct call call = CALL_OF(fs);
		if (h->kind->sync != NULL) {
			LOCK_SCOPE(&h->lock); /* the clock, or the ending, may work on it */
			(void)h->kind->sync(&call, h, SYNC_RELEASE);
		}
		handle_free(fs, h);
	}
}

static bool open_files_open(struct fs *fs) {
	fs->handles = handles_new();
	return fs->handles != NULL;
}

/* Commits all. No signal commits anything from here on. */
static void open_files_close(struct fs *fs) {
	struct ending *e = fs->ending;
	close_handles(fs);
	mutex_lock(&fs_lists);
	e->committed = true;
	while (e->helpers > 0)
		mutex_wait(&e->changed, &fs_lists);
	mutex_unlock(&fs_lists);
	handles_free(fs->handles);
}

const struct mount_part open_files_part = { "open files", open_files_open, open_files_close };

/* -- after 25 s -------------------------------------------------------------------------------- */

static void tell_rest(void *arg, struct handle *h) {
	struct fs *fs = arg;
	const char *why = "the mount was ended before its commit was over";
	if ((h->flags & O_ACCMODE) == O_RDONLY)
		return;
	AUTO_FREE char *path = node_path(fs->nodes, h->node, NULL);
	const char *name = path != NULL ? path : "?";
	if (!mutex_trylock(&h->lock)) {
		log_error("%s: a commit is under way, and may come too late", name);
		return;
	}
	const struct buf *unsent = h->kind->unsent != NULL ? h->kind->unsent(h) : NULL;
	if (unsent != NULL && unsent->len > 0) {
		log_error("%s: %zu bytes are not committed; they are in rejected/", name,
			  unsent->len);
		report_rejection(fs->report, &(struct rejection){ .path = name,
								  .data = unsent->data,
								  .len = unsent->len,
								  .keep = true,
								  .errnum = ETIMEDOUT,
								  .sqlstate = "",
								  .sentence = why });
	}
	mutex_unlock(&h->lock);
}

static void unmount(void *arg) {
	struct ending *e = arg;
	/* it closes the device, too: whoever still waits for an answer gets an error, also if a
	 * thread of this process can never end */
	fuse_session_unmount(e->se);
	LOCK_SCOPE(&fs_lists);
	e->unmounted = true;
	pthread_cond_broadcast(&e->changed);
}

static void unmount_locked(struct ending *e) {
	int64_t until = clock_us() + (int64_t)UNMOUNT_MS * US_PER_MS;
	if (e->se == NULL || job_run(unmount, e) != 0)
		return;
	while (!e->unmounted && mutex_wait_until(&e->changed, &fs_lists, until) == 0)
		;
}

/* Does not return. */
static void last_resort_locked(struct ending *e) {
	log_error(
		"the mount has not ended for %d s after the signal, since something waits for the database: it is ended "
		"now",
		LAST_MS / 1000);
	if (!e->committed)
		handles_tell(e->fs->handles, tell_rest, e->fs);
	unmount_locked(e);
	/* what is left waits for what never comes, so that nothing can be freed */
	_exit(1); /* banned-ok: see above */
}

/* -- the thread -------------------------------------------------------------------------------- */

static void wake(int number) {
	(void)number; /* to interrupt the loop's wait is all that it is for */
}

static void watch_locked(struct ending *e) {
	int64_t began = clock_us();
	/* again, since a request may arrive, or the loop begin to wait, just behind our back */
	while (!e->over) {
		int64_t passed_ms = (clock_us() - began) / US_PER_MS;
		if (e->loops) {
			fuse_session_exit(e->se);
			calls_interrupt(e->fs->calls);
			pthread_kill(e->loop, SIGUSR1);
		}
		if (passed_ms >= HELP_MS && !e->helped)
			help_locked(e);
		if (passed_ms >= LAST_MS)
			last_resort_locked(e);
		int64_t until = clock_us() + (int64_t)AGAIN_MS * US_PER_MS;
		mutex_wait_until(&e->changed, &fs_lists, until);
	}
}

static void *thread_main(void *arg) {
	struct ending *e = arg;
	sigset_t set = ending_signals();
	int number;
	while (sigwait(&set, &number) == 0 && number == SIGHUP)
		atomic_store(&e->fs->layout_asked, true); /* see fs/admin/reload.h */
	LOCK_SCOPE(&fs_lists);
	if (e->over)
		return NULL;
	if (!e->mounts) {
		log_error("signal %d: ended before anything was mounted", number);
		_exit(1); /* banned-ok: the thread that mounts may wait for the database */
	}
	log_info("signal %d: unmounting", number);
	watch_locked(e);
	return NULL;
}

/* Blocks the signals that end a mount in this thread and all that it will start, and starts the
 * thread that takes them. There are no other threads yet. */
static bool ending_open(struct fs *fs) {
	struct sigaction action = { .sa_handler = wake };
	struct ending *e = calloc(1, sizeof(*e));
	sigset_t set = ending_signals();
	if (e == NULL)
		return false;
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGUSR1, &action, NULL);
	e->fs = fs;
	fs->ending = e;
	clock_condition(&e->changed);
	if (thread_start(&e->thread, thread_main, e) == 0)
		return true;
	pthread_cond_destroy(&e->changed);
	free(e);
	return false;
}

void ending_mounts(struct ending *e) {
	LOCK_SCOPE(&fs_lists);
	e->mounts = true;
}

void ending_serves(struct ending *e, struct fuse_session *se) {
	LOCK_SCOPE(&fs_lists);
	e->se = se;
	e->loops = true;
	e->loop = pthread_self();
}

void ending_has_served(struct ending *e) {
	LOCK_SCOPE(&fs_lists);
	e->loops = false;
}

void ending_unmounts(struct ending *e) {
	LOCK_SCOPE(&fs_lists);
	e->se = NULL;
}

static void ending_close(struct fs *fs) {
	struct ending *e = fs->ending;
	mutex_lock(&fs_lists);
	e->over = true;
	pthread_cond_broadcast(&e->changed);
	mutex_unlock(&fs_lists);
	pthread_kill(e->thread, SIGTERM); /* it waits for it, and will see that all is over */
	pthread_join(e->thread, NULL);
	pthread_cond_destroy(&e->changed);
	free(e);
}

const struct mount_part ending_part = { "ending", ending_open, ending_close };
