/* Documents of new rows, as they were just written: for a program that saves by a temporary file and a rename, where the temporary name is a key,
 * too. Such a rename replaces the row that has the name (see store_replace_by()), for which the text is needed as it was written: what it
 * leaves out keeps its value there, and has its default in the temporary row. The last few, for a minute. Thread-safe. */
#ifndef ROWFS_FS_MADE_H
#define ROWFS_FS_MADE_H

#include "util/buf.h"

#include <stdbool.h>
#include <sys/types.h>

struct made;

/* Keeps documents of at most MOST bytes in all. NULL if out of memory. */
MUST_USE struct made *made_new(size_t most);
void made_free(struct made *made);

/* Thread TID has committed LEN bytes of DATA to PATH; IS_NEW: it has made the file. A file that is not new is noted only if it still
 * counts as just made. Without memory it is not noted. */
void made_note(struct made *made, pid_t tid, const char *path, bool is_new, const char *data,
	       size_t len);

/* True if PATH was just made by a thread of the process that TID belongs to; OUT gets its document. It is forgotten. */
bool made_take(struct made *made, pid_t tid, const char *path, struct buf *out);

/* PATH was removed, renamed, or got another content: what was noted of it is not what it says any more. */
void made_forget(struct made *made, const char *path);

#endif
