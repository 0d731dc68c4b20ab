#include "schema/notice/peers.h"

#include "db/field.h"
#include "util/text/array.h"
#include "schema/notice/notice.h"
#include "db/quote.h"
#include "schema/embedded.h"
#include "util/list.h"

#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

/* The first key of the locks; the second tells the mount. ASCII "rfs" and a number. */
#define LIVES "1919316737"   /* held by every session of a mount */
#define LISTENS "1919316738" /* held by the one that listens */

/* Every so many questions look at who holds the locks: see peers_put_question(). */
enum { SURVEY_TURNS = 5 };

struct peer {
	int key;
	bool listens; /* it was seen to */
	bool hollow;  /* by the last survey it did not: who holds that lock may be another */
	bool parting; /* it has told all */
	bool asked;   /* it was known when the survey that is under way was sent */
	bool seen;    /* by that survey */
};

struct peers {
	int me;
	struct peer *list; /* owned */
	int n;
	int turn;   /* of whom is asked next */
	int asked;  /* questions since the last survey */
	bool blind; /* some could not be noted */
};

/* A number that tells mounts apart. Never negative, so that it reads the same as an oid. */
static int key_of(const char *name, size_t len) {
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 16777619u;
	return (int)(h & INT32_MAX);
}

/* The name of the mount that knows SECRET, which need not end with a NUL: its first 122 bits of
 * SHA-1 (a uuid of version 5), which nobody else can find a secret for. */
static void name_of_secret(const char *secret, char name[PEER_NAME + 1]) {
	static const uuid_t any = { 0 };
	uuid_t id;
	uuid_generate_sha1(id, any, secret, PEER_SECRET);
	uuid_unparse_lower(id, name);
}

void peers_make_name(char secret[PEER_SECRET + 1], char name[PEER_NAME + 1]) {
	for (int i = 0; i < PEER_SECRET; i += 32) {
		uuid_t id;
		uuid_generate_random(id);
		for (int k = 0; k < 16; k++)
			snprintf(secret + i + 2 * k, 3, "%02x", id[k]);
	}
	name_of_secret(secret, name);
}

struct peers *peers_new(const char *me) {
	struct peers *p = calloc(1, sizeof(*p));
	if (p != NULL)
		p->me = key_of(me, strlen(me));
	return p;
}

void peers_free(struct peers *p) {
	if (p != NULL)
		free(p->list);
	free(p);
}

/* A key that is told instead of a name: "#", zeros, the key. */
static const char no_name[PEER_NAME + 1] = "#00000000000000000000000000000000000";

/* Somebody else may hold the lock, or queue for it: who waited for him would keep the whole mount
 * waiting. Then the session takes a key that nobody could know before, and is a peer of its own, in
 * the eyes of its own mount, too; it says so, since that key cannot be made of the mount's name. */
void peers_put_greeting(struct buf *sql, const char *me, bool listens) {
	AUTO_BUF struct buf hello = { 0 }, other = { 0 }, locks = { 0 };
	notice_put_test(&hello, me);
	notice_put_test(&other, no_name);
	buf_puts(&locks, "pg_catalog.pg_try_advisory_lock_shared(" LIVES ", k.key)");
	if (listens)
		buf_puts(&locks, " AND pg_catalog.pg_try_advisory_lock_shared(" LISTENS ", k.key)");
	sql->failed = sql->failed || hello.failed || other.failed || locks.failed;
	if (sql->failed)
		return;
	buf_printf(
		sql,
		"WITH RECURSIVE greeting(key, held, tries) AS (SELECT k.key, %s, 1 "
		"FROM (VALUES (%d)) k(key) UNION ALL SELECT k.key, %s, g.tries + 1 "
		"FROM greeting g, LATERAL (SELECT (pg_catalog.random() * "
		"2147483646::pg_catalog.float8)::pg_catalog.int4 + 0 * g.tries AS key OFFSET 0) k "
		"WHERE NOT g.held AND g.tries < 10) SELECT ",
		locks.data, key_of(me, strlen(me)), locks.data);
	/* only who is awake needs to hear it: no need to wait for the disk */
	buf_puts(sql, "pg_catalog.set_config('synchronous_commit', 'off', true), "
		      "pg_catalog.pg_notify(s.channel, CASE tries WHEN 1 THEN ");
	db_quote_literal(sql, hello.data);
	buf_puts(sql, " ELSE pg_catalog.replace(");
	db_quote_literal(sql, other.data);
	buf_printf(sql, ", '%s', '#' || pg_catalog.lpad(key::pg_catalog.text, %d, '0')) END) ",
		   no_name, PEER_NAME - 1);
	/* the one that listens changes nothing: another session of its mount greets */
	buf_printf(sql, "FROM greeting, rowfs.secret s WHERE held%s;",
		   listens ? " AND tries > 1" : "");
}

/* -- who there is ------------------------------------------------------------------------------ */

static struct peer *find(struct peers *p, int key) {
	for (int i = 0; i < p->n; i++)
		if (p->list[i].key == key)
			return &p->list[i];
	return NULL;
}

static struct peer *add(struct peers *p, int key) {
	struct peer *known = find(p, key);
	if (known != NULL || key == p->me)
		return known;
	if (p->n == PEERS_MOST || !list_room(p->list, p->n)) {
		p->blind = true;
		return NULL;
	}
	p->list[p->n] = (struct peer){ .key = key };
	return &p->list[p->n++];
}

