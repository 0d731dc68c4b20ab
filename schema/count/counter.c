/* Counting lines for the summary: which file of each slice a line belongs to, and how long it will
 * be there. Nothing is computed from a value: a text key is the field's own bytes, and in which
 * time bucket a number falls, the server says once for each bucket. */
#include "schema/count/bucket.h"
#include "schema/layout/place.h"
#include "schema/layout/line_columns.h"
#include "schema/count/tally.h"
#include "util/text/number.h"
#include "util/text/strings.h"

#include <errno.h>
#include <string.h>

struct counted_slice {
	const struct slice *slice;
	const char *fixed[SLICE_KEYS]; /* the key, if the path gives it */
	int key_field[SLICE_KEYS];     /* else the field that has it */
	struct bucket bucket[SLICE_KEYS];
	int *fields; /* the slice's columns as fields of the line; -1: fixed */
	/* bytes that every line has besides its fields: fixed columns, commas, newline */
	int64_t extra;
};

struct counter {
	struct counted_slice *slices;
	int n;
	/* texts of keys that are not NUL-terminated in the line */
	struct buf texts[SLICE_KEYS];
};

static int index_of(const struct column *const *columns, int n, const struct column *column) {
	for (int i = 0; i < n; i++)
		if (columns[i] == column)
			return i;
	return -1;
}

static const struct fixed_key *fixed_of(const struct fixed_key *fixed, int n,
					const struct column *column, const char *format) {
	for (int i = 0; i < n; i++)
		if (fixed[i].column == column && text_same(fixed[i].format, format))
			return &fixed[i];
	return NULL;
}

/* Finds the fields behind the slice's keys and columns. False: it cannot be counted here. */
static bool bind(struct counted_slice *s, const struct column *const *columns, int n,
		 const struct fixed_key *fixed, int nfixed) {
	const struct slice *slice = s->slice;
	for (int k = 0; k < slice->nkeys; k++) {
		const struct slice_key *key = &slice->keys[k];
		const struct fixed_key *given = fixed_of(fixed, nfixed, key->column, key->format);
		enum field_kind kind = field_rule_of(key->column).kind;
		s->key_field[k] = index_of(columns, n, key->column);
		s->fixed[k] = given != NULL ? given->text : NULL;
		bool known = key->format != NULL ? kind == FIELD_INTEGER && key->unit != NULL
						 : kind == FIELD_TEXT;
		if (given == NULL && (s->key_field[k] < 0 || !known))
			return false;
	}
	s->extra = slice->ncolumns; /* commas and the newline */
	for (int i = 0; i < slice->ncolumns; i++) {
		s->fields[i] = index_of(columns, n, slice->columns[i]);
		const struct fixed_key *given = fixed_of(fixed, nfixed, slice->columns[i], NULL);
		if (s->fields[i] < 0 && given == NULL)
			return false;
		if (s->fields[i] < 0)
			s->extra += csv_length(given->text, strlen(given->text));
	}
	return true;
}

int counter_new(const struct tree *tree, const struct relation *rel,
		const struct column *const *columns, int n, const struct fixed_key *fixed,
		int nfixed, struct counter **out) {
	struct counter *c = calloc(1, sizeof(*c));
	bool can = !rel->rewrites_rows;
	*out = NULL;
	if (c == NULL ||
	    (c->slices = calloc((size_t)tree->nslices + 1, sizeof(*c->slices))) == NULL) {
		free(c);
		return -ENOMEM;
	}
	for (int i = 0; can && i < tree->nslices; i++) {
		const struct slice *slice = tree->slices[i];
		if (slice->rel != rel || !slice->usable)
			continue;
		struct counted_slice *s = &c->slices[c->n++];
		s->slice = slice;
		s->fields = calloc((size_t)slice->ncolumns, sizeof(*s->fields));
		if (s->fields == NULL) {
			counter_free(c);
			return -ENOMEM;
		}
		can = slice->counted && slice->format->by_copy &&
		      bind(s, columns, n, fixed, nfixed);
	}
	if (can && c->n > 0)
		*out = c;
	else
		counter_free(c);
	return 0;
}

