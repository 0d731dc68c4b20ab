/* Files that a program has just made, with what it wrote to them: documents of rows, rows as one
 * document, and lines. For programs that save by a temporary file and a rename, where the
 * temporary name is a key, too. Such a rename replaces what has the name (`store` in kind.h),
 * for which the text is needed as it was written: what it leaves out keeps its value there, and
 * has its default in the temporary rows. The last few, for a minute.
 *
 * The program that renames may be another one than the one that wrote (`jq . a.json >t.json &&
 * mv t.json a.json`). All that such programs share for sure is their session (setsid(2)): of a
 * login, a terminal's window, a service. So a file that was made by another process of the
 * session counts, too, but rename_made() takes more care then.
 *
 * Thread-safe. */
#pragma once

#include "util/buf.h"

#include <stdbool.h>
#include <sys/types.h>

struct made;

/* Who has made a file, seen from the thread that asks. */
enum made_by {
	MADE_NOT,        /* it was not just made, or by a process that has nothing to do with it */
	MADE_BY_SESSION, /* another process of its session */
	MADE_BY_PROCESS, /* a thread of its process */
};

/* Thread TID has committed LEN bytes of DATA to PATH; IS_NEW: it has made the file. A file that
 * is not new is noted only if it still counts as just made. Without memory it is not noted. */
void made_note(struct made *made, pid_t tid, const char *path, bool is_new, const char *data,
	       size_t len);

/* The same for lines, which come piece by piece: thread TID has opened PATH, which has none, and
 * adds LEN bytes. False if not all of its text is kept: then nothing more is to be added. */
bool made_begin(struct made *made, pid_t tid, const char *path);
bool made_add(struct made *made, const char *path, const char *data, size_t len);

/* Who has made PATH just now, seen from thread TID. */
enum made_by made_by(struct made *made, pid_t tid, const char *path);
/* True if it was just made; OUT gets its text, and it is forgotten. */
bool made_take(struct made *made, pid_t tid, const char *path, struct buf *out);

/* True if anything is kept at all: so that the usual write needs no path. */
bool made_any(const struct made *made);

/* PATH was removed, renamed, or got another content: what was noted of it is not what it says
 * any more. */
void made_forget(struct made *made, const char *path);
