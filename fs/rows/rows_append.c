#include "fs/rows/rows_append.h"

#include "fs/bytes/plain.h"
#include "fs/stream/refusals.h"
#include "fs/stream/writer.h"
#include "schema/count/bucket.h"
#include "schema/count/tally.h"

#include <errno.h>
#include <string.h>

enum { UNIT_LINES = 512 }; /* lines that are handed on together */

/* What a line has to say of one key of its path. */
struct path_key {
	const struct key *key;
	int field;            /* which field says it; -1: the line leaves it out, and it is added */
	const char *text;     /* the path's; borrowed from `where` */
	int64_t lower, upper; /* of a time bucket, or of an integer */
};

struct rows_append {
	struct where where;
	struct line_reader *reader;    /* the file's */
	const struct column **columns; /* of the line, and behind them those of keys left out */
	int ncolumns;
	struct path_key keys[PATH_KEYS_MAX];
	int nkeys;
	struct buf added; /* ",key,key" for the columns that lines leave out */
	struct counter *counter;
	struct source *source; /* NULL until the columns are known */
	bool settled;          /* something of this handle is committed */
	/* the unit that is being made, of bytes that rows_append_take() was given */
	struct unit_line lines[UNIT_LINES];
	int n;
	size_t first_at;           /* where the first line begins */
	struct record_found first; /* that line */
	struct tally tally;
	bool counted;
};

/* As before set_columns(). */
static void forget_columns(struct rows_append *s) {
	source_drop(move_ptr(s->source));
	counter_free(move_ptr(s->counter));
	buf_free(&s->added);
	free(move_ptr(s->columns));
	s->nkeys = s->ncolumns = 0;
}

void rows_append_end(struct rows_file *f) {
	struct rows_append *s = move_ptr(f->append);
	if (s == NULL)
		return;
	line_reader_forget(&f->lines);
	forget_columns(s);
	tally_free(&s->tally);
	where_free(&s->where);
	free(s);
}

/* -- which files ------------------------------------------------------------------------------- */

static bool key_fits(const struct key *key) {
	enum field_kind kind = field_rule_of(key->column).kind;
	if (key->format != NULL)
		return kind == FIELD_INTEGER && key->unit != NULL;
	return kind == FIELD_TEXT || kind == FIELD_INTEGER;
}

bool rows_append_fits(const struct place *place) {
	if (!place->format->by_copy || place->scope.n != 1 ||
	    !place->scope.tables[0].rel->takes_copy)
		return false;
	for (int i = 0; i < place->ncolumns; i++)
		if (place->columns[i]->generated)
			return false;
	for (const struct place *p = place; p != NULL; p = p->parent)
		for (int i = 0; i < p->nkeys; i++)
			if (!key_fits(&p->keys[i]))
				return false;
	return true;
}

/* -- the first line ---------------------------------------------------------------------------- */

static int find_bounds(struct call *call, struct path_key *k) {
	struct bucket bucket;
	int rc = bucket_of_text(call->fs->buckets, call->fs->pool, k->key->unit, k->key->format,
				k->text, &bucket, &call->err);
	k->lower = bucket.lower;
	k->upper = bucket.upper;
	bucket_free(&bucket);
	return rc;
}

static int column_field(const struct rows_append *s, const struct column *column) {
	for (int i = 0; i < s->reader->n; i++)
		if (s->columns[i] == column)
			return i;
	return -1;
}

static void add_constant(struct rows_append *s, const struct key *key, const char *text) {
	buf_puts(&s->added, ",\"");
	for (; *text != '\0'; text++)
		buf_printf(&s->added, *text == '"' ? "\"\"" : "%c", *text);
	buf_putc(&s->added, '"');
	s->columns[s->ncolumns++] = key->column;
}

static int bind_key(struct call *call, struct rows_append *s, const struct key *key) {
	struct path_key *k = &s->keys[s->nkeys++];
	*k = (struct path_key){
		.key = key,
		.field = column_field(s, key->column),
		.text = s->where.keys[key->param],
	};
	if (key->format != NULL)
		return find_bounds(call, k);
	if (k->field < 0)
		add_constant(s, key, k->text);
	else if (s->reader->rules[k->field].kind == FIELD_INTEGER)
		k->lower = strtoll(k->text, NULL, 10);
	return 0;
}