void counter_free(struct counter *c) {
	if (c == NULL)
		return;
	for (int i = 0; i < c->n; i++) {
		free(c->slices[i].fields);
		for (int k = 0; k < SLICE_KEYS; k++)
			bucket_free(&c->slices[i].bucket[k]);
	}
	for (int k = 0; k < SLICE_KEYS; k++)
		buf_free(&c->texts[k]);
	free(c->slices);
	free(c);
}

bool line_field_number(const struct csv_field *field, int64_t *out) {
	return number_read(field->text, field->len, INT64_MIN, INT64_MAX, out);
}

/* The bucket that VALUE falls in. NULL if the database is away: the line must not be lost for that,
 * the triggers can count it. */
static const char *bucket_text(struct counted_slice *s, int k, int64_t value,
			       struct bucket_cache *buckets, struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	const struct slice_key *key = &s->slice->keys[k];
	struct bucket *bucket = &s->bucket[k];
	if (bucket->text != NULL && value >= bucket->lower && value < bucket->upper)
		return bucket->text;
	bucket_free(bucket);
	int rc = bucket_of_value(buckets, pool, key->unit, key->format, value, bucket, &err);
	return rc == 0 ? bucket->text : NULL;
}

/* The text of key K of the line in *OUT; NULL: a row that no file has, or only the server knows
 * it. Returns 0 or -ENOMEM. */
static int key_text(struct counter *c, struct counted_slice *s, int k, struct bucket_cache *buckets,
		    struct db_pool *pool, const struct line_checker *checker, const char **out) {
	const struct csv_field *field = &checker->fields[s->key_field[k]];
	struct buf *text = &c->texts[k];
	int64_t value;
	*out = s->fixed[k];
	if (*out != NULL || field->null)
		return 0;
	if (s->slice->keys[k].format != NULL) {
		if (line_field_number(field, &value))
			*out = bucket_text(s, k, value, buckets, pool);
		return 0;
	}
	buf_resize(text, 0);
	buf_add(text, field->text, field->len);
	buf_puts(text, "");
	*out = text->data != NULL ? text->data : "";
	return text->failed ? -ENOMEM : 0;
}

static int64_t rendered_length(const struct counted_slice *s, const struct line_checker *checker) {
	int64_t sum = s->extra;
	for (int i = 0; i < s->slice->ncolumns; i++) {
		if (s->fields[i] < 0)
			continue;
		int64_t one = checker->rendered[s->fields[i]];
		if (one < 0)
			return -1;
		sum += one;
	}
	return sum;
}

int counter_line(struct counter *c, struct bucket_cache *buckets, struct db_pool *pool,
		 const struct line_checker *checker, struct tally *t, bool *counted) {
	const char *keys[SLICE_KEYS];
	*counted = *counted && c != NULL;
	/* first whether all can be counted: a line is counted for every slice or for none */
	for (int i = 0; *counted && i < c->n; i++) {
		struct counted_slice *s = &c->slices[i];
		*counted = s->slice->counted && rendered_length(s, checker) >= 0;
		for (int k = 0; *counted && k < s->slice->nkeys; k++) {
			int rc = key_text(c, s, k, buckets, pool, checker, &keys[k]);
			*counted = keys[k] != NULL;
			if (rc != 0)
				return rc;
		}
	}
	for (int i = 0; *counted && i < c->n; i++) {
		struct counted_slice *s = &c->slices[i];
		bool in_file = true;
		for (int k = 0; k < s->slice->nkeys; k++) {
			int rc = key_text(c, s, k, buckets, pool, checker, &keys[k]);
			if (rc != 0)
				return rc;
			/* a number that is in no bucket */
			in_file =
				in_file && (s->slice->keys[k].format == NULL || keys[k][0] != '\0');
		}
		if (in_file && !tally_count(t, s->slice, keys, 1, rendered_length(s, checker)))
			return -ENOMEM;
	}
	return 0;
}
