/* An open document: its states, and what each of the files does that work on it. document_commit.c
 * sends it, document_locked.c shows a later version to those that read it, document.c opens, reads
 * and changes it. All with the handle's lock held, where nothing else is said. */
#pragma once

#include "fs/core/call.h"
#include "fs/docs/edits.h"
#include "fs/inodes/body.h"
#include "fs/open/handle.h"
#include "util/process.h"

/* Whether a document's text is written and not committed. */
enum under_way {
	UNDER_WAY_NONE,
	UNDER_WAY_TEXT,
	UNDER_WAY_MADE, /* and the handle that made the file has given way to this one: if nothing
			 * comes of it, the name goes */
};

/* What a handle has of its document. */
enum document_state {
	DOCUMENT_OPENING, /* its open is not over, or has failed */
	DOCUMENT_READS,   /* a reader's: a body, or a file of its own */
	DOCUMENT_CLEAN,   /* a writer's: nothing to commit */
	DOCUMENT_EMPTIED, /* emptied or made, and nothing written since */
	DOCUMENT_CHANGED, /* a text to commit */
	DOCUMENT_REFUSED, /* a write was refused: the text goes to rejected/ */
	DOCUMENT_FAILED,  /* the same as clean, but the last commit failed for good */
	DOCUMENT_STATES
};

enum document_event {
	DOCUMENT_OPENED_TO_READ,
	DOCUMENT_OPENED,
	DOCUMENT_OPENED_EMPTY, /* O_TRUNC, or it was made and an empty file is a value */
	DOCUMENT_WRITTEN,
	DOCUMENT_CUT_TO_NOTHING,
	DOCUMENT_CUT, /* to another length */
	DOCUMENT_NOT_WRITTEN,
	DOCUMENT_COMMITTED,
	DOCUMENT_NOT_COMMITTED, /* refused by the server, or given up */
	DOCUMENT_GIVES_WAY,     /* to the text of another handle */
	DOCUMENT_SET_ASIDE,     /* kept as an orphan: see orphans.h */
	DOCUMENT_LOADED,        /* again, since another one has changed it */
	DOCUMENT_EVENTS
};

#define NOT_APPENDED SIZE_MAX

/* A document's handle. Guarded by the handle's lock, where nothing else is said. */
struct open_document {
	struct buf data;
	struct body *body;     /* a reader's document, in place of data; holds a reference */
	struct scratch *large; /* the same, where it is too large for memory; holds a reference */
	atomic_int under_way;  /* enum under_way; changed without the lock, too */
	int state;             /* enum document_state */
	size_t base; /* it was only appended to, behind so many bytes; NOT_APPENDED: it was not */
	int64_t seen_at;           /* node_changed_at() when data or body was loaded or committed */
	unsigned long seen_ticket; /* coherence_ticket() before; 0: unknown */
	struct edits edits;
	/* of data, from the start on, what was committed; behind it is the rest of an older
	 * text. 0: all */
	size_t document;
	bool made;                /* by this handle's open, and nothing is committed */
	bool fresh;               /* it had no rows when it was opened, and nothing is committed */
	int refused;              /* DOCUMENT_REFUSED: -errno of the write */
	char maker[PROCESS_NAME]; /* name of the process that made it, for may_wait(); "" */
};

extern const struct state_type document_state_type;

static inline struct open_document *document_of(const struct handle *h) {
	return h->state;
}

/* Moves by the table in document_state.c. */
void document_move(struct open_document *d, enum document_event event);

/* True if D has something to commit. */
static inline bool document_is_dirty(const struct open_document *d) {
	return d->state == DOCUMENT_EMPTIED || d->state == DOCUMENT_CHANGED ||
	       d->state == DOCUMENT_REFUSED;
}

/* The document as it is now; *RES has it, and its version. */
MUST_USE int document_query(struct call *call, const struct where *w, PGresult **res);

/* H has these LEN bytes, and no others. */
MUST_USE int document_take(struct call *call, struct handle *h, const char *data, size_t len);

/* H has the bytes of the document as it is now. */
MUST_USE int document_fetch(struct call *call, struct handle *h);

/* H has the document as it is, and its program has changed nothing of it. */
void document_begin(struct handle *h);

/* True if H has the document as it is now; so far as this mount has changed it, unless
 * BY_ANYBODY. *AT, *TICKET: for what is loaded then. */
bool document_is_present(struct call *call, const struct handle *h, bool by_anybody, int64_t *at,
			 unsigned long *ticket);

/* A program that reads from the start, and has changed nothing that is not committed, means the
 * document as it is now: it may have waited for a lock since it opened the file, and another one
 * has written meanwhile. LOCKED: it has got one, and others than this mount count, too. */
MUST_USE int document_load_again(struct call *call, struct handle *h, bool locked);

/* Returns -EFBIG, with the sentence. */
int document_too_large(struct call *call);

/* Others see whether H's text is under way. */
void document_note_under_way(struct handle *h);

/* -- document_commit.c and document_locked.c, for the kinds ------------------------------------ */

/* Sends the whole document. FROM as in kind.h. CREATED: what it is about most likely is not
 * there. With no lock. */
MUST_USE int document_send(struct call *call, const struct where *w, const struct where *from,
			   const char *data, size_t len, bool created);
MUST_USE int document_sync(struct call *call, struct handle *h, enum sync_reason reason);
MUST_USE int document_unlocking(struct call *call, struct handle *h);
/* With no lock held. */
MUST_USE int document_locked(struct call *call, struct handle *h);
