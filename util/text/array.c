#include "util/text/array.h"

static void begin_element(struct buf *b) {
	buf_putc(b, b->len == 0 ? '{' : ',');
}

void array_add(struct buf *b, const char *text, size_t len) {
	begin_element(b);
	if (text == NULL) {
		buf_puts(b, "NULL");
		return;
	}
	buf_putc(b, '"');
	for (const char *end = text + len; text < end;) {
		size_t plain = 0;
		while (text + plain < end && text[plain] != '"' && text[plain] != '\\')
			plain++;
		buf_add(b, text, plain);
		text += plain;
		if (text < end) {
			buf_putc(b, '\\');
			buf_putc(b, *text++);
		}
	}
	buf_putc(b, '"');
}

void array_add_number(struct buf *b, long long number) {
	begin_element(b);
	buf_printf(b, "%lld", number);
}

void array_end(struct buf *b) {
	buf_puts(b, b->len == 0 ? "{}" : "}");
}
