/* Streams: the bytes of open ingest files. */
#include "fs/files/ingest.h"
#include "fs/files/ingest_twin.h"
#include "fs/bytes/scratch.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum {
	UNIT = 512 << 10,    /* bytes, or text of inflated ones, that are committed together */
	STEP = 64 << 10,     /* bytes that are parsed and sent before that */
	STEP_GZIP = 8 << 10, /* of them, compressed */
	PIECE = 256 << 10,   /* bytes that are read at once */
	GAP_MOST = 1 << 20,  /* bytes behind the end that are filled in memory */
	FRESH_US = 100 * US_PER_MS,
	AGAIN_MOST = 1000, /* times that another mount may come first */
};

/* -- the record -------------------------------------------------------------------------------- */

void ingest_stream_reset(struct ingest_stream *s) {
	ingest_sending_free(move_ptr(s->sending));
	parser_free(&s->parser);
	s->parsing = false;
	s->parsed = 0;
	ingest_unit_clear(&s->unit);
	refusals_clear(&s->bad_tail);
	buf_free(&s->chunk);
	free(move_ptr(s->old_tail));
	ingest_twin_free(move_ptr(s->twin));
	s->twin_asked = s->twin_whole = false;
}

bool ingest_is_clean(const struct ingest_stream *s) {
	return s->pending.len == 0 && !s->replacing && !s->copy_changed;
}

void ingest_adopt(struct ingest_stream *s, struct ingest_record *rec) {
	/* this mount has committed something, or has read it anew, since REC was asked for: that is
	 * the later word */
	if (rec->asked_us < s->seen_us) {
		ingest_record_free(rec);
		return;
	}
	if (strcmp(s->rec.op, rec->op) != 0) {
		if (s->copy != NULL && !s->copy_changed)
			scratch_release(move_ptr(s->copy));
		ingest_stream_reset(s);
	}
	ingest_record_free(&s->rec);
	s->rec = *rec;
	memset(rec, 0, sizeof(*rec));
	s->seen_us = s->rec.asked_us;
	ingest_show(s);
}

/* -- reading ----------------------------------------------------------------------------------- */

static uint64_t committed(const struct ingest_stream *s) {
	return s->replacing ? 0 : s->rec.size;
}

uint64_t ingest_size(const struct ingest_stream *s) {
	if (s->copy != NULL)
		return scratch_size(s->copy);
	return committed(s) + s->pending.len;
}

void ingest_show(struct ingest_stream *s) {
	if (s->pending.len == 0 && s->pending.cap > UNIT)
		buf_free(&s->pending);
	account_recount(&s->fs->memory, &s->counted, s->pending.cap);
	atomic_store(&s->ahead, ingest_is_clean(s) ? -1 : (long long)ingest_size(s));
	if (ingest_is_clean(s))
		atomic_store(&s->failing, false);
}

/* Reads the record anew if it is old. */
static int look_again(struct call *call, struct ingest_stream *s, bool force) {
	struct ingest_record rec = { 0 };
	if (!force && (!ingest_is_clean(s) || clock_us() < s->seen_us + FRESH_US))
		return 0;
	int rc = ingest_file_find(s->fs->pool, NULL, NULL, s->rec.id, call_cancel(call), &rec,
				  &call->err);
	if (rc == 0)
		ingest_adopt(s, &rec);
	return rc;
}

int ingest_catch_up(struct call *call, struct ingest_stream *s, uint64_t shown) {
	int rc = ingest_is_clean(s) && s->copy == NULL && shown > ingest_size(s)
			 ? look_again(call, s, true)
			 : 0;
	return rc == -ENOENT ? 0 : rc;
}

/* There are no bytes from OFFSET on, where the record says that there are. -ESTALE: another
 * mount has written the file anew or cut it meanwhile, and S has its new record. */
static int why_missing(struct call *call, struct ingest_stream *s, uint64_t offset) {
	char op[sizeof(s->rec.op)];
	memcpy(op, s->rec.op, sizeof(op));
	int rc = look_again(call, s, true);
	if (rc == 0 && strcmp(op, s->rec.op) != 0)
		return -ESTALE;
	return rc != 0 ? rc
		       : call_error(
				 call, EIO,
				 "the bytes from %llu on are missing: rows of rowfs.chunk were "
				 "deleted by something else; restore them from a backup, or write "
				 "the file anew",
				 (unsigned long long)offset);
}

/* Committed bytes from OFFSET on: as many as the chunks have that are at hand then. -ESTALE: see
 * why_missing(). */
