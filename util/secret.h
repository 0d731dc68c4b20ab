/* Copies of passwords, and of what holds one: their bytes are overwritten before the memory is
 * given back, so that they are in no later allocation, core file or swapped page. Copies that
 * libpq and libfuse make for themselves are out of reach. */
#pragma once

#include "util/buf.h"

#include <string.h>

/* Overwrites a C string; TEXT may be NULL. */
static inline void secret_wipe(char *text) {
	if (text != NULL)
		explicit_bzero(text, strlen(text));
}

static inline void secret_free(char *text) {
	secret_wipe(text);
	free(text);
}

/* A buffer leaves copies behind where it grows: reserve what it needs. */
static inline void secret_buf_free(struct buf *b) {
	if (b->data != NULL)
		explicit_bzero(b->data, b->cap);
	buf_free(b);
}

#define AUTO_SECRET_BUF __attribute__((cleanup(secret_buf_free)))
