/* One batch of a lane: lines that are committed in one transaction. Internal to the grouped writer; guarded by its lane's
 * lock while it gathers, the committing thread's own afterwards. */
#ifndef ROWFS_FS_BATCH_H
#define ROWFS_FS_BATCH_H

#include "db/copy.h"
#include "fs/writer.h"
#include "schema/stream.h"

struct batch_line {
	uint32_t len, id_len;
	bool refused;
	uint64_t number;
	struct source *source;
};

/* A unit that has an attachment: its lines stand and fall with it. */
struct batch_unit {
	struct attachment *attachment;
	struct source *source;
	int first, n; /* its lines */
};

struct batch {
	uint64_t number;
	struct buf data;
	struct batch_line *lines;
	int n, room;
	struct batch_unit *units;
	int nunits;
	struct tally tally;
	bool counted;            /* the tally is complete: the triggers need not count */
	struct db_copy_in *copy; /* the COPY that is being fed, or NULL */
	size_t fed;              /* bytes that it got */
	bool feed_failed;        /* it broke: the batch is sent anew */
	int64_t began_us;        /* clock_us() of its first line */
};

/* What a batch is sent with. */
struct batch_target {
	struct fs *fs;
	struct stream_sql *sql;
	const struct column *const *columns;
	int ncolumns;
	bool ledger;     /* rowfs.stream is there */
	char stream[37]; /* uuid */
	int64_t off;     /* its last committed number */
};

MUST_USE struct batch *batch_new(uint64_t number);
void batch_free(struct batch *b);

/* Adds UNIT of SOURCE. Returns 0 or -ENOMEM, with nothing added. */
MUST_USE int batch_put(struct batch *b, struct source *source, const struct unit *unit);

/* Sends what was gathered and not sent yet, and begins the COPY if there is none. */
void batch_feed(struct batch *b, const struct batch_target *to);

/* Commits the batch. Lines that the server refused are kept in rejected/ and noted with their sources. Returns 0, or -errno with
 * ERR filled if it was given up: then all lines are in rejected/. Attachments are settled. */
MUST_USE int batch_commit(struct batch *b, struct batch_target *to, struct db_error *err);

#endif
