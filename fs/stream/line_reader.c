#include "fs/stream/line_reader.h"

#include <errno.h>
#include <stdlib.h>

void line_reader_begin(struct line_reader *r, const struct format *format, size_t most) {
	record_begin(&r->records, format, most);
}

void line_reader_restart(struct line_reader *r) {
	uint64_t lines = r->records.lines;
	record_begin(&r->records, r->records.format, r->records.most);
	r->records.lines = lines;
}

void line_reader_forget(struct line_reader *r) {
	line_checker_free(&r->checker);
	free(move_ptr(r->order));
	free(move_ptr(r->columns));
	free(move_ptr(r->rules));
	record_fields(&r->records, NULL, false);
	r->known = false;
	r->n = 0;
}

int line_reader_set(struct line_reader *r, const struct column *const *columns, const int *order,
		    int n, bool header) {
	line_reader_forget(r);
	r->order = calloc((size_t)n + 1, sizeof(*r->order));
	r->columns = calloc((size_t)n + 1, sizeof(*r->columns));
	r->rules = calloc((size_t)n + 1, sizeof(*r->rules));
	if (r->order == NULL || r->columns == NULL || r->rules == NULL ||
	    line_checker_init(&r->checker, r->rules, n) != 0) {
		line_reader_forget(r);
		return -ENOMEM;
	}
	for (int i = 0; i < n; i++) {
		r->order[i] = order[i];
		r->columns[i] = columns[order[i]];
		r->rules[i] = field_rule_of(r->columns[i]);
	}
	r->n = n;
	r->known = true;
	record_fields(&r->records, &r->checker, header);
	return 0;
}

static int learn(struct line_reader *r, const struct column *const *columns, int n,
		 const struct record_found *first) {
	AUTO_FREE int *order = calloc((size_t)n + 1, sizeof(*order));
	int fields = n;
	if (order == NULL)
		return -ENOMEM;
	bool header = line_is_header(r->records.format, first->text, first->len, columns, n, order,
				     &fields);
	for (int i = 0; !header && i < n; i++)
		order[i] = i;
	return line_reader_set(r, columns, order, header ? fields : n, header);
}

int line_reader_learn(struct line_reader *r, const struct column *const *columns, int n,
		      const struct record_found *first, bool null_fits) {
	int rc = 0;
	if (r->known)
		record_fields(&r->records, &r->checker, false);
	else
		rc = learn(r, columns, n, first);
	for (int i = 0; rc == 0 && i < r->n; i++)
		r->rules[i].not_null = !null_fits && r->columns[i]->not_null;
	return rc;
}

int line_reader_give(const struct line_taker *taker, void *arg, enum record_kind kind,
		     const struct record_found *found) {
	switch (kind) {
	case RECORD_FIRST:
		return taker->first(arg, found);
	case RECORD_WHOLE:
	case RECORD_TAIL:
		return taker->row(arg, found);
	case RECORD_LONG:
		return taker->refuse(arg, found, taker->too_long_rc, taker->too_long);
	case RECORD_OPEN:
		return taker->refuse(
			arg, found, -EINVAL,
			"a quoted field that began in this line is not closed (write it as \"...\", with each quote inside it doubled)");
	case RECORD_HEADER:
		if (found->mark > 0 && !taker->mark_fits)
			return taker->refuse(
				arg, found, -EINVAL,
				"the header begins with a byte order mark: it was understood, but save the file without it");
		break;
	case RECORD_NONE:
	case RECORD_REST:
		break;
	}
	return 0;
}

/* What was learned of the first line could not be used: it comes again. */
static void first_again(struct line_reader *r, bool known) {
	record_fields(&r->records, NULL, false);
	r->known = known;
}

int line_reader_take(struct line_reader *r, const char *data, size_t len, enum record_more more,
		     const struct line_taker *taker, void *arg, size_t *taken) {
	struct record_found found = { 0 };
	enum record_kind kind;
	int rc = 0;
	bool known = r->known;
	*taken = 0;
	while ((kind = record_next(&r->records, data + *taken, len - *taken, more, &found)) !=
	       RECORD_NONE) {
		bool tail = kind == RECORD_TAIL || (kind == RECORD_OPEN && more == RECORD_END);
		bool stays = tail && taker->keeps_tail;
		rc = stays ? 0 : line_reader_give(taker, arg, kind, &found);
		if (stays || rc != 0) {
			if (kind == RECORD_FIRST)
				first_again(r, known);
			else
				record_again(&r->records, &found);
			break;
		}
		*taken += found.taken;
	}
	return rc;
}
