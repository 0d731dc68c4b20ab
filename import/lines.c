/* Lines go in pieces of about 8 MiB. Before the first one the file must have no rows; behind each
 * one fsync() acknowledges it, and the journal notes how far. What a crash leaves open is one
 * piece: the journal does not know how much of it is in. Then the rows of the mount are counted:
 * those that the lines before the piece do not account for are the piece's, and their lines are not
 * sent again. */
#include "import/lines.h"

#include "import/bag.h"
#include "import/verify.h"

#include <errno.h>
#include <fcntl.h>

/* Of a piece; always the same, so that it ends at the same line again. */
enum { PIECE = 8 * 1024 * 1024, PIECE_LINES = BAG_MOST / 2 };
/* Bytes of one write: the kernel makes one request of it, so that a kill leaves no half line. */
enum { REQUEST = 64 * 1024 };

struct lines {
	struct import *im;
	struct item *item;
	struct buf *why;
	int fd;              /* on the mount, O_APPEND */
	struct buf out;      /* for the next request */
	int refused;         /* -errno of the first fsync that told of refused lines */
	int64_t good;        /* rows that are in; -1: not known */
	bool header_unknown; /* whether the first line is a header */
	uint64_t unsaved;    /* lines sent since the last fsync */
	struct bag skip;     /* lines of the first piece that are in already, by hash */
	uint64_t skip_first; /* where hashes do not tell: how many of its first lines are */
	struct forms forms;  /* of the piece's lines, for the hashes */
};

/* The source. Its first line is a record even if it is a header, unless the columns are known from
 * the mount. */
static int open_old(const struct lines *l, struct records *r, bool know_header) {
	static const struct shape none = { 0 };
	struct records new = { .fd = -1 };
	const struct format *format = item_format(l->item);
	bool fields = format->split != NULL;
	if (!know_header)
		return records_open(r, import_open_old(l->im, l->item), format, &none);
	int rc = fields ? records_open(&new, import_open_new(l->im, l->item), format, NULL) : 0;
	if (rc == 0)
		rc = records_open(r, import_open_old(l->im, l->item), format,
				  fields ? &new.columns : NULL);
	records_close(&new);
	return rc;
}

/* -- what is there ----------------------------------------------------------------------------- */

/* Counts the mount's rows. Returns how many, or -errno. */
static int64_t count_rows(const struct lines *l) {
	AUTO_RECORDS struct records r = { .fd = -1 };
	struct record record;
	int64_t n = 0;
	int rc = records_open(&r, import_open_new(l->im, l->item), item_format(l->item), NULL);
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	while ((rc = records_next(&r, &record)) == 1)
		n++;
	return rc != 0 ? rc : n;
}

static struct hash hash_of(struct lines *l, struct records *r, const struct record *record) {
	return records_hash(r, record, forms_of(&l->forms, r, record));
}

/* The hashes of the piece that begins at the item's offset, in PIECE; SEEN gets, by hash, minus
 * what the lines before it have. */
static int read_piece(struct lines *l, struct bag *piece, struct bag *seen) {
	AUTO_RECORDS struct records r = { .fd = -1 };
	struct record record;
	uint64_t size = 0, lines = 0;
	int rc = open_old(l, &r, true);
	while (rc == 0 && size < PIECE && lines < PIECE_LINES &&
	       (rc = records_next(&r, &record)) == 1) {
		rc = 0;
		if (record.offset < l->item->offset)
			continue;
		rc = bag_add(piece, hash_of(l, &r, &record), record.line);
		if (rc == 0)
			rc = bag_add(seen, hash_of(l, &r, &record), 0);
		size += record.end - record.offset;
		lines++;
	}
	for (size_t i = 0; i < seen->room; i++)
		seen->entries[i].count = 0;
	records_close(&r);
	if (rc >= 0)
		rc = open_old(l, &r, true);
	while (rc == 0 && (rc = records_next(&r, &record)) == 1 &&
	       record.offset < l->item->offset) {
		struct bag_entry *e = bag_find(seen, hash_of(l, &r, &record));
		if (e != NULL)
			e->count--;
		rc = 0;
	}
	return rc < 0 ? rc : 0;
}

