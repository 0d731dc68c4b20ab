/* csv_split(): fields that were taken apart, quoted and joined again, are the same fields. */
#include "tests/fuzz/fuzz.h"

#include "util/text/csv.h"

static void put_field(struct buf *out, const struct csv_record *record, int field) {
	const char *text = csv_text(record, field);
	if (!record->fields[field].quoted) {
		buf_add(out, text, record->fields[field].len);
		return;
	}
	buf_putc(out, '"');
	for (size_t i = 0; i < record->fields[field].len; i++) {
		if (text[i] == '"')
			buf_putc(out, '"');
		buf_putc(out, text[i]);
	}
	buf_putc(out, '"');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf again = { 0 }, why = { 0 };
	int rc = csv_split((const char *)data, size, &record, &why);
	HOLDS((rc != 0) == (why.len > 0));
	if (rc != 0)
		return 0;
	HOLDS(record.n > 0);
	for (int i = 0; i < record.n; i++) {
		if (i > 0)
			buf_putc(&again, ',');
		put_field(&again, &record, i);
	}
	HOLDS(again.len == size && (size == 0 || memcmp(again.data, data, size) == 0));
	return 0;
}
