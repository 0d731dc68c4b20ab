#include "schema/count/tally.h"

#include "util/text/array.h"
#include "util/list.h"

#include <string.h>

void tally_clear(struct tally *t) {
	for (int i = 0; i < t->n; i++)
		for (int k = 0; k < SLICE_KEYS; k++)
			free(t->items[i].keys[k]);
	t->n = t->last = 0;
}

void tally_free(struct tally *t) {
	tally_clear(t);
	free(t->items);
	*t = (struct tally){ 0 };
}

static bool is_same(const struct tally_item *item, const struct slice *slice,
		    const char *const *keys) {
	if (item->slice != slice)
		return false;
	for (int k = 0; k < slice->nkeys; k++)
		if (strcmp(item->keys[k], keys[k]) != 0)
			return false;
	return true;
}

/* The item for the file; lines of one file mostly come together. */
static struct tally_item *find(struct tally *t, const struct slice *slice,
			       const char *const *keys) {
	for (int i = 0; i < t->n; i++) {
		int at = (t->last + i) % t->n;
		if (is_same(&t->items[at], slice, keys)) {
			t->last = at;
			return &t->items[at];
		}
	}
	return NULL;
}

static struct tally_item *add_item(struct tally *t, const struct slice *slice,
				   const char *const *keys) {
	if (!list_room(t->items, t->n))
		return NULL;
	struct tally_item item = { .slice = slice };
	for (int k = 0; k < slice->nkeys; k++) {
		item.keys[k] = strdup(keys[k]);
		if (item.keys[k] != NULL)
			continue;
		while (k-- > 0)
			free(item.keys[k]);
		return NULL;
	}
	t->last = t->n;
	t->items[t->n++] = item;
	return &t->items[t->last];
}

bool tally_count(struct tally *t, const struct slice *slice, const char *const *keys, int64_t rows,
		 int64_t bytes) {
	struct tally_item *item = t->n > 0 ? find(t, slice, keys) : NULL;
	if (item == NULL)
		item = add_item(t, slice, keys);
	if (item == NULL)
		return false;
	item->rows += rows;
	item->bytes += bytes;
	return true;
}

bool tally_add(struct tally *t, const struct tally *other) {
	for (int i = 0; i < other->n; i++) {
		const struct tally_item *item = &other->items[i];
		if (!tally_count(t, item->slice, (const char *const *)item->keys, item->rows,
				 item->bytes))
			return false;
	}
	return true;
}

/* -- the statement ----------------------------------------------------------------------------- */

/* In the order of the keys, so that two that add to the same files do not wait for each other in a
 * circle. */
#define ADD_HEAD                                                                                   \
	"INSERT INTO rowfs.summary AS s (slice, k1, k2, k3, k4, rows, bytes, changed) "            \
	"SELECT t.slice, t.k1, t.k2, t.k3, t.k4, t.rows, t.bytes, pg_catalog.now() FROM "
#define ADD_TAIL                                                                                   \
	" AS t(slice, k1, k2, k3, k4, rows, bytes) ORDER BY 1, 2, 3, 4, 5 "                        \
	"ON CONFLICT (slice, k1, k2, k3, k4) DO UPDATE SET rows = s.rows + EXCLUDED.rows, "        \
	"bytes = s.bytes + EXCLUDED.bytes, changed = greatest(s.changed, EXCLUDED.changed)"

const char tally_sql[] =
	ADD_HEAD "unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], "
		 "$6::bigint[], $7::bigint[])" ADD_TAIL;

void tally_put_sql(struct buf *sql, int first, const char *from) {
	buf_printf(sql, "%s%s%sunnest(", ADD_HEAD, from != NULL ? from : "",
		   from != NULL ? ", " : "");
	for (int i = 0; i < TALLY_PARAMS; i++)
		buf_printf(sql, "%s$%d::%s[]", i > 0 ? ", " : "", first + i,
			   i >= 1 && i <= SLICE_KEYS ? "text" : "bigint");
	buf_puts(sql, ")" ADD_TAIL);
}

bool tally_params(const struct tally *t, struct tally_texts *out, struct db_param *params) {
	bool failed = false;
	*out = (struct tally_texts){ 0 };
	for (int i = 0; i < t->n; i++) {
		const struct tally_item *item = &t->items[i];
		array_add_number(&out->texts[0], item->slice->id);
		for (int k = 0; k < SLICE_KEYS; k++) {
			const char *key = item->keys[k] != NULL ? item->keys[k] : "";
			array_add(&out->texts[1 + k], key, strlen(key));
		}
		array_add_number(&out->texts[1 + SLICE_KEYS], item->rows);
		array_add_number(&out->texts[2 + SLICE_KEYS], item->bytes);
	}
	for (int i = 0; i < TALLY_PARAMS; i++) {
		array_end(&out->texts[i]);
		failed = failed || out->texts[i].failed;
		params[i] =
			(struct db_param){ .data = out->texts[i].data, .len = out->texts[i].len };
	}
	return !failed;
}

void tally_texts_free(struct tally_texts *texts) {
	for (int i = 0; i < TALLY_PARAMS; i++)
		buf_free(&texts->texts[i]);
}
