/* record_next() and line_check(): the records add up to the input and are the same however it
 * arrives, and a row is what csv_split() sees in it. Byte 0 chooses the columns, byte 1 how the
 * input is cut. */
#include "tests/fuzz/fuzz.h"

#include "util/text/csv.h"
#include "schema/layout/line_columns.h"
#include "util/text/record.h"

enum { COLUMNS = 5, MOST = 200 };

#define COLUMN(letter, of_type, of_category, of_modifier, never_null)                              \
	{                                                                                          \
		.name = (letter), .type = (of_type), .base = (of_type), .category = (of_category), \
		.kind = 'b', .operators = "", .modifier = (of_modifier), .not_null = (never_null)  \
	}

static struct column columns[] = {
	COLUMN("v", "character varying", 'S', 3 + 4, true),
	COLUMN("t", "text", 'S', -1, false),
	COLUMN("i", "integer", 'N', -1, false),
	COLUMN("n", "numeric", 'N', (5 << 16 | 2) + 4, false),
	COLUMN("d", "date", 'D', -1, false),
};

/* A line that is taken: its fields are all of it, and csv_split() finds the same ones. */
static void check_fields(const struct line_checker *c, const char *line, size_t len) {
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf why = { 0 }, joined = { 0 };
	HOLDS(csv_split(line, len, &record, &why) == 0);
	HOLDS(record.n == c->n);
	for (int i = 0; i < c->n; i++) {
		const struct csv_field *f = &c->fields[i];
		HOLDS(f->len == record.fields[i].len);
		HOLDS(memcmp(f->text, record.fields[i].text, f->len) == 0);
		HOLDS(f->null == record.fields[i].null);
		HOLDS(c->rendered[i] >= (f->null ? 0 : -1));
		if (i > 0)
			buf_putc(&joined, ',');
		buf_add(&joined, f->raw, f->raw_len);
	}
	HOLDS(joined.len == len && (len == 0 || memcmp(joined.data, line, len) == 0));
}

/* Lines that are passed over come in as many pieces as there are: they are left out. */
static void put_record(struct buf *out, enum record_kind kind, const struct record_found *found) {
	HOLDS(kind == RECORD_FIRST ? found->taken == 0 : found->taken > 0);
	HOLDS(found->len <= MOST || memchr(found->text, '\n', found->len) != NULL);
	if (kind == RECORD_REST)
		return;
	buf_printf(out, "%d:%llu:%zu", (int)kind, (unsigned long long)found->number, found->len);
	if (kind != RECORD_LONG)
		buf_printf(out, "/%zu", found->taken);
	buf_putc(out, ' ');
}

/* All at once. */
static void read_whole(struct line_checker *c, const char *data, size_t len, struct buf *out) {
	struct record_reader r;
	struct record_found found;
	enum record_kind kind;
	size_t at = 0;
	record_begin(&r, &format_csv, MOST);
	for (; (kind = record_next(&r, data + at, len - at, RECORD_END, &found)) != RECORD_NONE;
	     at += found.taken) {
		AUTO_BUF struct buf why = { 0 };
		put_record(out, kind, &found);
		HOLDS(found.taken == 0 || found.number <= r.lines + 1);
		if (kind == RECORD_FIRST)
			record_fields(&r, c, (data[0] & 1) != 0);
		if (kind != RECORD_WHOLE && kind != RECORD_TAIL)
			continue;
		int rc = line_check(c, found.text, found.len, &why);
		HOLDS((rc != 0) == (why.len > 0));
		if (memchr(found.text, '\n', found.len) != NULL)
			HOLDS(rc == 0);
		if (rc == 0)
			check_fields(c, found.text, found.len);
	}
	HOLDS(at == len);
}

/* In pieces, each in memory of its own, so that a byte too far is seen. */
static void read_pieces(struct line_checker *c, const char *data, size_t len, unsigned seed,
			struct buf *out) {
	struct record_reader r;
	struct record_found found;
	enum record_kind kind;
	size_t at = 0, have = 0;
	record_begin(&r, &format_csv, MOST);
	while (have < len) {
		seed = seed * 1103515245 + 12345;
		have += 1 + (seed >> 16) % 7;
		have = have < len ? have : len;
		size_t size = have - at, used = 0;
		AUTO_FREE char *bytes = malloc(size + 1);
		if (bytes == NULL)
			return;
		memcpy(bytes, data + at, size);
		while ((kind = record_next(&r, bytes + used, size - used,
					   have == len ? RECORD_END : RECORD_MORE, &found)) !=
		       RECORD_NONE) {
			put_record(out, kind, &found);
			if (kind == RECORD_FIRST)
				record_fields(&r, c, (data[0] & 1) != 0);
			used += found.taken;
		}
		at += used;
	}
	HOLDS(at == len);
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
	read_whole(&c, (const char *)data + 2, size - 2, &whole);
	read_pieces(&c, (const char *)data + 2, size - 2, data[1], &pieces);
	HOLDS(whole.len == pieces.len);
	HOLDS(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
	line_checker_free(&c);
	return 0;
}
