/* Lines to JSON objects. A CSV field stays a string: the column's own input function reads it on the server. */
#include "fs/rows_lines.h"

#include "fs/store.h"
#include "schema/csv.h"
#include "util/ordered_uuid.h"

#include <errno.h>
#include <string.h>

/* -- batches ----------------------------------------------------------------------------------- */

void group_clear(struct line_group *b) {
	shape_free(&b->shape);
	buf_resize(&b->json, 0);
	b->n = 0;
}

void group_free(struct line_group *b) {
	shape_free(&b->shape);
	buf_free(&b->json);
	free(b->lines);
}

static bool group_grow(struct line_group *b) {
	if ((b->n & (b->n - 1)) != 0) /* full at 0, 1, 2, 4, 8 ... */
		return true;
	size_t room = b->n > 0 ? (size_t)b->n * 2 : 1;
	struct line *lines = reallocarray(b->lines, room, sizeof(*lines));
	if (lines != NULL)
		b->lines = lines;
	return lines != NULL;
}

int group_add(struct call *call, struct line_group *b, const struct line *line, struct shape *shape,
	      const struct buf *json) {
	if (!group_grow(b))
		return call_error(call, ENOMEM, "out of memory");
	if (b->n == 0) {
		b->shape = *shape;
		memset(shape, 0, sizeof(*shape));
	}
	b->lines[b->n] = *line;
	b->lines[b->n].json_at = b->json.len;
	b->lines[b->n++].json_len = json->len;
	buf_add(&b->json, json->data, json->len);
	return b->json.failed ? call_error(call, ENOMEM, "out of memory") : 0;
}

void group_put(struct buf *out, const struct line_group *b, int low, int high) {
	for (int i = low; i < high; i++) {
		if (out->len > 1)
			buf_putc(out, ',');
		buf_add(out, b->json.data + b->lines[i].json_at, b->lines[i].json_len);
	}
}

void lines_reject(struct input *in, const struct line *line, int rc) {
	store_rejected(in->call, in->w, line->number, in->raw + line->raw_at, line->raw_len, rc);
	atomic_fetch_add(&in->call->fs->count.lines_rejected, 1);
	if (in->first_error == 0)
		in->first_error = rc;
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

/* A row whose key is one uuid that the line leaves out gets it here, so that a repeated insert would be noticed, and
 * rows that are in the order of their keys are in that of the lines. JSON is an
 * object, complete. */
static int add_id(const struct place *place, struct shape *shape, struct buf *json) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	const struct name_list *key = relation_key(rel);
	const struct column *column =
		key != NULL && key->n == 1 ? relation_column(rel, key->names[0]) : NULL;
	if (column == NULL || strcmp(column->base, "uuid") != 0 || !column->has_default)
		return 0;
	for (int i = 0; i < shape->n; i++)
		if (strcmp(shape->names[i], column->name) == 0)
			return 0;
	char text[37];
	AUTO_BUF struct buf out = { 0 };
	ordered_uuid(text);
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

static int put_csv_value(struct call *call, const struct column *column,
			 const struct csv_record *record, int field, struct buf *json) {
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
		if (strlen(place->columns[i]->name) == len &&
		    memcmp(place->columns[i]->name, text, len) == 0)
			return i;
	return -1;
}

/* Learns the columns from the first line. *HEADER says whether it is one: then every field names a column. Without a header the
 * fields are the file's columns in their order. */
static int learn_columns(struct handle *h, const struct place *place,
			 const struct csv_record *record, bool *header) {
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
static int csv_object(struct input *in, const char *line, size_t len, struct shape *shape,
		      struct buf *json) {
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
		return call_error(in->call, EINVAL, "%d fields, but there are %d columns", record.n,
				  h->ncolumns);
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

static int jsonl_object(struct input *in, const char *line, size_t len, struct shape *shape,
			struct buf *json) {
	AUTO_BUF struct buf why = { 0 };
	if (shape_scan(line, len, shape, &why) != 0)
		return call_error(in->call, EINVAL, "%s", why.data);
	buf_add(json, line, len);
	return store_check_shape(in->call, in->w->place, shape);
}

/* Makes JSON and SHAPE of a line. Returns 1 for a line that is no row. */
static int line_object(struct input *in, const char *line, size_t len, struct shape *shape,
		       struct buf *json) {
	bool csv = path_format(in->w->place->route->path) == FORMAT_CSV;
	int rc = csv ? csv_object(in, line, len, shape, json)
		     : jsonl_object(in, line, len, shape, json);
	if (rc == 0)
		rc = add_id(in->w->place, shape, json);
	shape_sort(shape);
	return rc == 0 && json->failed ? call_error(in->call, ENOMEM, "out of memory") : rc;
}

/* -- all lines --------------------------------------------------------------------------------- */

/* Length of the next line in LEN bytes with its end; with LAST, what is left is a line. *BODY is its length without the
 * line end. 0: there is none. */
static size_t next_line(const struct place *place, const char *data, size_t len, bool last,
			size_t *body) {
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

int lines_each(struct input *in, size_t len, bool last, bool strict, line_fn each, void *arg,
	       size_t *taken) {
	size_t at = 0, n, body;
	int rc = 0;
	while (rc == 0 && at < len &&
	       (n = next_line(in->w->place, in->raw + at, len - at, last, &body)) > 0) {
		struct line line = { .raw_at = at, .raw_len = body, .number = ++in->h->lines };
		AUTO_SHAPE struct shape shape = { 0 };
		AUTO_BUF struct buf json = { 0 };
		at += n;
		/* a blank line is no row, but the one NULL of a file with one column */
		if (body == 0 && (in->w->place->ncolumns > 1 ||
				  path_format(in->w->place->route->path) != FORMAT_CSV))
			continue;
		rc = line_object(in, in->raw + line.raw_at, body, &shape, &json);
		if (rc == 0)
			rc = each(in, arg, &line, &shape, &json);
		else if (rc == 1)
			rc = 0;
		else if (!strict && store_is_input_error(rc)) {
			lines_reject(in, &line, rc);
			rc = 0;
		}
	}
	*taken = at;
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
