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
		f->writing = transcript_begin(call->fs, h->node, w);
	return f->reader != NULL ? 0 : -ENOMEM;
}

/* Keeps what was read at FROM, as long as it is the file from its start on; FEWER: to its end. */
static void write_transcript(struct handle *h, const struct place *place, uint64_t from,
			     const struct buf *out, bool fewer) {
	struct rows_file *f = rows_of(h);
	struct transcript *t = f->writing;
	if (!transcript_add(t, from, out->data, out->len))
		transcript_release(move_ptr(f->writing));
	else if (fewer)
		transcript_finish(move_ptr(f->writing),
				  rows_reader_fork(f->reader, place, transcript_lock(t)));
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

void rows_read_anew(struct handle *h) {
	rows_reader_free(move_ptr(rows_of(h)->reader));
}

/* -- for the kind ------------------------------------------------------------------------------ */

/* What may be committed now is seen by readers whom the kernel serves. */
void rows_synced(struct fs *fs, struct handle *h) {
	transcripts_follow(fs, h->node);
}

/* The kernel would map the transcript for a reader: so a writer must not have one, and a reader
 * none but its own. Then ESTALE, and the name's next node has none. */
int rows_pass(struct call *call, struct handle *h, struct passing *out) {
	struct rows_file *f = rows_of(h);
	struct nodes *nodes = call->fs->nodes;
	bool writes = (h->flags & O_ACCMODE) == O_RDWR;
	bool reads = (h->flags & O_ACCMODE) == O_RDONLY;
	/* the open has said of this thread that its retry is over; so another number stands for
	 * it */
	pid_t retry = -call_thread(call);
	struct transcript *passing = transcript_pass(
		call->fs, h->node, (h->flags & O_DIRECT) == 0 ? f->transcript : NULL, out);
	bool other = reads && passing != f->transcript;
	if (passing == NULL || (!writes && (!other || !node_may_retry(nodes, h->node, retry)))) {
		nodes_retry_over(nodes, retry);
		f->passing = passing;
		return passing != NULL;
	}
	transcript_pass_end(passing);
	node_expel(nodes, h->node);
	/* no notice will find the node any more: from now on the kernel asks for its size, which
	 * `tail -f` goes by */
	coherence_forget(call->fs, h->node);
	return -ESTALE;
}