static int read_chunk(struct call *call, struct ingest_stream *s, uint64_t offset, size_t size,
		      struct buf *out) {
	if (offset < s->chunk_at || offset >= s->chunk_at + s->chunk.len) {
		int rc = ingest_file_chunks(s->fs->pool, NULL, s->rec.id, offset, call_cancel(call),
					    &s->chunk, &s->chunk_at, &call->err);
		if (rc != 0 || s->chunk.len == 0) {
			buf_resize(&s->chunk, 0);
			return rc != 0 ? rc : why_missing(call, s, offset);
		}
	}
	size_t at = (size_t)(offset - s->chunk_at), n = s->chunk.len - at;
	uint64_t left = committed(s) - offset;
	n = n < size ? n : size;
	buf_add(out, s->chunk.data + at, n < left ? n : (size_t)left);
	return out->failed ? -ENOMEM : 0;
}

static int read_known(struct call *call, struct ingest_stream *s, uint64_t offset, size_t size,
		      struct buf *out) {
	int rc = 0;
	if (offset + size > ingest_size(s))
		rc = look_again(call, s, false);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (s->copy != NULL)
		return scratch_read(s->copy, size, offset, out);
	uint64_t end = ingest_size(s), base = committed(s);
	rc = 0;
	end = offset + size < end ? offset + size : end;
	while (rc == 0 && offset < end) {
		size_t before = out->len;
		if (offset < base) {
			rc = read_chunk(call, s, offset, (size_t)(end - offset), out);
		} else {
			buf_add(out, s->pending.data + (offset - base), (size_t)(end - offset));
			rc = out->failed ? -ENOMEM : 0;
		}
		offset += out->len - before;
	}
	return rc;
}

int ingest_read(struct call *call, struct ingest_stream *s, uint64_t offset, size_t size,
		struct buf *out) {
	int rc = -ESTALE;
	size_t was = out->len;
	for (int i = 0; rc == -ESTALE && i < AGAIN_MOST; i++) {
		buf_resize(out, was);
		rc = read_known(call, s, offset, size, out);
	}
	return rc == -ESTALE ? -EIO : rc;
}

/* -- committing -------------------------------------------------------------------------------- */

/* Brings the parser to the end of the committed bytes that S knows of. */
static int load_known(struct call *call, struct ingest_stream *s) {
	AUTO_BUF struct buf bytes = { 0 };
	int rc = parser_begin(&s->parser, s->fs->stream, s->in, s->gzip,
			      s->replacing ? NULL : s->rec.state);
	bool refused = s->parser.tail_refused;
	uint64_t end = committed(s);
	while (rc == 0 && s->parser.fed < end) {
		struct ingest_unit known = { 0 }; /* all of it was taken before */
		buf_resize(&bytes, 0);
		rc = read_chunk(call, s, s->parser.fed, PIECE, &bytes);
		if (rc == 0)
			rc = parser_feed(&s->parser, bytes.data, bytes.len, RECORD_MORE, &known);
		ingest_unit_clear(&known);
	}
	s->parser.tail_refused = refused;
	s->parsing = rc == 0;
	if (rc != 0)
		parser_free(&s->parser);
	return rc;
}

/* Brings the parser to the end of the committed bytes. */
static int load_parser(struct call *call, struct ingest_stream *s) {
	int rc = -ESTALE;
	for (int i = 0; rc == -ESTALE && i < AGAIN_MOST; i++)
		rc = load_known(call, s);
	return rc == -ESTALE ? -EIO : rc;
}

/* The text has turned out to be another one than that of the file that it followed: all of it is to
 * become rows. */
static int follow_no_more(struct call *call, struct ingest_stream *s) {
	if (committed(s) == 0) {
		parser_free(&s->parser);
		s->parsed = 0;
		return parser_begin(&s->parser, s->fs->stream, s->in, s->gzip, NULL);
	}
	/* what is committed has no rows yet: all is written anew by fsync or close */
	int rc = s->copy == NULL ? ingest_copy(call, s, &s->copy) : 0;
	if (rc != 0)
		return rc;
	s->copy_changed = true;
	buf_resize(&s->pending, 0);
	ingest_stream_reset(s);
	return 0;
}

/* Of the file as it is: a twin_read. */
static int read_ours(struct call *call, void *arg, uint64_t offset, struct buf *out) {
	struct ingest_stream *s = arg;
	return offset < ingest_size(s) ? ingest_read(call, s, offset, PIECE, out) : 0;
}

/* Takes the lines of what is pending. Those of a text that follows another file are rows
 * already. */
