/* A part of a mount: what is opened when the mount begins, and closed when it ends. The list is
 * below; each part stands in the file that it is about. */
#pragma once

#include "fs/core/fs.h"

struct mount_part {
	const char *name; /* for the log */
	/* Sets its members of FS. False if that cannot be, with nothing left open; stderr says why,
	 * unless it was out of memory. */
	bool (*open)(struct fs *fs);
	/* Frees them: all parts behind it in the list are closed. NULL: it is only a step. */
	void (*close)(struct fs *fs);
};

/* All parts, in the order in which they are opened: a part finds what it needs above it. They are
 * closed in the reverse.
 *
 *  ending      the first: a signal ends whatever part takes too long
 *  place       before all that may write: another daemon may still serve the place
 *  coherence   before all that commits: it tells the kernel and other mounts
 *  engine      its close commits what lines the open files have left
 *  open_files  its close commits what is open: behind all that a commit needs
 *  removals    behind the open files, which may wait for its locks
 *  session     from here on the mount is there, and its requests wait */
#define MOUNT_PARTS(PART)                                                                          \
	PART(ending)                                                                               \
	PART(migrate)                                                                              \
	PART(served)                                                                               \
	PART(place)                                                                                \
	PART(inodes)                                                                               \
	PART(coherence)                                                                            \
	PART(requests)                                                                             \
	PART(moved)                                                                                \
	PART(made)                                                                                 \
	PART(intents)                                                                              \
	PART(orphans)                                                                              \
	PART(engine)                                                                               \
	PART(ingest)                                                                               \
	PART(transcripts)                                                                          \
	PART(trails)                                                                               \
	PART(locks)                                                                                \
	PART(open_files)                                                                           \
	PART(removals)                                                                             \
	PART(prefetch)                                                                             \
	PART(health)                                                                               \
	PART(notes)                                                                                \
	PART(session)                                                                              \
	PART(ingest_left)                                                                          \
	PART(timer)                                                                                \
	PART(reload)

#define DECLARE_PART(name) extern const struct mount_part name##_part;
MOUNT_PARTS(DECLARE_PART)
