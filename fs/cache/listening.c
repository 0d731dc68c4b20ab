/* The ways that notices come and go: one connection that listens, one thread that passes on what
 * this mount has changed. */
#include "fs/cache/coherence_state.h"
#include "db/field.h"
#include "schema/embedded.h"
#include "util/text/array.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/ticker.h"
#include "fs/inodes/fresh.h"

#include <errno.h>
#include <string.h>

enum {
	TEST_MS = 2000, /* a notice that takes longer to come back does not come */
	PAUSE_MS = 5,   /* between two transactions that notify: those who commit wait for each */
	RETRY_MS = 500, /* after one that failed */
	PEERS_MS = 200, /* between two looks whether other mounts are there */
	END_MS = 3000,  /* an unmount waits no longer for what is left to tell */
	OUTGOING_MOST =
		500 /* payloads that wait; beyond, others are told that anything may have changed */
};

/* -- coming ------------------------------------------------------------------------------------ */

/* The lock is held. */
static void put_outgoing(struct caches *c, const char *payload) {
	if (c->noutgoing > OUTGOING_MOST)
		return; /* the last one says all */
	if (c->noutgoing == OUTGOING_MOST)
		notice_put_all(&c->outgoing, c->me);
	else
		buf_puts(&c->outgoing, payload);
	buf_add(&c->outgoing, "", 1);
	if (c->noutgoing++ == 0 && !c->resting && c->sender != NULL)
		ticker_call(c->sender);
}

static void note_peers(struct caches *c) {
	AUTO_BUF struct buf all = { 0 };
	LOCK_SCOPE(&c->lock);
	atomic_store(&c->npeers, peers_count(c->peers));
	if (peers_count(c->peers) == 0 || !c->kept)
		return;
	/* the first peer came a moment before we knew */
	notice_put_all(&all, c->me);
	c->kept = all.failed;
	if (!all.failed)
		put_outgoing(c, all.data);
}

static void up(void *arg, const PGresult *first) {
	struct caches *c = arg;
	/* before what is remembered is dropped: a peer that is not there has told all, or it is
	 * dropped now */
	peers_survey(c->peers, first);
	note_peers(c);
	/* what was told meanwhile nobody heard */
	if (fresh_is_ready(c->fs->fresh))
		c->changed(c, NULL, false);
	atomic_store(&c->fs->fresh->listening, true);
}

static void down(void *arg, const char *sentence) {
	struct caches *c = arg;
	atomic_store(&c->fs->fresh->listening, false);
	atomic_fetch_add(&c->losses, 1);
	c->changed(c, NULL, false);
}

static void heard(void *arg, const char *channel, const char *payload) {
	struct caches *c = arg;
	if (strcmp(channel, c->channel) != 0 && !notice_is_open(payload)) {
		atomic_fetch_add(&c->heard, 1);
		atomic_fetch_add(&c->malformed, 1);
		return;
	}
	if (notice_is_test(payload, c->me)) {
		LOCK_SCOPE(&c->lock);
		c->tested = true;
		pthread_cond_broadcast(&c->wake);
		return;
	}
	if (peers_hear(c->peers, payload)) {
		note_peers(c);
		return;
	}
	if (fresh_is_ready(c->fs->fresh))
		c->changed(c, payload, false);
	atomic_fetch_add(&c->heard, 1); /* behind it: who reads the count may go by it */
}

static bool has_peers(void *arg) {
	const struct caches *c = arg;
	return peers_watched(c->peers);
}

static const char *put_question(void *arg, struct buf *param) {
	struct caches *c = arg;
	return peers_put_question(c->peers, param);
}

static void answered(void *arg, const PGresult *res) {
	struct caches *c = arg;
	bool lost = peers_answer(c->peers, res);
	note_peers(c);
	if (!lost)
		return;
	log_info("another mount is gone: what it has not told may be anything");
	atomic_fetch_add(&c->peers_lost, 1);
	c->changed(c, NULL, false);
}

static const struct db_listen_job job = {
	.other = NOTICE_OPEN_CHANNEL,
	.first = embedded_peers_survey_sql,
	.every_ms = PEERS_MS,
	.up = up,
	.down = down,
	.notice = heard,
	.wants = has_peers,
	.put_question = put_question,
	.answer = answered,
};

/* -- going ------------------------------------------------------------------------------------- */

