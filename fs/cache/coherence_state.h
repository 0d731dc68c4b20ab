/* What coherence.c and listening.c share: it stands below both, and listening.c below coherence.c,
 * which it calls back. */
#pragma once

#include "db/listen.h"
#include "fs/cache/invalidate.h"
#include "fs/inodes/node.h"
#include "schema/notice/notice.h"
#include "schema/notice/peers.h"
#include "util/buf.h"
#include "util/mutex.h"

struct caches {
	struct fs *fs;
	/* Called by listening.c: what PAYLOAD (NULL: cannot be known) says has changed is not fresh
	 * any more. OWN: by this mount. By any thread; no lock is held. */
	void (*changed)(struct caches *c, const char *payload, bool own);
	char me[PEER_NAME + 1];       /* this mount's name in notices */
	char secret[PEER_SECRET + 1]; /* proves that the name is ours; told with the farewell */
	char channel[NOTICE_CHANNEL_LEN + 1]; /* where notices are sent */
	struct db_listen_job job;             /* the listener's */
	struct db_listener *listener;

	struct db_pool *telling;  /* the sender's, one session; NULL until it is needed */
	struct db_cancel sending; /* fired when its statement is not waited for any more */
	struct peers *peers;      /* the listener's */
	atomic_int npeers;        /* how many there are */
	atomic_ullong peers_lost; /* times that one was found gone that had not told all */

	/* notices heard, those of them that nobody can have meant, passed on; times that listening
	 * was lost */
	atomic_ullong heard, malformed, sent, losses;

	struct mutex lock; /* guards all below, and the invalidator's queues */
	pthread_cond_t wake;
	char *why;           /* not ready: the reason; owned; NULL: none */
	struct buf outgoing; /* payloads for other mounts, each with its NUL */
	int noutgoing;
	bool stop, tested;
	bool ended;            /* nothing is passed on any more */
	bool kept;             /* something was not passed on, since there was no peer */
	bool left;             /* something could not be passed on */
	bool resting;          /* the sender looks by itself soon */
	struct ticker *sender; /* NULL: not started, or ended */
};

/* Starts listening and sending. Returns false, with C->why, if that is not possible. */
bool listening_start(struct caches *c);
/* Passes on what is left, says farewell and ends. */
void listening_end(struct caches *c);
/* Gives PAYLOAD to the sender, if there are peers. */
void listening_send(struct caches *c, const char *payload);
/* True if there are none: then what has just changed need not be passed on, now or later. */
bool listening_alone(struct caches *c);
