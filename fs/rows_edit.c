#include "fs/rows_edit.h"

#include <errno.h>
#include <string.h>

void old_lines_free(struct old_lines *old) {
	free(move_ptr(old->all));
	old->n = 0;
}

static int compare(const void *a, const void *b) {
	const struct old_line *x = a, *y = b;
	size_t n = x->len < y->len ? x->len : y->len;
	int order = n > 0 ? memcmp(x->text, y->text, n) : 0;
	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

size_t rows_record_length(bool csv, const char *data, size_t len) {
	bool quoted = false;
	for (size_t at = 0; at < len; at++) {
		if (csv && data[at] == '"')
			quoted = !quoted;
		if (data[at] == '\n' && !quoted)
			return at + 1;
	}
	return len;
}

int old_lines_take(struct old_lines *out, const struct place *place, const struct buf *was) {
	bool csv = path_format(place->route->path) == FORMAT_CSV;
	size_t room = 0;
	size_t at = 0;
	if (csv && place->sql.header != NULL) {
		size_t header = strlen(place->sql.header);
		if (was->len >= header && memcmp(was->data, place->sql.header, header) == 0)
			at = header;
	}
	while (at < was->len) {
		size_t n = rows_record_length(csv, was->data + at, was->len - at);
		if (out->n == room) {
			room = room > 0 ? room * 2 : 64;
			struct old_line *more = reallocarray(out->all, room, sizeof(*more));
			if (more == NULL)
				return -ENOMEM;
			out->all = more;
		}
		const char *text = was->data + at;
		size_t text_len = n;
		if (text[text_len - 1] == '\n')
			text_len -= text_len > 1 && text[text_len - 2] == '\r' ? 2 : 1;
		out->all[out->n++] = (struct old_line){ .text = text, .len = text_len };
		at += n;
	}
	if (out->n > 1)
		qsort(out->all, out->n, sizeof(*out->all), compare);
	return 0;
}

/* The first of the lines equal to LINE, or NULL. */
static struct old_line *find(const struct old_lines *old, const struct old_line *line) {
	size_t low = 0, high = old->n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (compare(&old->all[middle], line) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < old->n && compare(&old->all[low], line) == 0 ? &old->all[low] : NULL;
}

bool rows_columns_as_shown(const struct handle *h, const struct place *place) {
	if (path_format(place->route->path) != FORMAT_CSV)
		return true;
	bool same = !h->columns_known || h->ncolumns == place->ncolumns;
	for (int i = 0; same && h->columns_known && i < place->ncolumns; i++)
		same = h->columns[i] == i;
	return same;
}

bool old_lines_keep(struct old_lines *old, const struct input *in, const struct line *line) {
	const struct old_line key = { .text = in->raw + line->raw_at, .len = line->raw_len };
	struct old_line *first =
		rows_columns_as_shown(in->h, in->w->place) ? find(old, &key) : NULL;
	if (first == NULL)
		return false;
	const struct old_line *next = first + first->kept;
	if (next == old->all + old->n || compare(next, &key) != 0)
		return false;
	first->kept++;
	return true;
}

int old_lines_gone(const struct old_lines *old, struct buf *out) {
	int n = 0;
	size_t left = 0; /* lines that are kept before the next is gone */
	for (size_t i = 0; i < old->n; i++) {
		bool first = i == 0 || compare(&old->all[i - 1], &old->all[i]) != 0;
		left = first ? old->all[i].kept : left;
		if (left > 0) {
			left--;
			continue;
		}
		buf_add(out, old->all[i].text, old->all[i].len);
		buf_putc(out, '\n');
		n++;
	}
	return n;
}
