#include "db/quote.h"

#include "util/buf.h"

/* Appends S between QUOTEs, each QUOTE in it doubled. */
static void quote(struct buf *sql, const char *s, char mark) {
	buf_putc(sql, mark);
	for (; *s != '\0'; s++) {
		if (*s == mark)
			buf_putc(sql, mark);
		buf_putc(sql, *s);
	}
	buf_putc(sql, mark);
}

void db_quote_ident(struct buf *sql, const char *ident) {
	quote(sql, ident, '"');
}

void db_quote_literal(struct buf *sql, const char *s) {
	quote(sql, s, '\'');
}