/* True if nobody is to be told; then that is noted, since somebody may have come who is not known
 * yet. The lock is held. */
static bool keep(struct caches *c) {
	bool alone = fresh_is_listening(c->fs->fresh) && atomic_load(&c->npeers) == 0;
	c->kept = c->kept || alone;
	return alone;
}

bool listening_alone(struct caches *c) {
	LOCK_SCOPE(&c->lock);
	return keep(c);
}

void listening_send(struct caches *c, const char *payload) {
	LOCK_SCOPE(&c->lock);
	if (!keep(c))
		put_outgoing(c, payload);
}

/* Sends the payloads in BATCH by POOL; FLAGS as for db_query(). Returns 0 or -errno with ERR
 * filled. */
static int send_batch(struct db_pool *pool, const struct buf *batch, unsigned flags,
		      struct db_cancel *cancel, struct db_error *err) {
	AUTO_BUF struct buf list = { 0 };
	for (size_t at = 0; at < batch->len; at += strlen(batch->data + at) + 1)
		array_add(&list, batch->data + at, strlen(batch->data + at));
	array_end(&list);
	if (list.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	struct db_param param = { .data = list.data, .len = list.len };
	return db_query_text(pool, embedded_notice_send_sql, &param, 1, flags, cancel, NULL, err);
}

/* The same by a session of its own, which is made when there is something to tell: all others may
 * be taken by statements that take long. */
static int tell_peers(struct caches *c, const struct buf *batch, unsigned flags) {
	struct db_config config = options_db_config(c->fs->opt);
	AUTO_DB_ERROR struct db_error err = { 0 };
	config.min_connections = 0;
	config.max_connections = 1;
	if (c->telling == NULL && fresh_is_listening(c->fs->fresh) &&
	    db_pool_new(&config, &c->telling, &err) != 0)
		log_debug("no session to tell with: %s", err.sentence);
	int rc = send_batch(c->telling != NULL ? c->telling : c->fs->pool, batch, flags,
			    &c->sending, &err);
	if (rc != 0)
		log_warning("other mounts could not be told of changes: %s",
			    err.sentence != NULL ? err.sentence : strerror(-rc));
	return rc;
}

/* What there is to pass on after a batch that was sent (RC 0) or not. Returns in how many
 * milliseconds it is to be looked again. The lock is held. */
static int after_batch(struct caches *c, int n, int rc) {
	c->left = c->left || (rc != 0 && c->stop);
	c->ended = c->stop && (rc != 0 || c->noutgoing == 0);
	if (c->ended)
		pthread_cond_broadcast(&c->wake);
	if (rc == 0)
		atomic_fetch_add(&c->sent, (unsigned)n);
	if (rc == 0 || c->stop)
		return c->stop ? 0 : PAUSE_MS;
	if (c->noutgoing <= OUTGOING_MOST) {
		notice_put_all(&c->outgoing, c->me);
		buf_add(&c->outgoing, "", 1);
		c->noutgoing++;
	}
	return RETRY_MS;
}

/* Passes on what waits. */
static int64_t send_outgoing(void *arg) {
	struct caches *c = arg;
	AUTO_BUF struct buf batch = { 0 };
	int n, rc = 0;
	{
		LOCK_SCOPE(&c->lock);
		batch = c->outgoing;
		n = c->noutgoing;
		c->outgoing = (struct buf){ 0 };
		c->noutgoing = 0;
		c->resting = n > 0 && !c->ended;
	}
	if (c->resting)
		rc = tell_peers(c, &batch, DB_REPEATABLE);
	LOCK_SCOPE(&c->lock);
	int ms = after_batch(c, n, rc);
	return c->resting && !c->ended ? (int64_t)ms * US_PER_MS : TICKER_REST;
}

/* -- life -------------------------------------------------------------------------------------- */

/* True if a notice comes back: behind a pooler it may not. */
static bool comes_back(struct caches *c) {
	AUTO_BUF struct buf test = { 0 };
	AUTO_DB_ERROR struct db_error err = { 0 };
	int64_t until = clock_us() + (int64_t)TEST_MS * US_PER_MS;
	notice_put_test(&test, c->me);
	buf_add(&test, "", 1);
	if (test.failed || send_batch(c->fs->pool, &test, DB_REPEATABLE, NULL, &err) != 0)
		return false;
	LOCK_SCOPE(&c->lock);
	int rc = 0;
	while (!c->tested && rc == 0)
		rc = mutex_wait_until(&c->wake, &c->lock, until);
	return c->tested;
}

static void stop_listening(struct caches *c) {
	db_listen_stop(move_ptr(c->listener));
	peers_free(move_ptr(c->peers));
}

static bool start_sender(struct caches *c) {
	mutex_init(&c->sending.lock, MUTEX_CANCEL);
	struct ticker *sender = ticker_start(send_outgoing, c);
	LOCK_SCOPE(&c->lock);
	c->sender = sender;
	return sender != NULL;
}

/* It passes on what is left first, unless that takes too long. */
static void end_sender(struct caches *c) {
	int64_t until = clock_us() + (int64_t)END_MS * US_PER_MS;
	struct ticker *sender;
	int rc = 0;
	if (c->sender == NULL)
		return;
	{
		LOCK_SCOPE(&c->lock);
		c->stop = true;
		ticker_call(c->sender);
		while (!c->ended && rc == 0)
			rc = mutex_wait_until(&c->wake, &c->lock, until);
		sender = move_ptr(c->sender);
	}
	if (rc != 0)
		db_cancel_fire(&c->sending);
	ticker_stop(sender);
}

static bool fail(struct caches *c, const char *why) {
	end_sender(c);
	stop_listening(c);
	LOCK_SCOPE(&c->lock);
	free(c->why);
	c->why = strdup(why);
	c->stop = c->ended = c->tested = false; /* it may be tried again */
	return false;
}

/* Learns the name of the channel. */
static int ask_channel(struct caches *c, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask(c->fs->pool, notice_channel_sql, NULL, 0, ROWS_ONE, "t", &res, err);
	if (rc != 0)
		return rc;
	const char *name = field_text(res, 0, 0);
	if (!notice_is_channel(name))
		return db_error_set(err, EIO, "rowfs.secret has no name of a channel");
	snprintf(c->channel, sizeof(c->channel), "%s", name);
	c->job = job;
	c->job.channel = c->channel;
	return 0;
}

/* Connects the thread that listens. */
static int start_listener(struct caches *c, struct db_error *err) {
	struct db_config config = options_db_config(c->fs->opt);
	AUTO_BUF struct buf greeting = { 0 };
	peers_put_greeting(&greeting, c->me, true);
	c->peers = peers_new(c->me);
	if (c->peers == NULL || greeting.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	config.greeting = greeting.data;
	int rc = ask_channel(c, err);
	return rc != 0 ? rc : db_listen_start(&config, &c->job, c, &c->listener, err);
}

/* From now on sessions answer with what they change. */
static bool mark_sessions(struct caches *c) {
	AUTO_BUF struct buf greeting = { 0 };
	buf_puts(&greeting, embedded_notice_prove_sql);
	peers_put_greeting(&greeting, c->me, false);
	return !greeting.failed && db_pool_mark(c->fs->pool, c->me, greeting.data) == 0;
}

bool listening_start(struct caches *c) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (start_listener(c, &err) != 0)
		return fail(c, err.sentence != NULL ? err.sentence
						    : "LISTEN failed"); /* sql-ok: a sentence */
	if (!comes_back(c))
		return fail(c,
			    "a notification did not come back: a pooler that keeps no sessions?");
	/* first: what sessions that are marked change must be sent by somebody */
	if (!start_sender(c))
		return fail(c, "no thread to send with");
	return mark_sessions(c) || fail(c, "out of memory");
}

/* Who is alone has not: a peer that we do not know of yet was not told what we kept. */
static bool has_told_all(struct caches *c) {
	LOCK_SCOPE(&c->lock);
	return fresh_is_listening(c->fs->fresh) && atomic_load(&c->npeers) > 0 && !c->kept &&
	       !c->left && c->noutgoing == 0;
}

/* Our sessions may go, and nobody is to miss us. */
static void say_farewell(struct caches *c) {
	AUTO_BUF struct buf farewell = { 0 };
	peers_put_farewell(&farewell, c->me, c->secret);
	buf_add(&farewell, "", 1);
	if (!farewell.failed)
		(void)tell_peers(c, &farewell, DB_NO_RETRY);
}

void listening_end(struct caches *c) {
	bool started = c->sender != NULL;
	end_sender(c);
	if (started && has_told_all(c))
		say_farewell(c);
	db_pool_free(move_ptr(c->telling));
	stop_listening(c);
}
