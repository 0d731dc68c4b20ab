/* Reading and writing notices. */
#include "schema/notice/notice.h"
#include "schema/notice/notice_table.h"
#include "util/text/number.h"
#include "util/text/strings.h"

#include <cjson/cJSON.h>
#include <string.h>

const char notice_channel_sql[] = "SELECT s.channel FROM rowfs.secret s";

bool notice_is_channel(const char *name) {
	size_t len = strlen(name);
	return len > 0 && len <= NOTICE_CHANNEL_LEN && name[0] >= 'a' && name[0] <= 'z' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

bool notice_is_open(const char *payload) {
	return strcmp(payload, "{\"m\": null, \"all\": true}") == 0;
}

/* -- reading ----------------------------------------------------------------------------------- */

struct reading {
	notice_fn fn;
	void *arg;
};

/* One change of rows with the N keys KEYS. */
static void tell_keys(const struct reading *r, const struct definition *d, const char *const *keys,
		      int n, enum notice_kind kind) {
	for (int i = 0; i < d->nsubscribers; i++) {
		const struct subscriber *s = &d->subscribers[i];
		const char *values[PATH_KEYS_MAX] = { NULL };
		bool known = true;
		for (int p = 0; p < s->place->nparams; p++) {
			if (s->key[p] == NOTICE_ANY)
				continue;
			values[p] = s->key[p] < n ? keys[s->key[p]] : NULL;
			/* a row without that key has no name here; one whose parent is gone has
			 * been told of with it */
			known = known && values[p] != NULL;
		}
		if (known)
			r->fn(r->arg, s->place, values, kind);
	}
}

/* The same for TUPLE, a JSON array of texts. */
static void tell_tuple(const struct reading *r, const struct definition *d, const cJSON *tuple,
		       enum notice_kind kind) {
	const char *keys[PATH_KEYS_MAX] = { NULL };
	int n = 0;
	for (const cJSON *key = tuple->child; key != NULL && n < PATH_KEYS_MAX; key = key->next)
		keys[n++] = cJSON_GetStringValue(key);
	tell_keys(r, d, keys, n, kind);
}

static void tell_any(const struct reading *r, const struct definition *d) {
	for (int i = 0; i < d->nsubscribers; i++)
		r->fn(r->arg, d->subscribers[i].place, NULL, NOTICE_NAMES);
}

static void tell_list(const struct reading *r, const struct definition *d, const cJSON *list,
		      enum notice_kind kind) {
	const cJSON *tuple;
	cJSON_ArrayForEach(tuple, list)
		tell_tuple(r, d, tuple, kind);
}

/* What is told of one definition: {"n": [...], "c": [...]}, a list of tuples that have grown, or
 * null. */
static void tell_definition(const struct reading *r, const struct definition *d,
			    const cJSON *what) {
	if (cJSON_IsNull(what)) {
		tell_any(r, d);
	} else if (cJSON_IsArray(what)) {
		tell_list(r, d, what, NOTICE_GROWN);
	} else {
		tell_list(r, d, cJSON_GetObjectItemCaseSensitive(what, "n"), NOTICE_NAMES);
		tell_list(r, d, cJSON_GetObjectItemCaseSensitive(what, "c"), NOTICE_CHANGED);
	}
}

/* All that is told of the COUNT definitions in LIST. */
static void tell_all(const struct reading *r, const struct definition *list, int count,
		     const cJSON *all) {
	const cJSON *what;
	cJSON_ArrayForEach(what, all) {
		int64_t id;
		if (!decimal_read(what->string, INT64_MIN, INT64_MAX, &id))
			continue; /* no: see is_told_all() */
		for (int i = 0; i < count; i++)
			if (list[i].id == id)
				tell_definition(r, &list[i], what);
	}
}

/* -- what a notice is -------------------------------------------------------------------------- */

/* Any role that may connect to the database may send one, so nothing is taken from it that is not
 * exactly what rowfs writes. */

static bool is_tuple(const cJSON *tuple) {
	const cJSON *key;
	int n = 0;
	cJSON_ArrayForEach(key, tuple)
		if (n++ == PATH_KEYS_MAX || !(cJSON_IsString(key) || cJSON_IsNull(key)))
			return false;
	return cJSON_IsArray(tuple);
}

static bool is_list(const cJSON *list) {
	const cJSON *tuple;
	cJSON_ArrayForEach(tuple, list)
		if (!is_tuple(tuple))
			return false;
	return cJSON_IsArray(list);
}

/* See tell_definition(). */
static bool is_told_of(const cJSON *what) {
	const cJSON *member;
	if (cJSON_IsNull(what) || cJSON_IsArray(what))
		return cJSON_IsNull(what) || is_list(what);
	cJSON_ArrayForEach(member, what)
		if ((strcmp(member->string, "n") != 0 && strcmp(member->string, "c") != 0) ||
		    !is_list(member))
			return false;
	return cJSON_IsObject(what);
}

static bool is_told_all(const cJSON *all) {
	const cJSON *what;
	if (!cJSON_IsObject(all))
		return false;
	cJSON_ArrayForEach(what, all) {
		int64_t id;
		if (!decimal_read(what->string, INT64_MIN, INT64_MAX, &id) || !is_told_of(what))
			return false;
	}
	return true;
}

/* A notice has no other members than these. */
static bool is_notice(const cJSON *json) {
	const cJSON *member;
	if (!cJSON_IsObject(json))
		return false;
	cJSON_ArrayForEach(member, json) {
		const char *name = member->string;
		bool good = strcmp(name, "m") == 0 ? cJSON_IsString(member) || cJSON_IsNull(member)
			    : strcmp(name, "n") == 0 || strcmp(name, "s") == 0
				    ? is_told_all(member)
				    : strcmp(name, "all") == 0 && cJSON_IsTrue(member);
		if (!good)
			return false;
	}
	return json->child != NULL;
}

enum notice_reading notices_read(const struct notices *n, const char *payload, const char *me,
				 notice_fn fn, void *arg) {
	AUTO_JSON cJSON *json = cJSON_Parse(payload);
	const struct reading r = { .fn = fn, .arg = arg };
	if (!is_notice(json))
		return NOTICE_MALFORMED;
	const char *from = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "m"));
	if (from != NULL && me != NULL && strcmp(from, me) == 0)
		return NOTICE_TOLD;
	if (cJSON_HasObjectItem(json, "all"))
		return NOTICE_ANYTHING;
	tell_all(&r, n->definitions, n->ndefinitions, cJSON_GetObjectItemCaseSensitive(json, "n"));
	tell_all(&r, n->slices, n->tree->nslices, cJSON_GetObjectItemCaseSensitive(json, "s"));
	return NOTICE_TOLD;
}

