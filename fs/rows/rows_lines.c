/* Lines to JSON objects. A field stays a string: the column's own input function reads it on
 * the server. */
#include "fs/rows/rows_lines.h"

#include "fs/rows/rows_id.h"
#include "fs/names/statement.h"
#include "util/text/csv.h"
#include "fs/stream/refusals.h"
#include "util/list.h"

#include <errno.h>
#include <string.h>

/* -- groups ------------------------------------------------------------------------------------ */

void group_free(struct line_group *b) {
	shape_free(&b->shape);
	buf_free(&b->json);
	free(b->lines);
}

int group_add(struct call *call, struct line_group *b, const struct line *line, struct shape *shape,
	      const struct buf *json) {
	if (!list_room(b->lines, b->n))
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
	refuse_input(in->call->fs->stream, in->w->path, line->number, in->raw + line->raw_at,
		     line->raw_len, rc, &in->call->err);
	keep_first(&in->first_error, rc);
}

/* Length of the first record of DATA, with its newline, if each quote in it is closed (there
 * is nothing to judge: util/text/record.h does that for what programs write). */
static size_t record_length(const struct format *format, const char *data, size_t len) {
	bool quoted = false;
	for (size_t at = 0; at < len; at++) {
		if (format->quotes && data[at] == '"')
			quoted = !quoted;
		if (data[at] == '\n' && !quoted)
			return at + 1;
	}
	return len;
}

uint64_t rows_reject_lines(struct call *call, const struct where *w, const struct buf *text,
			   uint64_t lines, int rc) {
	AUTO_DB_ERROR struct db_error why = { 0 };
	db_error_copy(&why, &call->err);
	for (size_t at = 0, n; at < text->len; at += n) {
		const char *line = text->data + at;
		n = record_length(w->place->format, line, text->len - at);
		size_t len = n - (line[n - 1] == '\n');
		len -= len > 0 && line[len - 1] == '\r';
		if (len > 0) { /* refuse_input() clears it */
			db_error_clear(&call->err);
			db_error_copy(&call->err, &why);
			refuse_input(call->fs->stream, w->path, lines + 1, line, len, rc,
				     &call->err);
		}
		for (size_t i = 0; i < n; i++)
			lines += line[i] == '\n';
	}
	db_error_clear(&call->err);
	return lines + (text->len > 0 && text->data[text->len - 1] != '\n');
}

/* -- one line to one JSON object --------------------------------------------------------------- */

static int add_id(const struct place *place, struct shape *shape, struct buf *made,
		  struct buf *json) {
	const struct column *id = rows_id_of(place, shape);
	AUTO_BUF struct buf out = { 0 };
	if (id == NULL || json->failed)
		return 0;
	rows_put_with_id(&out, id, shape, json->data, json->len);
	if (out.failed)
		return -ENOMEM;
	buf_free(made);
	*made = *json = out;
	out = (struct buf){ 0 };
	return shape_add(shape, id->name, strlen(id->name)) ? 0 : -ENOMEM;
}

static int put_field(struct call *call, const struct place *place, const struct column *column,
		     const struct csv_record *record, int field, struct buf *json) {
	const char *text = record->fields[field].text;
	size_t len = record->fields[field].len;
	AUTO_BUF struct buf why = { 0 };
	buf_json_string(json, column->name, strlen(column->name));
	buf_putc(json, ':');
	if (record->fields[field].null) {
		buf_puts(json, "null");
		return 0;
	}
	const struct json_members members = sql_members(place);
	enum json_member what = members.what(members.arg, column->name);
	/* of a domain over JSON, which is not quoted */
	bool bare = what == MEMBER_VALUE &&
		    (strcmp(column->base, "jsonb") == 0 || strcmp(column->base, "json") == 0);
	if ((what == MEMBER_JSON || bare ? json_check
	     : what == MEMBER_STORED     ? json_check_stored
					 : text_check)(text, len, &why) != 0)
		return call_error(call, EINVAL, "column %s: %s", column->name, why.data);
	if (bare)
		buf_add(json, text, len);
	else
		buf_json_string(json, text, len);
	return 0;
}

static int fields_object(struct input *in, const char *line, size_t len, struct shape *shape,
			 struct buf *json) {
	const struct line_reader *lines = in->lines;
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf why = { 0 };
	int rc = 0;
	if (in->w->place->format->split(line, len, &record, &why) != 0)
		return call_error(in->call, EINVAL, "%s", why.data);
	if (record.n != lines->n)
		return call_error(in->call, EINVAL, "%d fields, but there are %d columns", record.n,
				  lines->n);
	buf_putc(json, '{');
	for (int i = 0; i < record.n && rc == 0; i++) {
		const struct column *column = lines->columns[i];
		if (i > 0)
			buf_putc(json, ',');
		rc = put_field(in->call, in->w->place, column, &record, i, json);
		if (rc == 0 && !shape_add(shape, column->name, strlen(column->name)))
			rc = -ENOMEM;
	}
	buf_putc(json, '}');
	return rc;
}

