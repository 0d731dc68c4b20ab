/* LISTEN: one connection that does nothing else, with a thread of its own. It is made anew when it is lost, with growing pauses; a
 * connection that is dead without saying so is found out by asking. */
#ifndef ROWFS_DB_LISTEN_H
#define ROWFS_DB_LISTEN_H

#include "db/pool.h"

/* What the listener says, on its own thread (the first `up` on the starter's). None may wait for the listener. */
struct db_listen_events {
	void (*up)(void *arg); /* from here on nothing is missed */
	void (*down)(void *arg,
		     const char *sentence); /* something may be missed until the next `up` */
	void (*notice)(void *arg, const char *payload); /* PAYLOAD is valid during the call */
};

struct db_listener;

/* Connects as CFG says (copied) and listens on CHANNEL, a word of lower-case letters. Returns 0, or -errno with ERR filled if the first connection
 * fails. EVENTS and ARG must live until db_listen_stop(). */
MUST_USE int db_listen_start(const struct db_config *cfg, const char *channel,
			     const struct db_listen_events *events, void *arg,
			     struct db_listener **out, struct db_error *err);

/* Ends the thread and the connection; `down` is not told. NULL is fine. */
void db_listen_stop(struct db_listener *listener);

#endif