static int take_pending(struct call *call, struct ingest_stream *s, enum record_more more) {
	struct ingest_unit known = { 0 };
	enum twin_text text;
	int rc = ingest_twin_compare(call, s, read_ours, s, &text);
	if (rc == 0 && text == TWIN_OTHER)
		rc = follow_no_more(call, s);
	if (rc != 0 || s->copy != NULL)
		return rc;
	s->twin_whole = text == TWIN_WHOLE;
	rc = parser_feed(&s->parser, s->pending.data + s->parsed, s->pending.len - s->parsed, more,
			 s->twin != NULL ? &known : &s->unit);
	s->parsed = s->pending.len;
	ingest_unit_clear(&known);
	return rc;
}

/* What stands behind the last newline. */
static int take_tail(struct ingest_stream *s, enum ingest_tail tail) {
	const char *theirs = s->twin_whole ? ingest_twin_tail(s->twin) : NULL;
	if (s->twin != NULL && !s->twin_whole)
		return 0; /* a piece of a line that is a row */
	if (theirs != NULL && s->parser.text.len > 0 && s->parser.tail_id == NULL) {
		s->parser.tail_id = strdup(theirs);
		return s->parser.tail_id != NULL ? 0 : -ENOMEM;
	}
	return tail == TAIL_IF_WHOLE || tail == TAIL_LAST
		       ? parser_tail(&s->parser, &s->unit, tail == TAIL_LAST, &s->bad_tail)
		       : 0;
}

/* Parses what is pending. Afterwards there may be a copy instead. */
static int parse(struct call *call, struct ingest_stream *s, enum ingest_tail tail) {
	int rc = s->parsing ? 0 : load_parser(call, s);
	if (rc != 0)
		return rc;
	if (s->parsed < s->pending.len && s->parser.tail_id != NULL && s->old_tail == NULL)
		s->old_tail = move_ptr(s->parser.tail_id);
	rc = take_pending(call, s, tail == TAIL_WAITS ? RECORD_MORE : RECORD_SYNC);
	refusals_clear(&s->bad_tail);
	return rc == 0 && s->copy == NULL ? take_tail(s, tail) : rc;
}

/* How far a commit goes. */
enum extent {
	WHOLE_LINES, /* what other mounts append may come behind it */
	ALL_BYTES,
};

/* Seals what is to be committed. *ANY: there is something. */
static int prepare(struct call *call, struct ingest_stream *s, enum extent extent,
		   enum ingest_tail tail, bool *any) {
	int rc = parse(call, s, tail);
	size_t open = extent == WHOLE_LINES && !s->gzip ? s->parser.text.len : 0;
	size_t len = open < s->parsed ? s->parsed - open : 0;
	bool lines = s->sending != NULL || s->unit.n > 0 || s->unit.refused.n > 0;
	*any = rc == 0 && s->copy == NULL &&
	       (len > 0 || (extent != WHOLE_LINES && (lines || s->replacing || s->twin_whole)));
	if (*any)
		rc = ingest_seal(s, len, &call->err);
	if (rc != 0)
		ingest_stream_reset(s); /* it is parsed again the next time */
	return rc;
}

/* Begins anew behind what another mount has committed. */
static int begin_behind(struct call *call, struct ingest_stream *s) {
	int rc = look_again(call, s, true);
	if (rc == -ENOENT)
		return call_error(call, ENOENT, "the file was removed meanwhile");
	if (rc == 0)
		ingest_stream_reset(s);
	return rc;
}

static int commit_all(struct call *call, struct ingest_stream *s, enum extent extent,
		      enum ingest_tail tail) {
	s->stalled = false;
	for (int i = 0; i < AGAIN_MOST; i++) {
		bool any = true, moved = false;
		int rc = ingest_is_sealed(s) ? 0 : prepare(call, s, extent, tail, &any);
		if (rc == 0 && any)
			rc = ingest_send(call, s, &moved);
		ingest_show(s);
		if (rc == 0 && moved)
			rc = begin_behind(call, s);
		if (rc != 0 || !any || (!moved && extent == WHOLE_LINES))
			return rc;
	}
	return call_error(
		call, EBUSY,
		"other mounts write this file all the time: try again, or let only one mount write it");
}

/* RC is what a commit has come to. */
static int note_commit(struct ingest_stream *s, int rc) {
	atomic_store(&s->failing, rc != 0 && !ingest_is_clean(s));
	return rc;
}

static int commit_pending(struct call *call, struct ingest_stream *s, enum extent extent,
			  enum ingest_tail tail) {
	return note_commit(s, commit_all(call, s, extent, tail));
}

