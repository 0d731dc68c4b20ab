#include "import/copy.h"

#include "import/lines.h"
#include "import/record.h"
#include "util/text/gunzip.h"
#include "util/text/strings.h"
#include "util/below.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { CHUNK = 256 * 1024 };

static uint64_t count_newlines(const char *data, size_t len) {
	uint64_t n = 0;
	for (const char *p = data; (p = memchr(p, '\n', len - (size_t)(p - data))) != NULL; p++)
		n++;
	return n;
}

/* -- copying ----------------------------------------------------------------------------------- */

/* Copies what is left of IN, from byte AT. A rows file gets a newline behind its last line, so that
 * close() commits it. */
static int copy_bytes(struct import *im, struct item *item, int in, uint64_t at, int out,
		      bool *source_failed) {
	AUTO_FREE char *chunk = malloc(CHUNK);
	bool lines = item->what == CLASS_LINES;
	bool counts = lines || (item->what == CLASS_INGEST && !text_ends(item->path, ".gz"));
	char last = '\n';
	ssize_t n;
	int rc = chunk != NULL ? 0 : -ENOMEM;
	while (rc == 0 && (n = read(in, chunk, CHUNK)) != 0) {
		if (n < 0) {
			*source_failed = true;
			return -errno;
		}
		rc = import_write(out, chunk, (size_t)n);
		last = chunk[n - 1];
		at += (uint64_t)n;
		import_count(im, item, at, counts ? count_newlines(chunk, (size_t)n) : 0);
	}
	if (rc == 0 && lines && last != '\n')
		rc = import_write(out, "\n", 1);
	return rc;
}

/* Of an ingest file, A in the old tree, which is read: how many of its first bytes are on the mount
 * already. 0 also if what is there is something else. */
static uint64_t bytes_there(const struct import *im, const struct item *item, int a) {
	AUTO_FD int b = import_open_new(im, item);
	struct import_difference at;
	bool same = b >= 0 && import_compare(a, b, &at) == 0 && at.b_ends;
	return same && at.offset <= item->size ? at.offset : 0;
}

/* Mode and times mean something to bytes only. Where they do not, nothing is lost. */
static void keep_attributes(const struct item *item, int fd) {
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, item->mtime };
	if (item->what != CLASS_PLAIN && item->what != CLASS_INGEST)
		return;
	(void)!fchmod(fd, item->mode & 0777);
	(void)!futimens(fd, times);
}

/* True if lines of the ingest file are no rows. */
static bool lacks_rows(const struct import *im, const struct item *item) {
	struct rowfs_rows rows;
	return import_ask_rows(im, item, &rows) == 0 && (rows.bad > 0 || rows.rows < rows.lines);
}

/* What refused them may have been mended. */
static bool is_to_be_taken_anew(const struct import *im, const struct item *item) {
	return item->route != NULL && !item->route->keeps && lacks_rows(im, item);
}

/* Writes the file as a whole; an ingest file that is there in part is continued, so that no row of
 * it comes twice. */
static int copy_whole(struct import *im, struct item *item, bool *source_failed) {
	AUTO_FD int in = import_open_old(im, item);
	*source_failed = in < 0;
	if (in < 0)
		return in;
	uint64_t there = item->what == CLASS_INGEST ? bytes_there(im, item, in) : 0;
	bool begun = there > 0;
	if (begun && im->restart && there == item->size && is_to_be_taken_anew(im, item))
		there = 0;
	if (lseek(in, (off_t)there, SEEK_SET) < 0)
		return -errno;
	import_count(im, item, there, 0);
	AUTO_FD int out = import_open_for_writing(im, item, there > 0 ? O_APPEND : O_TRUNC);
	if (out < 0)
		return out;
	int rc = copy_bytes(im, item, in, there, out, source_failed);
	/* nothing was written: close() alone would promise nothing */
	if (rc == 0 && item->size == 0 && fsync(out) != 0)
		rc = -errno;
	if (rc == 0)
		keep_attributes(item, out);
	int fd = out;
	out = -1;
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	/* an earlier run may have been told of lines that are no rows */
	return rc == 0 && begun && lacks_rows(im, item) ? -EINVAL : rc;
}

