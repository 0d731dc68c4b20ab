/* Lines to rows. Each line becomes a JSON object (a CSV field stays a string: the column's own input function reads it);
 * lines with the same columns go to the server together, in one transaction with the ledger's row. A batch that is refused is
 * halved until the bad line stands alone. */
#include "fs/kind.h"
#include "fs/ledger.h"
#include "fs/plain.h"
#include "fs/rows.h"
#include "fs/store.h"
#include "schema/csv.h"
#include "schema/shape.h"

#include <errno.h>
#include <string.h>
#include <uuid/uuid.h>

/* One line on its way. Offsets, since the buffers that they point into grow. */
struct line {
	size_t raw_at, raw_len;   /* in the input */
	size_t json_at, json_len; /* in the batch's json */
	uint64_t number;          /* in its file, counted from 1 */
};

/* Lines that have the same columns. */
struct batch {
	struct shape shape;
	struct buf json;
	struct line *lines;
	int n;
};

/* What one commit works on. */
struct input {
	struct call *call;
	struct handle *h;
	const struct where *w;
	const char *raw;
	size_t settled;  /* the lines before this byte are committed or refused */
	int first_error; /* -errno of the first line that was refused */
};

static void batch_clear(struct batch *b) {
	shape_free(&b->shape);
	buf_resize(&b->json, 0);
	b->n = 0;
}

static void batch_free(struct batch *b) {
	shape_free(&b->shape);
	buf_free(&b->json);
	free(b->lines);
}

static bool batch_add(struct batch *b, const struct line *line, const struct buf *json) {
	if ((b->n & (b->n - 1)) == 0) { /* full at 0, 1, 2, 4, 8 ... */
		size_t room = b->n > 0 ? (size_t)b->n * 2 : 1;
		struct line *lines = reallocarray(b->lines, room, sizeof(*lines));
		if (lines == NULL)
			return false;
		b->lines = lines;
	}
	b->lines[b->n] = *line;
	b->lines[b->n].json_at = b->json.len;
	b->lines[b->n++].json_len = json->len;
	buf_add(&b->json, json->data, json->len);
	return !b->json.failed;
}

/* "[a,b,c]" of lines LOW to HIGH. */
static void put_array(struct buf *out, const struct batch *b, int low, int high) {
	buf_putc(out, '[');
	for (int i = low; i < high; i++) {
		if (i > low)
			buf_putc(out, ',');
		buf_add(out, b->json.data + b->lines[i].json_at, b->lines[i].json_len);
	}
	buf_putc(out, ']');
}

/* -- one transaction --------------------------------------------------------------------------- */

struct rows_tx {
	const struct input *in;
	struct document_shape shape;
	struct buf json;    /* the array */
	const char *remove; /* replacing: what goes first; NULL otherwise */
	bool remove_takes_json;
	char *insert;       /* NULL if there are no lines */
	int lines;
	char op[37];
	bool empty;
};

static int run_in_tx(struct db_conn *conn, const struct rows_tx *tx, const char *sql, bool json, int *changed,
		     struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	int n = where_params(tx->in->w, params);
	if (json)
		params[n++] = (struct db_param){ .data = tx->json.data, .len = tx->json.len, .oid = DB_TEXT };
	int rc = db_query_on(conn, sql, params, n, &res, err);
	*changed = rc == 0 ? (int)strtol(PQcmdTuples(res), NULL, 10) : 0;
	return rc;
}

static int rows_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct rows_tx *tx = arg;
	int changed, rc = ledger_enter(conn, tx->in->call->fs->tree, tx->op, err);
	if (rc != 0)
		return rc == LEDGER_DONE ? 0 : rc;
	if (tx->remove != NULL)
		rc = run_in_tx(conn, tx, tx->remove, tx->remove_takes_json, &changed, err);
	if (rc != 0 || tx->insert == NULL)
		return rc;
	rc = run_in_tx(conn, tx, tx->insert, true, &changed, err);
	if (rc == 0 && changed < tx->lines)
		rc = db_error_set(err, EINVAL,
				  "the line contradicts its path: a key or the reference to the parent row is another one than "
				  "the path says, or there is no parent row");
	return rc;
}

static int run_tx(struct rows_tx *tx) {
	struct call *call = tx->in->call;
	ledger_new_op(tx->op);
	int rc = db_transaction(call->fs->pool, rows_in_tx, tx, ledger_flags(call->fs->tree), NULL,
				&call->err);
	fs_changed(call->fs);
	if (rc == 0)
		atomic_fetch_add(&call->fs->count.rows_written, (unsigned)tx->lines);
	return rc;
}

/* -- appending --------------------------------------------------------------------------------- */

