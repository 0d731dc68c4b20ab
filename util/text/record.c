#include "util/text/record.h"

#include "util/text/utf8.h"

#include <string.h>

void record_begin(struct record_reader *r, const struct format *format, size_t most) {
	*r = (struct record_reader){ .format = format, .most = most };
}

static uint64_t count_lines(const char *data, size_t len) {
	const char *end = data + len, *newline = data;
	uint64_t n = 0;
	while (newline < end && (newline = memchr(newline, '\n', (size_t)(end - newline)))) {
		newline++;
		n++;
	}
	return n + (len > 0 && data[len - 1] != '\n');
}

void record_drop(struct record_reader *r, const char *data, size_t len) {
	r->lines += len > 0 || r->skipping ? count_lines(data, len) + (len == 0) : 0;
	r->scan = (struct record_scan){ 0 };
	r->skipping = false;
}

void record_again(struct record_reader *r, const struct record_found *found) {
	r->scan = (struct record_scan){ 0 };
	r->skipping = false;
	r->lines = found->number - 1;
	r->mark = found->mark;
}

/* -- one byte after the other ------------------------------------------------------------------ */

enum scan_state {
	AT_FIELD, /* before a field */
	IN_BARE,  /* in a field that is not quoted */
	IN_QUOTES,
	AFTER_QUOTE,  /* the quote has ended, or is the first half of a doubled one */
	AFTER_RETURN, /* behind the closing quote and a carriage return */
};

enum verdict { GO_ON, RECORD_ENDS, WRONG };

/* One byte inside quotes. */
static enum verdict step_quoted(const struct line_checker *c, struct record_scan *scan, char byte) {
	const struct field_rule *rule = scan->field < c->n ? &c->rules[scan->field] : NULL;
	if (byte == '"') {
		scan->state = AFTER_QUOTE;
		return GO_ON;
	}
	scan->chars += ((unsigned char)byte & 0xc0) != 0x80;
	scan->breaks += byte == '\n';
	if (rule == NULL || (byte == '\n' && !rule->newlines) ||
	    (rule->max_chars >= 0 && scan->chars > rule->max_chars))
		return WRONG;
	return GO_ON;
}

/* One byte that may end a field. */
static enum verdict step_outside(struct record_scan *scan, char byte) {
	if (byte == '\n')
		return RECORD_ENDS;
	if (byte == ',') {
		scan->state = AT_FIELD;
		scan->field++;
		return GO_ON;
	}
	if (scan->state == AT_FIELD) {
		scan->state = byte == '"' ? IN_QUOTES : IN_BARE;
		scan->chars = 0;
		scan->opened = scan->breaks;
		return GO_ON;
	}
	if (scan->state == IN_BARE)
		return byte == '"' ? WRONG : GO_ON;
	if (byte == '"') { /* doubled */
		scan->state = IN_QUOTES;
		scan->chars++;
		return GO_ON;
	}
	scan->state = AFTER_RETURN;
	return byte == '\r' ? GO_ON : WRONG;
}

static enum verdict step(const struct line_checker *c, struct record_scan *scan, char byte) {
	if (scan->state == IN_QUOTES)
		return step_quoted(c, scan, byte);
	if (scan->state == AFTER_RETURN)
		return byte == '\n' ? RECORD_ENDS : WRONG;
	return step_outside(scan, byte);
}

/* -- a quoted field that goes on behind a line end --------------------------------------------- */

static bool is_good(const struct record_reader *r, const char *data, size_t len) {
	AUTO_BUF struct buf why = { 0 };
	return r->format->check(r->checker, data, record_without_end(data, len), &why) == 0;
}

/* Is a line behind the first one a good record by itself? With END, what stands behind the last
 * newline is a line. */
static bool good_line_behind(struct record_reader *r, const char *data, size_t len, bool end) {
	struct record_scan *scan = &r->scan;
	size_t at = scan->judged > 0 ? scan->judged : scan->newline;
	while (r->checker->n > 1 && at < len) {
		const char *newline = memchr(data + at, '\n', len - at);
		if (newline == NULL && !end)
			break;
		size_t n = newline != NULL ? (size_t)(newline - data) + 1 - at : len - at;
		if (is_good(r, data + at, n))
			return true;
		at += n;
	}
	scan->judged = at;
	return false;
}

/* Behind the last newline of LEN bytes. */
static size_t whole_lines(const char *data, size_t len) {
	const char *newline = memrchr(data, '\n', len);
	return newline != NULL ? (size_t)(newline - data) + 1 : 0;
}

/* What the record is whose first line has a quote. *END: where it ends. */
static enum record_kind end_of_quoted(struct record_reader *r, const char *data, size_t len,
				      enum record_more more, size_t *end) {
	struct record_scan *scan = &r->scan;
	bool full = false; /* it is longer than a record may be */
	enum verdict verdict = GO_ON;
	while (scan->at < len && verdict == GO_ON && !full) {
		full = scan->at >= r->most;
		if (!full)
			verdict = step(r->checker, scan, data[scan->at++]);
	}
	*end = scan->newline;
	if (verdict == RECORD_ENDS && scan->at > scan->newline && is_good(r, data, scan->at))
		*end = scan->at;
	if (verdict != GO_ON)
		return RECORD_WHOLE;
	if (more == RECORD_MORE && !full)
		return RECORD_NONE;
	bool last = more == RECORD_END && !full;
	if (scan->state != IN_QUOTES) {
		if (last && is_good(r, data, len))
			*end = len;
		return last || full ? RECORD_WHOLE : RECORD_NONE;
	}
	if (data[scan->newline - 1] != '\n' || good_line_behind(r, data, scan->at, last))
		return RECORD_WHOLE;
	*end = full ? whole_lines(data, scan->at) : len;
	return last || full ? RECORD_OPEN : RECORD_NONE;
}

