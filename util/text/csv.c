#include "util/text/csv.h"

#include "util/list.h"

#include <errno.h>

const char *csv_next_quoted(const char **at, const char *end, struct buf *decoded,
			    struct csv_field *out) {
	const char *raw = *at, *from = raw + 1, *quote;
	size_t begin = decoded->len;
	for (;; from = quote + 2) {
		quote = memchr(from, '"', (size_t)(end - from));
		if (quote == NULL)
			return "the quote does not end";
		if (quote + 1 == end || quote[1] != '"')
			break;
		buf_add(decoded, from, (size_t)(quote + 1 - from));
	}
	*at = quote + 1;
	if (*at < end && **at != ',')
		return "text behind the closing quote";
	*out = (struct csv_field){ .raw = raw,
				   .raw_len = (size_t)(*at - raw),
				   .text = raw + 1,
				   .len = (size_t)(quote - raw) - 1 };
	if (from > raw + 1) { /* had doubled quotes */
		buf_add(decoded, from, (size_t)(quote - from));
		out->text = decoded->data + begin;
		out->len = decoded->len - begin;
	}
	return NULL;
}

void csv_free(struct csv_record *record) {
	buf_free(&record->decoded);
	free(record->fields);
	*record = (struct csv_record){ 0 };
}

int csv_split(const char *line, size_t len, struct csv_record *out, struct buf *why) {
	const char *at = line, *end = line + len;
	struct buf *decoded = len > 0 && memchr(line, '"', len) != NULL ? &out->decoded : NULL;
	out->n = 0;
	buf_resize(&out->decoded, 0);
	if (decoded != NULL)
		buf_reserve(decoded, len);
	for (;; at++) {
		if (!list_room(out->fields, out->n) || out->decoded.failed) {
			buf_puts(why, "out of memory");
			return -ENOMEM;
		}
		const char *wrong = csv_next(&at, end, decoded, &out->fields[out->n++]);
		if (wrong != NULL)
			return buf_refuse(why, "field %d: %s", out->n, wrong);
		if (at == end)
			return 0;
	}
}

bool csv_is_header(const struct csv_record *record, csv_find *find, const void *names, int *order) {
	for (int i = 0; i < record->n; i++) {
		order[i] = find(names, record->fields[i].text, record->fields[i].len);
		if (order[i] < 0)
			return false;
		for (int k = 0; k < i; k++)
			if (order[k] == order[i])
				return false;
	}
	return true;
}

int64_t csv_length(const char *text, size_t len) {
	int64_t quotes = 0;
	bool odd = len == 0;
	for (size_t i = 0; i < len; i++) {
		quotes += text[i] == '"';
		odd |= text[i] == '"' || text[i] == ',' || text[i] == '\n' || text[i] == '\r';
	}
	return (int64_t)len + quotes + (odd ? 2 : 0);
}
