/* A part of a mount: what is opened when the mount begins, and closed when it ends. Each part stands
 * in the file that it is about; fs/start/mount.c has the list, and opens in its order. */
#ifndef ROWFS_FS_CORE_PART_H
#define ROWFS_FS_CORE_PART_H

#include "fs/core/fs.h"

struct mount_part {
	const char *name; /* for the log */
	/* Sets its members of FS. False if that cannot be, with nothing left open; stderr says why,
	 * unless it was out of memory. */
	bool (*open)(struct fs *fs);
	/* Frees them: all parts behind it in the list are closed. NULL: it is only a step. */
	void (*close)(struct fs *fs);
};

extern const struct mount_part coherence_part, ending_part, engine_part, ingest_left_part,
	ingest_part, inodes_part, intents_part, locks_part, made_part, migrate_part, moved_part,
	notes_part, open_files_part, orphans_part, place_part, prefetch_part, removals_part,
	requests_part, served_part, session_part, timer_part, trails_part, transcripts_part;

#endif