static void reject(struct input *in, const struct line *line, int rc) {
	store_rejected(in->call, in->w, line->number, in->raw + line->raw_at, line->raw_len, rc);
	atomic_fetch_add(&in->call->fs->count.lines_rejected, 1);
	if (in->first_error == 0)
		in->first_error = rc;
}

/* Inserts lines LOW to HIGH of the batch. Returns -errno only for what is not the lines' fault. */
static int insert_range(struct input *in, const struct batch *b, int low, int high) {
	struct rows_tx tx = { .in = in, .shape = shape_document(&b->shape), .lines = high - low };
	put_array(&tx.json, b, low, high);
	tx.insert = sql_insert_lines(in->w->place, &tx.shape);
	int rc = -EINVAL;
	if (tx.json.failed)
		rc = call_error(in->call, ENOMEM, "out of memory");
	else if (tx.insert == NULL)
		rc = call_error(in->call, EINVAL, "the line has no columns");
	else
		rc = run_tx(&tx);
	buf_free(&tx.json);
	free(tx.insert);
	if (rc == 0 || !store_is_input_error(rc))
		return rc;
	if (high - low == 1) {
		reject(in, &b->lines[low], rc);
		return 0;
	}
	db_error_clear(&in->call->err);
	int middle = low + (high - low) / 2;
	rc = insert_range(in, b, low, middle);
	return rc != 0 ? rc : insert_range(in, b, middle, high);
}

/* Sends what the batch holds. Returns -errno only for what is not the lines' fault. */
static int flush_batch(struct input *in, struct batch *b) {
	if (b->n == 0)
		return 0;
	int rc = insert_range(in, b, 0, b->n);
	if (rc == 0)
		in->settled = b->lines[b->n - 1].raw_at + b->lines[b->n - 1].raw_len;
	batch_clear(b);
	return rc;
}

/* -- one line to one JSON object ------------------------------------------------------------------ */

static int add_name(struct shape *shape, const char *name) {
	char **names = reallocarray(shape->names, (size_t)shape->n + 1, sizeof(*names));
	if (names == NULL)
		return -ENOMEM;
	shape->names = names;
	names[shape->n] = strdup(name);
	return names[shape->n++] != NULL ? 0 : -ENOMEM;
}

/* A row whose key is one uuid that the line leaves out gets it here, so that a repeated insert would be noticed. JSON is an
 * object, complete. */
static int add_id(const struct place *place, struct shape *shape, struct buf *json) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	const struct name_list *key = relation_key(rel);
	const struct column *column = key != NULL && key->n == 1 ? relation_column(rel, key->names[0]) : NULL;
	if (column == NULL || strcmp(column->base, "uuid") != 0 || !column->has_default)
		return 0;
	for (int i = 0; i < shape->n; i++)
		if (strcmp(shape->names[i], column->name) == 0)
			return 0;
	uuid_t id;
	char text[37];
	AUTO_BUF struct buf out = { 0 };
	uuid_generate(id);
	uuid_unparse_lower(id, text);
	buf_putc(&out, '{');
	buf_json_string(&out, column->name, strlen(column->name));
	buf_printf(&out, ":\"%s\"%s", text, shape->n > 0 ? "," : "");
	const char *brace = strchr(json->data, '{');
	buf_puts(&out, brace + 1);
	if (out.failed)
		return -ENOMEM;
	buf_free(json);
	*json = out;
	out = (struct buf){ 0 };
	return add_name(shape, column->name);
}

static int put_csv_value(struct call *call, const struct column *column, const struct csv_record *record,
			 int field, struct buf *json) {
	const char *text = csv_text(record, field);
	size_t len = record->fields[field].len;
	AUTO_BUF struct buf why = { 0 };
	buf_json_string(json, column->name, strlen(column->name));
	buf_putc(json, ':');
	if (len == 0 && !record->fields[field].quoted) {
		buf_puts(json, "null");
	} else if (strcmp(column->base, "jsonb") == 0 || strcmp(column->base, "json") == 0) {
		if (json_check(text, len, &why) != 0)
			return call_error(call, EINVAL, "column %s: %s", column->name, why.data);
		buf_add(json, text, len);
	} else {
		if (text_check(text, len, &why) != 0)
			return call_error(call, EINVAL, "column %s: %s", column->name, why.data);
		buf_json_string(json, text, len);
	}
	return 0;
}

static int column_index(const struct place *place, const char *text, size_t len) {
	for (int i = 0; i < place->ncolumns; i++)
		if (strlen(place->columns[i]->name) == len && memcmp(place->columns[i]->name, text, len) == 0)
			return i;
	return -1;
}

/* Learns the columns from the first line. *HEADER says whether it is one: then every field names a column. Without a header the
 * fields are the file's columns in their order. */
