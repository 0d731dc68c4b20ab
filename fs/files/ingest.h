/* Ingest files: files whose bytes are kept as they were written, and whose lines become rows.
 *
 * An open one has a *stream*, one for each file and mount, shared by all its handles: the bytes
 * that are not committed yet, the parser, and the record as it was last seen. Lines go to the
 * server as they come in. Bytes and rows are committed in one transaction, in which the record
 * takes a step from the change that this mount knows to a new one; if another mount came first, the
 * stream reads the record anew and appends behind it. What the stream commits by itself ends behind
 * a line, so that the lines of several mounts stay whole.
 *
 * What is written at the end is appended. Any other change is made on a copy of the whole file in
 * an unlinked local one, which replaces bytes and rows at the next fsync or close. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "fs/open/author.h"
#include "fs/core/kind.h"
#include "fs/open/handle.h"
#include "fs/stream/id_stock.h"
#include "fs/stream/ingest_parse.h"
#include "schema/state/ingest_file.h"
#include "util/mutex.h"

#include <stdatomic.h>

extern const struct kind ingest_kind;

struct ingest_stream {
	int64_t id;                 /* of the file; never changes */
	struct ingest_stream *next; /* guarded by the table, as the next two */
	int handles;
	int64_t used_us; /* clock_us() of the last close */
	/* The size while this mount has uncommitted bytes, or -1. Whoever lists the file reads it
	 * without waiting for a commit. */
	atomic_llong ahead;
	/* To commit has failed, and what is not committed waits. Read without waiting. */
	atomic_bool failing;

	struct mutex lock; /* guards the rest */
	struct fs *fs;
	struct where w; /* place and path */
	const struct ingest *in;
	bool gzip;                /* the file is compressed */
	struct ingest_record rec; /* as committed */
	int64_t seen_us;          /* clock_us(): what was asked for before that is older */
	struct buf pending;       /* bytes behind the committed ones */
	uint64_t counted;         /* what `pending` takes, on the account of memory */
	int64_t began_us;         /* clock_us() when the first of them came; 0: there was none */
	size_t parsed;            /* how many of them were parsed */
	bool replacing;       /* pending is not behind the committed bytes, but instead of them */
	bool unlinked;        /* it has no name any more, */
	bool without_rows;    /* and at the last close its rows go, too */
	struct scratch *copy; /* a changed copy of the whole file, or NULL */
	bool copy_changed;    /* not committed yet */
	struct ingest_parser parser;
	bool parsing; /* the parser stands at the end of the committed bytes and what was parsed */
	struct ingest_twin
		*twin;           /* the file that it follows, see fs/files/ingest_twin.h; or NULL */
	bool twin_asked;         /* and that is known */
	bool twin_whole;         /* what was parsed is all of its text */
	struct ingest_unit unit; /* lines that were parsed, and not gathered yet */
	struct ingest_sending *sending; /* those that were; NULL: none */
	struct id_stock ids;
	bool stalled;   /* to send ahead has failed: nothing more is sent before the next commit */
	char *old_tail; /* id of the row of an unfinished line that has gone on since; owned */
	struct buf chunk; /* committed bytes that were read last; while there is a handle */
	uint64_t chunk_at;
	int deferred; /* -errno of a refused line that fsync or close still has to tell */
	/* why the last line was no row when it was judged last, and is not refused yet */
	struct refusals bad_tail;
	int writers;  /* handles that may write */
	bool changed; /* something was written or cut since there are writers */
	struct author
		author; /* of the piece of a line at its end; of a compressed file, of its bytes */
};

/* What a commit makes of a last line without a newline. */
enum ingest_tail {
	TAIL_WAITS,    /* nothing: nobody asks */
	TAIL_SYNC,     /* nothing, but somebody asks: a quoted field that is open is judged */
	TAIL_IF_WHOLE, /* a row, if it is a whole line; s->bad_tail says why it is none */
	TAIL_LAST,     /* a row, or it is refused */
};

/* -- the table: ingest_table.c ----------------------------------------------------------------- */

/* The stream of the file that REC is of, at PLACE with PATH; one more handle holds it. Takes REC
 * over. NULL if out of memory. */
struct ingest_stream *ingest_stream_get(struct fs *fs, const struct place *place, const char *path,
					struct ingest_record *rec);
/* Gives it back. The stream is kept for a while. */
void ingest_stream_put(struct call *call, struct ingest_stream *s);
/* The size that this mount knows file ID to have, if it has uncommitted bytes. Never waits for a
 * commit. */
bool ingest_stream_size(struct fs *fs, int64_t id, uint64_t *size);
/* How many files have bytes that could not be committed. Never waits for a commit. */
int ingest_streams_failing(struct fs *fs);
/* True if some handle is open on file ID; then it is also noted that it has no name any more, and
 * WITH_ROWS that its rows go at the last close. */
bool ingest_stream_unlink(struct fs *fs, int64_t id, bool with_rows);

/* -- one stream -------------------------------------------------------------------------------- */

/* All of these want s->lock. They return 0 or -errno with call->err saying why. */
uint64_t ingest_size(const struct ingest_stream *s);
/* Reads the record anew if SHOWN, what stat has shown, is a larger size: another mount has
 * written. */
