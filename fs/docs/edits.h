/* What a program means by the bytes that it has put into an open JSON document, where they are no
 * document as they stand. Two habits are understood, both right on a disk:
 *
 *  - The text is written anew from its start, synced, and only then cut to its new, shorter length.
 *    At the sync the rest of the old text is still behind it.
 *  - A program that has written "[...]" goes back to the last byte and writes ",{...}]". What it
 *    overwrites here is the newline that rowfs has put behind the document.
 *
 * Pure; belongs to a handle, and is guarded by its lock. */
#pragma once

#include "util/buf.h"

#include <stdint.h>

/* What was done to a document since it was opened, or committed last. */
struct edits {
	size_t end; /* its length then, bytes */
	char last;  /* its last byte then */
	/* the first byte that was changed since; `end` or more: none of the old ones */
	size_t from;
	/* bytes that were written from the start on, one behind the other; EDITS_ELSEWHERE:
	 * others were, too */
	size_t head;
};

#define EDITS_ELSEWHERE SIZE_MAX

/* DATA is the document as it was opened or committed. */
void edits_begin(struct edits *e, const struct buf *data);
void edits_write(struct edits *e, size_t offset, size_t size);
void edits_truncate(struct edits *e, size_t size);

/* How many bytes of DATA, from the start on, are the document to be committed: all of them, or
 * fewer if only what was written from the start on is one (then the others are the rest of an older
 * text). That is only so with SYNCED: an fsync, behind which the cut may still come. May take the
 * bracket out of DATA that the program believes to have overwritten. */
size_t edits_document(const struct edits *e, struct buf *data, bool synced);