static int learn_columns(struct handle *h, const struct place *place, const struct csv_record *record,
			 bool *header) {
	int n = record->n > place->ncolumns ? record->n : place->ncolumns;
	int *columns = calloc((size_t)n, sizeof(*columns));
	if (columns == NULL)
		return -ENOMEM;
	*header = record->n <= place->ncolumns;
	for (int i = 0; i < record->n && *header; i++) {
		columns[i] = column_index(place, csv_text(record, i), record->fields[i].len);
		*header = columns[i] >= 0;
		for (int k = 0; k < i && *header; k++)
			*header = columns[k] != columns[i];
	}
	h->ncolumns = *header ? record->n : place->ncolumns;
	for (int i = 0; i < place->ncolumns && !*header; i++)
		columns[i] = i;
	free(h->columns);
	h->columns = columns;
	h->columns_known = true;
	return 0;
}

/* Returns 1 for a line that is no row: a header. */
static int csv_object(struct input *in, const char *line, size_t len, struct shape *shape, struct buf *json) {
	const struct place *place = in->w->place;
	struct handle *h = in->h;
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf why = { 0 };
	bool header = false;
	if (csv_split(line, len, &record, &why) != 0)
		return call_error(in->call, EINVAL, "%s", why.data);
	int rc = h->columns_known ? 0 : learn_columns(h, place, &record, &header);
	if (rc != 0 || header)
		return rc != 0 ? rc : 1;
	if (record.n != h->ncolumns)
		return call_error(in->call, EINVAL, "%d fields, but there are %d columns", record.n, h->ncolumns);
	buf_putc(json, '{');
	for (int i = 0; i < record.n && rc == 0; i++) {
		const struct column *column = place->columns[h->columns[i]];
		if (i > 0)
			buf_putc(json, ',');
		rc = put_csv_value(in->call, column, &record, i, json);
		if (rc == 0)
			rc = add_name(shape, column->name);
	}
	buf_putc(json, '}');
	return rc;
}

static int jsonl_object(struct input *in, const char *line, size_t len, struct shape *shape, struct buf *json) {
	AUTO_BUF struct buf why = { 0 };
	if (shape_scan(line, len, shape, &why) != 0)
		return call_error(in->call, EINVAL, "%s", why.data);
	buf_add(json, line, len);
	return store_check_shape(in->call, in->w->place, shape);
}

/* Makes JSON and SHAPE of a line. Returns 1 for a line that is no row. */
static int line_object(struct input *in, const char *line, size_t len, struct shape *shape, struct buf *json) {
	bool csv = path_format(in->w->place->route->path) == FORMAT_CSV;
	int rc = csv ? csv_object(in, line, len, shape, json) : jsonl_object(in, line, len, shape, json);
	if (rc == 0)
		rc = add_id(in->w->place, shape, json);
	return rc == 0 && json->failed ? call_error(in->call, ENOMEM, "out of memory") : rc;
}

/* -- all lines --------------------------------------------------------------------------------- */

/* Length of the next line in LEN bytes with its end; with LAST, what is left is a line. *BODY is its length without the
 * line end. 0: there is none. */
static size_t next_line(const struct place *place, const char *data, size_t len, bool last, size_t *body) {
	size_t done = 0, n;
	bool quotes = false;
	if (path_format(place->route->path) == FORMAT_CSV) {
		n = csv_cut(data, len, &done, &quotes);
	} else {
		const char *newline = memchr(data, '\n', len);
		n = newline != NULL ? (size_t)(newline - data) + 1 : 0;
	}
	if (n == 0 && last)
		n = len;
	*body = n;
	if (*body > 0 && data[*body - 1] == '\n')
		(*body)--;
	if (*body > 0 && data[*body - 1] == '\r')
		(*body)--;
	return n;
}

typedef int (*line_fn)(struct input *in, struct batch *b, const struct line *line, struct shape *shape,
		       const struct buf *json);

/* Calls EACH with every row's line; refused lines go to rejected/, or with STRICT end the walk. *TAKEN is how many bytes were lines. */
static int each_line(struct input *in, struct batch *b, size_t len, bool last, bool strict, line_fn each,
		     size_t *taken) {
	size_t at = 0, n, body;
	int rc = 0;
	while (rc == 0 && at < len &&
	       (n = next_line(in->w->place, in->raw + at, len - at, last, &body)) > 0) {
		struct line line = { .raw_at = at, .raw_len = body, .number = ++in->h->lines };
		AUTO_SHAPE struct shape shape = { 0 };
		AUTO_BUF struct buf json = { 0 };
		at += n;
		if (body == 0)
			continue; /* a blank line is no row */
		rc = line_object(in, in->raw + line.raw_at, body, &shape, &json);
		if (rc == 0)
			rc = each(in, b, &line, &shape, &json);
		else if (rc == 1)
			rc = 0;
		else if (!strict && store_is_input_error(rc)) {
			reject(in, &line, rc);
			rc = 0;
		}
	}
	*taken = at;
	return rc;
}

