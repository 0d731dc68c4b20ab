#include "fs/stream/ingest_parse.h"

#include "util/text/csv.h"
#include "util/text/utf8.h"
#include "util/list.h"

#include <errno.h>
#include <string.h>

enum {
	LINE_MOST = 1 << 20, /* bytes of one line */
	LINES_PASSED =
		/* index of a refusal: it stands for all lines behind a header that cannot be
		 * used */
	-2,
};

/* -- units ------------------------------------------------------------------------------------- */

void ingest_unit_clear(struct ingest_unit *unit) {
	for (int i = 0; i < unit->nshapes; i++)
		shape_free(&unit->shapes[i]);
	free(unit->shapes);
	refusals_clear(&unit->refused);
	tally_free(&unit->tally);
	free(unit->lines);
	buf_free(&unit->text);
	memset(unit, 0, sizeof(*unit));
}

void ingest_unit_clear_lines(struct ingest_unit *unit) {
	struct refusals refused = unit->refused;
	unit->refused = (struct refusals){ 0 };
	ingest_unit_clear(unit);
	unit->refused = refused;
}

/* STAYS: the line is taken from where it stands. */
static bool add_line(struct ingest_unit *unit, const struct record_found *found, int shape,
		     bool stays) {
	struct ingest_line line = { .text = stays ? found->text : NULL,
				    .at = unit->text.len,
				    .len = found->len + 1,
				    .number = found->number,
				    .shape = shape };
	if (!stays) {
		buf_add(&unit->text, found->text, found->len);
		buf_putc(&unit->text, '\n');
	}
	if (unit->text.failed || !list_room(unit->lines, unit->n))
		return false;
	unit->lines[unit->n++] = line;
	return true;
}

/* The index of SHAPE, which is taken over if it is a new one; -1 if out of memory. */
static int find_shape(struct ingest_unit *unit, struct shape *shape) {
	for (int i = unit->nshapes - 1; i >= 0; i--)
		if (shape_equal(&unit->shapes[i], shape))
			return i;
	if (!list_room(unit->shapes, unit->nshapes))
		return -1;
	unit->shapes[unit->nshapes] = *shape;
	memset(shape, 0, sizeof(*shape));
	return unit->nshapes++;
}

/* -- the fields -------------------------------------------------------------------------------- */

static int set_order(struct ingest_parser *p, const int *order, int n, bool header) {
	struct line_reader *r = &p->reader;
	AUTO_FREE const struct column **columns =
		calloc((size_t)p->in->nfields + 1, sizeof(*columns));
	if (columns == NULL)
		return -ENOMEM;
	for (int i = 0; i < p->in->nfields; i++)
		columns[i] = p->in->fields[i].column;
	int rc = line_reader_set(r, columns, order, n, header);
	for (int i = 0; rc == 0 && i < n; i++)
		if (p->in->fields[order[i]].factor != NULL) /* any number, until it is converted */
			r->rules[i].kind = FIELD_NUMERIC, r->rules[i].precision = -1;
	if (rc == 0 && p->in->by_copy)
		rc = counter_new(p->in->tree, p->in->rel, r->columns, n, NULL, 0, &p->counter);
	return rc;
}

/* True if two fields of the header are one column. */
static bool is_doubled(const struct ingest_parser *p, const int *order, int n) {
	for (int i = 0; i < n; i++)
		for (int k = 0; k < i; k++)
			if (p->in->fields[order[i]].column == p->in->fields[order[k]].column)
				return true;
	return false;
}

/* Puts into WHY what is wrong with the names of RECORD. */
static void judge_names(const struct ingest *in, const struct csv_record *record, struct buf *why) {
	const char *before = "the header names what is no field of the file: ";
	for (int i = 0; i < record->n; i++) {
		const char *name = record->fields[i].text;
		if (ingest_field(in, name, record->fields[i].len) >= 0)
			continue;
		buf_printf(why, "%s\"%.*s\"", before, (int)record->fields[i].len, name);
		before = ", ";
	}
	if (why->len == 0)
		buf_puts(why, "the header names one column twice");
	buf_puts(why,
		 " (no line of it becomes a row; the bytes are kept: give the route a \"fields\" "
		 "for it, and write the file anew)");
}

