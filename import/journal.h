/* What an import has finished, on disk before it counts: a line for each file whose copy was
 * acknowledged, and for big rows files how far they got. Thread-safe. */
#pragma once

#include "import/plan.h"
#include "util/buf.h"

struct journal;

/* Where the journal of an import from OLD to MOUNT is kept, unless the user says where: below
 * $XDG_STATE_HOME/rowfs or ~/.local/state/rowfs, which are made, and must be safe as
 * private_dir_open() says. The caller frees it; NULL, and a sentence in WHY, if there is none. */
MUST_USE char *journal_place(const char *old, const char *mount, struct buf *why);

/* Opens or makes the journal PATH and marks what it knows in PLAN; a journal of another import
 * is refused, and so is one that is in use, a link, or another user's. RESTART forgets what is
 * in it. Returns 0 or -errno; then WHY has a sentence. */
MUST_USE int journal_open(const char *path, const char *old, const char *mount, bool restart,
			  struct plan *plan, struct journal **out, struct buf *why);
/* Frees; with REMOVE the file goes, too. */
void journal_close(struct journal *journal, bool remove);

/* The item is copied. Lines before OFFSET are in, GOOD rows of them (-1: not known). Both are on
 * disk when they return 0; otherwise -errno. */
MUST_USE int journal_done(struct journal *journal, const struct item *item);
MUST_USE int journal_offset(struct journal *journal, const struct item *item, uint64_t offset,
			    int64_t good);
