/* Peers: the other mounts of this database that tell changes by notices.
 *
 * A mount passes on what it has changed after the commit. If it dies in between, nobody tells: so
 * the others must know that it is gone. Each of its sessions holds an advisory lock, shared, until
 * it ends; one of them listens and holds a second lock. Who can take such a lock knows that nobody
 * holds it any more; and since anybody may hold it, a survey looks every fifth time who does. If
 * the listening session is gone, the mount is dead or cut off; if all are gone, nothing that it
 * began can be committed any more. After each of the two anything may have changed.
 *
 * Peers are known from a survey of the locks, made after LISTEN, and from the greeting that each
 * session sends before it changes anything. A mount that ends well says farewell after its last
 * notice.
 *
 * Any role that may connect can take these locks, and send what looks like a greeting or a
 * farewell. No session waits for such a lock: where it is not to be had, the session takes one
 * under a number that it has drawn, and tells that in its greeting. A lock of a role that cannot be
 * a mount's counts for nothing in a survey. A greeting of nobody is found out by the next question;
 * a farewell counts only if its sender can prove that the name is its own: a name is a hash of a
 * secret, and the farewell tells the secret.
 *
 * Not thread-safe. */
#pragma once

#include "util/buf.h"
#include "util/cleanup.h"

#include <libpq-fe.h>

enum {
	PEER_NAME = 36,    /* bytes of a mount's name: a uuid */
	PEER_SECRET = 64,  /* of its secret: hexadecimal digits */
	PEERS_MOST = 1024, /* that are remembered */
	PEERS_ASKED =
		64, /* by one question: each takes two entries of the server's table of locks */
};

/* Makes up a mount: its SECRET and its NAME, both with a NUL. Thread-safe. */
void peers_make_name(char secret[PEER_SECRET + 1], char name[PEER_NAME + 1]);

/* ME is this mount's name in notices; copied. Returns NULL if out of memory. */
struct peers *peers_new(const char *me);
void peers_free(struct peers *peers);

/* Appends the statements that each session of mount ME begins with: of those that change something,
 * or of the one that listens. They are to go in one transaction. */
void peers_put_greeting(struct buf *sql, const char *me, bool listens);

/* Takes the answer of embedded_peers_survey_sql: these peers there are, and no others. */
void peers_survey(struct peers *peers, const PGresult *res);

/* Takes PAYLOAD if it is a greeting or a farewell of any mount; returns whether it is. What is
 * none, but looks like one, is not. */
bool peers_hear(struct peers *peers, const char *payload);

/* Appends the notice that mount ME, with its SECRET, ends and has told all its changes. */
void peers_put_farewell(struct buf *out, const char *me, const char *secret);

/* How many peers there are. */
int peers_count(const struct peers *peers);
/* True if there is anybody to ask for. */
bool peers_watched(const struct peers *peers);

/* What is to be asked next to know which peers are gone: a statement, and its parameter, if it
 * has one, appended to PARAM. Not to be asked in a transaction: it ends with the locks that it
 * took. Static. */
const char *peers_put_question(struct peers *peers, struct buf *param);
/* Takes the answer to that. Returns true if a peer is gone that did not say farewell: then
 * anything may have changed. */
MUST_USE bool peers_answer(struct peers *peers, const PGresult *res);
