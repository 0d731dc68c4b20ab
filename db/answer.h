/* Waiting for the server's answer on one connection, with deadlines, cancel and shutdown. Internal
 * to db/. */
#pragma once

#include "db/conn.h"

/* What a wait is for. */
enum answer_until {
	UNTIL_DONE, /* the whole answer is in */
	/* the same; at the deadline the connection is given up, the server is not asked */
	UNTIL_DROP,
	UNTIL_COPY_IN,  /* the server wants a COPY's data */
	UNTIL_COPY_OUT, /* the server is about to send a COPY's data */
	UNTIL_SENT,     /* what libpq holds of a COPY's data has gone out */
	UNTIL_SYNC, /* everything that went out together, up to its PQpipelineSync(), is answered */
};

/* Sends what is still to be sent and waits for UNTIL, at most command_timeout and C's deadline. On
 * CONN_DONE *OUT (may be NULL) is the last result; otherwise ERR is filled. */
MUST_USE enum conn_end answer_wait(struct db_conn *c, enum answer_until until, PGresult **out,
				   struct db_error *err);

/* The same, if SENT: what the call of libpq that sends said. Otherwise answer_not_sent(). */
MUST_USE enum conn_end answer_to(struct db_conn *c, int sent, enum answer_until until,
				 PGresult **out, struct db_error *err);

/* For a call of libpq that sent nothing: the connection was broken, or there was no memory. Fills
 * ERR. */
MUST_USE enum conn_end answer_not_sent(struct db_conn *c, struct db_error *err);

/* Counts a statement that took TOOK_US and remembers its failure. Returns END. */
MUST_USE enum conn_end answer_note(struct db_conn *c, const char *sql, int64_t took_us,
				   enum conn_end end, struct db_error *err);
