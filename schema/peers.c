#include "schema/peers.h"

#include "db/field.h"
#include "schema/array.h"
#include "schema/notice.h"

#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

/* The first key of the locks; the second tells the mount. ASCII "rfs" and a number. */
#define LIVES "1919316737"   /* held by every session of a mount */
#define LISTENS "1919316738" /* held by the one that listens */

struct peer {
	int key;
	bool listens; /* it was seen to */
	bool parting; /* it has told all */
};

struct peers {
	int me;
	struct peer *list; /* owned */
	int n, room;
	int turn;   /* of whom is asked next */
	bool blind; /* some could not be noted */
};

const char peers_survey_sql[] =
	"SELECT l.objid::text, bool_or(l.classid = " LISTENS ") FROM pg_catalog.pg_locks l "
	"WHERE l.locktype = 'advisory' AND l.classid IN (" LIVES ", " LISTENS
	") AND l.objsubid = 2 "
	"AND l.granted AND l.mode = 'ShareLock' AND l.database = "
	"(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) "
	"GROUP BY l.objid";

const char peers_question_sql[] =
	"SELECT k::text, pg_try_advisory_xact_lock(" LIVES ", k), "
	"pg_try_advisory_xact_lock(" LISTENS ", k) FROM unnest($1::text::int[]) k";

/* A number that tells mounts apart. Never negative, so that it reads the same as an oid. */
static int key_of(const char *name, size_t len) {
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 16777619u;
	return (int)(h & INT32_MAX);
}

/* The name of the mount that knows SECRET, which need not end with a NUL: its first 122 bits of SHA-1 (a uuid of version 5), which nobody else
 * can find a secret for. */
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

void peers_put_greeting(struct buf *sql, const char *me, bool listens) {
	AUTO_BUF struct buf hello = { 0 };
	int key = key_of(me, strlen(me));
	buf_printf(sql, "SELECT pg_advisory_lock_shared(" LIVES ", %d), ", key);
	if (listens) {
		buf_printf(sql, "pg_advisory_lock_shared(" LISTENS ", %d);", key);
		return;
	}
	notice_put_test(&hello, me);
	/* only who is awake needs to hear it: no need to wait for the disk */
	buf_puts(sql, "set_config('synchronous_commit', 'off', true), "
		      "pg_notify('" NOTICE_CHANNEL "', ");
	db_quote_literal(sql, hello.data != NULL ? hello.data : "");
	buf_puts(sql, ");");
	sql->failed = sql->failed || hello.failed;
}

/* -- who there is ---------------------------------------------------------------------------------- */

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
	if (p->n == PEERS_MOST) {
		p->blind = true;
		return NULL;
	}
	if (p->n == p->room) {
		int room = p->room > 0 ? 2 * p->room : 8;
		struct peer *list = reallocarray(p->list, (size_t)room, sizeof(*list));
		if (list == NULL) {
			p->blind = true;
			return NULL;
		}
		p->list = list;
		p->room = room;
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

/* True if PAYLOAD is a farewell of the mount NAME, which stands in it, and it is the mount that says so. */
static bool is_farewell(const char *payload, const char *name) {
	const char *secret = name + PEER_NAME + FAREWELL;
	char proven[PEER_NAME + 1];
	if (strlen(payload) != FAREWELL_LEN || strncmp(name + PEER_NAME, farewell, FAREWELL) != 0 ||
	    strcmp(secret + PEER_SECRET, tail) != 0)
		return false;
	name_of_secret(secret, proven);
	return strncmp(proven, name, PEER_NAME) == 0;
}

bool peers_hear(struct peers *p, const char *payload) {
	const char *name = payload + HEAD;
	if (strlen(payload) < HEAD + PEER_NAME || strncmp(payload, head, HEAD) != 0)
		return false;
	int key = key_of(name, PEER_NAME);
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

/* -- who is gone ----------------------------------------------------------------------------------- */

void peers_put_question(struct peers *p, struct buf *param) {
	int n = p->n < PEERS_ASKED ? p->n : PEERS_ASKED;
	for (int i = 0; i < n; i++)
		array_add_number(param, p->list[(p->turn + i) % p->n].key);
	p->turn = n > 0 ? (p->turn + n) % p->n : 0;
	array_end(param);
}

bool peers_answer(struct peers *p, const PGresult *res) {
	bool lost = p->blind;
	p->blind = false; /* who could not be noted is heard of again, or has ended */
	for (int row = 0; row < PQntuples(res); row++) {
		bool gone = field_is_true(res, row, 1);
		bool listens = !field_is_true(res, row, 2);
		struct peer *peer = find(p, (int)field_number(res, row, 0));
		if (peer == NULL)
			continue;
		lost = lost || (!peer->parting && (gone || (peer->listens && !listens)));
		peer->listens = listens;
		if (gone)
			*peer = p->list[--p->n];
	}
	return lost;
}