int ingest_replace(struct call *call, struct ingest_stream *s, int fd, bool last) {
	bool moved = true;
	int rc = 0;
	for (int i = 0; rc == 0 && moved && i < AGAIN_MOST; i++) {
		rc = ingest_send_file(call, s, fd, last, &moved);
		if (rc == 0)
			rc = look_again(call, s, true);
	}
	if (rc != 0)
		return rc;
	buf_resize(&s->pending, 0);
	s->replacing = false;
	ingest_stream_reset(s);
	ingest_show(s);
	return moved ? call_error(
			       call, EBUSY,
			       "other mounts write this file all the time: try again, or let only one mount write it")
		     : 0;
}

int ingest_commit(struct call *call, struct ingest_stream *s, enum ingest_tail tail) {
	int rc = s->copy == NULL ? commit_pending(call, s, ALL_BYTES, tail) : 0;
	if (rc != 0 || s->copy == NULL)
		return rc;
	rc = s->copy_changed ? note_commit(s, ingest_replace(call, s, scratch_fd(s->copy), false))
			     : 0;
	if (rc != 0)
		return rc;
	scratch_release(move_ptr(s->copy));
	s->copy_changed = false;
	ingest_show(s);
	return tail != TAIL_WAITS ? commit_pending(call, s, ALL_BYTES, tail) : 0;
}

/* -- changing ---------------------------------------------------------------------------------- */

/* Fills the local copy. */
static int fill_copy(struct call *call, struct ingest_stream *s, struct scratch *copy) {
	char op[sizeof(s->rec.op)];
	int rc = 0;
	for (uint64_t at = 0; rc == 0 && at < ingest_size(s);) {
		AUTO_BUF struct buf bytes = { 0 };
		if (at == 0) /* all of it fits, or nothing is asked for */
			rc = scratch_reserve(copy, ingest_size(s), &call->err);
		memcpy(op, s->rec.op, sizeof(op));
		if (rc == 0)
			rc = ingest_read(call, s, at, PIECE, &bytes);
		if (rc != 0)
			return rc;
		if (strcmp(op, s->rec.op) != 0) { /* another mount has changed it: from the start */
			rc = scratch_resize(copy, 0, &call->err);
			at = 0;
			continue;
		}
		if (bytes.len == 0)
			return call_error(call, EIO, "the bytes from %llu on are missing",
					  (unsigned long long)at);
		rc = scratch_write(copy, bytes.data, bytes.len, at, &call->err);
		at += bytes.len;
	}
	return rc;
}

int ingest_copy(struct call *call, struct ingest_stream *s, struct scratch **out) {
	struct scratch *copy = NULL;
	int rc = scratch_new(s->fs, "a copy of the file", &copy, &call->err);
	if (rc == 0)
		rc = fill_copy(call, s, copy);
	if (rc == 0)
		*out = move_ptr(copy);
	scratch_release(copy);
	return rc;
}

/* Bytes that nobody has written cost their program nothing, and all others the time in which they
 * become a change of the file: so they are bounded. */
static int check_hole(struct call *call, const struct ingest_stream *s, uint64_t from) {
	uint64_t end = ingest_size(s), most = s->fs->opt->max_document;
	if (from <= end || from - end <= most)
		return 0;
	return call_error(
		call, EFBIG,
		"%llu bytes that nobody has written would stand behind the end of the file: in "
		"an ingest file at most max_document (%llu) may",
		(unsigned long long)(from - end), (unsigned long long)most);
}

/* Changes the copy, which is made if there is none: DATA comes to OFFSET; or with NULL, it has SIZE
 * bytes. */
static int change_copy(struct call *call, struct ingest_stream *s, const char *data, size_t size,
		       uint64_t offset) {
	int rc = s->copy == NULL ? ingest_copy(call, s, &s->copy) : 0;
	if (rc == 0)
		rc = data != NULL ? scratch_write(s->copy, data, size, offset, &call->err)
				  : scratch_resize(s->copy, size, &call->err);
	s->copy_changed = s->copy_changed || rc == 0;
	/* one that was made for a change that was refused says what is there already */
	if (s->copy != NULL && !s->copy_changed)
		scratch_release(move_ptr(s->copy));
	if (rc == 0)
		ingest_show(s);
	return rc;
}