static int bind_keys(struct call *call, struct rows_append *s) {
	for (const struct place *p = s->where.place; p != NULL; p = p->parent) {
		for (int i = 0; i < p->nkeys; i++) {
			int rc = bind_key(call, s, &p->keys[i]);
			if (rc != 0)
				return rc;
		}
	}
	return s->added.failed ? -ENOMEM : 0;
}

/* The way of lines whose fields are known. */
static int set_columns(struct call *call, struct rows_append *s) {
	const struct relation *rel = s->where.place->scope.tables[0].rel;
	struct fixed_key fixed[PATH_KEYS_MAX];
	int n = s->reader->n;
	forget_columns(s); /* an earlier attempt came to an outage, or found no memory */
	s->columns = calloc((size_t)n + PATH_KEYS_MAX, sizeof(*s->columns));
	if (s->columns == NULL)
		return -ENOMEM;
	memcpy(s->columns, s->reader->columns, (size_t)n * sizeof(*s->columns));
	s->ncolumns = n;
	int rc = bind_keys(call, s);
	for (int i = 0; i < s->nkeys; i++)
		fixed[i] = (struct fixed_key){ .column = s->keys[i].key->column,
					       .format = s->keys[i].key->format,
					       .text = s->keys[i].text };
	if (rc == 0)
		rc = counter_new(s->where.place->tree, rel, s->columns, n, fixed, s->nkeys,
				 &s->counter);
	if (rc == 0)
		rc = source_open(call->fs->writer, s->where.place->tree->snapshot, rel, s->columns,
				 s->ncolumns, s->where.path, &s->source);
	return rc;
}

static int start(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	if (f->append != NULL)
		return 0;
	f->append = calloc(1, sizeof(*f->append));
	if (f->append == NULL)
		return -ENOMEM;
	f->append->counted = true;
	f->append->reader = &f->lines;
	line_reader_restart(&f->lines);
	int rc = node_where(call->fs->nodes, h->node, &f->append->where);
	if (rc != 0)
		free(move_ptr(f->append));
	return rc;
}

/* -- one line ---------------------------------------------------------------------------------- */

/* NULL, or why the line that was checked belongs to another file. */
static const char *contradiction(const struct rows_append *s) {
	for (int i = 0; i < s->nkeys; i++) {
		const struct path_key *k = &s->keys[i];
		int64_t value;
		if (k->field < 0 && k->key->format != NULL)
			return "the line does not say in which file's span of time it is";
		if (k->field < 0)
			continue;
		const struct csv_field *field = &s->reader->checker.fields[k->field];
		bool number = s->reader->rules[k->field].kind == FIELD_INTEGER;
		bool same = !number && field->len == strlen(k->text) &&
			    memcmp(field->text, k->text, field->len) == 0;
		if (number && line_field_number(field, &value))
			same = k->key->format != NULL ? value >= k->lower && value < k->upper
						      : value == k->lower;
		if (field->null || !same)
			return "the line contradicts its path: a key is another one";
	}
	return NULL;
}

/* The unit is empty. */
static void begin_unit(struct rows_append *s) {
	tally_clear(&s->tally);
	s->n = 0;
	s->counted = true;
}

/* Hands the unit to the writer. If that fails for want of memory, it stays. */
static int hand_on(struct rows_append *s) {
	struct unit unit = {
		.lines = s->lines,
		.n = s->n,
		.tail = s->added.data,
		.tail_len = s->added.len,
		.tally = s->counted ? &s->tally : NULL,
	};
	if (s->n == 0)
		return 0;
	int rc = source_put(s->source, &unit);
	if (rc == 0)
		begin_unit(s);
	return rc;
}

/* The unit's lines come again. Returns where they begin. */
static size_t give_back(struct rows_append *s) {
	record_again(&s->reader->records, &s->first);
	begin_unit(s);
	return s->first_at;
}

