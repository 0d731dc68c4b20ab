#include "util/text/line.h"

#include "util/text/number.h"
#include "util/text/utf8.h"

#include <errno.h>
#include <string.h>

void line_checker_free(struct line_checker *c) {
	free(c->fields);
	free(c->rendered);
	buf_free(&c->decoded);
	*c = (struct line_checker){ 0 };
}

int line_checker_init(struct line_checker *c, const struct field_rule *rules, int n) {
	*c = (struct line_checker){ .rules = rules, .n = n };
	c->fields = calloc((size_t)n + 1, sizeof(*c->fields));
	c->rendered = calloc((size_t)n + 1, sizeof(*c->rendered));
	if (c->fields != NULL && c->rendered != NULL)
		return 0;
	line_checker_free(c);
	return -ENOMEM;
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
	return buf_refuse(why, "byte %zu of the line %s", good + 1,
			  line[good] == '\0' ? "is a NUL, which no text holds"
					     : "is not UTF-8: write the file in UTF-8");
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

/* Takes the line apart into c->fields. */
static int split(struct line_checker *c, const char *line, size_t len, bool plain,
		 struct buf *why) {
	const char *p = line, *end = line + len;
	struct csv_field surplus = { 0 };
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
		struct csv_field *field = n < c->n ? &c->fields[n] : &surplus;
		const char *wrong = csv_next(&p, end, plain ? NULL : &c->decoded, field);
		bool bare = !plain && wrong == NULL && field->text == field->raw;
		if (bare && memchr(field->raw, '\r', field->raw_len) != NULL)
			wrong = "a carriage return in the middle of the line: lines end in LF or "
				"CR LF";
		if (wrong != NULL)
			return syntax_error(c, n, wrong, why);
		if (p == end)
			break;
	}
	if (n + 1 == c->n)
		return 0;
	return buf_refuse(why, "%d field%s, but there are %d columns", n + 1, n > 0 ? "s" : "",
			  c->n);
}

static int judge_text(const struct field_rule *rule, const struct csv_field *field, bool plain,
		      int64_t *rendered, struct buf *why) {
	if (rule->max_chars >= 0 && (int64_t)field->len > rule->max_chars) {
		int64_t chars = plain ? (int64_t)field->len : utf8_count(field->text, field->len);
		if (chars > rule->max_chars) {
			buf_printf(why, "column %s: %lld characters, but it takes %d at most",
				   rule->name, (long long)chars, rule->max_chars);
			return -EFBIG;
		}
	}
	*rendered = plain ? (int64_t)field->len : csv_length(field->text, field->len);
	return 0;
}

static int judge_number(const struct field_rule *rule, const struct csv_field *field,
			int64_t *rendered, struct buf *why) {
	bool whole = rule->kind == FIELD_INTEGER;
	enum number_verdict verdict =
		whole ? number_integer(field->text, field->len, rule->bits, rendered)
		      : number_numeric(field->text, field->len, rule->precision, rule->scale,
				       rendered);
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

static int judge(const struct field_rule *rule, const struct csv_field *field, bool plain,
		 int64_t *rendered, struct buf *why) {
	*rendered = field->null ? 0 : -1;
	if (field->null && rule->not_null)
		return buf_refuse(why, "column %s: empty, but it must have a value", rule->name);
	if (field->null || rule->kind == FIELD_SERVER)
		return 0;
	if (rule->kind == FIELD_TEXT)
		return judge_text(rule, field, plain, rendered, why);
	return judge_number(rule, field, rendered, why);
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
	if (len == 0 && (c->n != 1 || c->rules[0].not_null))
		return buf_refuse(why, "a blank line");
	if (len == 2 && memcmp(line, "\\.", 2) == 0) {
		return buf_refuse(why,
				  "\\. alone on a line is PostgreSQL's end of data, not a row");
	}
	if (utf8_mark(line, len) > 0)
		return buf_refuse(
			why, "a byte order mark stands before the row: write the file without it");
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
		rc = judge(&c->rules[i], &c->fields[i], plain, &c->rendered[i], why);
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
