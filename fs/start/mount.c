#include "fs/start/mount.h"

#include "fs/core/part.h"
#include "fs/kernel/kinds.h"
#include "fs/kernel/session.h"
#include "fs/start/daemon.h"
#include "util/job.h"
#include "util/log.h"

#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#define LIST_PART(name) &name##_part,
static const struct mount_part *const parts[] = { MOUNT_PARTS(LIST_PART) };
enum { NPARTS = sizeof(parts) / sizeof(parts[0]) };

/* Returns how many parts are open: NPARTS, or those before the one that failed. */
static int open_parts(struct fs *fs) {
	int n = 0;
	while (n < NPARTS && parts[n]->open(fs))
		log_debug("%s: opened", parts[n++]->name);
	return n;
}

/* Closes the first N. */
static void close_parts(struct fs *fs, int n) {
	while (n-- > 0) {
		log_debug("%s: closing", parts[n]->name);
		if (parts[n]->close != NULL)
			parts[n]->close(fs);
	}
}

/* Tells the caller of `rowfs mount` once the mount answers. */
static void look(void *arg) {
	const char *path = arg;
	struct stat st;
	daemon_ready(stat(path, &st) == 0 ? 0 : 1);
}

static void serve(struct fs *fs) {
	struct job *first = job_start(look, fs->opt->mountpoint);
	session_serve(fs);
	if (first != NULL)
		job_join(first);
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
	struct fs fs = {
		.kinds = &all_kinds,
		.opt = opt,
		.started = time(NULL),
		.epoch = 1,
		.disk.most = opt->disk_max,
		.memory.most = opt->memory_max,
	};
	int n = open_parts(&fs);
	if (n == NPARTS)
		serve(&fs);
	daemon_ready(1); /* no effect after the first look */
	close_parts(&fs, n);
	return n == NPARTS ? 0 : 1;
}
