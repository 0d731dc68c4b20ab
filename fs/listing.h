/* The entries of an open directory: first the names that are known (. and .., literal places, plain files), then page after
 * page of keys from the database. An entry's offset is its position; going back refetches the page it was on. */
#ifndef ROWFS_FS_LISTING_H
#define ROWFS_FS_LISTING_H

#include "fs/call.h"
#include "fs/handle.h"

struct entry {
	char *name;
	struct found found; /* strings in it are owned by the entry, as below */
	char **keys;        /* found.keys; owned */
	char *version;      /* found.version; owned */
	bool dots;          /* . or .. */
};

/* The entry at POSITION (from 0) of directory handle H; *OUT is NULL at the end. Borrowed until the next call. The handle's lock is held.
 * Returns 0 or -errno. */
MUST_USE int listing_entry(struct call *call, struct handle *h, uint64_t position,
			   const struct entry **out);

/* Forgets everything, as rewinddir(3) wants it. */
void listing_free(struct listing *listing);

#endif
