/* An intent is what a process will do with the name that it waits for: make it, or remove it. The
 * kernel's LOOKUP does not say, and in two cases it matters:
 *
 * - `cp -r` and `tar -x` make a directory and then everything in it exclusively (mkdir, O_EXCL).
 *   They would fail on the names that a row's directory has from the start, or that stay when they
 *   are removed. So to the thread that made the directory, or has just removed the name, the name
 *   is not there while it makes it.
 * - `rm -r` removes one by one the names that it has listed, of a row that went with the first of
 *   them. So these names are still there for whoever removes them, and for nobody else.
 *
 * The system call is read from /proc/TID/syscall and /proc/TID/mem, see proc(5). Such a read may
 * wait for as long as the process likes: its memory may be a file of a dead file system, or it
 * may be in exec(2). So a job reads, and who asks waits for a moment only. While somebody keeps
 * such a job, nobody's intent is known. */
#pragma once

#include "util/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum intent {
	INTENT_UNKNOWN, /* no right to look, or another architecture */
	INTENT_OTHER,
	INTENT_MAKE,   /* mkdir, or open with O_CREAT and O_EXCL, of the name asked for */
	INTENT_REMOVE, /* unlink or rmdir */
};

/* What thread TID is doing, which waits for NAME to be looked up. Takes at most INTENT_MS;
 * INTENT_UNKNOWN then. Thread-safe. */
enum { INTENT_MS = 100 };
enum intent intent_of(pid_t tid, const char *name);

struct intents;

/* The names that were removed last, and by whom: thread TID has removed the name whose path has the
 * identity INO, as node.h makes it. The last INTENT_REMOVED of them are known. Thread-safe. */
enum { INTENT_REMOVED = 64 };
void intent_note_removed(struct intents *intents, pid_t tid, uint64_t ino);
/* The name is made anew, by whomever: nobody finds it removed any more. */
void intent_note_made(struct intents *intents, uint64_t ino);
bool intent_was_removed(struct intents *intents, pid_t tid, uint64_t ino);
