/* What went wrong, for people: /.rowfs/errors.jsonl (bounded, in memory) and the input that was
 * refused, kept on disk under /.rowfs/rejected/ (bounded). Thread-safe. */
#pragma once

#include "util/buf.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct report;

/* Keeps the last LINES errors, and refused input in the directory `rejected` of PLACE, this
 * mount's directory in state_dir, up to MOST bytes. Returns 0, or -errno with WHY. */
MUST_USE int report_new(int place, int lines, uint64_t most, struct report **out, struct buf *why);
void report_free(struct report *report);

/* One error: what was done to PATH failed with ERRNUM, SQLSTATE ("" if none), for the reason
 * SENTENCE. */
void report_error(struct report *report, const char *path, int errnum, const char *sqlstate,
		  const char *sentence);

/* Input that was refused: a document (LINE 0), or a line of PATH. All is borrowed. */
struct rejection {
	const char *path;
	uint64_t line; /* its number in the file, from 1 */
	uint64_t more; /* lines behind it that it stands for, too, */
	uint64_t last; /* up to this one */
	const char *data;
	size_t len;
	bool keep; /* DATA is kept in rejected/ */
	int errnum;
	const char *sqlstate, *sentence;
};

/* Keeps the input and tells of it, and why it could not be kept if so. A document becomes a file of
 * its own in rejected/; a line is appended to the file of its PATH as a JSON object with line
 * number, sentence and text. Lines of one file that are refused for one cause, one soon after the
 * other, are one error: `line` is the first of them, `last_line` the last, `lines` their number. A
 * cause is an errno, an SQLSTATE and a sentence, whatever values and numbers it quotes. */
void report_rejection(struct report *report, const struct rejection *r);
/* All of them, oldest first, one JSON object a line. */
void report_errors(struct report *report, struct buf *out);
void report_reset_errors(struct report *report);

/* The directory of rejected/: a descriptor that stays the report's. */
int report_rejected_dir(const struct report *report);
uint64_t report_rejected_bytes(struct report *report);
/* Removes one file of it. */
MUST_USE int report_remove_rejected(struct report *report, const char *name);

/* True if the server has said within the last WITHIN_US that its disk is full. Waits for
 * nothing. */
bool report_server_was_full(const struct report *report, int64_t within_us);