/* A copy of the text that can be kept in the database, and told: for what is no UTF-8, and for NUL,
 * it has U+FFFD. NULL: out of memory. */
static char *readable(const char *text, size_t len) {
	AUTO_BUF struct buf out = { 0 };
	for (size_t at = 0; at < len; at++) {
		size_t good = utf8_prefix(text + at, len - at);
		buf_add(&out, text + at, good);
		at += good;
		if (at < len)
			buf_puts(&out, "\xef\xbf\xbd");
	}
	buf_puts(&out, "");
	return out.failed ? NULL : buf_take(&out);
}

/* No line becomes a row: RECORD, the first LINE, is a header that cannot be used. */
static int refuse_header(struct ingest_parser *p, const char *line, size_t len,
			 const struct csv_record *record) {
	AUTO_BUF struct buf why = { 0 };
	judge_names(p->in, record, &why);
	free(p->unusable);
	free(p->header);
	p->unusable = readable(why.data, why.len);
	p->header = readable(line, len);
	return p->unusable != NULL && p->header != NULL ? 0 : -ENOMEM;
}

/* A first line that is no header as it stands, and yet is meant as one: most of its fields are
 * names, or some are and it is no row. Taken for a row it would cost only itself, and the fields of
 * all others would be guessed. */
static int look_for_names(struct ingest_parser *p, const char *line, size_t len) {
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf why = { 0 };
	int known = 0;
	if (p->in->format->split(line, len, &record, &why) != 0)
		return 0;
	for (int i = 0; i < record.n; i++)
		known += ingest_field(p->in, record.fields[i].text, record.fields[i].len) >= 0;
	buf_resize(&why, 0);
	if (known == 0 || (known * 2 <= record.n &&
			   p->in->format->check(&p->reader.checker, line, len, &why) == 0))
		return 0;
	return refuse_header(p, line, len, &record);
}

/* Looks at the first line. *HEADER: it is one. Returns 0 or -ENOMEM. */
static int learn(struct ingest_parser *p, const char *line, size_t len, bool *header) {
	AUTO_FREE int *order = calloc((size_t)p->in->nfields + 1, sizeof(*order));
	int n = 0;
	if (order == NULL)
		return -ENOMEM;
	*header = line_is_header(p->in->format, line, len, p->in->header, p->in->nfields, order,
				 &n) &&
		  !is_doubled(p, order, n);
	if (!*header) {
		int rc = set_order(p, p->in->plain, p->in->nplain, false);
		return rc == 0 ? look_for_names(p, line, len) : rc;
	}
	free(p->header);
	p->header = strndup(line, len);
	return p->header != NULL ? set_order(p, order, n, true) : -ENOMEM;
}

/* The same of a LINE that was looked at before, as readable() has left it. */
static int learn_again(struct ingest_parser *p, const char *line, size_t len) {
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf why = { 0 };
	bool header;
	int rc = learn(p, line, len, &header);
	if (rc != 0 || header || p->unusable != NULL || len == 0)
		return rc;
	return p->in->format->split(line, len, &record, &why) == 0
		       ? refuse_header(p, line, len, &record)
		       : 0;
}

/* The fields are not known any more. */
static void forget_fields(struct ingest_parser *p) {
	line_reader_forget(&p->reader);
	free(move_ptr(p->header));
	free(move_ptr(p->unusable));
	counter_free(move_ptr(p->counter));
	p->provisional = false;
}

/* -- one line ---------------------------------------------------------------------------------- */

static const char too_long[] =
	"the line is longer than 1 MiB (its beginning is kept here, all of it in the file)";

static int refuse(struct ingest_unit *unit, uint64_t number, int rc, const char *line, size_t len,
		  const char *why) {
	struct refusal one = { .number = number, .index = -1, .errnum = -rc };
	return refusals_add_or_fold(&unit->refused, one, line, len, why) ? 0 : -ENOMEM;
}

