/* state_dir: the directory in it that is this mount's, and what is kept there. */
#include "fs/bytes/plain.h"
#include "fs/core/part.h"
#include "fs/core/report.h"
#include "fs/rows/rotations.h"
#include "fs/stream/fence.h"
#include "util/private_dir.h"
#include "util/text/name.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { PLACE_NAME_MOST = 200, CLAIM_WAIT_MS = 10000 };

static void complain_of_state(const struct options *opt, int rc, const struct buf *why) {
	fprintf(stderr, "rowfs: state directory %s: %s (choose another with -o state_dir=DIR)\n",
		opt->state_dir != NULL ? opt->state_dir : "(none)",
		why->len > 0 ? why->data : strerror(-rc));
}

/* Opens state_dir, and the directory in it that belongs to this mountpoint. */
static int open_place(struct fs *fs, struct buf *why) {
	AUTO_BUF struct buf name = { 0 };
	if (fs->opt->state_dir == NULL) {
		buf_puts(why, "there is no home directory for it");
		return -ENOENT;
	}
	name_encode(&name, fs->opt->mountpoint, "");
	if (name.failed)
		return -ENOMEM;
	size_t skip = name.len > PLACE_NAME_MOST ? name.len - PLACE_NAME_MOST : 0;
	fs->state = private_dir_open(fs->opt->state_dir, why);
	if (fs->state < 0)
		return fs->state;
	fs->place = private_dir_below(fs->state, name.data + skip, why);
	return fs->place < 0 ? fs->place : 0;
}

/* Makes the place this daemon's, and ends what an earlier mount left under way. Tells on stderr
 * what is in the way. */
static bool open_fence(struct fs *fs) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf why = { 0 };
	pid_t other = 0;
	int rc = open_place(fs, &why);
	if (rc == 0)
		rc = fence_claim(fs->place, 0, &fs->fence, &other);
	if (rc == -EBUSY) {
		fprintf(stderr, "rowfs: waiting for process %d, which served %s before\n",
			(int)other, fs->opt->mountpoint);
		rc = fence_claim(fs->place, CLAIM_WAIT_MS, &fs->fence, &other);
	}
	if (rc == -EBUSY)
		fprintf(stderr,
			"rowfs: process %d still serves files of %s that are open since it was unmounted: "
			"close them, or end the programs that have them (or choose another place with "
			"-o state_dir=DIR)\n",
			(int)other, fs->opt->mountpoint);
	else if (rc != 0)
		complain_of_state(fs->opt, rc, &why);
	else if ((rc = fence_end_earlier(fs->fence, fs->pool, &err)) != 0)
		fprintf(stderr, "rowfs: what an earlier mount left under way cannot be ended: %s\n",
			db_error_text(&err));
	return rc == 0;
}

static int open_files(struct fs *fs, struct buf *why) {
	const struct options *opt = fs->opt;
	int rc = plain_new(fs->place, opt->plain_max, &fs->disk, &fs->plain, why);
	if (rc == 0)
		rc = report_new(fs->place, opt->errors_max, opt->rejected_max, &fs->report, why);
	if (rc == 0)
		rc = fs->rotations = private_dir_below(fs->place, "rotations", why);
	return rc < 0 ? rc : 0;
}

static void place_close(struct fs *fs) {
	/* a mount that was never served leaves the plain files to the next one */
	plain_free(fs->plain, fs->session != NULL);
	if (fs->rotations >= 0)
		close(fs->rotations);
	report_free(fs->report);
	fence_free(fs->fence); /* the last of the place: another daemon may begin now */
	if (fs->place >= 0)
		close(fs->place);
	if (fs->state >= 0)
		close(fs->state);
}

static bool place_open(struct fs *fs) {
	AUTO_BUF struct buf why = { 0 };
	fs->state = fs->place = fs->rotations = -1;
	bool claimed = open_fence(fs);
	int rc = claimed ? open_files(fs, &why) : 0;
	if (rc != 0)
		complain_of_state(fs->opt, rc, &why);
	if (!claimed || rc != 0) {
		place_close(fs);
		return false;
	}
	if (!fs->opt->read_only)
		rotations_recover(fs);
	return true;
}

const struct mount_part place_part = { "state_dir", place_open, place_close };
