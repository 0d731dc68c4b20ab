/* An open file.
 *
 * A document's handle holds the bytes as they were at open; writes change them, and flush or fsync
 * sends them whole. A handle is unsettled after a flush that could not tell what its writer means:
 * a truncation with no data yet (`echo x > f` flushes before it writes), or a last line without a
 * newline. Look-ups then wait a moment for the write or the release that settles it. */
#pragma once

#include "fs/core/kind.h"
#include "util/mutex.h"

#include <fcntl.h>
#include <stdatomic.h>

/* Why a write to a handle that is `given` is ESTALE. */
#define HANDLE_GIVEN                                                                               \
	"the file was renamed onto a row, which took its content as it was then: what is written " \
	"afterwards must be written to the new name"

/* The size of a handle that has no bytes of its own. */
#define HANDLE_NO_SIZE UINT64_MAX

/* How the kernel may keep what it reads through a handle. */
enum kpages {
	KPAGES_NONE,
	KPAGES_FILE,    /* while the file is known: nobody but the kernel writes it */
	KPAGES_VERSION, /* while the node is known: it is one version of a document */
};

struct handle {
	struct handle *all_next, *all_prev; /* guarded by the table of handles, as is: */
	int users;                          /* who works on it besides the kernel's requests */
	bool claimed;                       /* see handles_claim() */
	struct mutex lock;                  /* guards everything below */
	struct node *node;                  /* holds a reference */
	const struct kind *_Atomic kind;    /* changes once at most: see plain_kind.c */
	int flags;                          /* of open(2) */
	uint64_t lock_ino;        /* identity of the file that is open, by which it is locked */
	struct handle *node_next; /* of the node's open handles; guarded by the node table */
	/* A document's bytes as this handle has them, and when it changed them: see
	 * handle_resized(). May be read without the lock. */
	atomic_ullong size, changed;
	/* clock_us() of the oldest bytes that the clock may commit, 0: none; the same */
	atomic_llong waiting_us;

	/* what its kind keeps, of kind->state; its room has the accessor. It stands behind the
	 * handle: an open of a file that is known costs little else than what is allocated. */
	void *state;

	uint64_t counted; /* bytes on the account of memory: what the handle holds */
	uint64_t most;    /* bytes that its text may have, if it is open for writing: text_most() */
	enum kpages kpages;
	bool wrote;   /* changed what the file is, committed or not */
	bool created; /* the file was made by this handle's open */
	/* its content was given to another name by a rename: what is written later has no place */
	bool given;
	/* -errno of a commit before a lock was given up: the next fsync or close tells it */
	int untold;
	bool unsettled;
};

/* True if H, a writer, has bytes of its own whose size its program is to see. Thread-safe. */
static inline bool handle_has_size(const struct handle *h) {
	return (h->flags & O_ACCMODE) != O_RDONLY && h->kind->own_size &&
	       atomic_load(&((struct handle *)(uintptr_t)h)->size) != HANDLE_NO_SIZE;
}