/* The fields, as the keys of an object: the unit's one shape. */
static bool add_shape(const struct ingest_parser *p, struct ingest_unit *unit) {
	const struct line_reader *r = &p->reader;
	AUTO_SHAPE struct shape shape = { 0 };
	bool ok = true;
	for (int i = 0; ok && i < r->n; i++) {
		const char *name = p->in->names[r->order[i]].name;
		ok = shape_add(&shape, name, strlen(name));
	}
	return ok && find_shape(unit, &shape) == 0;
}

bool ingest_put_object(const struct format *format, const struct shape *shape, const char *line,
		       size_t len, struct buf *out) {
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf why = { 0 };
	if (format->split == NULL) {
		buf_add(out, line, len);
		return true;
	}
	if (format->split(line, len - 1, &record, &why) != 0 || record.n != shape->n)
		return false;
	buf_putc(out, '{');
	for (int i = 0; i < record.n; i++) {
		const struct csv_field *f = &record.fields[i];
		buf_puts(out, i > 0 ? "," : "");
		buf_json_string(out, shape->names[i], strlen(shape->names[i]));
		buf_putc(out, ':');
		if (f->null)
			buf_puts(out, "null");
		else
			buf_json_string(out, f->text, f->len);
	}
	buf_putc(out, '}');
	return true;
}

/* What the server does not tell just now, the triggers find out. */
static void count(struct ingest_parser *p, struct ingest_unit *unit) {
	bool counted = !unit->uncounted;
	int rc = counter_line(p->counter, p->engine->buckets, p->engine->pool, &p->reader.checker,
			      &unit->tally, &counted);
	unit->uncounted = rc != 0 || !counted;
}

static int line_of_fields(struct ingest_parser *p, struct ingest_unit *unit,
			  const struct record_found *found, bool stays) {
	AUTO_BUF struct buf why = { 0 };
	if (p->unusable != NULL) {
		p->passed = p->passed > 0 ? p->passed : found->number;
		return 0;
	}
	int rc = p->in->format->check(&p->reader.checker, found->text, found->len, &why);
	if (rc != 0)
		return refuse(unit, found->number, rc, found->text, found->len,
			      why.data != NULL ? why.data : "");
	if (p->in->by_copy)
		count(p, unit);
	bool ok = (unit->nshapes > 0 || add_shape(p, unit)) && add_line(unit, found, 0, stays);
	return ok ? 0 : -ENOMEM;
}

/* Names of SHAPE that nothing takes. */
static void unknown_names(const struct ingest *in, const struct shape *shape, struct buf *why) {
	for (int i = 0; i < shape->n; i++)
		if (ingest_field(in, shape->names[i], strlen(shape->names[i])) < 0)
			buf_printf(why, "%s\"%s\"",
				   why->len > 0 ? ", " : "no field of the file is called ",
				   shape->names[i]);
	for (int i = 0; why->len == 0 && i < shape->n; i++)
		for (int k = 0; k < i; k++)
			if (in->fields[ingest_field(in, shape->names[i], strlen(shape->names[i]))]
				    .column ==
			    in->fields[ingest_field(in, shape->names[k], strlen(shape->names[k]))]
				    .column)
				buf_printf(why, "\"%s\" and \"%s\" are the same column",
					   shape->names[k], shape->names[i]);
}

static int line_of_names(struct ingest_parser *p, struct ingest_unit *unit,
			 const struct record_found *found, bool stays) {
	AUTO_BUF struct buf why = { 0 };
	AUTO_SHAPE struct shape shape = { 0 };
	if (found->len == 0)
		return 0;
	int rc = shape_scan(found->text, found->len, &shape, &why);
	if (rc == 0 && p->in->overflow == NULL)
		unknown_names(p->in, &shape, &why);
	if (rc == 0 && shape.n == 0)
		buf_puts(&why, "the object is empty");
	if (rc != 0 || why.len > 0)
		return refuse(unit, found->number, -EINVAL, found->text, found->len, why.data);
	shape_sort(&shape);
	int index = find_shape(unit, &shape);
	return index >= 0 && add_line(unit, found, index, stays) ? 0 : -ENOMEM;
}

