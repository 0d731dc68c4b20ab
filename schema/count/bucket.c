#include "schema/count/bucket.h"

#include "db/field.h"
#include "schema/expr/sql_build.h"
#include "util/cleanup.h"
#include "util/mutex.h"

#include <errno.h>
#include <string.h>

enum { KEPT = 64 };

struct kept {
	char *unit, *format;
	struct bucket bucket;
};

struct bucket_cache {
	struct mutex lock; /* all below */
	struct kept kept[KEPT];
	int next; /* the oldest: what comes takes its place */
};

void bucket_free(struct bucket *bucket) {
	free(bucket->text);
	*bucket = (struct bucket){ 0 };
}

static void kept_free(struct kept *k) {
	free(k->unit);
	free(k->format);
	bucket_free(&k->bucket);
	*k = (struct kept){ 0 };
}

struct bucket_cache *bucket_cache_new(void) {
	struct bucket_cache *cache = calloc(1, sizeof(*cache));
	if (cache != NULL)
		mutex_init(&cache->lock, MUTEX_BUCKETS);
	return cache;
}

void bucket_cache_free(struct bucket_cache *cache) {
	if (cache == NULL)
		return;
	for (int i = 0; i < KEPT; i++)
		kept_free(&cache->kept[i]);
	mutex_destroy(&cache->lock);
	free(cache);
}

static bool bucket_copy(const struct bucket *from, struct bucket *to) {
	*to = (struct bucket){ .lower = from->lower, .upper = from->upper };
	return (to->text = strdup(from->text)) != NULL;
}

/* What is looked for: the bucket called TEXT, or else the one that VALUE is in. */
struct wanted {
	const char *unit, *format, *text;
	int64_t value;
};

static bool is_wanted(const struct kept *k, const struct wanted *w) {
	if (k->unit == NULL || strcmp(k->unit, w->unit) != 0 || strcmp(k->format, w->format) != 0)
		return false;
	if (w->text != NULL)
		return strcmp(k->bucket.text, w->text) == 0;
	return w->value >= k->bucket.lower && w->value < k->bucket.upper;
}

/* 1 with *OUT; 0: it is not here; -ENOMEM. */
static int find(struct bucket_cache *cache, const struct wanted *w, struct bucket *out) {
	LOCK_SCOPE(&cache->lock);
	for (int i = 0; i < KEPT; i++)
		if (is_wanted(&cache->kept[i], w))
			return bucket_copy(&cache->kept[i].bucket, out) ? 1 : -ENOMEM;
	return 0;
}

/* Without memory it is not kept, and asked for again. */
static void keep(struct bucket_cache *cache, const struct wanted *w, const struct bucket *bucket) {
	struct kept new = { .unit = strdup(w->unit), .format = strdup(w->format) };
	if (new.unit == NULL || new.format == NULL || !bucket_copy(bucket, &new.bucket)) {
		kept_free(&new);
		return;
	}
	LOCK_SCOPE(&cache->lock);
	kept_free(&cache->kept[cache->next]);
	cache->kept[cache->next] = new;
	cache->next = (cache->next + 1) % KEPT;
}

/* A row of text, lower and upper end. */
static int ask(struct db_pool *pool, const char *sql, const char *param, struct bucket *out,
	       struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param params[] = { db_text(param) };
	int rc = db_ask(pool, sql, params, 1, ROWS_ONE, "ti?i?", &res, err);
	if (rc != 0)
		return rc;
	if (!field_is_null(res, 0, 1) && !field_is_null(res, 0, 2)) {
		out->lower = field_number(res, 0, 1);
		out->upper = field_number(res, 0, 2);
	}
	out->text = strdup(field_text(res, 0, 0));
	return out->text != NULL ? 0 : -ENOMEM;
}

/* What the cache has, or else what the server says of PARAM. A value that is in no bucket has an
 * empty text, and is not kept. */
static int look_up(struct bucket_cache *cache, struct db_pool *pool, const struct wanted *w,
		   const char *param, struct bucket *out, struct db_error *err) {
	AUTO_BUF struct buf sql = { 0 };
	*out = (struct bucket){ 0 };
	int rc = find(cache, w, out);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	put_bucket(&sql, w->unit, w->format, w->text != NULL);
	rc = sql.failed ? -ENOMEM : ask(pool, sql.data, param, out, err);
	if (rc == 0 && (w->text != NULL || out->text[0] != '\0'))
		keep(cache, w, out);
	return rc;
}

int bucket_of_text(struct bucket_cache *cache, struct db_pool *pool, const char *unit,
		   const char *format, const char *text, struct bucket *out, struct db_error *err) {
	const struct wanted w = { .unit = unit, .format = format, .text = text };
	return look_up(cache, pool, &w, text, out, err);
}

int bucket_of_value(struct bucket_cache *cache, struct db_pool *pool, const char *unit,
		    const char *format, int64_t value, struct bucket *out, struct db_error *err) {
	const struct wanted w = { .unit = unit, .format = format, .value = value };
	char text[NUMBER_TEXT];
	int rc = look_up(cache, pool, &w, db_number(text, value).data, out, err);
	if (rc == 0 && out->text[0] == '\0') {
		out->lower = value;
		out->upper = value == INT64_MAX ? INT64_MAX : value + 1;
	}
	return rc;
}
