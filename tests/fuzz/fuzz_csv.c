/* csv_split(): fields that were taken apart, quoted and joined again, are the same fields. */
#include "tests/fuzz/fuzz.h"

#include "util/text/csv.h"

/* The field as its text says, which must be as it stands in the line. */
static void put_field(struct buf *out, const struct csv_field *field) {
	size_t from = out->len;
	bool quoted = field->raw_len > 0 && *field->raw == '"';
	HOLDS(field->null == (field->raw_len == 0));
	if (!quoted)
		buf_add(out, field->text, field->len);
	for (size_t i = 0; quoted && i < field->len; i++) {
		buf_puts(out, i == 0 ? "\"" : "");
		buf_puts(out, field->text[i] == '"' ? "\"" : "");
		buf_putc(out, field->text[i]);
	}
	buf_puts(out, !quoted ? "" : field->len > 0 ? "\"" : "\"\"");
	HOLDS(out->len - from == field->raw_len);
	HOLDS(quoted || csv_length(field->text, field->len) >= (int64_t)field->raw_len);
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
		put_field(&again, &record.fields[i]);
	}
	HOLDS(again.len == size && (size == 0 || memcmp(again.data, data, size) == 0));
	return 0;
}