void peers_survey(struct peers *p, const PGresult *res) {
	p->n = 0;
	p->blind = false;
	for (int row = 0; row < PQntuples(res); row++) {
		struct peer *peer = add(p, (int)field_number(res, row, 0));
		if (peer != NULL)
			peer->listens = field_is_true(res, row, 1);
	}
}

/* A farewell: the name stands behind the first, the secret behind the second. */
static const char head[] = "{\"m\": \"", farewell[] = "\", \"bye\": \"", tail[] = "\"}";

enum {
	HEAD = sizeof(head) - 1,
	FAREWELL = sizeof(farewell) - 1,
	FAREWELL_LEN = HEAD + PEER_NAME + FAREWELL + PEER_SECRET + sizeof(tail) - 1,
};

void peers_put_farewell(struct buf *out, const char *me, const char *secret) {
	buf_printf(out, "%s%s%s%s%s", head, me, farewell, secret, tail);
}

/* True if PAYLOAD is a farewell of the mount NAME, which stands in it, and it is the mount that
 * says so. */
static bool is_farewell(const char *payload, const char *name) {
	const char *secret = name + PEER_NAME + FAREWELL;
	char proven[PEER_NAME + 1];
	if (strlen(payload) != FAREWELL_LEN || strncmp(name + PEER_NAME, farewell, FAREWELL) != 0 ||
	    strcmp(secret + PEER_SECRET, tail) != 0)
		return false;
	name_of_secret(secret, proven);
	return strncmp(proven, name, PEER_NAME) == 0;
}

/* The key of NAME, or the one that it tells instead. */
static int told_key(const char *name) {
	int64_t key = 0;
	if (name[0] != no_name[0])
		return key_of(name, PEER_NAME);
	for (int i = 1; i < PEER_NAME && key <= INT32_MAX; i++) {
		if (name[i] < '0' || name[i] > '9')
			return key_of(name, PEER_NAME);
		key = 10 * key + (name[i] - '0');
	}
	return key <= INT32_MAX ? (int)key : key_of(name, PEER_NAME);
}

bool peers_hear(struct peers *p, const char *payload) {
	const char *name = payload + HEAD;
	if (strlen(payload) < HEAD + PEER_NAME || strncmp(payload, head, HEAD) != 0)
		return false;
	int key = told_key(name);
	if (notice_is_test(payload, NULL)) {
		(void)add(p, key);
		return true;
	}
	if (!is_farewell(payload, name))
		return false;
	struct peer *peer = find(p, key);
	if (peer != NULL)
		peer->parting = true;
	return true;
}

bool peers_watched(const struct peers *p) {
	return p->n > 0 || p->blind;
}

int peers_count(const struct peers *p) {
	return p->n;
}

/* -- who is gone ------------------------------------------------------------------------------- */

/* Who can take a lock knows that nobody holds it; who cannot knows less, since anybody may hold it.
 * So now and then it is looked up who does. That is dearer: the server copies all its locks. */
const char *peers_put_question(struct peers *p, struct buf *param) {
	int n = p->n < PEERS_ASKED ? p->n : PEERS_ASKED;
	p->asked = (p->asked + 1) % SURVEY_TURNS;
	if (p->asked == 0) {
		for (int i = 0; i < p->n; i++)
			p->list[i].asked = true;
		return embedded_peers_survey_sql;
	}
	for (int i = 0; i < n; i++)
		array_add_number(param, p->list[(p->turn + i) % p->n].key);
	p->turn = n > 0 ? (p->turn + n) % p->n : 0;
	array_end(param);
	return embedded_peers_question_sql;
}

/* Notes whether PEER, which is there, LISTENS. Returns true if it has ceased to. */
static bool note(struct peer *peer, bool listens) {
	bool lost = peer->listens && !listens && !peer->parting;
	peer->listens = listens;
	return lost;
}

/* A survey's answer. Who has greeted since it was sent is not in it, and is there all the same. */
static bool take_survey(struct peers *p, const PGresult *res) {
	bool lost = false;
	for (int row = 0; row < PQntuples(res); row++) {
		struct peer *peer = add(p, (int)field_number(res, row, 0));
		if (peer == NULL)
			continue;
		bool listens = field_is_true(res, row, 1);
		peer->seen = true;
		peer->hollow = !listens;
		lost = note(peer, listens) || lost;
	}
	for (int i = p->n - 1; i >= 0; i--) {
		struct peer *peer = &p->list[i];
		bool gone = peer->asked && !peer->seen;
		lost = lost || (gone && !peer->parting);
		peer->asked = peer->seen = false;
		if (gone)
			*peer = p->list[--p->n];
	}
	return lost;
}

static bool take_locks(struct peers *p, const PGresult *res) {
	bool lost = false;
	for (int row = 0; row < PQntuples(res); row++) {
		bool gone = field_is_true(res, row, 1), held = !field_is_true(res, row, 2);
		struct peer *peer = find(p, (int)field_number(res, row, 0));
		if (peer == NULL)
			continue;
		if (held && peer->hollow)
			p->asked = SURVEY_TURNS - 1; /* who holds it is looked up next */
		peer->hollow = peer->hollow && held;
		lost = note(peer, held && !peer->hollow) || lost;
		lost = lost || (gone && !peer->parting);
		if (gone)
			*peer = p->list[--p->n];
	}
	return lost;
}

bool peers_answer(struct peers *p, const PGresult *res) {
	bool lost = p->blind;
	p->blind = false; /* who could not be noted is heard of again, or has ended */
	return (p->asked == 0 ? take_survey(p, res) : take_locks(p, res)) || lost;
}
