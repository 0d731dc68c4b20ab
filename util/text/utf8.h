/* UTF-8 without NUL, as text columns take it. Pure; thread-safe. */
#ifndef ROWFS_UTIL_TEXT_UTF8_H
#define ROWFS_UTIL_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* How many of the LEN bytes, from the first, are valid UTF-8 without NUL. */
size_t utf8_prefix(const char *s, size_t len);

/* True if all of them are. */
bool utf8_valid(const char *s, size_t len);

#endif