MUST_USE int ingest_catch_up(struct call *call, struct ingest_stream *s, uint64_t shown);
MUST_USE int ingest_read(struct call *call, struct ingest_stream *s, uint64_t offset, size_t size,
			 struct buf *out);
MUST_USE int ingest_write(struct call *call, struct ingest_stream *s, const char *data, size_t size,
			  uint64_t offset);
MUST_USE int ingest_truncate(struct call *call, struct ingest_stream *s, uint64_t size);
/* Makes *OUT a copy of the whole file as it is, with one reference. */
MUST_USE int ingest_copy(struct call *call, struct ingest_stream *s, struct scratch **out);
/* Commits what was written. */
MUST_USE int ingest_commit(struct call *call, struct ingest_stream *s, enum ingest_tail tail);
/* Makes the content of FD the file's, in one transaction. With LAST a last line that is no row as
 * it stands is refused. */
MUST_USE int ingest_replace(struct call *call, struct ingest_stream *s, int fd, bool last);
/* Forgets what is not committed, and what is known of the rest. */
void ingest_stream_reset(struct ingest_stream *s);
/* Commits what has waited for flush_interval. Returns how long the rest has to wait,
 * microseconds. */
int64_t ingest_tend(struct call *call, struct ingest_stream *s);
/* Shows the size to those who do not hold the lock: after each change of it. */
void ingest_show(struct ingest_stream *s);
/* True if this mount has nothing that is not committed. */
bool ingest_is_clean(const struct ingest_stream *s);
/* What was read of the record just now counts, unless this mount is ahead of it. Takes REC over. */
void ingest_adopt(struct ingest_stream *s, struct ingest_record *rec);

/* -- one transaction: ingest_send.c ------------------------------------------------------------ */

/* Takes the unit's lines and sends them ahead, if they are such as can be. *TEXT: so many bytes
 * wait for the commit. Returns 0, or -errno: then the stream is to be reset, since lines that were
 * not taken point into the pending bytes. */
MUST_USE int ingest_gather(struct ingest_stream *s, size_t *text, struct db_error *err);
/* Makes one operation of LEN pending bytes and the lines that were parsed of them. Returns 0 or
 * -errno. */
MUST_USE int ingest_seal(struct ingest_stream *s, size_t len, struct db_error *err);
bool ingest_is_sealed(const struct ingest_stream *s);
/* NULL is fine. */
void ingest_sending_free(struct ingest_sending *x);
/* Commits what is sealed; the stream stands behind it then, and is to be shown. After a failure it
 * is still sealed, and may have been committed: the next attempt finds out. *MOVED: another mount
 * came first, nothing was done. */
MUST_USE int ingest_send(struct call *call, struct ingest_stream *s, bool *moved);
/* Tells it if the compressed file that P has read ends inside a member. */
void ingest_tell_cut(const struct ingest_stream *s, const struct ingest_parser *p);
/* Makes the whole content of FD the file's. LAST: as of ingest_replace(). */
MUST_USE int ingest_send_file(struct call *call, struct ingest_stream *s, int fd, bool last,
			      bool *moved);

/* -- names: ingest_names.c --------------------------------------------------------------------- */

/* True if PLACE's files are ingest files. */
bool is_ingest(const struct place *place);
/* Finds NAME at PLACE and fills FOUND. Returns 0, -ENOENT or -errno. */
MUST_USE int ingest_find(struct call *call, const struct place *place, const char *name,
			 struct found *found);
/* The same for file ID, whatever it is called: its attributes. */
MUST_USE int ingest_refresh(struct call *call, int64_t id, struct found *found);
/* *OUT is the stream of the file at PATH, held once more. Returns 0, -ENOENT or -errno. */
MUST_USE int ingest_stream_open(struct call *call, const struct place *place, const char *path,
				struct ingest_stream **out);
MUST_USE int ingest_create(struct call *call, const struct place *place, const char *name,
			   mode_t mode);
/* Removes PATH. */
MUST_USE int ingest_remove(struct call *call, const struct place *place, const char *path);
/* In ingest_delete.c: deletes the bytes of file ID, which has no name and is not open any more, and
 * the rows that came from it if IN is not NULL; PATH (may be NULL) is what it was called. Failing
 * is told in the log: the next mount removes the bytes. */
void ingest_delete(struct fs *fs, int64_t id, const struct ingest *in, const char *path);
/* chmod and utimens. */
MUST_USE int ingest_set_attr(struct call *call, struct node *node, const struct stat *attr,
			     int to_set);
/* An ingest file to another name of one: TARGET exists or not. */
MUST_USE int ingest_rename(struct call *call, const struct node *from, const struct place *to,
			   const char *to_name);
/* Removes what is left of files that were removed while they were open, by mounts that are dead: of
 * this machine, or of any other after a week. For the begin of a mount. */
void ingest_sweep(struct fs *fs);
/* To a plain file, and from one. A crash in the middle leaves both. */
MUST_USE int ingest_to_plain(struct call *call, const struct node *from, const char *to_path);
MUST_USE int ingest_from_plain(struct call *call, const char *from_path, const struct place *to,
			       const char *to_path);
/* As kind->listed. */
void ingest_listed(struct fs *fs, const PGresult *page, int row, struct listed *out);