/* The lines of a file that documents speak of again must not replace what these have brought
 * since. */
static bool would_undo(const struct import *im, const struct item *item) {
	AUTO_RECORDS struct records r = { .fd = -1 };
	struct record record;
	if (!item->shadowed || !plan_shadowed(&im->plan, item, true))
		return false;
	int rc = records_open(&r, import_open_new(im, item), item_format(item), NULL);
	if (rc == 0)
		rc = records_next(&r, &record);
	return rc == 1;
}

/* An ingest file with lines that are no rows: its bytes are in all the same. */
static void tell_bad_lines(const struct import *im, const struct item *item, struct buf *why) {
	struct rowfs_rows rows = { 0 };
	struct stat st;
	if (below_stat(im->new_dir, item->path, &st) != 0 || (uint64_t)st.st_size != item->size)
		return;
	if (import_ask_rows(im, item, &rows) == 0 && (rows.bad > 0 || rows.rows < rows.lines)) {
		uint64_t lost = rows.lines > rows.rows ? rows.lines - rows.rows : 0;
		buf_printf(why,
			   "its bytes are in, but %" PRIu64 " of %" PRIu64
			   " lines are no rows, see rejected/",
			   rows.bad + lost, rows.bad + rows.lines);
		size_t len = why->len;
		buf_puts(why, ": ");
		import_sentence(im, item, why);
		if (why->len == len + 2)
			buf_resize(why, len);
		return;
	}
	buf_puts(why, "its bytes are in, but not every line is a row, see rejected/: ");
	import_sentence(im, item, why);
}

/* True if the old file's compressed data ends inside a gzip member. False also if it cannot be
 * read, is damaged or is no gzip: the mount tells that. */
static bool is_cut(const struct import *im, const struct item *item) {
	AUTO_FD int fd = import_open_old(im, item);
	AUTO_FREE char *chunk = malloc(CHUNK);
	AUTO_BUF struct buf out = { 0 };
	struct gunzip g = { 0 };
	enum gunzip_event event = GUNZIP_MORE;
	ssize_t n = -1;
	while (fd >= 0 && chunk != NULL && event == GUNZIP_MORE &&
	       (n = read(fd, chunk, CHUNK)) > 0) {
		const char *data = chunk, *why;
		size_t len = (size_t)n;
		do {
			buf_resize(&out, 0);
			event = gunzip_feed(&g, &data, &len, &out, &why);
		} while (event != GUNZIP_MORE && event != GUNZIP_DAMAGED);
		if (out.failed)
			break;
	}
	bool cut = n == 0 && event == GUNZIP_MORE && g.mode == GUNZIP_INSIDE;
	gunzip_free(&g);
	return cut;
}

int copy_item(struct import *im, struct item *item, struct buf *why) {
	bool source_failed = false;
	int rc;
	if (item->what == CLASS_LINES &&
	    (item->size > im->max_document || item->route->ingested || !item->route->replaceable)) {
		rc = lines_append(im, item, why);
	} else if (item->what == CLASS_LINES && would_undo(im, item)) {
		buf_puts(
			why,
			"not written again: documents beside it are in already, and may have brought rows that its lines do not have; compare with --verify-only");
		return -EEXIST;
	} else {
		rc = copy_whole(im, item, &source_failed);
	}
	if (source_failed)
		buf_puts(why, "the old file cannot be read");
	else if (rc == -EINVAL && item->what == CLASS_INGEST && why->len == 0)
		tell_bad_lines(im, item, why);
	if (rc == 0 && import_has_changed(im, item)) {
		buf_puts(why,
			 "the old file was changed while it was copied: the same command again "
			 "takes what is new");
		return -EAGAIN;
	}
	/* the mount cannot say so at close: more may have come */
	if (rc == 0 && item->what == CLASS_INGEST && text_ends(item->path, ".gz") &&
	    is_cut(im, item))
		return buf_refuse(
			why,
			"its bytes are in, and the lines that they have are rows, but the compressed data is cut short: it ends inside a gzip member");
	if (rc == 0) {
		rc = journal_done(im->journal, item);
		if (rc != 0)
			buf_puts(why, "the journal cannot be written");
	}
	return rc;
}
