#include "db/copy_table.h"

#include "util/buf.h"

#include <string.h>
#include <strings.h>

/* Reads one name at *S into OUT, without its quotes, and moves *S behind it. */
static void read_name(const char **s, struct buf *out) {
	const char *p = *s;
	if (*p != '"') {
		size_t len = strcspn(p, " .(\t\n");
		buf_add(out, p, len);
		*s = p + len;
		return;
	}
	for (p++; *p != '\0'; p++) {
		if (*p == '"' && p[1] != '"')
			break;
		p += *p == '"';
		buf_putc(out, *p);
	}
	*s = *p == '"' ? p + 1 : p;
}

char *copy_table(const char *sql) {
	AUTO_BUF struct buf name = { 0 };

	if (strncasecmp(sql, "COPY ", 5) != 0)
		return NULL;
	for (const char *s = sql + 5;; s++) {
		name.len = 0;
		s += strspn(s, " \t\n");
		read_name(&s, &name);
		if (*s != '.')
			break;
	}
	return name.len > 0 ? buf_take(&name) : NULL;
}
