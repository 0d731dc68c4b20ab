/* Notes of rotations under way (rows_rotate.h), in the state directory. The lines of a log are
 * in a plain file before the server commits that their rows are gone. If rowfs is killed between
 * the two, the next mount asks the server what became of the transaction: the file stays if it
 * was committed, and goes if its rows are there. Thread-safe. */
#pragma once

#include "fs/core/fs.h"

#include <stdint.h>
#include <sys/types.h>

struct rotation_note {
	unsigned number;        /* of the rotation, in this mount */
	const char *xid;        /* text of an xid8 */
	const char *draft, *to; /* paths of the plain file, before and after it is complete */
	ino_t ino;              /* of the plain file; 0: it is not made yet */
};

/* Writes NOTE, lastingly; one with the same number is replaced. Returns 0 or -errno. */
MUST_USE int rotations_note(struct fs *fs, const struct rotation_note *note);
/* The rotation has ended: its note goes. */
void rotations_forget(struct fs *fs, unsigned number);

/* Ends what an earlier mount has left. When nobody is served yet, and the pool and the plain
 * files are there. Where the server does not know, the file stays, and the log says so. */
void rotations_recover(struct fs *fs);
