#include "util/buf.h"

#include <errno.h>
#include <string.h>

void buf_free(struct buf *b) {
	free(b->data);
	*b = (struct buf){ 0 };
}

/* Makes room for EXTRA more bytes and the terminating NUL, growing by doubling. */
static bool make_room(struct buf *b, size_t extra) {
	if (b->failed)
		return false;
	if (extra > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) {
		b->failed = true;
		return false;
	}
	size_t need = b->len + extra + 1;
	if (need <= b->cap)
		return true;
	size_t cap = b->cap < 32 ? 64 : b->cap * 2;
	if (cap < need)
		cap = need;
	char *data = realloc(b->data, cap);
	if (data == NULL) {
		b->failed = true;
		return false;
	}
	if (b->data == NULL)
		data[0] = '\0';
	b->data = data;
	b->cap = cap;
	return true;
}

void buf_reserve(struct buf *b, size_t cap) {
	if (cap > b->len)
		make_room(b, cap - b->len);
}

void buf_fit(struct buf *b, size_t cap) {
	if (b->failed || cap <= b->len)
		return;
	char *data = realloc(b->data, cap);
	if (data == NULL) {
		b->failed = true;
		return;
	}
	if (b->data == NULL)
		data[0] = '\0';
	b->data = data;
	b->cap = cap;
}

void buf_add(struct buf *b, const void *data, size_t len) {
	if (!make_room(b, len))
		return;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s) {
	buf_add(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c) {
	buf_add(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap) {
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		b->failed = true;
		return;
	}
	if (!make_room(b, (size_t)n))
		return;
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

int buf_refuse(struct buf *b, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static void add_escaped_byte(struct buf *b, char c) {
	static const char bytes[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
	const char *at = memchr(bytes, c, sizeof(bytes) - 1);
	if (at != NULL)
		buf_printf(b, "\\%c", letters[at - bytes]);
	else
		buf_printf(b, "\\u%04x", (unsigned char)c);
}

bool buf_add_file(struct buf *b, FILE *f, size_t most) {
	char chunk[8192];
	size_t n;
	while (b->len < most && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(b, chunk, n);
	return ferror(f) == 0;
}

int buf_pread(struct buf *b, int fd, size_t size, uint64_t offset) {
	buf_reserve(b, b->len + size + 1);
	if (b->failed)
		return -ENOMEM;
	ssize_t n = pread(fd, b->data + b->len, size, (off_t)offset);
	if (n < 0)
		return -errno;
	b->len += (size_t)n;
	b->data[b->len] = '\0';
	return 0;
}

int buf_add_part(struct buf *b, const char *data, size_t len, size_t size, uint64_t offset) {
	if (offset >= len)
		return 0;
	size_t left = len - (size_t)offset;
	buf_add(b, data + offset, size < left ? size : left);
	return b->failed ? -ENOMEM : 0;
}

void buf_json_string(struct buf *b, const char *s, size_t len) {
	buf_putc(b, '"');
	size_t plain = 0; /* start of the run that needs no escape */
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		buf_add(b, s + plain, i - plain);
		add_escaped_byte(b, s[i]);
		plain = i + 1;
	}
	buf_add(b, s + plain, len - plain);
	buf_putc(b, '"');
}

void buf_shell_word(struct buf *b, const char *s) {
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-+=:,./@%";
	if (s[0] != '\0' && s[strspn(s, plain)] == '\0') {
		buf_puts(b, s);
		return;
	}
	buf_putc(b, '\'');
	for (const char *p = s; *p != '\0'; p++)
		if (*p == '\'')
			buf_puts(b, "'\\''");
		else
			buf_putc(b, *p);
	buf_putc(b, '\'');
}

void buf_consume(struct buf *b, size_t n) {
	if (n == 0 || b->data == NULL)
		return;
	if (n > b->len)
		n = b->len;
	b->len -= n;
	memmove(b->data, b->data + n, b->len + 1);
}

void buf_resize(struct buf *b, size_t len) {
	if (len > b->len) {
		if (!make_room(b, len - b->len))
			return;
		memset(b->data + b->len, 0, len - b->len);
	} else if (b->data == NULL) {
		return;
	}
	b->len = len;
	b->data[len] = '\0';
}

char *buf_take(struct buf *b) {
	if (!make_room(b, 0)) {
		buf_free(b);
		b->failed = true;
		return NULL;
	}
	char *data = move_ptr(b->data);
	*b = (struct buf){ 0 };
	return data;
}