/* Sends ahead what has come. Returns whether it is enough for a commit. */
static bool send_ahead(struct call *call, struct ingest_stream *s) {
	size_t step = s->gzip ? STEP_GZIP : STEP, text = 0;
	if (s->pending.len - s->parsed >= step && !s->stalled && !ingest_is_sealed(s)) {
		int rc = parse(call, s, TAIL_WAITS);
		if (rc == 0)
			rc = ingest_gather(s, &text, &call->err);
		if (rc != 0)
			ingest_stream_reset(s); /* it is parsed again by the commit */
		s->stalled = rc != 0;           /* the commit tells what is wrong */
		db_error_clear(&call->err);
	}
	return text >= UNIT || s->pending.len >= UNIT;
}

static int append(struct call *call, struct ingest_stream *s, const char *data, size_t size,
		  size_t zeros) {
	if (s->pending.len >= UNIT) { /* an earlier commit failed */
		int rc = commit_pending(call, s, WHOLE_LINES, TAIL_WAITS);
		if (rc != 0)
			return rc;
	}
	size_t before = s->pending.len;
	if (!account_grow(&s->fs->memory, &s->counted, &s->pending, before + zeros + size))
		return call_error(
			call, ENOMEM,
			"open files take all of memory_max (%llu bytes): close some, or mount with a larger one",
			(unsigned long long)s->fs->memory.most);
	buf_resize(&s->pending, before + zeros);
	buf_add(&s->pending, data, size);
	if (s->pending.failed) { /* what was there is whole */
		s->pending.failed = false;
		buf_resize(&s->pending, before);
		return -ENOMEM;
	}
	if (s->began_us == 0)
		s->began_us = clock_us();
	ingest_show(s);
	/* a failure is told by fsync, close or the next write: these bytes are taken */
	if (send_ahead(call, s) && commit_pending(call, s, WHOLE_LINES, TAIL_WAITS) != 0)
		db_error_clear(&call->err);
	return 0;
}

int64_t ingest_tend(struct call *call, struct ingest_stream *s) {
	int64_t interval = (int64_t)(s->fs->opt->flush_interval * US_PER_S), now = clock_us();
	if (s->copy != NULL || s->pending.len == 0)
		return interval;
	if (now < s->began_us + interval)
		return s->began_us + interval - now;
	if (commit_pending(call, s, WHOLE_LINES, TAIL_WAITS) != 0)
		db_error_clear(&call->err); /* the next write, fsync or close tells it */
	s->began_us = clock_us();
	return interval;
}

/* How many of SIZE bytes at OFFSET are there already; -errno. */
static ssize_t same_bytes(struct call *call, struct ingest_stream *s, const char *data, size_t size,
			  uint64_t offset) {
	AUTO_BUF struct buf old = { 0 };
	int rc = ingest_read(call, s, offset, size, &old);
	if (rc != 0)
		return rc;
	return old.len == 0 || memcmp(old.data, data, old.len) == 0 ? (ssize_t)old.len : 0;
}

int ingest_write(struct call *call, struct ingest_stream *s, const char *data, size_t size,
		 uint64_t offset) {
	uint64_t end = ingest_size(s);
	int rc = check_hole(call, s, offset);
	if (rc != 0)
		return rc;
	if (s->copy != NULL || offset > end + GAP_MOST)
		return change_copy(call, s, data, size, offset);
	if (offset >= end)
		return append(call, s, data, size, (size_t)(offset - end));
	/* who writes what is there already changes nothing */
	ssize_t same = same_bytes(call, s, data, size, offset);
	if (same < 0)
		return (int)same;
	if ((size_t)same == size)
		return 0;
	if (offset + (size_t)same == end)
		return append(call, s, data + same, size - (size_t)same, 0);
	return change_copy(call, s, data, size, offset);
}

int ingest_truncate(struct call *call, struct ingest_stream *s, uint64_t size) {
	uint64_t end = ingest_size(s);
	int rc = check_hole(call, s, size);
	if (rc != 0 || size == end)
		return rc;
	if (size > 0 && s->copy == NULL && size > end && size - end <= GAP_MOST)
		return append(call, s, NULL, 0, (size_t)(size - end));
	if (size > 0)
		return change_copy(call, s, NULL, size, 0);
	/* what is under way may be committed although this mount was not told, and is to be
	 * replaced, too */
	bool may_have_bytes =
		s->rec.size > 0 || s->replacing || s->copy_changed || ingest_is_sealed(s);
	scratch_release(move_ptr(s->copy));
	s->copy_changed = false;
	buf_resize(&s->pending, 0);
	ingest_stream_reset(s);
	s->replacing = may_have_bytes;
	ingest_show(s);
	return 0;
}
