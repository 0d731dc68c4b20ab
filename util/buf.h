/* A growable byte string. A failed allocation sets `failed` and makes every later call a no-op, so
 * that a builder checks once, at its end. Not thread-safe: one owner at a time. */
#pragma once

#include "util/cleanup.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct buf {
	char *data;  /* always NUL-terminated once anything was added; owned */
	size_t len;  /* bytes, without the terminating NUL */
	size_t cap;  /* bytes allocated */
	bool failed; /* an allocation failed; data may be short */
};

#define AUTO_BUF __attribute__((cleanup(buf_free)))

/* Frees the bytes and zeroes the struct. */
void buf_free(struct buf *b);
/* Makes room for at least CAP bytes in all. */
void buf_reserve(struct buf *b, size_t cap);
/* Makes it have room for exactly CAP bytes, the terminating NUL included; never fewer than it
 * needs. */
void buf_fit(struct buf *b, size_t cap);
/* Append: LEN bytes; a C string; printf; one byte. */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void buf_putc(struct buf *b, char c);
/* Appends, as buf_printf() does, why something is refused. Returns -EINVAL. */
int buf_refuse(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Appends what F has, from where it stands to its end, or until B has MOST bytes or more. Returns
 * false, with errno, if F cannot be read. */
MUST_USE bool buf_add_file(struct buf *b, FILE *f, size_t most);
/* Appends what FD has from OFFSET on, at most SIZE bytes, by one pread(2). Returns 0 or -errno. */
MUST_USE int buf_pread(struct buf *b, int fd, size_t size, uint64_t offset);
/* Appends what the LEN bytes at DATA have from OFFSET on, at most SIZE bytes. Returns 0 or
 * -ENOMEM. */
MUST_USE int buf_add_part(struct buf *b, const char *data, size_t len, size_t size,
			  uint64_t offset);
/* Appends S as a JSON string literal, quotes included; control bytes escaped, UTF-8 left as it
 * is. */
void buf_json_string(struct buf *b, const char *s, size_t len);
/* Appends S as one word of a shell, in quotes where it needs them. */
void buf_shell_word(struct buf *b, const char *s);
/* Drops the first N bytes. */
void buf_consume(struct buf *b, size_t n);
/* Sets the length, filling with NUL bytes where it grows. */
void buf_resize(struct buf *b, size_t len);
/* Takes the bytes out as a malloc'd C string (never NULL unless failed); the buf is empty after. */
char *buf_take(struct buf *b);
