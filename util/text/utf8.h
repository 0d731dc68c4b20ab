/* UTF-8 without NUL, as text columns take it. Pure; thread-safe. */
#pragma once

#include "util/buf.h"

#include <stdint.h>

/* How many of the LEN bytes, from the first, are valid UTF-8 without NUL. */
size_t utf8_prefix(const char *s, size_t len);

/* True if all of them are. */
bool utf8_valid(const char *s, size_t len);

/* Characters of a valid text; of any other, bytes that begin one. */
int64_t utf8_count(const char *s, size_t len);

/* Appends the character C, which Unicode has. */
void utf8_put(struct buf *out, int c);

/* Bytes of the byte order mark that S begins with: 3 or 0. */
size_t utf8_mark(const char *s, size_t len);
