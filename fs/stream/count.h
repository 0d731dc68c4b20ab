/* Counting the lines that go by COPY, so that the triggers need not. */
#ifndef ROWFS_FS_STREAM_COUNT_H
#define ROWFS_FS_STREAM_COUNT_H

#include "schema/count/bucket.h"
#include "schema/count/tally.h"

/* Adds the line that CHECKER has just accepted to TALLY. COUNTER may be NULL: nobody can count it
 * here. *COUNTED becomes false if only the server can, and a line after one that could not be
 * counted is not counted either. Asks the database for a time bucket that is not in BUCKETS.
 * Returns 0 or -errno. */
MUST_USE int count_line(struct bucket_cache *buckets, struct db_pool *pool, struct counter *counter,
			const struct line_checker *checker, struct tally *tally, bool *counted,
			struct db_error *err);

#endif
