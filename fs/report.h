/* What went wrong, for people: /.rowfs/errors.jsonl (bounded, in memory) and the input that was refused, kept on disk
 * under /.rowfs/rejected/ (bounded). Thread-safe. */
#ifndef ROWFS_FS_REPORT_H
#define ROWFS_FS_REPORT_H

#include "util/buf.h"

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

struct report;

/* Keeps the last LINES errors, and refused input in directory DIR up to MOST bytes. Returns 0 or -errno. */
MUST_USE int report_new(const char *dir, int lines, uint64_t most, struct report **out);
void report_free(struct report *report);

/* One error: what was done to PATH failed with ERRNUM, SQLSTATE ("" if none), for the reason SENTENCE. REJECTED names the file
 * in rejected/ that holds the input, or is NULL. */
void report_error(struct report *report, const char *path, int errnum, const char *sqlstate,
		  const char *sentence, const char *rejected);
/* All of them, oldest first, one JSON object a line. */
void report_errors(struct report *report, struct buf *out);
void report_reset_errors(struct report *report);

/* Keeps refused input. A document becomes a file of its own; a line (LINE > 0) is appended to the file of its PATH as a
 * JSON object with line number, sentence and text. Returns the name of the file in rejected/, malloc'd, or NULL if it could
 * not be kept (which is logged). */
char *report_reject(struct report *report, const char *path, uint64_t line, const char *data,
		    size_t len, const char *sentence);

/* The directory of rejected/: a descriptor that stays the report's. */
int report_rejected_dir(const struct report *report);
uint64_t report_rejected_bytes(struct report *report);
/* Removes one file of it. */
MUST_USE int report_remove_rejected(struct report *report, const char *name);

#endif