/* Where records go: the piece that is taken, whose bytes are at DATA. */
struct taking {
	struct call *call;
	struct rows_file *f;
	const char *data;
};

/* What is told is not taken again: so the lines before go on first. */
static int refuse(void *arg, const struct record_found *found, int rc, const char *sentence) {
	const struct taking *t = arg;
	int before = hand_on(t->f->append);
	if (before != 0)
		return before;
	(void)call_error(t->call, -rc, "%s", sentence);
	(void)refuse_input(t->call->fs->stream, t->f->append->where.path, found->number,
			   found->text - found->mark, found->len + found->mark, rc, &t->call->err);
	keep_first(&t->f->bad_line, rc);
	return 0;
}

static int take_row(void *arg, const struct record_found *found) {
	const struct taking *t = arg;
	struct fs *fs = t->call->fs;
	struct rows_append *s = t->f->append;
	struct line_checker *checker = &s->reader->checker;
	const char *text = found->text - found->mark;
	AUTO_BUF struct buf why = { 0 };
	int rc = line_check(checker, text, found->len + found->mark, &why);
	const char *sentence = rc == 0 ? contradiction(s) : why.data;
	if (rc != 0 || sentence != NULL)
		return refuse(arg, found, rc != 0 ? rc : -EINVAL, sentence != NULL ? sentence : "");
	rc = s->n == UNIT_LINES ? hand_on(s) : 0;
	if (rc == 0)
		rc = counter_line(s->counter, fs->buckets, fs->pool, checker, &s->tally,
				  &s->counted);
	if (rc != 0)
		return rc;
	if (s->n == 0) {
		s->first = *found;
		s->first_at = (size_t)(text - t->data);
	}
	s->lines[s->n++] = (struct unit_line){
		.text = found->text,
		.len = (uint32_t)found->len,
		.number = found->number,
	};
	return 0;
}

static int take_first(void *arg, const struct record_found *first) {
	const struct taking *t = arg;
	struct rows_append *s = t->f->append;
	const struct place *place = s->where.place;
	int rc = line_reader_learn(s->reader, place->columns, place->ncolumns, first, false);
	return rc == 0 ? set_columns(t->call, s) : rc;
}

static const struct line_taker taker = {
	.first = take_first,
	.row = take_row,
	.refuse = refuse,
	.too_long = ROWS_TOO_LONG,
	.too_long_rc = -EFBIG,
};

/* Takes the whole records off the LEN bytes at DATA. *TAKEN is how many bytes they are. */
static int take_from(struct call *call, struct handle *h, const char *data, size_t len,
		     enum record_more more, size_t *taken) {
	struct taking t = { .call = call, .f = rows_of(h), .data = data };
	*taken = 0;
	int rc = start(call, h);
	if (rc != 0)
		return rc;
	rc = line_reader_take(t.f->append->reader, data, len, more, &taker, &t, taken);
	int last = hand_on(t.f->append);
	if (last != 0)
		*taken = give_back(t.f->append);
	return rc == 0 ? last : rc;
}

int rows_append_take(struct call *call, struct handle *h, enum record_more more) {
	struct rows_file *f = rows_of(h);
	size_t taken;
	int rc = take_from(call, h, f->data.data, f->data.len, more, &taken);
	buf_consume(&f->data, taken);
	return rc;
}

int rows_append_write(struct call *call, struct handle *h, const char *data, size_t size) {
	struct rows_file *f = rows_of(h);
	size_t taken = 0;
	if (f->data.len > 0) {
		buf_add(&f->data, data, size);
		return rows_append_take(call, h, RECORD_MORE);
	}
	int rc = take_from(call, h, data, size, RECORD_MORE, &taken);
	buf_add(&f->data, data + taken, size - taken);
	return rc;
}

void rows_append_commit(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	struct rows_append *s = f->append;
	if (s == NULL)
		return;
	int refused = 0, rc = s->source != NULL ? source_commit(s->source, &refused) : 0;
	if (!s->settled) {
		plain_unmark(call->fs->plain, s->where.path);
		s->settled = true;
	}
	keep_first(&f->deferred, rc);
	keep_first(&f->bad_line, refused);
}
