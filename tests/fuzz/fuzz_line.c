/* line_cut() and line_check(): the cuts add up to the input, are the same however it arrives, and what is taken is what
 * csv_split() sees in it. Byte 0 chooses the columns, byte 1 how the input is cut. */
#include "tests/fuzz/fuzz.h"

#include "schema/csv.h"
#include "schema/line.h"

enum { COLUMNS = 5, MOST = 200 };

static struct column columns[] = {
	{ "v", "character varying", "character varying", 'S', 'b', 3 + 4, true },
	{ "t", "text", "text", 'S', 'b', -1, false },
	{ "i", "integer", "integer", 'N', 'b', -1, false },
	{ "n", "numeric", "numeric", 'N', 'b', (5 << 16 | 2) + 4, false },
	{ "d", "date", "date", 'D', 'b', -1, false },
};

/* A line that is taken: its fields are all of it, and csv_split() finds the same ones. */
static void check_fields(const struct line_checker *c, const char *line, size_t len) {
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf why = { 0 }, joined = { 0 };
	HOLDS(csv_split(line, len, &record, &why) == 0);
	HOLDS(record.n == c->n);
	for (int i = 0; i < c->n; i++) {
		const struct line_field *f = &c->fields[i];
		HOLDS(f->len == record.fields[i].len);
		HOLDS(memcmp(f->text, csv_text(&record, i), f->len) == 0);
		HOLDS(f->null == (f->len == 0 && !record.fields[i].quoted));
		HOLDS(f->rendered >= (f->null ? 0 : -1));
		if (i > 0)
			buf_putc(&joined, ',');
		buf_add(&joined, f->raw, f->raw_len);
	}
	HOLDS(joined.len == len && (len == 0 || memcmp(joined.data, line, len) == 0));
}

static void put_cut(struct buf *out, size_t n, size_t body) {
	HOLDS(n > 0 && body <= n && n - body <= 2);
	buf_printf(out, "%zu/%zu ", n, body);
}

/* All at once. */
static void cut_whole(struct line_checker *c, const char *data, size_t len, struct buf *cuts) {
	struct line_scan scan = { 0 };
	size_t at = 0, n, body;
	for (; at < len; at += n) {
		AUTO_BUF struct buf why = { 0 };
		n = line_cut(c, data + at, len - at, true, MOST, &scan, &body);
		put_cut(cuts, n, body);
		int rc = line_check(c, data + at, body, &why);
		HOLDS((rc != 0) == (why.len > 0));
		if (memchr(data + at, '\n', body) != NULL)
			HOLDS(rc == 0);
		if (rc == 0)
			check_fields(c, data + at, body);
	}
	HOLDS(at == len);
}

/* In pieces, each in memory of its own, so that a byte too far is seen. */
static void cut_pieces(struct line_checker *c, const char *data, size_t len, unsigned seed,
		       struct buf *cuts) {
	struct line_scan scan = { 0 };
	size_t at = 0, have = 0, n, body;
	while (have < len) {
		seed = seed * 1103515245 + 12345;
		have += 1 + (seed >> 16) % 7;
		have = have < len ? have : len;
		size_t size = have - at, used = 0;
		AUTO_FREE char *bytes = malloc(size + 1);
		if (bytes == NULL)
			return;
		memcpy(bytes, data + at, size);
		while ((n = line_cut(c, bytes + used, size - used, have == len, MOST, &scan,
				     &body)) > 0) {
			put_cut(cuts, n, body);
			used += n;
		}
		at += used;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct field_rule rules[COLUMNS];
	struct line_checker c;
	AUTO_BUF struct buf whole = { 0 }, pieces = { 0 };
	if (size < 2)
		return 0;
	int n = 1 + data[0] % COLUMNS, first = data[0] / COLUMNS % COLUMNS;
	for (int i = 0; i < n; i++)
		rules[i] = field_rule_of(&columns[(first + i) % COLUMNS]);
	if (line_checker_init(&c, rules, n) != 0)
		return 0;
	cut_whole(&c, (const char *)data + 2, size - 2, &whole);
	cut_pieces(&c, (const char *)data + 2, size - 2, data[1], &pieces);
	HOLDS(whole.len == pieces.len);
	HOLDS(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
	line_checker_free(&c);
	return 0;
}
