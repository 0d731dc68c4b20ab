#include "schema/state/ingest_file.h"

#include "db/field.h"
#include "util/clock.h"
#include "schema/embedded.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { CHUNK_MOST = 1 << 26 }; /* bytes of a chunk: rowfs writes none that is nearly as long */

void ingest_record_free(struct ingest_record *record) {
	free(record->state);
	memset(record, 0, sizeof(*record));
}

int ingest_record_take(const PGresult *res, const char *form, struct ingest_record *out,
		       struct db_error *err) {
	int rc = field_judge(res, ROWS_ONE_OR_NONE, form, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return -ENOENT;
	out->id = field_number(res, 0, 0);
	out->size = (uint64_t)field_number(res, 0, 1);
	out->changed_us = field_number(res, 0, 2);
	out->mode = (mode_t)field_number(res, 0, 3);
	snprintf(out->op, sizeof(out->op), "%s", field_text(res, 0, 4));
	free(out->state);
	out->state = strdup(field_text(res, 0, 5));
	return out->state != NULL ? 0 : -ENOMEM;
}

int ingest_file_find(struct db_pool *pool, const char *dir, const char *name, int64_t id,
		     struct db_cancel *cancel, struct ingest_record *out, struct db_error *err) {
	static struct db_statement by_name = {
		.sql = "SELECT " INGEST_RECORD_SQL
		       " FROM rowfs.file WHERE dir = $1::text AND name = $2::text"
	};
	static struct db_statement by_id = { .sql = "SELECT " INGEST_RECORD_SQL
						    " FROM rowfs.file WHERE id = $1::bigint" };
	AUTO_RESULT PGresult *res = NULL;
	char text[NUMBER_TEXT];
	struct db_param params[2];
	out->asked_us = clock_us();
	params[0] = dir != NULL ? db_text(dir) : db_number(text, id);
	params[1] = db_text(name);
	int rc = db_query(pool, dir != NULL ? &by_name : &by_id, params, dir != NULL ? 2 : 1,
			  DB_REPEATABLE, cancel, &res, err);
	return rc == 0 ? ingest_record_take(res, INGEST_RECORD_FORM, out, err) : rc;
}

/* -- rights ------------------------------------------------------------------------------------ */

/* A row that the role may not change is no row for UPDATE: this tells it from one that is gone. */
static const char may_write_sql[] =
	"SELECT rowfs.may_write($1::text), pg_catalog.quote_ident(current_user::text)";

/* After a statement that changed nothing: -EACCES if the role may change no file of OF_TABLE. Asks
 * on CONN, or with CONN NULL on POOL. */
static int may_write(struct db_pool *pool, struct db_conn *conn, const char *of_table,
		     struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param param = db_text(of_table);
	if (of_table == NULL)
		return 0;
	int rc = conn != NULL ? db_ask_on(conn, may_write_sql, &param, 1, ROWS_ONE, "bt", &res, err)
			      : db_ask(pool, may_write_sql, &param, 1, ROWS_ONE, "bt", &res, err);
	if (rc != 0 || field_is_true(res, 0, 0))
		return rc;
	const char *role = field_text(res, 0, 1);
	return db_error_set(err, EACCES,
			    "%s has neither INSERT nor DELETE on %s, so it may not make or change "
			    "the ingest files of that table: GRANT INSERT ON %s TO %s",
			    role, of_table, of_table, role);
}

int ingest_file_unclaimed(struct db_pool *pool, const char *dir, const char *after, int limit,
			  PGresult **out, struct db_error *err) {
	static struct db_statement st = {
		.sql = "SELECT name, id FROM rowfs.file WHERE dir = $1::text AND relation IS NULL "
		       "AND name > coalesce($2::text, '') ORDER BY name LIMIT $3::integer"
	};
	char text[NUMBER_TEXT];
	struct db_param params[] = { db_text(dir), db_text(after), db_number(text, limit) };
	int rc = db_query(pool, &st, params, 3, DB_REPEATABLE, NULL, out, err);
	return rc == 0 ? field_judge(*out, ROWS_ANY, "tn", err) : rc;
}

int ingest_file_claim(struct db_pool *pool, const struct buf *ids, const char *of_table,
		      struct db_error *err) {
	static struct db_statement st = {
		.sql = "UPDATE rowfs.file SET relation = $2::text "
		       "WHERE id = ANY ($1::bigint[]) AND relation IS NULL"
	};
	struct db_param params[] = { { .data = ids->data, .len = ids->len }, db_text(of_table) };
	return db_query(pool, &st, params, 2, DB_REPEATABLE, NULL, NULL, err);
}

/* -- names ------------------------------------------------------------------------------------- */

int ingest_file_create(struct db_pool *pool, const char *dir, const char *name, mode_t mode,
		       const char *of_table, bool *made, struct db_error *err) {
	static struct db_statement plain = {
		.sql = "INSERT INTO rowfs.file (dir, name, mode) VALUES "
		       "($1, $2, $3::integer) ON CONFLICT DO NOTHING"
	};
	static struct db_statement of = {
		.sql = "INSERT INTO rowfs.file (dir, name, mode, relation) VALUES "
		       "($1, $2, $3::integer, $4) ON CONFLICT DO NOTHING"
	};
	AUTO_RESULT PGresult *res = NULL;
	char text[NUMBER_TEXT];
	struct db_param params[] = { db_text(dir), db_text(name), db_number(text, mode),
				     db_text(of_table) };
	int rc = db_query(pool, of_table != NULL ? &of : &plain, params, of_table != NULL ? 4 : 3,
			  DB_REPEATABLE, NULL, &res, err);
	*made = rc == 0 && field_changed(res) > 0;
	if (rc == -EACCES) { /* with words that say more, if that is why */
		AUTO_DB_ERROR struct db_error why = { 0 };
		if (may_write(pool, NULL, of_table, &why) == -EACCES)
			rc = db_error_set(err, EACCES, "%s", why.sentence);
	}
	return rc;
}

int ingest_file_page(struct db_pool *pool, const char *dir, const char *after, int limit,
		     struct db_cancel *cancel, PGresult **out, struct db_error *err) {
	static struct db_statement st = {
		.sql = "SELECT name, size, " INGEST_CHANGED_SQL ", mode, id "
		       "FROM rowfs.file WHERE dir = $1::text AND name > coalesce($2::text, '') "
		       "ORDER BY name LIMIT $3::integer"
	};
	char text[NUMBER_TEXT];
	struct db_param params[] = { db_text(dir), db_text(after), db_number(text, limit) };
	int rc = db_query(pool, &st, params, 3, DB_REPEATABLE, cancel, out, err);
	return rc == 0 ? field_judge(*out, ROWS_ANY, "tniun", err) : rc;
}

#define SET_SQL                                                                                    \
	"UPDATE rowfs.file SET mode = coalesce($2::integer, mode), changed = coalesce("            \
	"pg_catalog.to_timestamp($3::numeric / 1000000::numeric), changed)"

int ingest_file_set(struct db_pool *pool, int64_t id, int mode, int64_t changed_us,
		    const char *of_table, struct db_error *err) {
	static struct db_statement plain = { .sql = SET_SQL " WHERE id = $1::bigint" };
	static struct db_statement of = { .sql = SET_SQL
					  ", relation = $4::text WHERE id = $1::bigint" };
	AUTO_RESULT PGresult *res = NULL;
	char texts[3][NUMBER_TEXT];
	struct db_param params[] = {
		db_number(texts[0], id),
		mode >= 0 ? db_number(texts[1], mode) : db_text(NULL),
		changed_us >= 0 ? db_number(texts[2], changed_us) : db_text(NULL),
		db_text(of_table),
	};
	int rc = db_query(pool, of_table != NULL ? &of : &plain, params, of_table != NULL ? 4 : 3,
			  DB_REPEATABLE, NULL, &res, err);
	return rc == 0 && field_changed(res) == 0 ? may_write(pool, NULL, of_table, err) : rc;
}

/* -- inside a transaction ---------------------------------------------------------------------- */

/* Runs SQL, which has one parameter. */
static int run(struct db_conn *conn, const char *sql, int64_t id, struct db_error *err) {
	char text[NUMBER_TEXT];
	struct db_param param = db_number(text, id);
	return db_query_on(conn, sql, &param, 1, NULL, err);
}

int ingest_file_lock(struct db_conn *conn, int64_t id, const char *old_op, const char *new_op,
		     const char *of_table, struct db_error *err) {
	char text[NUMBER_TEXT];
	struct db_param params[] = { db_number(text, id) };
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask_on(conn, "SELECT op FROM rowfs.file WHERE id = $1::bigint FOR UPDATE",
			   params, 1, ROWS_ONE_OR_NONE, "t", &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		rc = may_write(NULL, conn, of_table, err);
	if (rc == 0 && PQntuples(res) == 0)
		rc = db_error_set(err, ENOENT, "the file was removed meanwhile");
	if (rc != 0)
		return rc;
	const char *op = field_text(res, 0, 0);
	return strcmp(op, new_op) == 0 ? INGEST_DONE : strcmp(op, old_op) == 0 ? 0 : INGEST_MOVED;
}

int ingest_file_change(struct db_conn *conn, const struct ingest_change *change,
		       struct db_error *err) {
	bool keeps = change->xids != NULL && change->xids[0] != '\0';
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(
		&sql,
		"WITH step AS (UPDATE rowfs.file SET op = $3::uuid, size = $4::bigint, state = $5::jsonb, "
		"changed = pg_catalog.clock_timestamp()%s WHERE id = $1::bigint AND op = $2::uuid RETURNING id), "
		"bytes AS (INSERT INTO rowfs.chunk (file, at, len, zlib, data) SELECT id, $6::bigint, "
		"$7::integer, $8::boolean, $9::bytea FROM step WHERE $7::integer > 0), "
		"rows AS (INSERT INTO rowfs.file_rows (file, ids%s) SELECT id, $10::int8multirange%s%s FROM "
		"step WHERE $10::int8multirange IS NOT NULL) SELECT id FROM step",
		change->of_table != NULL ? ", relation = $11::text" : "", keeps ? ", xids" : "",
		keeps ? ", " : "", keeps ? change->xids : "");
	const struct ingest_chunk *chunk = change->chunk;
	char texts[4][NUMBER_TEXT];
	AUTO_RESULT PGresult *res = NULL;
	struct db_param params[] = {
		db_number(texts[0], change->id),
		db_text(change->old_op),
		db_text(change->new_op),
		db_number(texts[1], (int64_t)change->size),
		db_text(change->state),
		db_number(texts[2], (int64_t)chunk->at),
		db_number(texts[3], (int64_t)chunk->len),
		db_text(chunk->zlib ? "t" : "f"),
		{ .data = chunk->len > 0 ? chunk->data.data : "",
		  .len = chunk->data.len,
		  .oid = DB_BYTEA },
		db_text(change->ranges),
		db_text(change->of_table),
	};
	int n = change->of_table != NULL ? 11 : 10;
	int rc = sql.failed ? db_error_set(err, ENOMEM, "out of memory")
			    : db_query_on(conn, sql.data, params, n, &res, err);
	if (rc != 0 || PQntuples(res) > 0)
		return rc;
	rc = may_write(NULL, conn, change->of_table, err);
	return rc == 0 ? INGEST_MOVED : rc;
}

int ingest_file_clear(struct db_conn *conn, int64_t id, struct db_error *err) {
	return run(conn, "DELETE FROM rowfs.chunk WHERE file = $1::bigint", id, err);
}

int ingest_file_forget(struct db_conn *conn, int64_t id, struct db_error *err) {
	return run(conn, "DELETE FROM rowfs.file_rows WHERE file = $1::bigint", id, err);
}

bool ingest_chunk_make(struct ingest_chunk *chunk, uint64_t at, const char *data, size_t len,
		       bool pack) {
	uLongf size = compressBound(len);
	*chunk = (struct ingest_chunk){ .at = at, .len = len };
	if (pack && len > 0) {
		buf_reserve(&chunk->data, size + 1);
		chunk->zlib = !chunk->data.failed &&
			      compress2((Bytef *)chunk->data.data, &size, (const Bytef *)data, len,
					1) == Z_OK &&
			      size < len;
	}
	if (chunk->zlib)
		chunk->data.len = size;
	else
		buf_add(&chunk->data, data, len);
	return !chunk->data.failed;
}

void ingest_chunk_free(struct ingest_chunk *chunk) {
	buf_free(&chunk->data);
	*chunk = (struct ingest_chunk){ 0 };
}

int ingest_file_add(struct db_conn *conn, int64_t id, const struct ingest_chunk *chunk,
		    struct db_error *err) {
	char texts[3][NUMBER_TEXT];
	struct db_param params[] = {
		db_number(texts[0], id),
		db_number(texts[1], (int64_t)chunk->at),
		db_number(texts[2], (int64_t)chunk->len),
		db_text(chunk->zlib ? "t" : "f"),
		{ .data = chunk->data.data, .len = chunk->data.len, .oid = DB_BYTEA },
	};
	return db_query_on(conn,
			   "INSERT INTO rowfs.chunk (file, at, len, zlib, data) VALUES "
			   "($1::bigint, $2::bigint, $3::integer, $4::boolean, $5::bytea)",
			   params, 5, NULL, err);
}

int ingest_file_add_rows(struct db_conn *conn, int64_t id, const char *ranges, const char *xids,
			 struct db_error *err) {
	char text[NUMBER_TEXT];
	bool keeps = xids != NULL && xids[0] != '\0';
	struct db_param params[] = { db_number(text, id), db_text(ranges) };
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(&sql,
		   "INSERT INTO rowfs.file_rows (file, ids%s) VALUES ($1::bigint, "
		   "$2::int8multirange%s%s)",
		   keeps ? ", xids" : "", keeps ? ", " : "", keeps ? xids : "");
	return sql.failed ? db_error_set(err, ENOMEM, "out of memory")
			  : db_query_on(conn, sql.data, params, 2, NULL, err);
}

int ingest_file_rename(struct db_conn *conn, int64_t id, const char *dir, const char *name,
		       const char *of_table, struct db_error *err) {
	char text[NUMBER_TEXT];
	struct db_param params[] = { db_number(text, id), db_text(dir), db_text(name),
				     db_text(of_table) };
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_query_on(
		conn,
		of_table != NULL
			? "UPDATE rowfs.file SET dir = $2, name = $3, relation = $4::text "
			  "WHERE id = $1::bigint"
			: "UPDATE rowfs.file SET dir = $2, name = $3 WHERE id = $1::bigint",
		params, of_table != NULL ? 4 : 3, &res, err);
	if (rc != 0 || field_changed(res) > 0)
		return rc;
	rc = may_write(NULL, conn, of_table, err);
	return rc == 0 ? db_error_set(err, ENOENT, "the file was removed meanwhile") : rc;
}

int ingest_file_delete(struct db_conn *conn, int64_t id, struct db_error *err) {
	return run(conn, "DELETE FROM rowfs.file WHERE id = $1::bigint", id, err);
}

/* -- bytes ------------------------------------------------------------------------------------- */

static int changed_by_somebody(struct db_error *err, const char *what, const char *from) {
	return db_error_set(
		err, EIO,
		"the bytes from %s on %s: rowfs.chunk was changed by something else; restore it "
		"from a backup, or write the file anew",
		from, what);
}

/* Appends the bytes of chunk ROW to OUT. */
static int unpack(const PGresult *res, int row, struct buf *out, struct db_error *err) {
	const char *data = field_text(res, row, 3);
	size_t stored = field_len(res, row, 3), before = out->len;
	uLongf len = (uLongf)field_number(res, row, 1);
	if (len > CHUNK_MOST || (field_is_true(res, row, 2) ? len == 0 : len != stored))
		return changed_by_somebody(err, "are not there", field_text(res, row, 0));
	if (!field_is_true(res, row, 2)) {
		buf_add(out, data, stored);
		return out->failed ? -ENOMEM : 0;
	}
	buf_resize(out, before + len);
	if (out->failed)
		return -ENOMEM;
	if (uncompress((Bytef *)out->data + before, &len, (const Bytef *)data, stored) != Z_OK ||
	    before + len != out->len)
		return changed_by_somebody(err, "cannot be decompressed", field_text(res, row, 0));
	return 0;
}

int ingest_chunks_take(const PGresult *res, uint64_t offset, struct buf *out, uint64_t *at,
		       struct db_error *err) {
	int rc = field_judge(res, ROWS_ANY, "nubx", err);
	if (rc != 0 || PQntuples(res) == 0)
		return rc;
	*at = (uint64_t)field_number(res, 0, 0);
	if (*at > offset) /* the one that holds the byte is missing */
		return 0;
	for (int row = 0; rc == 0 && row < PQntuples(res); row++) {
		if ((uint64_t)field_number(res, row, 0) != *at + out->len)
			break; /* so is one behind: who reads there is told */
		rc = unpack(res, row, out, err);
	}
	return rc;
}

int ingest_file_chunks(struct db_pool *pool, struct db_conn *conn, int64_t id, uint64_t offset,
		       struct db_cancel *cancel, struct buf *out, uint64_t *at,
		       struct db_error *err) {
	static struct db_statement st = { .sql = embedded_ingest_chunks_sql };
	AUTO_RESULT PGresult *res = NULL;
	char texts[2][NUMBER_TEXT];
	struct db_param params[] = { db_number(texts[0], id),
				     db_number(texts[1], (int64_t)offset) };
	buf_resize(out, 0);
	int rc = conn != NULL ? db_query_binary_on(conn, st.sql, params, 2, &res, err)
			      : db_query(pool, &st, params, 2, DB_REPEATABLE | DB_BINARY, cancel,
					 &res, err);
	return rc == 0 ? ingest_chunks_take(res, offset, out, at, err) : rc;
}