/* Where records go. */
struct taking {
	struct ingest_parser *p;
	struct ingest_unit *unit;
	bool stays; /* they are given as bytes that stay until the unit is gathered */
};

static int take_row(void *arg, const struct record_found *found) {
	const struct taking *t = arg;
	struct ingest_parser *p = t->p;
	if (p->skip > 0) {
		p->skip--;
		return 0;
	}
	return p->in->format->split != NULL ? line_of_fields(p, t->unit, found, t->stays)
					    : line_of_names(p, t->unit, found, t->stays);
}

/* What is no line at all. Behind a header that cannot be used, it is passed over as the others. */
static int take_bad(void *arg, const struct record_found *found, int rc, const char *why) {
	const struct taking *t = arg;
	if (t->p->skip > 0 || (t->p->unusable != NULL && why != too_long))
		return take_row(arg, found);
	return refuse(t->unit, found->number, rc, found->text, found->len, why);
}

/* The first line says what the fields are. If it cannot be used, it is told, and no line behind it
 * is a row. */
static int take_first(void *arg, const struct record_found *first) {
	const struct taking *t = arg;
	struct ingest_parser *p = t->p;
	bool header;
	int rc = learn(p, first->text, first->len, &header);
	if (rc != 0 || p->unusable == NULL)
		return rc;
	record_fields(&p->reader.records, &p->reader.checker, true);
	return refuse(t->unit, first->number, -EINVAL, first->text, first->len, p->unusable);
}

static const struct line_taker taker = {
	.first = take_first,
	.row = take_row,
	.refuse = take_bad,
	.too_long = too_long,
	.too_long_rc = -EINVAL,
	.mark_fits = true,
	.keeps_tail = true, /* it is parser_tail()'s */
};

/* -- all of them ------------------------------------------------------------------------------- */

/* Lines that were passed over are told together: one refusal for those of a unit. */
static int tell_passed(struct ingest_parser *p, struct ingest_unit *unit) {
	struct refusals *list = &unit->refused;
	struct refusal *last = list->n > 0 ? &list->all[list->n - 1] : NULL;
	AUTO_BUF struct buf why = { 0 };
	uint64_t first = p->passed;
	if (first == 0)
		return 0;
	p->passed = 0;
	bool more = last != NULL && last->index == LINES_PASSED;
	if (more)
		first = last->number;
	buf_printf(&why, "%llu lines from this one on are no rows: %s",
		   (unsigned long long)p->reader.records.lines - first + 1, p->unusable);
	if (!more) {
		struct refusal one = { .number = first, .index = LINES_PASSED, .errnum = EINVAL };
		return refusals_add(list, one, "", 0, why.failed ? "" : why.data) ? 0 : -ENOMEM;
	}
	free(last->why);
	last->why = buf_take(&why);
	return last->why != NULL ? 0 : -ENOMEM;
}

/* Takes the records off the LEN bytes at DATA, but no last line without its end. *TAKEN is how many
 * bytes they are. */
static int take_from(struct ingest_parser *p, const char *data, size_t len,
		     struct ingest_unit *unit, enum record_more more, size_t *taken) {
	struct taking t = { .p = p, .unit = unit, .stays = p->in->by_copy && data != p->text.data };
	int rc = line_reader_take(&p->reader, data, len, more, &taker, &t, taken);
	return rc == 0 ? tell_passed(p, unit) : rc;
}

/* The same off p->text. */
static int take_records(struct ingest_parser *p, struct ingest_unit *unit, enum record_more more) {
	size_t taken;
	if (p->text.failed)
		return -ENOMEM;
	int rc = take_from(p, p->text.data, p->text.len, unit, more, &taken);
	buf_consume(&p->text, taken);
	return rc;
}

/* -- bytes ------------------------------------------------------------------------------------- */

