/* The text of a rows file as its whole content. */
#pragma once

#include "fs/core/call.h"
#include "fs/rows/rows_file.h"

/* Makes the records of F's data the whole content of the file W, in one transaction; *TAKEN is how
 * many bytes they are. With LAST that is all of it; else the piece of a record behind the last one
 * is left out. Where F's was is the text that it was made of, only lines that differ count: rows of
 * other lines are left alone, also those that came since. If it is refused, nothing changes, and
 * all of it is kept in rejected/. If a quoted field is open (rows_open_line()) nothing is done, and
 * 0 returned: the rest has to come first. F's data stays as it is. The rows of FROM, another file
 * that has these lines, go in the same transaction; NULL: none. */
MUST_USE int rows_replace(struct call *call, struct rows_file *f, const struct where *w,
			  const struct where *from, bool last, size_t *taken);

/* As kind->remove and kind->store. */
MUST_USE int rows_remove(struct call *call, const struct where *w);
MUST_USE int rows_store(struct call *call, const struct where *w, const struct where *from,
			const char *data, size_t len);
