/* Who wrote the piece of a line at the end of an open file, and how that process has let go of it.
 *
 * A last line without a newline is a row only if its writer closed the file by its own will. The
 * kernel sends a flush for each descriptor that is closed, and waits for the reply: so /proc still
 * has the process that closes, and says whether a signal ends it. What counts is the process that
 * wrote the piece. Others may have copies of its descriptor (the shell of `( …; … ) >>FILE`).
 *
 *   state          a piece is   a flush of its writer, which   a flush of    whole lines
 *                  written      closes or exits   is killed    another one   are written
 *   AUTHOR_NONE    WRITES       NONE              NONE         NONE          NONE
 *   AUTHOR_WRITES  WRITES       CLOSED            KILLED       WRITES        NONE
 *   AUTHOR_CLOSED  WRITES       CLOSED            KILLED       CLOSED        NONE
 *   AUTHOR_KILLED  WRITES       KILLED            KILLED       KILLED        NONE
 *   AUTHOR_UNKNOWN WRITES       UNKNOWN           UNKNOWN      UNKNOWN       NONE
 *
 * Where /proc does not tell, at the write or at the flush, the state is AUTHOR_UNKNOWN. Guarded
 * by the lock of what it is a part of. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum author_state {
	AUTHOR_NONE,
	AUTHOR_WRITES,
	AUTHOR_CLOSED,
	AUTHOR_KILLED,
	AUTHOR_UNKNOWN,
};

struct author {
	enum author_state state;
	pid_t thread, process; /* of the last one who wrote a piece */
};

/* THREAD has written; PIECE: what it wrote ends inside a line. Reads /proc only if another thread
 * than the last one writes a piece. */
void author_wrote(struct author *a, pid_t thread, bool piece);

/* A flush of THREAD. Reads /proc only if there is a piece. Returns false if it is the flush of
 * another process than the piece's. */
bool author_flushes(struct author *a, pid_t thread);

/* May the piece be a row? ENDING: nobody closes, the mount ends. OPTION: what last_line says where
 * it is not known. *UNKNOWN: it had to be asked. */
bool author_accepts(const struct author *a, bool ending, bool option, bool *unknown);