/* QUOTED gets the line, if there is something to quote in it. */
static int check_object(struct input *in, const char *line, size_t len, struct shape *shape,
			struct buf *quoted) {
	AUTO_BUF struct buf why = { 0 };
	AUTO_SPANS struct json_spans spans = { 0 };
	const struct json_members members = sql_members(in->w->place);
	if (shape_scan_members(line, len, &members, shape, &spans, &why) != 0)
		return call_error(in->call, EINVAL, "%s", why.data);
	if (spans.n > 0)
		json_put_quoted(quoted, line, 0, len, &spans);
	return statement_check_shape(in->call, in->w->place, shape);
}

/* Makes JSON, a view of the line or of MADE, and SHAPE of a line. */
static int line_object(struct input *in, const char *line, size_t len, struct shape *shape,
		       struct buf *made, struct buf *json) {
	bool fields = in->w->place->format->split != NULL;
	int rc = fields ? fields_object(in, line, len, shape, made)
			: check_object(in, line, len, shape, made);
	bool is_made = made->len > 0 || made->failed;
	*json = is_made ? *made : (struct buf){ .data = (char *)(uintptr_t)line, .len = len };
	if (rc == 0 && !in->ids_later)
		rc = add_id(in->w->place, shape, made, json);
	shape_sort(shape);
	return rc == 0 && json->failed ? call_error(in->call, ENOMEM, "out of memory") : rc;
}

/* -- records ----------------------------------------------------------------------------------- */

void rows_lines_begin(struct rows_file *f, const struct place *place, uint64_t most) {
	line_reader_begin(&f->lines, place->format, most);
}

uint64_t rows_open_line(const struct rows_file *f) {
	return record_open_line(&f->lines.records);
}

void rows_drop_rest(struct handle *h) {
	struct rows_file *f = rows_of(h);
	record_drop(&f->lines.records, f->data.data, f->data.len);
	buf_resize(&f->data, 0);
}

/* What lines_each() works on. */
struct walk {
	struct input *in;
	bool strict;
	line_fn each;
	void *arg;
};

/* The first line was seen: from now on records can be cut. */
static int take_first(void *arg, const struct record_found *first) {
	const struct walk *w = arg;
	const struct place *place = w->in->w->place;
	/* empty fields are fine: the path may say what they are */
	return line_reader_learn(w->in->lines, place->columns, place->ncolumns, first, true);
}

static struct line line_at(const struct input *in, const struct record_found *found) {
	return (struct line){ .raw_at = (size_t)(found->text - found->mark - in->raw),
			      .raw_len = found->len + found->mark,
			      .number = found->number };
}

/* What is wrong with a line costs it alone, or with STRICT all of the text. */
static int judge(const struct walk *w, const struct line *line, int rc) {
	if (rc == 0 || w->strict || !refuse_is_input_error(rc))
		return rc;
	lines_reject(w->in, line, rc);
	return 0;
}

static int refuse(void *arg, const struct record_found *found, int rc, const char *why) {
	const struct walk *w = arg;
	const struct line line = line_at(w->in, found);
	return judge(w, &line, call_error(w->in->call, -rc, "%s", why));
}

static int take_row(void *arg, const struct record_found *found) {
	const struct walk *w = arg;
	const struct place *place = w->in->w->place;
	const struct line line = line_at(w->in, found);
	bool fields = place->format->split != NULL;
	AUTO_SHAPE struct shape shape = { 0 };
	AUTO_BUF struct buf made = { 0 };
	struct buf json;
	if (found->mark > 0)
		return refuse(arg, found, -EINVAL,
			      "a byte order mark stands before the row: write the file without it");
	/* a blank line is no row, but the one NULL of a file with one column */
	if (found->len == 0 && (!fields || place->ncolumns > 1))
		return fields && !w->strict ? refuse(arg, found, -EINVAL, "a blank line") : 0;
	int rc = line_object(w->in, found->text, found->len, &shape, &made, &json);
	return rc == 0 ? w->each(w->in, w->arg, &line, &shape, &json) : judge(w, &line, rc);
}

int lines_each(struct input *in, size_t len, enum record_more more, bool strict, line_fn each,
	       void *arg, size_t *taken) {
	struct walk walk = { .in = in, .strict = strict, .each = each, .arg = arg };
	const struct line_taker taker = { .first = take_first,
					  .row = take_row,
					  .refuse = refuse,
					  .too_long = ROWS_TOO_LONG,
					  .too_long_rc = -EFBIG,
					  .mark_fits = strict };
	return line_reader_take(in->lines, in->raw, len, more, &taker, &walk, taken);
}

bool rows_columns_as_shown(const struct line_reader *lines, const struct place *place) {
	if (lines == NULL || !lines->known)
		return true;
	bool same = lines->n == place->ncolumns;
	for (int i = 0; same && i < place->ncolumns; i++)
		same = lines->order[i] == i;
	return same;
}

bool rows_tail_is_whole(const struct handle *h, const struct place *place) {
	const struct rows_file *f = rows_of(h);
	if (place->format->split != NULL || f->data.len == 0)
		return false;
	AUTO_SHAPE struct shape shape = { 0 };
	AUTO_BUF struct buf why = { 0 };
	const char *newline = memrchr(f->data.data, '\n', f->data.len);
	const char *tail = newline != NULL ? newline + 1 : f->data.data;
	return shape_scan(tail, f->data.len - (size_t)(tail - f->data.data), &shape, &why) == 0;
}
