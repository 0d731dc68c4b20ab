/* Time buckets that the server has told: a bucket's ends never change, so each is asked for once.
 * Any thread; one lock. */
#pragma once

#include "db/query.h"

#include <stdint.h>

/* LOWER <= value < UPPER, in the unit of the column; TEXT is its name. */
struct bucket {
	int64_t lower, upper;
	char *text; /* owned; "": the value is in no bucket */
};

/* The last few of them. */

/* NULL if out of memory. */
MUST_USE struct bucket_cache *bucket_cache_new(void);
void bucket_cache_free(struct bucket_cache *cache);

void bucket_free(struct bucket *bucket);

/* The bucket of UNIT and FORMAT (struct key; neither NULL) that is called TEXT. Returns 0 with
 * *OUT, to be freed with bucket_free(), or -errno, with ERR filled where the server said why. */
MUST_USE int bucket_of_text(struct bucket_cache *cache, struct db_pool *pool, const char *unit,
			    const char *format, const char *text, struct bucket *out,
			    struct db_error *err);

/* The same, of the bucket that VALUE falls in. For a value outside the years 1 to 9999, *OUT has no
 * text and holds that value alone. */
MUST_USE int bucket_of_value(struct bucket_cache *cache, struct db_pool *pool, const char *unit,
			     const char *format, int64_t value, struct bucket *out,
			     struct db_error *err);
