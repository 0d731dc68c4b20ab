/* What is served follows the database's schema and, when it is asked for, the layout's file.
 *
 * A thread compares the schema once a second with what was read of it (catalog_changed()), by a
 * session of its own; and at once when a statement has failed in a way that says that the schema
 * has changed. If it differs, or somebody has asked for it (fs->layout_asked), layout and catalog
 * are brought together anew, and what comes of it is served (coherence_publish()). Whatever fails,
 * what was served goes on.
 *
 * Thread-safe, but for what says otherwise. */
#pragma once

#include "fs/core/fs.h"
#include "schema/count/watch.h"

/* Brings LAYOUT, which was read from TEXT, and the database's schema together, by POOL. Takes both
 * over; LAYOUT or POOL may be NULL after a failure, which MISTAKES or ERR tell. BEFORE: the
 * snapshot of the same text that is served, or NULL. HOW says what may be done about slices.
 * Returns the snapshot, which is the caller's; or NULL, with a line for each mistake of the layout
 * in MISTAKES, or else ERR filled. */
MUST_USE struct snapshot *reload_make(struct fs *fs, struct db_pool *pool, char *text,
				      struct layout *layout, const struct snapshot *before,
				      enum watch_how how, struct buf *mistakes,
				      struct db_error *err);
/* The text of the layout that the options name, to be freed. NULL: ERR says why. */
MUST_USE char *reload_read(const struct options *opt, struct db_error *err);

/* The schema is compared soon: a statement has failed in a way that says that it may have
 * changed. */
void reload_hint(struct fs *fs);
/* The schema is compared now. Waits until that is done, and what comes of it is served, but not
 * long. True if something else is served than SINCE. */
bool reload_look(struct fs *fs, const struct snapshot *since);

/* fs->reload: before the layout is read, and after everything else is closed. False if out of
 * memory. For one thread. */
MUST_USE bool reload_new(struct fs *fs);
void reload_free(struct fs *fs);

/* What is wrong between layout and database, one sentence: what does not fit, or why it is not
 * known whether it does. Appends nothing to OUT, and returns true, if all fits. */
bool reload_fits(struct fs *fs, struct buf *out);
/* "schema" of status.json: its value. */
void reload_json(struct fs *fs, struct buf *out);
