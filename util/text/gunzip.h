/* A gzip stream of any number of members, inflated piece by piece as its writer flushes it. A
 * damaged member costs only its rest: what follows is looked through for the next one. Pure; one
 * thread at a time. */
#pragma once

#include "util/buf.h"

#include <stdint.h>
#include <zlib.h>

struct gunzip {
	z_stream z;
	bool begun; /* z is initialised */
	bool full;  /* zlib may hold more output than was taken */
	enum { GUNZIP_BETWEEN, GUNZIP_INSIDE, GUNZIP_SEEKING } mode;
	int matched;        /* GUNZIP_SEEKING: bytes of a member's first three that were seen */
	uint64_t at;        /* offset of the next byte in the file */
	uint64_t member_at; /* where the present member began */
};

enum gunzip_event {
	GUNZIP_MORE,       /* all input is used */
	GUNZIP_FULL,       /* a good deal of output: take it, and call again */
	GUNZIP_MEMBER,     /* a member begins, at member_at */
	GUNZIP_MEMBER_END, /* and ends, its checksum right */
	GUNZIP_DAMAGED,    /* WHY says how; the next call looks for the next member */
};

void gunzip_free(struct gunzip *g);

/* Takes *LEN bytes at *DATA and moves both behind what it has used; appends to OUT. */
enum gunzip_event gunzip_feed(struct gunzip *g, const char **data, size_t *len, struct buf *out,
			      const char **why);
