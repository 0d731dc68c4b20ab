/* What an open rows file reads: from a kept copy that somebody else has made, or by a reader of its
 * own, which makes one as long as it reads on from the start. */
#include "fs/rows/rows_read.h"

#include "fs/cache/coherence.h"
#include "fs/rows/rows_file.h"
#include "fs/rows/rows_reader.h"
#include "fs/rows/transcript.h"

#include <errno.h>
#include <fcntl.h>

/* The first read of H, at OFFSET. */
static int begin(struct call *call, struct handle *h, const struct where *w, uint64_t offset) {
	struct rows_file *f = rows_of(h);
	f->reader = rows_reader_new(w->place, &h->lock);
	if (f->reader != NULL && offset == 0 && (h->flags & O_ACCMODE) == O_RDONLY)
		f->writing = transcript_begin(call->fs, h->node, w, false);
	return f->reader != NULL ? 0 : -ENOMEM;
}

/* Keeps what was read at FROM, as long as it is the file from its start on; FEWER: to its end. */
static void write_transcript(struct handle *h, const struct place *place, uint64_t from,
			     const struct buf *out, bool fewer) {
	struct rows_file *f = rows_of(h);
	struct transcript *t = f->writing;
	if (!transcript_add(t, from, out->data, out->len))
		transcript_release(move_ptr(f->writing));
	else if (fewer) {
		(void)transcript_finish(t, rows_reader_fork(f->reader, place, transcript_lock(t)));
		transcript_release(move_ptr(f->writing));
	}
}

int rows_read(struct call *call, struct handle *h, size_t size, uint64_t offset, struct buf *out) {
	struct rows_file *f = rows_of(h);
	AUTO_WHERE struct where w = { 0 };
	if (f->transcript != NULL)
		return transcript_read(call, f->transcript, size, offset, out);
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0 && f->reader == NULL)
		rc = begin(call, h, &w, offset);
	if (rc != 0)
		return rc;
	rc = rows_reader_at(call, f->reader, &w, h->node, offset, size, out);
	if (f->writing != NULL && rc == 0)
		write_transcript(h, w.place, offset, out, out->len < size);
	return rc;
}

/* -- maps -------------------------------------------------------------------------------------- */

enum { STEP_BYTES = 256 << 10 };

/* Reads all of the file W of H into T. Returns 0, -errno, or -ENOSPC where T finds no room. */
static int fill(struct call *call, struct handle *h, const struct where *w, struct transcript *t) {
	AUTO_BUF struct buf step = { 0 };
	struct rows_reader *reader = rows_reader_new(w->place, &h->lock);
	uint64_t offset = 0;
	int rc = reader != NULL ? 0 : -ENOMEM;
	for (bool more = true; rc == 0 && more; offset += step.len) {
		buf_resize(&step, 0);
		rc = rows_reader_at(call, reader, w, h->node, offset, STEP_BYTES, &step);
		more = step.len >= STEP_BYTES;
		if (rc == 0 && !transcript_add(t, offset, step.data, step.len))
			rc = -ENOSPC;
	}
	if (rc == 0 &&
	    !transcript_finish(t, rows_reader_fork(reader, w->place, transcript_lock(t))))
		rc = -ENOSPC;
	rows_reader_free(reader);
	return rc;
}

/* What maps of H's file show from its first page on: *OUT, counted; NULL: it is too long to be
 * kept. Returns 0 or -errno. */
static int begin_map(struct call *call, struct handle *h, struct transcript **out) {
	AUTO_WHERE struct where w = { 0 };
	struct transcript *made = NULL;
	*out = transcript_map(call->fs, h->node, rows_of(h)->transcript);
	if (*out != NULL)
		return 0;
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		made = transcript_begin(call->fs, h->node, &w, true);
	if (made == NULL)
		return rc;
	rc = fill(call, h, &w, made);
	if (rc == 0)
		*out = transcript_map(call->fs, h->node, made);
	transcript_release(made);
	return rc == -ENOSPC ? 0 : rc;
}

int rows_read_page(struct call *call, struct handle *h, size_t size, uint64_t offset,
		   struct buf *out) {
	struct rows_file *f = rows_of(h);
	int rc = f->mapped == NULL ? begin_map(call, h, &f->mapped) : 0;
	if (rc != 0)
		return rc;
	return f->mapped != NULL ? transcript_read(call, f->mapped, size, offset, out)
				 : rows_read(call, h, size, offset, out);
}

void rows_read_anew(struct handle *h) {
	rows_reader_free(move_ptr(rows_of(h)->reader));
}

/* -- for the kind ------------------------------------------------------------------------------ */

/* What may be committed now is seen by readers whom the kernel serves. */
void rows_synced(struct fs *fs, struct handle *h) {
	transcripts_follow(fs, h->node);
}

/* The name gets another node: the open is to be done again. */
static int elsewhere(struct call *call, struct handle *h) {
	node_expel(call->fs->nodes, h->node);
	/* no notice will find the node any more: from now on the kernel asks for its size, which
	 * `tail -f` goes by */
	coherence_forget(call->fs, h->node);
	return -ESTALE;
}

/* The kernel would map the transcript for a reader: so a writer must not have one, and a reader
 * none but its own. Then ESTALE, and the name's next node has none. The same where maps show what
 * the file said before: a map of this handle would show it, too. */
int rows_pass(struct call *call, struct handle *h, struct passing *out) {
	struct rows_file *f = rows_of(h);
	struct nodes *nodes = call->fs->nodes;
	bool writes = (h->flags & O_ACCMODE) == O_RDWR;
	bool reads = (h->flags & O_ACCMODE) == O_RDONLY;
	/* the open has said of this thread that its retry is over; so another number stands for
	 * it */
	pid_t retry = -call_thread(call);
	if (transcript_map_is_old(call->fs, h->node) && node_may_retry(nodes, h->node, retry))
		return elsewhere(call, h);
	struct transcript *passing = transcript_pass(
		call->fs, h->node, (h->flags & O_DIRECT) == 0 ? f->transcript : NULL, out);
	bool other = reads && passing != f->transcript;
	if (passing == NULL || (!writes && (!other || !node_may_retry(nodes, h->node, retry)))) {
		nodes_retry_over(nodes, retry);
		f->passing = passing;
		return passing != NULL;
	}
	transcript_pass_end(passing);
	return elsewhere(call, h);
}