/* -- records ----------------------------------------------------------------------------------- */

/* Bytes up to the first newline and with it; 0: it is not there. Looks at no byte twice. */
static size_t first_newline(struct record_scan *scan, const char *data, size_t len) {
	if (scan->newline > 0 || len <= scan->at)
		return scan->newline;
	const char *newline = memchr(data + scan->at, '\n', len - scan->at);
	scan->at = newline != NULL ? 0 : len;
	scan->newline = newline != NULL ? (size_t)(newline - data) + 1 : 0;
	return scan->newline;
}

/* Takes the N bytes at DATA behind the mark. */
static enum record_kind take(struct record_reader *r, enum record_kind kind, const char *data,
			     size_t n, struct record_found *out) {
	bool ended = data[n - 1] == '\n';
	*out = (struct record_found){ .text = data,
				      .len = record_without_end(data, n),
				      .taken = n + r->mark,
				      .number = r->lines + 1,
				      .mark = r->mark };
	r->lines += n == r->scan.newline ? 1 : count_lines(data, n);
	r->scan = (struct record_scan){ 0 };
	r->mark = 0;
	return kind == RECORD_WHOLE && !ended ? RECORD_TAIL : kind;
}

/* A line of which nothing is wanted, or what is there of it. */
static enum record_kind pass_over(struct record_reader *r, const char *data, size_t len,
				  enum record_more more, struct record_found *out) {
	size_t newline = first_newline(&r->scan, data, len);
	if (newline == 0 && r->pass > 0 && len <= r->most)
		return RECORD_NONE;
	r->skipping = newline == 0 && more != RECORD_END;
	r->lines += newline > 0;
	r->pass -= newline > 0 && r->pass > 0;
	r->scan = (struct record_scan){ 0 };
	*out = (struct record_found){ .text = data, .taken = newline > 0 ? newline : len };
	return RECORD_REST;
}

/* A line that is too long: NEWLINE is where it ends, 0 if that is not known. */
static enum record_kind take_long(struct record_reader *r, const char *data, size_t len,
				  size_t newline, struct record_found *out) {
	*out = (struct record_found){ .text = data,
				      .len = r->most,
				      .taken = newline > 0 ? newline : len,
				      .number = r->lines + 1 };
	r->lines += newline > 0;
	r->skipping = newline == 0;
	r->scan = (struct record_scan){ 0 };
	return RECORD_LONG;
}

static enum record_kind first_line(struct record_reader *r, const char *data, size_t newline,
				   struct record_found *out) {
	r->mark = utf8_mark(data, newline);
	*out = (struct record_found){ .text = data + r->mark,
				      .len = record_without_end(data + r->mark, newline - r->mark),
				      .number = r->lines + 1,
				      .mark = r->mark };
	return RECORD_FIRST;
}

void record_fields(struct record_reader *r, struct line_checker *checker, bool header) {
	r->checker = checker;
	r->header = header;
	r->scan = (struct record_scan){ 0 };
}

/* Takes a whole line without a quote, which most records are: nothing is to be remembered for it.
 * False if it is anything else, of which nothing was taken. */
static bool take_plain(struct record_reader *r, const char *data, size_t len,
		       struct record_found *out) {
	if (r->skipping || r->header || (r->format->split != NULL && r->checker == NULL) ||
	    (r->pass | r->mark | r->scan.newline | r->scan.at) != 0)
		return false;
	const char *newline = memchr(data, '\n', len);
	size_t n = newline != NULL ? (size_t)(newline - data) + 1 : 0;
	if (n == 0 || n > r->most || (r->format->quotes && memchr(data, '"', n) != NULL))
		return false;
	out->text = data;
	out->len = record_without_end(data, n);
	out->taken = n;
	out->number = ++r->lines;
	out->mark = 0;
	return true;
}

enum record_kind record_next(struct record_reader *r, const char *data, size_t len,
			     enum record_more more, struct record_found *out) {
	if (len > 0 && take_plain(r, data, len, out))
		return RECORD_WHOLE;
	if (r->checker == NULL)
		r->mark = 0; /* the first line is told again */
	if (len == 0)
		return RECORD_NONE;
	if (r->skipping || r->pass > 0 || (len == r->mark && more == RECORD_END))
		return pass_over(r, data, len, more, out);
	if (len <= r->mark)
		return RECORD_NONE;
	data += r->mark;
	len -= r->mark;
	bool seen = r->scan.newline > 0; /* then the line is known to have a quote */
	size_t newline = first_newline(&r->scan, data, len);
	if (newline > r->most || (newline == 0 && len > r->most))
		return take_long(r, data, len, newline, out);
	if (newline == 0 && more != RECORD_END)
		return RECORD_NONE;
	if (newline == 0) {
		newline = r->scan.newline = len;
		r->scan.at = 0;
	}
	if (r->format->split != NULL && r->checker == NULL)
		return first_line(r, data, newline, out);
	if (r->header) {
		r->header = false;
		return take(r, RECORD_HEADER, data, newline, out);
	}
	if (!r->format->quotes || (!seen && memchr(data, '"', newline) == NULL))
		return take(r, RECORD_WHOLE, data, newline, out);
	size_t end = newline;
	enum record_kind kind = end_of_quoted(r, data, len, more, &end);
	return kind == RECORD_NONE ? kind : take(r, kind, data, end, out);
}

uint64_t record_open_line(const struct record_reader *r) {
	const struct record_scan *scan = &r->scan;
	bool open = scan->state == IN_QUOTES && scan->breaks > scan->opened;
	return open ? r->lines + 1 + scan->opened : 0;
}
