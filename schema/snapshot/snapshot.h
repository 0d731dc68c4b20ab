/* A snapshot: what is served. The layout as the person wrote it, the catalog that it was checked
 * against, and the tree made of both. They are made together and freed together, with the last
 * reference. Who keeps a pointer into one of them (a place, a relation, a column) holds the
 * snapshot for as long.
 *
 * `snapshots` has the current one. Another can be published at any time: what was made with the old
 * one goes on with it, and what is made from then on has the new one. */
#pragma once

#include "schema/layout/tree.h"
#include "schema/notice/notice.h"
#include "util/mutex.h"

/* All members are immutable once requests are served by it, but for what slices and places say of
 * themselves. All are owned. */
struct snapshot {
	char *text; /* the layout as read */
	struct layout *layout;
	struct catalog *catalog;
	struct tree *tree;
	struct notices *notices; /* what is told of the tree; NULL: nothing */
	atomic_uint references;
};

/* Makes a snapshot with one reference: builds the tree of LAYOUT, CATALOG and what the layout was
 * read from, TEXT, and its statements. Takes all three over, also if it fails. BEFORE is the
 * snapshot of the same text that is served, or NULL. Returns NULL with MISTAKES filled (see
 * tree_build()). CATALOG may be NULL after a failure to load it, LAYOUT after
 * one to parse it: then it returns NULL and says nothing. */
MUST_USE struct snapshot *snapshot_new(char *text, struct layout *layout, struct catalog *catalog,
				       const struct snapshot *before, struct buf *mistakes);

/* One more reference to SNAPSHOT, of which the caller has or borrows one. Returns it. No lock. */
struct snapshot *snapshot_hold(struct snapshot *snapshot);
/* Gives one back; with the last one it is freed. NULL is none. */
void snapshot_drop(struct snapshot *snapshot);
static inline void cleanup_snapshot(struct snapshot **snapshot) {
	snapshot_drop(*snapshot);
}
#define AUTO_SNAPSHOT __attribute__((cleanup(cleanup_snapshot)))

/* The same for the snapshot that PLACE belongs to. Nothing for a tree that has none. */
void snapshot_hold_place(const struct place *place);
void snapshot_drop_place(const struct place *place);

/* Where the current one is. Any thread. */
struct snapshots {
	struct mutex lock;        /* of `current` */
	struct snapshot *current; /* has a reference of its own; NULL: none yet */
};

void snapshots_init(struct snapshots *snapshots);
void snapshots_destroy(struct snapshots *snapshots);

/* The current one, with a reference for the caller; NULL if there is none. */
MUST_USE struct snapshot *snapshots_current(struct snapshots *snapshots);
/* Makes SNAPSHOT the current one; takes the caller's reference over. */
void snapshots_publish(struct snapshots *snapshots, struct snapshot *snapshot);
