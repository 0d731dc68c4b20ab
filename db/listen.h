/* LISTEN: one connection that does nothing else, with a thread of its own. It is made anew when it
 * is lost, with growing pauses; a connection that is dead without saying so is found out by asking.
 * Beside that it may ask a question of its user's now and then. */
#pragma once

#include "db/pool.h"
#include "util/buf.h"

/* What a listener is for. Its functions are called on the listener's thread (the first `up` on the
 * starter's). None may wait for the listener. */
struct db_listen_job {
	/* Two channels, each a word of lower-case letters, digits and underscores. */
	const char *channel, *other;
	/* A statement without parameters, asked as soon as it listens: what it answers and what is
	 * heard later leave no gap. */
	const char *first;
	int every_ms; /* between two questions */

	/* From here on nothing is missed. FIRST is the answer to `first`, valid during the call. */
	void (*up)(void *arg, const PGresult *first);
	/* Something may be missed until the next `up`. */
	void (*down)(void *arg, const char *sentence);
	/* CHANNEL is the one that it came by. It and PAYLOAD are valid during the call. */
	void (*notice)(void *arg, const char *channel, const char *payload);
	/* Is there anything to ask? */
	bool (*wants)(void *arg);
	/* The next question: a statement, valid until it is answered, with what was appended as
	 * its parameter, or without any. */
	const char *(*put_question)(void *arg, struct buf *param);
	/* RES, valid during the call, is what the server said to it. */
	void (*answer)(void *arg, const PGresult *res);
};

struct db_listener;

/* Connects as CFG says (copied) and listens. Returns 0, or -errno with ERR filled if the first
 * connection fails. JOB and ARG must live until db_listen_stop(). */
MUST_USE int db_listen_start(const struct db_config *cfg, const struct db_listen_job *job,
			     void *arg, struct db_listener **out, struct db_error *err);

/* Ends the thread and the connection; `down` is not told. NULL is fine. */
void db_listen_stop(struct db_listener *listener);
