/* The entries of an open directory: first the names that are known (. and .., literal places, plain
 * files), then page after page of keys from the database. Offsets keep their meaning: see trail.h.
 *
 * A page with attributes costs ten times what a page of names does, and the kernel keeps a kilobyte
 * of each entry that it was told the attributes of. Who opens a directory without following links
 * walks a tree and will ask for them all. For others the first page has attributes but for its last
 * entry, the bait: who looks that up before he reads on will want the others' too. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "fs/core/kind.h"
#include "fs/open/handle.h"

struct entry {
	const char *name;
	struct found found; /* without a place: it is to be looked up for its attributes */
	uint64_t next;      /* offset of the entry behind it */
	bool dots;          /* . or .. */
	bool bare;          /* its attributes were not asked for */
};

/* A directory that is read: by a program, then it is the state of a handle, or to fetch its entries
 * before they are asked for. One thread at a time. */
struct open_directory {
	struct node *node; /* held by whoever reads it */
	bool walks;        /* opened without following links: see above */
	struct listing *listing;
	/* of a handle */
	bool kept;           /* the kernel may keep what it lists */
	bool renewed;        /* the kernel knows it as another node: see lookup_renewed() */
	unsigned long since; /* coherence_ticket() of its opening */
};

/* The kind of a handle that has a directory open; its state is a struct open_directory. */
extern const struct kind directory_kind;

static inline struct open_directory *directory_of(const struct handle *h) {
	return h->state;
}

/* Goes to OFFSET (0: the start, and what is there now) of D. PLUS: entries are wanted with
 * attributes. Returns 0 or -errno. */
MUST_USE int listing_seek(struct call *call, struct open_directory *d, uint64_t offset, bool plus);

/* The entry there; *OUT is NULL at the end. Borrowed until the next call for D. Returns 0 or
 * -errno. */
MUST_USE int listing_entry(struct call *call, struct open_directory *d, const struct entry **out);

/* How many names D has given without attributes. */
uint64_t listing_named(const struct open_directory *d);

/* On to the entry behind it. */
void listing_advance(struct open_directory *d);

/* True if the reply should end here: what the reader does next tells what he wants. */
bool listing_pauses(const struct open_directory *d);

void listing_free(struct fs *fs, struct listing *listing);
