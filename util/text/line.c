#include "util/text/line.h"

#include "util/text/utf8.h"
#include "util/text/number.h"

#include <errno.h>
#include <string.h>

static const char byte_order_mark[] = "\xef\xbb\xbf";
enum { MARK_LEN = sizeof(byte_order_mark) - 1 };

int line_checker_init(struct line_checker *c, const struct field_rule *rules, int n) {
	*c = (struct line_checker){ .rules = rules, .n = n };
	c->fields = calloc((size_t)n + 1, sizeof(*c->fields));
	return c->fields != NULL ? 0 : -ENOMEM;
}

void line_checker_free(struct line_checker *c) {
	free(c->fields);
	buf_free(&c->decoded);
	*c = (struct line_checker){ 0 };
}

/* -- bytes ------------------------------------------------------------------------------------- */

/* Only printable ASCII and no quote? Then neither encoding nor quoting is a question. Eight bytes
 * at a time: a byte is told by its highest bit after a subtraction; a borrow from the byte below
 * may tell one too many, never one too few. */
static bool is_plain(const char *line, size_t len) {
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t odd = 0, word;
	size_t i = 0;
	for (; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, line + i, sizeof(word));
		uint64_t quote = word ^ (ones * '"');
		odd |= word | (word - ones * ' ') | ((quote - ones) & ~quote);
	}
	for (; i < len; i++)
		odd |= line[i] < ' ' || line[i] == '"' ? 0x80 : 0;
	return (odd & (ones * 0x80)) == 0;
}

static int check_bytes(const char *line, size_t len, struct buf *why) {
	size_t good = utf8_prefix(line, len);
	if (good == len)
		return 0;
	buf_printf(why, "byte %zu of the line %s", good + 1,
		   line[good] == '\0' ? "is a NUL, which no text holds"
				      : "is not UTF-8: write the file in UTF-8");
	return -EINVAL;
}

static int64_t count_chars(const char *text, size_t len) {
	int64_t chars = 0;
	for (size_t i = 0; i < len; i++)
		chars += ((unsigned char)text[i] & 0xc0) != 0x80;
	return chars;
}

/* -- fields ------------------------------------------------------------------------------------ */

static int syntax_error(const struct line_checker *c, int field, const char *what,
			struct buf *why) {
	if (field < c->n)
		buf_printf(why, "column %s: %s", c->rules[field].name, what);
	else
		buf_printf(why, "field %d: %s", field + 1, what);
	return -EINVAL;
}

/* A field that begins with a quote: *P moves behind its closing one. c->decoded has room for the
 * whole line. */
static int take_quoted(struct line_checker *c, int field, const char **p, const char *end,
		       struct line_field *out, struct buf *why) {
	const char *from = *p + 1, *q;
	size_t at = c->decoded.len;
	for (;; from = q + 2) {
		q = memchr(from, '"', (size_t)(end - from));
		if (q == NULL)
			return syntax_error(c, field, "the quote does not end", why);
		if (q + 1 == end || q[1] != '"')
			break;
		buf_add(&c->decoded, from, (size_t)(q + 1 - from));
	}
	if (q + 1 < end && q[1] != ',')
		return syntax_error(c, field, "text behind the closing quote", why);
	out->raw = *p;
	out->raw_len = (size_t)(q + 1 - *p);
	out->text = *p + 1;
	out->len = out->raw_len - 2;
	out->null = false;
	if (from > *p + 1) { /* had doubled quotes */
		buf_add(&c->decoded, from, (size_t)(q - from));
		out->text = c->decoded.data + at;
		out->len = c->decoded.len - at;
	}
	*p = q + 1;
	return 0;
}

static int take_bare(struct line_checker *c, int field, bool plain, const char **p, const char *end,
		     struct line_field *out, struct buf *why) {
	const char *comma = memchr(*p, ',', (size_t)(end - *p));
	size_t len = (size_t)((comma != NULL ? comma : end) - *p);
	if (!plain && memchr(*p, '"', len) != NULL)
		return syntax_error(c, field, "a quote inside a field that is not quoted", why);
	if (!plain && memchr(*p, '\r', len) != NULL)
		return syntax_error(
			c, field,
			"a carriage return in the middle of the line: lines end in LF or CR LF",
			why);
	*out = (struct line_field){
		.raw = *p, .raw_len = len, .text = *p, .len = len, .null = len == 0
	};
	*p += len;
	return 0;
}

