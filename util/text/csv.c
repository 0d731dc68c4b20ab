#include "util/text/csv.h"

#include <errno.h>
#include <string.h>

void csv_free(struct csv_record *record) {
	buf_free(&record->text);
	free(record->fields);
	memset(record, 0, sizeof(*record));
}

static bool add_field(struct csv_record *out, size_t at, bool quoted) {
	if ((out->n & (out->n - 1)) == 0) { /* full at 0, 1, 2, 4, 8 ... */
		size_t room = out->n > 0 ? (size_t)out->n * 2 : 1;
		struct csv_field *more = reallocarray(out->fields, room, sizeof(*more));
		if (more == NULL)
			return false;
		out->fields = more;
	}
	out->fields[out->n++] =
		(struct csv_field){ .at = at, .len = out->text.len - at, .quoted = quoted };
	return true;
}

/* A quoted field from its opening quote; returns where it ends, or NULL. */
static const char *take_quoted(const char *p, const char *end, struct buf *text) {
	for (p++; p < end; p++) {
		if (*p != '"')
			buf_putc(text, *p);
		else if (p + 1 < end && p[1] == '"')
			buf_putc(text, *p++);
		else
			return p + 1;
	}
	return NULL;
}

int csv_split(const char *line, size_t len, struct csv_record *out, struct buf *why) {
	const char *p = line, *end = line + len;
	out->n = 0;
	buf_resize(&out->text, 0);
	for (;;) {
		size_t at = out->text.len;
		bool quoted = p < end && *p == '"';
		if (quoted) {
			p = take_quoted(p, end, &out->text);
			if (p == NULL) {
				buf_printf(why, "field %d: the quote does not end", out->n + 1);
				return -EINVAL;
			}
			if (p < end && *p != ',') {
				buf_printf(why, "field %d: text after the closing quote",
					   out->n + 1);
				return -EINVAL;
			}
		} else {
			const char *comma = memchr(p, ',', (size_t)(end - p));
			const char *stop = comma != NULL ? comma : end;
			if (memchr(p, '"', (size_t)(stop - p)) != NULL) {
				buf_printf(why,
					   "field %d: a quote inside a field that is not quoted",
					   out->n + 1);
				return -EINVAL;
			}
			buf_add(&out->text, p, (size_t)(stop - p));
			p = stop;
		}
		if (!add_field(out, at, quoted) || out->text.failed) {
			buf_puts(why, "out of memory");
			return -ENOMEM;
		}
		if (p == end)
			return 0;
		p++;
	}
}

const char *csv_text(const struct csv_record *record, int field) {
	return record->text.data != NULL ? record->text.data + record->fields[field].at : "";
}
