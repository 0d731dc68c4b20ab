/* PostgreSQL's text form of a one-dimensional array, for parameters that hold many values. Pure. */
#pragma once

#include "util/buf.h"

/* Appends one element to the array that grows in B, quoted; TEXT NULL is SQL NULL. */
void array_add(struct buf *b, const char *text, size_t len);
/* The same for a number. */
void array_add_number(struct buf *b, long long number);
/* Closes it; an array without elements becomes {}. */
void array_end(struct buf *b);