/* Adds a line to a batch that has its shape or is empty. */
static int add_line(struct input *in, struct batch *b, const struct line *line, struct shape *shape,
		    const struct buf *json) {
	if (b->n == 0) {
		b->shape = *shape;
		memset(shape, 0, sizeof(*shape));
	}
	return batch_add(b, line, json) ? 0 : call_error(in->call, ENOMEM, "out of memory");
}

static int append_line(struct input *in, struct batch *b, const struct line *line, struct shape *shape,
		       const struct buf *json) {
	bool full = b->n >= in->call->fs->opt->batch_size;
	int rc = b->n > 0 && (full || !shape_equal(&b->shape, shape)) ? flush_batch(in, b) : 0;
	return rc != 0 ? rc : add_line(in, b, line, shape, json);
}

int rows_commit(struct call *call, struct handle *h, const struct where *w, bool last) {
	struct input in = { .call = call, .h = h, .w = w, .raw = h->data.data };
	struct batch batch = { 0 };
	size_t taken = 0;
	if (h->data.len == 0)
		return 0;
	int rc = each_line(&in, &batch, h->data.len, last, false, append_line, &taken);
	if (rc == 0)
		rc = flush_batch(&in, &batch);
	batch_free(&batch);
	if (rc != 0) {
		/* given up for good: what was not sent is kept */
		store_rejected(call, w, 0, in.raw + in.settled, h->data.len - in.settled, rc);
		taken = h->data.len;
	}
	buf_consume(&h->data, taken);
	plain_unmark(call->fs->plain, w->path);
	return rc != 0 ? rc : in.first_error;
}

/* -- replacing --------------------------------------------------------------------------------- */

static int collect_line(struct input *in, struct batch *b, const struct line *line, struct shape *shape,
			const struct buf *json) {
	if (b->n > 0 && !shape_equal(&b->shape, shape))
		return call_error(in->call, EINVAL,
				  "line %llu has other keys than the lines before it: lines that replace a file must "
				  "all have the same",
				  (unsigned long long)line->number);
	return add_line(in, b, line, shape, json);
}

static int replace_all(struct input *in, const struct batch *b) {
	const struct place *place = in->w->place;
	struct rows_tx tx = { .in = in, .shape = shape_document(&b->shape), .lines = b->n };
	AUTO_FREE char *absent = NULL;
	int rc;
	put_array(&tx.json, b, 0, b->n);
	if (b->n == 0) {
		tx.remove = place->sql.remove.sql;
	} else if (sql_has_key(place, &tx.shape)) {
		tx.remove = absent = sql_delete_absent(place, &tx.shape);
		tx.remove_takes_json = true;
		tx.insert = sql_upsert_lines(place, &tx.shape);
	} else {
		tx.remove = place->sql.remove.sql;
		tx.insert = sql_insert_lines(place, &tx.shape);
	}
	if (tx.json.failed || tx.remove == NULL || (b->n > 0 && tx.insert == NULL))
		rc = call_error(in->call, EINVAL, "the lines have no columns");
	else
		rc = run_tx(&tx);
	buf_free(&tx.json);
	free(tx.insert);
	return rc;
}

int rows_replace(struct call *call, struct handle *h, const struct where *w) {
	struct input in = { .call = call, .h = h, .w = w, .raw = h->data.data };
	struct batch batch = { 0 };
	size_t taken = 0;
	h->lines = 0;
	h->columns_known = false;
	int rc = each_line(&in, &batch, h->data.len, true, true, collect_line, &taken);
	if (rc == 0)
		rc = replace_all(&in, &batch);
	if (rc != 0)
		store_rejected(call, w, 0, h->data.data, h->data.len, rc);
	else
		plain_unmark(call->fs->plain, w->path);
	batch_free(&batch);
	buf_resize(&h->data, 0);
	return rc;
}

bool rows_tail_is_whole(const struct handle *h, const struct place *place) {
	if (path_format(place->route->path) != FORMAT_JSONL || h->data.len == 0)
		return false;
	AUTO_SHAPE struct shape shape = { 0 };
	AUTO_BUF struct buf why = { 0 };
	const char *newline = memrchr(h->data.data, '\n', h->data.len);
	const char *tail = newline != NULL ? newline + 1 : h->data.data;
	return shape_scan(tail, h->data.len - (size_t)(tail - h->data.data), &shape, &why) == 0;
}