void notices_tally(const struct notices *n, const struct tally *t, notice_fn fn, void *arg) {
	const struct reading r = { .fn = fn, .arg = arg };
	for (int i = 0; i < t->n; i++) {
		const struct tally_item *item = &t->items[i];
		for (int k = 0; k < n->tree->nslices; k++)
			if (n->slices[k].id == item->slice->id)
				tell_keys(&r, &n->slices[k], (const char *const *)item->keys,
					  item->slice->nkeys, NOTICE_GROWN);
	}
}

/* -- writing ----------------------------------------------------------------------------------- */

enum { PAYLOAD_MOST = 7900 }; /* PostgreSQL takes 7999 bytes */

static void put_from(struct buf *out, const char *me) {
	buf_puts(out, "{\"m\": ");
	buf_json_string(out, me, strlen(me));
}

/* The tuples of slice ID in T. */
static void put_tuples(struct buf *out, const struct tally *t, int64_t id) {
	int n = 0;
	buf_printf(out, "\"%lld\": [", (long long)id);
	for (int i = 0; i < t->n; i++) {
		const struct tally_item *item = &t->items[i];
		if (item->slice->id != id)
			continue;
		buf_puts(out, n++ > 0 ? ", [" : "[");
		for (int k = 0; k < item->slice->nkeys; k++) {
			buf_puts(out, k > 0 ? ", " : "");
			buf_json_string(out, item->keys[k], strlen(item->keys[k]));
		}
		buf_putc(out, ']');
	}
	buf_putc(out, ']');
}

void notice_put_tally(struct buf *out, const char *me, const struct tally *t) {
	size_t start = out->len;
	put_from(out, me);
	buf_puts(out, ", \"s\": {");
	for (int i = 0, n = 0; i < t->n; i++) {
		bool seen = false;
		for (int k = 0; k < i; k++)
			seen = seen || t->items[k].slice->id == t->items[i].slice->id;
		if (seen)
			continue;
		buf_puts(out, n++ > 0 ? ", " : "");
		put_tuples(out, t, t->items[i].slice->id);
	}
	buf_puts(out, "}}");
	if (out->len - start <= PAYLOAD_MOST || out->failed)
		return;
	buf_resize(out, start);
	notice_put_all(out, me);
}

void notice_put_all(struct buf *out, const char *me) {
	put_from(out, me);
	buf_puts(out, ", \"all\": true}");
}

static const char test_end[] = ", \"t\": true}";

void notice_put_test(struct buf *out, const char *me) {
	put_from(out, me);
	buf_puts(out, test_end);
}

bool notice_is_test(const char *payload, const char *me) {
	return text_ends(payload, test_end) && (me == NULL || strstr(payload, me) != NULL);
}