/* Adds what the mount's rows have to SEEN. A row has one of the piece's forms. */
static int read_mount(struct lines *l, struct bag *seen) {
	AUTO_RECORDS struct records r = { .fd = -1 };
	struct record record;
	int rc = records_open(&r, import_open_new(l->im, l->item), item_format(l->item), NULL);
	while (rc == 0 && (rc = records_next(&r, &record)) == 1) {
		struct bag_entry *e = NULL;
		for (int i = 0; i < l->forms.n && e == NULL; i++)
			e = bag_find(seen, records_hash(&r, &record, &l->forms.list[i]));
		if (e != NULL)
			e->count++;
		rc = 0;
	}
	return rc < 0 ? rc : 0;
}

/* Finds out which lines of the piece at the item's offset are in. */
static int reconcile(struct lines *l) {
	AUTO_BAG struct bag piece = { 0 }, seen = { 0 };
	int64_t there = count_rows(l), matched = 0, lines = 0;
	if (there < 0)
		return (int)there;
	if (there == l->good)
		return 0;
	if (there < l->good) {
		buf_puts(l->why, "the mount has fewer rows of it than were copied: remove them and "
				 "import with --restart");
		return -ESTALE;
	}
	int rc = read_piece(l, &piece, &seen);
	if (rc == 0)
		rc = read_mount(l, &seen);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < piece.room; i++) {
		struct bag_entry *e = &piece.entries[i];
		const struct bag_entry *s = e->used ? bag_find(&seen, e->hash) : NULL;
		int64_t in = s == NULL || s->count < 0 ? 0 : s->count;
		lines += e->count;
		e->count = in < e->count ? in : e->count;
		matched += e->count;
	}
	if (l->good >= 0 && matched != there - l->good) {
		/* values that the database writes in another way: lines are committed in their
		 * order */
		if (there - l->good > lines) {
			buf_puts(l->why, "the mount has more rows of it than were copied: somebody "
					 "else has written to it");
			return -ESTALE;
		}
		l->skip_first = (uint64_t)(there - l->good);
		return 0;
	}
	l->skip = piece;
	piece = (struct bag){ 0 };
	return 0;
}

/* -- sending ----------------------------------------------------------------------------------- */

static int send_out(struct lines *l) {
	int rc = import_write(l->fd, l->out.data, l->out.len);
	buf_resize(&l->out, 0);
	return rc;
}

static int put_line(struct lines *l, const struct record *record) {
	int rc = l->out.len + record->len + 1 > REQUEST ? send_out(l) : 0;
	buf_add(&l->out, record->text, record->len);
	buf_putc(&l->out, '\n');
	return l->out.failed ? -ENOMEM : rc;
}

/* Errors that say nothing about the lines. */
static bool is_outage(int rc) {
	return rc == -EIO || rc == -ENOTCONN || rc == -ETIMEDOUT || rc == -ENOSPC ||
	       rc == -ECONNABORTED || rc == -ENOMEM;
}

/* What was sent is committed, and noted. Refused lines are told at the end: the others go on. */
static int acknowledge(struct lines *l, uint64_t offset) {
	int rc = send_out(l);
	if (rc == 0 && fsync(l->fd) != 0)
		rc = -errno;
	if (rc != 0 && is_outage(rc))
		return rc;
	if (rc != 0) {
		l->refused = l->refused != 0 ? l->refused : rc;
		l->good = -1;
	} else if (l->good >= 0) {
		l->good += (int64_t)l->unsaved;
	}
	if (l->header_unknown && l->good > 0) {
		AUTO_RECORDS struct records r = { .fd = -1 };
		if (open_old(l, &r, true) == 0 && r.offset > 0)
			l->good--;
		l->header_unknown = false;
	}
	import_count(l->im, l->item, offset, l->unsaved);
	l->unsaved = 0;
	rc = journal_offset(l->im->journal, l->item, offset, l->good);
	if (rc != 0)
		buf_puts(l->why, "the journal cannot be written");
	/* another pass of this run goes on there, too */
	l->item->offset = offset;
	l->item->good = l->good;
	return rc;
}

