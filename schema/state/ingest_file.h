/* The records of ingest files: rowfs.file, rowfs.chunk and rowfs.file_rows. Every change of a
 * file's bytes names the change before it (`op`) and leaves its own: a repetition after a lost
 * connection finds itself, and of two writers one finds that the other came first. Thread-safe. */
#pragma once

#include "db/query.h"
#include "util/buf.h"

#include <stdint.h>
#include <sys/types.h>

struct ingest_record {
	int64_t id;
	uint64_t size;      /* bytes */
	int64_t changed_us; /* since 1970 */
	mode_t mode;        /* permissions */
	char op[37];        /* of its last change */
	char *state;        /* JSON; owned */
	int64_t asked_us;   /* clock_us() before it was asked for */
};

void ingest_record_free(struct ingest_record *record);

/* Of rowfs.file: microseconds since 1970, within what nanoseconds can say; the columns of a
 * record, and their form, of field_judge(). */
#define INGEST_CHANGED_SQL                                                                         \
	"(1000000::numeric * greatest(least(extract(epoch FROM changed), 9e9), -9e9))::bigint"
#define INGEST_RECORD_SQL "id, size, " INGEST_CHANGED_SQL ", mode, op, state"
#define INGEST_RECORD_FORM "nniutt"

/* Takes a record from an answer whose columns begin with it; FORM is of all of them. Returns 0,
 * -ENOENT or -errno. */
MUST_USE int ingest_record_take(const PGresult *res, const char *form, struct ingest_record *out,
				struct db_error *err);

/* The record of NAME in directory DIR, or with DIR NULL of the file ID. Returns 0, -ENOENT or
 * -errno. */
MUST_USE int ingest_file_find(struct db_pool *pool, const char *dir, const char *name, int64_t id,
			      struct db_cancel *cancel, struct ingest_record *out,
			      struct db_error *err);

/* OF_TABLE below is ingest.of_table: it becomes the file's, whatever was there. -EACCES with a
 * sentence where the role has no right to change files of that table. */

/* Makes an empty file. *MADE is false if the name was there already, perhaps of a file that the
 * role may not see. */
MUST_USE int ingest_file_create(struct db_pool *pool, const char *dir, const char *name,
				mode_t mode, const char *of_table, bool *made,
				struct db_error *err);

/* The files of DIR, behind the name AFTER (NULL: from the start), that no mount has said the table
 * of. Columns of *OUT: name, id. */
MUST_USE int ingest_file_unclaimed(struct db_pool *pool, const char *dir, const char *after,
				   int limit, PGresult **out, struct db_error *err);
/* Says it of those among IDS (text of a bigint[]) that are still so. */
MUST_USE int ingest_file_claim(struct db_pool *pool, const struct buf *ids, const char *of_table,
			       struct db_error *err);

/* A page of DIR in the order of names, behind AFTER (NULL: from the start). Columns of *OUT as
 * enum. */
enum { INGEST_NAME, INGEST_SIZE, INGEST_CHANGED, INGEST_MODE, INGEST_ID };
MUST_USE int ingest_file_page(struct db_pool *pool, const char *dir, const char *after, int limit,
			      struct db_cancel *cancel, PGresult **out, struct db_error *err);

/* Sets permissions (MODE -1: leaves them) and time (CHANGED_US -1: leaves it). */
MUST_USE int ingest_file_set(struct db_pool *pool, int64_t id, int mode, int64_t changed_us,
			     const char *of_table, struct db_error *err);

/* -- inside a transaction ---------------------------------------------------------------------- */

enum { INGEST_DONE = 1, INGEST_MOVED = 2 };

/* Locks the record, after any commit that is under way, until the transaction's end. Returns 0 if
 * its last change is OLD_OP; INGEST_DONE if it is NEW_OP; INGEST_MOVED if it is another one;
 * -ENOENT: there is no such file any more; or -errno. */
MUST_USE int ingest_file_lock(struct db_conn *conn, int64_t id, const char *old_op,
			      const char *new_op, const char *of_table, struct db_error *err);

/* Some bytes as they are stored: compressed if that makes them fewer. */
struct ingest_chunk {
	uint64_t at; /* in the file */
	size_t len;  /* bytes, before they were compressed; 0: no chunk */
	bool zlib;
	struct buf data;
};

/* Makes a chunk of LEN bytes at AT; with PACK they are compressed. Free with ingest_chunk_free().
 * False if out of memory. */
MUST_USE bool ingest_chunk_make(struct ingest_chunk *chunk, uint64_t at, const char *data,
				size_t len, bool pack);
void ingest_chunk_free(struct ingest_chunk *chunk);

/* The parameters with the ranges in the statements of ingest_file_change() and
 * ingest_file_add_rows(). */
enum { INGEST_RANGES_PARAM = 10, INGEST_ADD_PARAM = 2 };

/* A change of a file, from OLD_OP to NEW_OP. Borrows everything. */
struct ingest_change {
	int64_t id;
	const char *of_table;
	const char *old_op, *new_op;
	uint64_t size;     /* bytes afterwards */
	const char *state; /* JSON: where the parser goes on */
	const struct ingest_chunk *chunk;
	/* Text of an int8multirange: of the rows that came from the chunk; NULL: none. */
	const char *ranges;
	const char *xids; /* of ingest_xids_sql(…, INGEST_RANGES_PARAM) */
};

/* Makes the change, in one statement. Returns 0; INGEST_MOVED: OLD_OP is not its last change, or
 * there is no such file any more: nothing was changed; or -errno. */
MUST_USE int ingest_file_change(struct db_conn *conn, const struct ingest_change *change,
				struct db_error *err);
/* Forgets all bytes; which rows came from them. */
MUST_USE int ingest_file_clear(struct db_conn *conn, int64_t id, struct db_error *err);
MUST_USE int ingest_file_forget(struct db_conn *conn, int64_t id, struct db_error *err);
/* Adds CHUNK, without a step. */
MUST_USE int ingest_file_add(struct db_conn *conn, int64_t id, const struct ingest_chunk *chunk,
			     struct db_error *err);
/* Adds RANGES (text of an int8multirange) to the rows that came from it; XIDS is of
 * ingest_xids_sql(…, INGEST_ADD_PARAM). */
MUST_USE int ingest_file_add_rows(struct db_conn *conn, int64_t id, const char *ranges,
				  const char *xids, struct db_error *err);
/* Gives it another name; TO_DIR "" and its id as the name take it out of every directory. */
MUST_USE int ingest_file_rename(struct db_conn *conn, int64_t id, const char *dir, const char *name,
				const char *of_table, struct db_error *err);
MUST_USE int ingest_file_delete(struct db_conn *conn, int64_t id, struct db_error *err);

/* -- bytes ------------------------------------------------------------------------------------- */

/* The chunk that holds byte OFFSET, and those behind it that begin within 256 KiB: their bytes in
 * OUT, where they begin in *AT. An empty OUT: there is none. Inside the transaction on CONN, which
 * does not look at CANCEL, or with CONN NULL on POOL. */
MUST_USE int ingest_file_chunks(struct db_pool *pool, struct db_conn *conn, int64_t id,
				uint64_t offset, struct db_cancel *cancel, struct buf *out,
				uint64_t *at, struct db_error *err);
/* The same of the rows RES: at, len, zlib, data. Whoever may write rowfs.chunk chooses them: what
 * is no chunk is -EIO. */
MUST_USE int ingest_chunks_take(const PGresult *res, uint64_t offset, struct buf *out, uint64_t *at,
				struct db_error *err);