/* The member's rest is lost, and with it the record that it ended in. */
static int on_damage(struct ingest_parser *p, struct ingest_unit *unit, const char *why) {
	AUTO_BUF struct buf sentence = { 0 };
	buf_printf(
		&sentence,
		"damaged gzip data at byte %llu (%s): rows are taken again from the next member on",
		(unsigned long long)p->gz.at, why);
	int rc = take_records(p, unit, RECORD_SYNC);
	if (rc == 0)
		rc = refuse(unit, p->reader.records.lines + (p->text.len > 0), -EINVAL,
			    p->text.len > 0 ? p->text.data : "", p->text.len, sentence.data);
	record_drop(&p->reader.records, p->text.data, p->text.len);
	buf_resize(&p->text, 0);
	p->resume_at = p->gz.at;
	p->resume_lines = p->reader.records.lines;
	return rc;
}

static int feed_gzip(struct ingest_parser *p, const char *data, size_t len, enum record_more more,
		     struct ingest_unit *unit) {
	const char *why = NULL;
	int rc = 0;
	while (rc == 0) {
		enum gunzip_event event = gunzip_feed(&p->gz, &data, &len, &p->text, &why);
		rc = take_records(p, unit, event == GUNZIP_MORE ? more : RECORD_MORE);
		if (rc == 0 && event == GUNZIP_DAMAGED)
			rc = on_damage(p, unit, why);
		if (event == GUNZIP_MEMBER && p->text.len == 0 && !p->reader.records.skipping) {
			p->resume_at = p->gz.member_at;
			p->resume_lines = p->reader.records.lines;
		}
		if (event == GUNZIP_MORE)
			break;
	}
	return rc;
}

int parser_feed(struct ingest_parser *p, const char *data, size_t len, enum record_more more,
		struct ingest_unit *unit) {
	if (len == 0 && more == RECORD_MORE)
		return 0;
	if (p->provisional && len > 0)
		forget_fields(p);
	p->fed += len;
	p->tail_refused = p->tail_refused && len == 0;
	if (p->gzip)
		return feed_gzip(p, data, len, more, unit);
	/* what is whole is taken from where it stands, unless a piece waits for it */
	bool piece = p->text.len > 0;
	size_t taken = 0;
	int rc = piece ? 0 : take_from(p, data, len, unit, more, &taken);
	buf_add(&p->text, data + taken, len - taken);
	if (rc == 0 && (piece || p->text.failed))
		rc = take_records(p, unit, more);
	p->resume_at = p->fed - p->text.len;
	p->resume_lines = p->reader.records.lines;
	return rc;
}

uint64_t parser_open_line(const struct ingest_parser *p) {
	return record_open_line(&p->reader.records);
}

/* Makes a row of the piece behind the last record, or refuses it. Nothing is taken: the next bytes
 * may be its rest. */
static int judge_tail(struct ingest_parser *p, struct ingest_unit *unit) {
	struct record_reader reader = p->reader.records; /* it stays where it is */
	struct taking t = { .p = p, .unit = unit };
	struct record_found found;
	enum record_kind kind = record_next(&reader, p->text.data, p->text.len, RECORD_END, &found);
	if (kind != RECORD_NONE && found.taken == p->text.len)
		return line_reader_give(&taker, &t, kind, &found);
	return refuse(unit, p->reader.records.lines + 1, -EINVAL, p->text.data, p->text.len,
		      "a quoted field goes over the line end, and the lines together are no row");
}

/* The first line is all there is, and has no end: it is a row if it is no header. */
static int learn_of_tail(struct ingest_parser *p) {
	struct record_reader reader = p->reader.records;
	struct record_found first;
	bool header = false;
	if (record_next(&reader, p->text.data, p->text.len, RECORD_END, &first) != RECORD_FIRST)
		return 0;
	int rc = learn(p, first.text, first.len, &header);
	if (rc != 0 || header || p->unusable != NULL) {
		forget_fields(p);
		return rc;
	}
	p->provisional = true;
	p->reader.records.mark = first.mark;
	return 0;
}