static bool is_in(struct lines *l, struct records *r, const struct record *record) {
	if (l->skip_first > 0)
		return l->skip_first-- > 0;
	struct bag_entry *e = l->skip.n > 0 ? bag_find(&l->skip, hash_of(l, r, record)) : NULL;
	return e != NULL && e->count-- > 0;
}

/* Opens the source behind its header, and sends that: each open file is told it anew. Before the
 * first row is there nobody knows whether the first line is one: it is sent as a line, and looked
 * at again in acknowledge(). */
static int open_lines(struct lines *l, struct records *r) {
	AUTO_RECORDS struct records raw = { .fd = -1 };
	struct record first;
	int rc = open_old(l, r, true);
	if (rc == -ENOENT ||
	    (rc == 0 && item_format(l->item)->split != NULL && r->columns.n == 0)) {
		l->header_unknown = true;
		records_close(r);
		return open_old(l, r, false);
	}
	if (rc != 0 || r->offset == 0) /* no header */
		return rc;
	rc = open_old(l, &raw, false);
	if (rc == 0)
		rc = records_next(&raw, &first);
	return rc == 1 ? put_line(l, &first) : rc;
}

static int send_lines(struct lines *l) {
	AUTO_RECORDS struct records r = { .fd = -1 };
	struct record record;
	uint64_t piece = 0, sent_to = l->item->offset;
	int rc = open_lines(l, &r);
	while (rc == 0 && (rc = records_next(&r, &record)) == 1) {
		rc = 0;
		if (record.offset < l->item->offset)
			continue;
		if (piece >= PIECE || l->unsaved >= PIECE_LINES) {
			rc = acknowledge(l, sent_to);
			piece = 0;
			bag_free(&l->skip);
			l->skip_first = 0;
			if (rc == 0 && atomic_load(&l->im->stop))
				rc = -ECANCELED;
			if (rc != 0)
				return rc;
		}
		if (!is_in(l, &r, &record))
			rc = put_line(l, &record);
		l->unsaved++;
		piece += record.end - record.offset;
		sent_to = record.end;
	}
	return rc < 0 ? rc : acknowledge(l, sent_to);
}

static int begin(struct lines *l) {
	if (l->item->begun) {
		l->good = l->item->good;
		return reconcile(l);
	}
	int64_t there = count_rows(l);
	if (there > 0 && verify_same(l->im, l->item)) {
		l->item->offset = l->item->size; /* an earlier import has brought it */
		return 0;
	}
	const char *reason = !l->item->route->replaceable ? "the layout refuses to replace it"
			     : l->item->route->ingested
				     ? "ingest files bring rows of its table, too, and would lose "
				       "them if it were replaced"
				     : "it is larger than max_document and cannot be replaced";
	if (there > 0)
		buf_printf(l->why,
			   "%s, and the mount has other rows of it already: remove them first",
			   reason);
	if (there != 0)
		return there < 0 ? (int)there : -EEXIST;
	l->item->begun = true;
	return journal_offset(l->im->journal, l->item, 0, 0);
}

int lines_append(struct import *im, struct item *item, struct buf *why) {
	struct lines l = { .im = im, .item = item, .why = why, .fd = -1 };
	int rc = begin(&l);
	import_count(im, item, item->offset, 0);
	if (rc == 0)
		rc = l.fd = import_open_for_writing(im, item, O_APPEND);
	if (rc >= 0)
		rc = send_lines(&l);
	if (l.fd >= 0 && close(l.fd) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0)
		rc = l.refused;
	if (rc == 0 && l.good < 0) {
		buf_puts(why, "lines were refused in an earlier run: see rejected/");
		rc = -EINVAL;
	}
	forms_free(&l.forms);
	bag_free(&l.skip);
	buf_free(&l.out);
	return rc;
}
