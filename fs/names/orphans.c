#include "fs/names/orphans.h"

#include "fs/core/part.h"
#include "fs/bytes/plain.h"
#include "fs/core/report.h"
#include "util/clock.h"
#include "util/mutex.h"

#include <errno.h>
#include <string.h>

enum { WAIT_US = 60 * US_PER_S };

struct orphan {
	struct orphan *next;
	int64_t until; /* clock_us() */
	char path[];
};

struct orphans {
	struct orphan *files; /* guarded by fs_lists */
};

static bool orphans_open(struct fs *fs) {
	struct orphans *orphans = fs->orphans = calloc(1, sizeof(*orphans));
	return orphans != NULL;
}

int orphans_keep(struct call *call, const char *path, const char *data, size_t len) {
	struct orphans *orphans = call->fs->orphans;
	struct orphan *new = calloc(1, sizeof(*new) + strlen(path) + 1);
	if (new == NULL)
		return -ENOMEM;
	int rc = plain_replace(call->fs->plain, path, data, len);
	if (rc != 0) {
		free(new);
		return rc;
	}
	memcpy(new->path, path, strlen(path) + 1);
	new->until = clock_us() + WAIT_US;
	LOCK_SCOPE(&fs_lists);
	struct orphan **at = &orphans->files;
	while (*at != NULL && strcmp((*at)->path, path) != 0)
		at = &(*at)->next;
	if (*at != NULL) {
		(*at)->until = new->until;
		free(new);
	} else {
		*at = new;
	}
	return 0;
}

/* Those that are due, taken out. */
static struct orphan *take_due(struct orphans *orphans, bool all) {
	struct orphan *due = NULL;
	LOCK_SCOPE(&fs_lists);
	for (struct orphan **at = &orphans->files; *at != NULL;) {
		struct orphan *f = *at;
		if (!all && clock_us() < f->until) {
			at = &f->next;
			continue;
		}
		*at = f->next;
		f->next = due;
		due = f;
	}
	return due;
}

static void give_up(struct fs *fs, const char *path) {
	AUTO_BUF struct buf text = { 0 };
	struct stat st;
	/* it may have been renamed or removed, or be a mark of something new */
	if (plain_stat(fs->plain, path, &st) != 0 || !S_ISREG(st.st_mode) ||
	    (st.st_mode & PLAIN_MARK) != 0 ||
	    plain_read_all(fs->plain, path, fs->opt->max_document, &text) != 0)
		return;
	const struct rejection rejection = {
		.path = path,
		.data = text.data != NULL ? text.data : "",
		.len = text.len,
		.keep = text.len > 0,
		.errnum = ENOENT,
		.sqlstate = "",
		.sentence =
			"the row of this file does not exist, or it says another one, and the file was not renamed to "
			"one that has a row",
	};
	atomic_fetch_add(&fs->count.errors, 1);
	report_rejection(fs->report, &rejection);
	if (plain_unlink(fs->plain, path) == 0)
		fs_changed(fs);
}

void orphans_tend(struct fs *fs, bool all) {
	struct orphan *due = take_due(fs->orphans, all);
	while (due != NULL) {
		struct orphan *f = due;
		due = f->next;
		give_up(fs, f->path);
		free(f);
	}
}

static void orphans_close(struct fs *fs) {
	orphans_tend(fs, true);
	free(fs->orphans);
}

const struct mount_part orphans_part = { "orphans", orphans_open, orphans_close };