int parser_tail(struct ingest_parser *p, struct ingest_unit *unit, bool last,
		struct refusals *bad) {
	if (p->gzip && p->gz.mode == GUNZIP_INSIDE)
		/* the member goes on, or its writer was killed: the line is not all there */
		return 0;
	if (p->text.len == 0 || p->reader.records.skipping || p->reader.records.pass > 0 ||
	    p->skip > 0 || p->tail_refused || p->tail_id != NULL)
		return 0;
	bool fields = p->in->format->split != NULL;
	int rc = fields && !p->reader.known && last ? learn_of_tail(p) : 0;
	/* a header without a newline says nothing yet */
	if (rc != 0 || (fields && (!p->reader.known || p->unusable != NULL)))
		return rc;
	rc = last ? take_records(p, unit, RECORD_END) : 0;
	if (rc != 0 || p->text.len == 0)
		return rc;
	struct refusals others = unit->refused;
	int before = unit->n;
	unit->refused = (struct refusals){ 0 };
	rc = judge_tail(p, unit);
	unit->has_tail = unit->n > before;
	*bad = unit->refused;
	unit->refused = others;
	p->tail_refused = last && bad->n > 0;
	if (rc == 0 && last && !refusals_move(&unit->refused, bad))
		rc = -ENOMEM;
	return rc;
}

/* -- state ------------------------------------------------------------------------------------- */

void parser_state(const struct ingest_parser *p, const char *tail_id, struct buf *out) {
	buf_printf(out, "{\"at\":\"%llu\",\"lines\":\"%llu\",\"pass\":\"%llu\"",
		   (unsigned long long)p->resume_at, (unsigned long long)p->resume_lines,
		   (unsigned long long)(p->reader.records.lines - p->resume_lines));
	buf_printf(out, ",\"ready\":%s,\"discarding\":%s,\"seeking\":%s",
		   p->reader.known && !p->provisional ? "true" : "false",
		   p->reader.records.skipping ? "true" : "false",
		   p->gz.mode == GUNZIP_SEEKING ? "true" : "false");
	if (p->header != NULL) {
		buf_puts(out, ",\"header\":");
		buf_json_string(out, p->header, strlen(p->header));
	}
	if (p->tail_refused)
		buf_puts(out, ",\"tail_refused\":true");
	if (tail_id != NULL)
		buf_printf(out, ",\"tail\":\"%s\"", tail_id);
	buf_putc(out, '}');
}

static uint64_t get_number(const cJSON *json, const char *name) {
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
	return cJSON_IsString(item) ? strtoull(item->valuestring, NULL, 10) : 0;
}

static bool get_bool(const cJSON *json, const char *name) {
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, name));
}

int parser_begin(struct ingest_parser *p, struct engine *engine, const struct ingest *in, bool gzip,
		 const char *state) {
	memset(p, 0, sizeof(*p));
	p->engine = engine;
	p->in = in;
	p->gzip = gzip;
	line_reader_begin(&p->reader, in->format, LINE_MOST);
	AUTO_JSON cJSON *json = state != NULL ? cJSON_Parse(state) : NULL;
	if (json == NULL)
		return 0;
	const cJSON *header = cJSON_GetObjectItemCaseSensitive(json, "header");
	const cJSON *tail = cJSON_GetObjectItemCaseSensitive(json, "tail");
	p->resume_at = p->fed = p->gz.at = get_number(json, "at");
	p->resume_lines = p->reader.records.lines = get_number(json, "lines");
	p->reader.records.pass = get_number(json, "pass");
	p->skip = get_number(json, "skip");
	p->tail_refused = get_bool(json, "tail_refused");
	if (!gzip)
		p->reader.records.skipping = get_bool(json, "discarding");
	bool taken = p->reader.records.pass > 0 || p->skip > 0;
	if (!taken && get_bool(json, "seeking"))
		p->gz.mode = GUNZIP_SEEKING;
	if (cJSON_IsString(tail) && (p->tail_id = strdup(tail->valuestring)) == NULL)
		return -ENOMEM;
	if (!get_bool(json, "ready") || (p->resume_at == 0 && !taken))
		return 0; /* the first line says it, perhaps again */
	const char *line = cJSON_IsString(header) ? header->valuestring : "";
	int rc = learn_again(p, line, strlen(line));
	p->reader.records.header = false; /* it was taken */
	return rc;
}

void parser_free(struct ingest_parser *p) {
	gunzip_free(&p->gz);
	buf_free(&p->text);
	forget_fields(p);
	free(p->tail_id);
	memset(p, 0, sizeof(*p));
}
