#include "schema/peers.h"

#include "schema/array.h"
#include "schema/notice.h"

#include <stdlib.h>
#include <string.h>

/* The first key of the locks; the second tells the mount. ASCII "rfs" and a number. */
#define LIVES "1919316737"   /* held by every session of a mount */
#define LISTENS "1919316738" /* held by the one that listens */

enum { NAME_LEN = 36 }; /* of a mount: a uuid */

struct peer {
	int key;
	bool listens; /* it was seen to */
	bool parting; /* it has told all */
};

struct peers {
	int me;
	struct peer *list; /* owned */
	int n, room;
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
		struct peer *peer = add(p, (int)strtol(PQgetvalue(res, row, 0), NULL, 10));
		if (peer != NULL)
			peer->listens = PQgetvalue(res, row, 1)[0] == 't';
	}
}

/* A notice of mount ME without more: its name stands between these. */
static const char head[] = "{\"m\": \"", farewell[] = "\", \"bye\": true}";

void peers_put_farewell(struct buf *out, const char *me) {
	buf_puts(out, head);
	buf_puts(out, me);
	buf_puts(out, farewell);
}

bool peers_hear(struct peers *p, const char *payload) {
	const char *name = payload + sizeof(head) - 1;
	if (strlen(payload) < sizeof(head) - 1 + NAME_LEN ||
	    strncmp(payload, head, sizeof(head) - 1) != 0)
		return false;
	int key = key_of(name, NAME_LEN);
	if (notice_is_test(payload, NULL)) {
		(void)add(p, key);
		return true;
	}
	if (strcmp(name + NAME_LEN, farewell) != 0)
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

void peers_put_question(const struct peers *p, struct buf *param) {
	for (int i = 0; i < p->n; i++)
		array_add_number(param, p->list[i].key);
	array_end(param);
}

bool peers_answer(struct peers *p, const PGresult *res) {
	bool lost = p->blind;
	for (int row = 0; row < PQntuples(res); row++) {
		bool gone = PQgetvalue(res, row, 1)[0] == 't';
		bool listens = PQgetvalue(res, row, 2)[0] != 't';
		struct peer *peer = find(p, (int)strtol(PQgetvalue(res, row, 0), NULL, 10));
		if (peer == NULL)
			continue;
		lost = lost || (!peer->parting && (gone || (peer->listens && !listens)));
		peer->listens = listens;
		if (gone)
			*peer = p->list[--p->n];
	}
	return lost;
}
