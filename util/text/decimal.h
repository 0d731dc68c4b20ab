/* Decimal numbers in text from outside: the whole text is one number, within the bounds that the
 * caller can bear, or nothing is taken from it. Pure; thread-safe. */
#ifndef ROWFS_UTIL_TEXT_DECIMAL_H
#define ROWFS_UTIL_TEXT_DECIMAL_H

#include "util/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads TEXT, -?[0-9]+ from LEAST to MOST, into *OUT. Returns false, with *OUT unchanged, if TEXT
 * is NULL or anything else. */
MUST_USE bool decimal_read(const char *text, int64_t least, int64_t most, int64_t *out);

#endif
