#include "schema/state/ingest_twin.h"

#include "db/field.h"
#include "util/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

char *ingest_twin_name(const char *name) {
	char *out = NULL;
	size_t len = strlen(name);
	if (len > 3 && strcmp(name + len - 3, ".gz") == 0)
		return strndup(name, len - 3);
	return asprintf(&out, "%s.gz", name) >= 0 ? out : NULL;
}

int ingest_twin_find(struct db_pool *pool, const char *dir, const char *name, int64_t id,
		     const struct ingest_record *me, struct ingest_record *out, bool *has_rows,
		     struct db_error *err) {
	static struct db_statement st = {
		.sql = "SELECT " INGEST_RECORD_SQL ", EXISTS (SELECT FROM rowfs.file_rows AS r "
		       "WHERE r.file = f.id) OR (f.state ->> 'twin'::text = $4 AND f.state ->> 'whole'::text = $5) "
		       "FROM rowfs.file AS f WHERE (f.dir = $1::text AND f.name = $2::text "
		       "OR f.id = $3::bigint) AND f.dir <> '' AND f.id <> $4::bigint"
	};
	AUTO_RESULT PGresult *res = NULL;
	char texts[2][NUMBER_TEXT];
	struct db_param params[] = { db_text(dir), db_text(name),
				     dir == NULL ? db_number(texts[0], id) : db_text(NULL),
				     db_number(texts[1], me->id), db_text(me->op) };
	out->asked_us = clock_us();
	int rc = db_query(pool, &st, params, 5, DB_REPEATABLE, NULL, &res, err);
	if (rc == 0)
		rc = ingest_record_take(res, INGEST_RECORD_FORM "b", out, err);
	if (rc == 0)
		*has_rows = field_is_true(res, 0, 6);
	return rc;
}

int ingest_twin_take(struct db_conn *conn, int64_t from, int64_t me, const char *op,
		     struct db_error *err) {
	char texts[2][NUMBER_TEXT];
	struct db_param params[] = { db_number(texts[0], from), db_number(texts[1], me),
				     db_text(op) };
	return db_query_on(
		conn,
		"WITH given AS (UPDATE rowfs.file SET op = pg_catalog.gen_random_uuid(), state = state || "
		"pg_catalog.jsonb_build_object('twin', $2::text, 'whole', $3::text) WHERE id = $1::bigint) "
		"UPDATE rowfs.file_rows SET file = $2::bigint WHERE file = $1::bigint",
		params, 3, NULL, err);
}

int ingest_twin_give_back(struct db_conn *conn, int64_t me, struct db_error *err) {
	char text[NUMBER_TEXT];
	struct db_param param = db_number(text, me);
	return db_query_on(
		conn,
		"WITH back AS (UPDATE rowfs.file AS f SET op = pg_catalog.gen_random_uuid(), "
		"state = f.state - 'twin'::text - 'whole'::text FROM rowfs.file AS me WHERE me.id = $1::bigint "
		"AND f.id = (me.state ->> 'took'::text)::bigint AND f.dir <> '' "
		"AND f.state ->> 'twin'::text = me.id::text AND f.state ->> 'whole'::text = me.op::text RETURNING f.id) "
		"UPDATE rowfs.file_rows AS r SET file = back.id FROM back WHERE r.file = $1::bigint",
		&param, 1, NULL, err);
}
