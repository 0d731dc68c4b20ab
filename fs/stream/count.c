#include "fs/stream/count.h"

#include <errno.h>

int count_line(struct bucket_cache *buckets, struct db_pool *pool, struct counter *counter,
	       const struct line_checker *checker, struct tally *tally, bool *counted,
	       struct db_error *err) {
	if (counter == NULL || !*counted) {
		*counted = false;
		return 0;
	}
	int how = counter_line(counter, checker, tally);
	while (how == COUNT_BUCKET) {
		if (counter_ask(counter, buckets, pool, err) != 0) {
			/* the database is away: the line must not be lost for that, the triggers
			 * can count it */
			db_error_clear(err);
			*counted = false;
			return 0;
		}
		how = counter_line(counter, checker, tally);
	}
	*counted = how == COUNT_YES;
	return how == COUNT_FAILED ? -ENOMEM : 0;
}
