/* The lines of a rows file by COPY: for who reads on and on. A flow holds a connection, so at most
 * half of the pool's are used for flows, and one that nobody has read from for a second is ended;
 * its reader begins another one where it stood. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "util/mutex.h"

struct rows_flow;

/* What a flow has to say of a line. Borrowed until the next one. */
struct flow_line {
	const char *text; /* with its newline */
	size_t len;
	const char *cursor; /* for rows_flow_cursor() */
	size_t cursor_len;
};

/* Starts SQL (copy_first, copy_next or copy_before) for the file W, with CURSOR's texts (NULL:
 * none). The flow is in *SLOT until rows_flow_end(), or until it has been idle too long: then *SLOT
 * turns NULL by itself, while nobody holds OWNER, the lock that guards SLOT. CALL's interrupt
 * counts. Returns 0, -EAGAIN if all connections for flows are in use, or -errno. */
MUST_USE int rows_flow_begin(struct call *call, const struct where *w, const char *sql,
			     char *const *cursor, struct mutex *owner, struct rows_flow **slot);

/* The next line. Returns 1, 0 at the end, or -errno: after -EINTR the next call goes on, any other
 * failure is final. OWNER is held. */
MUST_USE int rows_flow_next(struct call *call, struct rows_flow *flow, struct flow_line *out);

/* For each request that uses it: CALL's interrupt counts from now on; NULL: nobody's. OWNER is
 * held. FLOW may be NULL. */
void rows_flow_attach(struct rows_flow *flow, struct call *call);

/* Ends what is in *SLOT, if anything. */
void rows_flow_end(struct rows_flow **slot);

/* The texts of a line's CURSOR (LEN bytes) in OUT, as many as the place's cursor has (NULL for SQL
 * NULL); each malloc'd. Returns 0 or -ENOMEM. */
MUST_USE int rows_flow_cursor(const struct place *place, const char *cursor, size_t len,
			      char **out);
