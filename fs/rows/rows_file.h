/* An open rows file: what the handle has besides what all kinds share. Guarded by the handle's
 * lock, where nothing else is said. */
#pragma once

#include "fs/open/author.h"
#include "fs/core/call.h"
#include "fs/core/kind.h"
#include "fs/open/handle.h"
#include "fs/stream/line_reader.h"

#define ROWS_TOO_LONG "the line is longer than max_document; the rest of it is left out"

/* What the bytes of an open rows file are; rows_whole.c says how it goes from one to the other. */
enum rows_state {
	ROWS_LINES,   /* lines that are appended, and not taken yet */
	ROWS_EMPTIED, /* nothing: the file was cut, and nothing was written since */
	ROWS_ANEW,    /* the whole file, written from nothing */
	ROWS_EDITED,  /* the whole file, loaded and changed */
	ROWS_STATES
};

struct rows_file {
	/* reading */
	struct rows_reader *reader;
	struct transcript *transcript; /* it is read from there; holds a reference */
	struct transcript *writing;    /* what this reader makes of what it reads; its own */
	struct transcript *passing; /* what the kernel has opened with it: see transcript_pass() */
	struct transcript *mapped;  /* what its maps show: see transcript_map() */

	/* writing */
	struct buf data;      /* what was written and is not committed yet */
	enum rows_state rows; /* what data is */
	bool dirty;           /* something to commit */
	bool fresh;  /* it had no rows when it was opened, and its text is kept: see made.h */
	int refused; /* -errno of a write that was refused: the rest is not committed either */
	struct line_reader lines;   /* what data is cut with */
	struct rows_append *append; /* appended CSV on its way; NULL until the first line */
	struct buf was;             /* ROWS_EDITED: the text as it was loaded */
	/* The table whose rows are to be replaced by a text that is written from nothing and not
	 * committed; NULL: none, or `since` is known. Read without the lock. */
	_Atomic(const struct relation *) anew_of;
	/* such a text replaces what was there then: see rows_whole_meet(); NULL: all */
	char *since;
	uint64_t
		written_to; /* where the last write of that text ends; 0: a truncation came later */
	uint64_t opened_at; /* the file's size when it was opened */
	bool opened_empty;  /* it had no lines then: 0 is its end, too */
	bool has_begun;     /* something was written since open or truncation */
	struct author author;    /* of the piece of a line at the end of what was written */
	uint64_t next_offset;    /* where the next write of a sequential writer begins */
	uint64_t buffered_lines; /* newlines in data */
	/* what fsync or close still has to tell, -errno: lines were given up, though they may be
	 * good ones; and a line was refused */
	int deferred, bad_line;
};

extern const struct state_type rows_state_type;

/* True if H has a rows file open. */
static inline bool rows_is_open(const struct handle *h) {
	return h->kind->state == &rows_state_type;
}

/* H's file, which is a rows file. */
static inline struct rows_file *rows_of(const struct handle *h) {
	return h->state;
}

/* True if H has cut the file to nothing, and that is not committed. */
static inline bool rows_is_anew(const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	return f->rows == ROWS_EMPTIED || f->rows == ROWS_ANEW;
}

/* True if H's data is the whole file, to be committed as a replacement. */
static inline bool rows_is_whole(const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	return f->rows != ROWS_LINES;
}
