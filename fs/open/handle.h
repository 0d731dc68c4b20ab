/* Open files: made, found, freed, and what they hold. */
#pragma once

#include "fs/core/handle.h"
#include "fs/inodes/node.h"

/* All open handles: so that what is written and not committed yet can be committed when the mount
 * ends. Thread-safe. */
MUST_USE struct handles *handles_new(void);
void handles_free(struct handles *handles);

/* A handle on NODE, which it holds open until handle_free(). NULL if out of memory. */
MUST_USE struct handle *handle_new(struct fs *fs, struct node *node, const struct kind *kind,
				   int flags);
/* Waits until nobody works on it any more; H's lock must not be held. */
void handle_free(struct fs *fs, struct handle *h);

/* H is unsettled (see fs/core/handle.h), or is so no more. */
void handle_unsettle(struct fs *fs, struct handle *h, bool unsettled);

/* The document that H writes has SIZE bytes now, as H has it. Each writer has bytes of its own:
 * stat of the name shows those of the one that changed its bytes last. Thread-safe. */
void handle_resized(struct handle *h, uint64_t size);

/* Makes room in DATA, a buffer of H's state, for LEN bytes in all, within memory_max. Returns 0, or
 * -ENOMEM with call->err, and DATA is as it was. Held: its lock; the same for the next three. */
MUST_USE int handle_room(struct call *call, struct handle *h, struct buf *data, size_t len);
/* Says that memory_max does not allow more. Returns -ENOMEM. */
int handle_no_memory(struct call *call);
/* Gives back what DATA has far too much of; returns how many bytes it takes then. */
uint64_t handle_fit(struct buf *data);
/* H is going to hold BYTES more. */
MUST_USE int handle_take(struct call *call, struct handle *h, uint64_t bytes);
/* Counts what H holds now. */
void handle_recount(struct fs *fs, struct handle *h);

/* Any open handle, or NULL. */
struct handle *handles_any(struct handles *handles);

/* A handle that was not claimed before, which stays until handles_unclaim(); NULL: there is
 * none. */
struct handle *handles_claim(struct handles *handles);
void handles_unclaim(struct handles *handles, struct handle *h);
/* For the last words of a process: calls EACH with ARG for each handle. Held: fs_lists. */
void handles_tell(struct handles *handles, void (*each)(void *arg, struct handle *h), void *arg);

typedef bool (*handle_is_fn)(void *arg, const struct handle *h);
/* Calls EACH with ARG, with no lock held, for each open handle that IS, which is asked with IS_ARG
 * under the table's lock, without the handle's. A handle stays while EACH runs. */
void handles_each(struct fs *fs, handle_is_fn is, void *is_arg,
		  void (*each)(void *arg, struct handle *h), void *arg);
/* The same for each of a file with identity INO: handles of one path may be on several nodes. */
void handles_of_file(struct fs *fs, uint64_t ino, void (*each)(void *arg, struct handle *h),
		     void *arg);