/* Takes the line apart into c->fields. */
static int split(struct line_checker *c, const char *line, size_t len, bool plain,
		 struct buf *why) {
	const char *p = line, *end = line + len;
	struct line_field surplus = { 0 };
	int n = 0;
	if (!plain) {
		buf_resize(&c->decoded, 0);
		buf_reserve(&c->decoded, len + 1); /* never moves while fields point into it */
		if (c->decoded.failed) {
			buf_puts(why, "out of memory");
			return -ENOMEM;
		}
	}
	for (;; p++, n++) {
		struct line_field *field = n < c->n ? &c->fields[n] : &surplus;
		bool quoted = !plain && p < end && *p == '"';
		int rc = quoted ? take_quoted(c, n, &p, end, field, why)
				: take_bare(c, n, plain, &p, end, field, why);
		if (rc != 0)
			return rc;
		if (p == end)
			break;
	}
	if (n + 1 == c->n)
		return 0;
	buf_printf(why, "%d field%s, but there are %d columns", n + 1, n > 0 ? "s" : "", c->n);
	return -EINVAL;
}

/* Bytes of the text of a text column in a file that rowfs writes. */
static int64_t rendered_text(const struct line_field *field, bool plain) {
	int64_t quotes = 0;
	bool odd = field->len == 0;
	if (plain)
		return (int64_t)field->len;
	for (size_t i = 0; i < field->len; i++) {
		char c = field->text[i];
		quotes += c == '"';
		odd |= c == '"' || c == ',' || c == '\n' || c == '\r';
	}
	return (int64_t)field->len + quotes + (odd ? 2 : 0);
}

static int judge_text(const struct field_rule *rule, struct line_field *field, bool plain,
		      struct buf *why) {
	if (rule->max_chars >= 0 && (int64_t)field->len > rule->max_chars) {
		int64_t chars = plain ? (int64_t)field->len : count_chars(field->text, field->len);
		if (chars > rule->max_chars) {
			buf_printf(why, "column %s: %lld characters, but it takes %d at most",
				   rule->name, (long long)chars, rule->max_chars);
			return -EFBIG;
		}
	}
	field->rendered = rendered_text(field, plain);
	return 0;
}

static int judge_number(const struct field_rule *rule, struct line_field *field, struct buf *why) {
	bool whole = rule->kind == FIELD_INTEGER;
	enum number_verdict verdict =
		whole ? number_integer(field->text, field->len, rule->bits, &field->rendered)
		      : number_numeric(field->text, field->len, rule->precision, rule->scale,
				       &field->rendered);
	if (verdict == NUMBER_FITS)
		return 0;
	buf_printf(why, "column %s: ", rule->name);
	if (verdict == NUMBER_IS_NONE)
		buf_puts(why, whole ? "not a whole number: write it as -12, without blanks"
				    : "not a number: write it as -12.5 or 1e-05, without blanks");
	else if (whole || rule->precision < 0)
		buf_printf(why, "the number is out of range for %s", rule->type);
	else
		buf_printf(why, "the number is out of range for numeric(%d,%d)", rule->precision,
			   rule->scale);
	return -EINVAL;
}

static int judge(const struct field_rule *rule, struct line_field *field, bool plain,
		 struct buf *why) {
	field->rendered = field->null ? 0 : -1;
	if (field->null && rule->not_null) {
		buf_printf(why, "column %s: empty, but it must have a value", rule->name);
		return -EINVAL;
	}
	if (field->null || rule->kind == FIELD_SERVER)
		return 0;
	if (rule->kind == FIELD_TEXT)
		return judge_text(rule, field, plain, why);
	return judge_number(rule, field, why);
}

/* -- lines ------------------------------------------------------------------------------------- */

/* All fields are the names of the columns? c->fields are set. */
static bool is_own_header(const struct line_checker *c) {
	for (int i = 0; i < c->n; i++)
		if (c->fields[i].len != strlen(c->rules[i].name) ||
		    memcmp(c->fields[i].text, c->rules[i].name, c->fields[i].len) != 0)
			return false;
	return true;
}

static int check_whole(const struct line_checker *c, const char *line, size_t len,
		       struct buf *why) {
	if (len == 0 && (c->n != 1 || c->rules[0].not_null)) {
		buf_puts(why, "a blank line");
		return -EINVAL;
	}
	if (len == 2 && memcmp(line, "\\.", 2) == 0) {
		buf_puts(why, "\\. alone on a line is PostgreSQL's end of data, not a row");
		return -EINVAL;
	}
	if (len >= MARK_LEN && memcmp(line, byte_order_mark, MARK_LEN) == 0) {
		buf_puts(why, "a byte order mark stands before the row: write the file without it");
		return -EINVAL;
	}
	return 0;
}

int line_check(struct line_checker *c, const char *line, size_t len, struct buf *why) {
	bool plain = is_plain(line, len);
	int rc = check_whole(c, line, len, why);
	if (rc == 0 && !plain)
		rc = check_bytes(line, len, why);
	if (rc == 0)
		rc = split(c, line, len, plain, why);
	if (rc != 0)
		return rc;
	for (int i = 0; i < c->n; i++) {
		size_t told = why->len;
		rc = judge(&c->rules[i], &c->fields[i], plain, why);
		if (rc == 0)
			continue;
		if (is_own_header(c)) {
			buf_resize(why, told);
			buf_puts(why, "a header in the middle of the file");
		}
		return rc;
	}
	return 0;
}
