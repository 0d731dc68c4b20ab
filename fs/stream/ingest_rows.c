#include "fs/stream/ingest_rows.h"

#include "db/field.h"
#include "fs/stream/ingest_parse.h"
#include "fs/core/report.h"
#include "schema/statements/ingest_sql.h"
#include "util/list.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	HASHES_MOST = 1 << 20, /* lines whose hashes are held in memory */
	TOLD_MOST = 20,        /* ids in a sentence */
};

/* Lines of one shape, on their way to be compared with rows. */
struct alike {
	struct shape shape; /* owned */
	struct buf hashes;  /* "1,2,3" */
	int n;
};

struct comparison {
	struct db_conn *conn;
	const struct ingest *in;
	int64_t file;               /* whose rows they are */
	int64_t only;               /* only the row with this id; 0: all */
	char texts[2][NUMBER_TEXT]; /* of these two */
	const char *fresh; /* ids of rows that this transaction has inserted, or NULL; borrowed */
	struct ingest_parser parser;
	struct alike *all; /* owned */
	int n;
	struct rowfs_rows *count; /* rows are only counted, here; or NULL */
};

static struct db_param file_param(struct comparison *c) {
	return db_number(c->texts[0], c->file);
}

static struct db_param only_param(struct comparison *c) {
	return c->only != 0 ? db_number(c->texts[1], c->only) : db_text(NULL);
}

/* Runs SQL, which is freed; *OUT may be NULL. */
static int run(const struct comparison *c, char *sql, const struct db_param *params, int n,
	       PGresult **out, struct db_error *err) {
	AUTO_FREE char *owned = sql;
	return sql != NULL ? db_query_on(c->conn, sql, params, n, out, err)
			   : db_error_set(err, ENOMEM, "out of memory");
}

/* -- by the transaction ------------------------------------------------------------------------ */

static int delete_shown(struct comparison *c, struct db_error *err) {
	bool one = c->only != 0;
	struct db_param params[] = { file_param(c), one ? only_param(c) : db_text(c->fresh) };
	if (!c->in->has_proof)
		return 0;
	return run(c, one ? ingest_delete_one_sql(c->in) : ingest_delete_sql(c->in), params, 2,
		   NULL, err);
}

/* The ids that are left, TOLD_MOST + 1 at most. */
static int ask_unclear(struct comparison *c, PGresult **out, struct db_error *err) {
	char most[NUMBER_TEXT];
	struct db_param params[] = { file_param(c), only_param(c), db_text(c->fresh),
				     db_number(most, TOLD_MOST + 1) };
	int rc = run(c, ingest_unclear_sql(c->in), params, 4, out, err);
	return rc == 0 ? field_judge(*out, ROWS_ANY, "i", err) : rc;
}

/* -- by what they say -------------------------------------------------------------------------- */

static void comparison_free(struct comparison *c) {
	for (int i = 0; i < c->n; i++) {
		shape_free(&c->all[i].shape);
		buf_free(&c->all[i].hashes);
	}
	free(c->all);
	parser_free(&c->parser);
}

/* Takes SHAPE over. NULL if out of memory. */
static struct alike *find_alike(struct comparison *c, struct shape *shape) {
	for (int i = 0; i < c->n; i++) {
		if (!shape_equal(&c->all[i].shape, shape))
			continue;
		shape_free(shape);
		return &c->all[i];
	}
	if (!list_room(c->all, c->n))
		return NULL;
	c->all[c->n] = (struct alike){ .shape = *shape };
	memset(shape, 0, sizeof(*shape));
	return &c->all[c->n++];
}

/* Counts what SQL counts. */
static int ask_count(const struct comparison *c, char *sql, const struct db_param *params, int n,
		     uint64_t *count, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = run(c, sql, params, n, &res, err);
	if (rc == 0)
		rc = field_judge(res, ROWS_ONE, "n", err);
	if (rc == 0)
		*count += (uint64_t)field_number(res, 0, 0);
	return rc;
}

static int count_alike(const struct comparison *c, const struct alike *a,
		       const struct db_param *params, struct db_error *err) {
	return ask_count(
		c, ingest_count_alike_sql(c->in, (const char *const *)a->shape.names, a->shape.n),
		params, 4, &c->count->alike, err);
}

static int delete_alike(struct comparison *c, struct alike *a, struct db_error *err) {
	AUTO_BUF struct buf list = { 0 };
	if (a->n == 0)
		return 0;
	buf_putc(&list, '{');
	buf_add(&list, a->hashes.data, a->hashes.len);
	buf_putc(&list, '}');
	if (list.failed || a->hashes.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	struct db_param params[] = { file_param(c), only_param(c), db_text(c->fresh),
				     db_text(list.data) };
	if (c->count != NULL)
		return count_alike(c, a, params, err);
	int rc = run(
		c, ingest_delete_alike_sql(c->in, (const char *const *)a->shape.names, a->shape.n),
		params, 4, NULL, err);
	buf_resize(&a->hashes, 0);
	a->n = 0;
	return rc;
}

/* Lines LOW .. HIGH - 1 as objects, with commas between them: line I begins at AT[I]. */
struct objects {
	const struct comparison *c;
	struct alike *a;
	const struct buf *text;
	const size_t *at;
	int low, high;
};

/* Asks the server for their hashes, as the table would have them. */
static int hash_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct objects *o = arg;
	struct alike *a = o->a;
	AUTO_RESULT PGresult *res = NULL;
	AUTO_BUF struct buf lines = { 0 };
	AUTO_FREE char *sql =
		ingest_hash_sql(o->c->in, (const char *const *)a->shape.names, a->shape.n);
	buf_putc(&lines, '[');
	buf_add(&lines, o->text->data + o->at[o->low], o->at[o->high] - o->at[o->low] - 1);
	buf_putc(&lines, ']');
	if (sql == NULL || lines.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	struct db_param param = { .data = lines.data, .len = lines.len, .oid = DB_TEXT };
	int rc = db_ask_on(conn, sql, &param, 1, ROWS_ONE, "t", &res, err);
	if (rc != 0)
		return rc;
	buf_puts(&a->hashes, a->n > 0 ? "," : "");
	buf_puts(&a->hashes, field_text(res, 0, 0));
	a->n += o->high - o->low;
	return 0;
}

static bool is_refusal(const struct db_error *err) {
	return err->sqlstate[0] != '\0' && !err->retryable && !err->in_doubt;
}

/* The same around lines with values that no column takes: they are no rows. */
static int hash_lines(struct objects o, struct db_error *err) {
	int rc = db_part_on(o.c->conn, hash_in_tx, &o, err);
	if (rc == 0 && o.c->count != NULL)
		o.c->count->lines += (uint64_t)(o.high - o.low);
	if (rc == 0 || !is_refusal(err))
		return rc;
	db_error_clear(err);
	if (o.high - o.low == 1) {
		if (o.c->count != NULL)
			o.c->count->bad++;
		return 0;
	}
	struct objects first = o, second = o;
	first.high = second.low = o.low + (o.high - o.low) / 2;
	rc = hash_lines(first, err);
	return rc == 0 ? hash_lines(second, err) : rc;
}

/* The lines of UNIT that are of shape INDEX. */
static int add_lines(struct comparison *c, const struct ingest_unit *unit, int index,
		     struct db_error *err) {
	AUTO_BUF struct buf text = { 0 };
	AUTO_SHAPE struct shape shape = { 0 };
	AUTO_FREE size_t *at = calloc((size_t)unit->n + 1, sizeof(*at));
	int n = 0;
	bool ok = at != NULL && shape_copy(&shape, &unit->shapes[index]);
	for (int i = 0; ok && i < unit->n; i++) {
		const struct ingest_line *line = &unit->lines[i];
		if (line->shape != index)
			continue;
		at[n] = text.len;
		if (ingest_put_object(c->in->format, &shape, ingest_line_text(unit, line),
				      line->len, &text)) {
			buf_putc(&text, ',');
			n++;
		} else {
			buf_resize(&text, at[n]);
		}
	}
	if (n == 0)
		return ok ? 0 : db_error_set(err, ENOMEM, "out of memory");
	at[n] = text.len;
	struct alike *a = !text.failed ? find_alike(c, &shape) : NULL;
	if (a == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	int rc = hash_lines((struct objects){ c, a, &text, at, 0, n }, err);
	/* what is counted must not be counted twice */
	return rc == 0 && a->n >= HASHES_MOST && c->count == NULL ? delete_alike(c, a, err) : rc;
}

static uint64_t number_of(const struct refusals *list) {
	uint64_t n = 0;
	for (int i = 0; i < list->n; i++)
		n += 1 + list->all[i].more;
	return n;
}

/* The next LEN bytes of the file. */
static int compare_piece(struct comparison *c, const char *data, size_t len, bool last,
			 struct db_error *err) {
	struct ingest_unit unit = { .uncounted = true };
	struct refusals bad = { 0 };
	int rc = parser_feed(&c->parser, data, len, last ? RECORD_SYNC : RECORD_MORE, &unit);
	if (rc == 0 && last)
		rc = parser_tail(&c->parser, &unit, false, &bad);
	if (rc != 0)
		rc = db_error_set(err, ENOMEM, "out of memory");
	if (c->count != NULL)
		c->count->bad += number_of(&unit.refused) + number_of(&bad);
	for (int i = 0; rc == 0 && i < unit.nshapes; i++)
		rc = add_lines(c, &unit, i, err);
	refusals_clear(&bad);
	ingest_unit_clear(&unit);
	return rc;
}

/* Compares all bytes of file ID with rows that came from file ROWS. */
static int compare_bytes(struct comparison *c, int64_t id, int64_t rows, struct db_error *err) {
	uint64_t at = 0;
	int rc = 0;
	for (bool more = true; rc == 0 && more; at = c->parser.fed) {
		AUTO_BUF struct buf bytes = { 0 };
		uint64_t from = 0;
		rc = ingest_file_chunks(NULL, c->conn, id, at, NULL, &bytes, &from, err);
		more = rc == 0 && bytes.len > 0 && from <= at;
		if (rc != 0)
			break;
		rc = more ? compare_piece(c, bytes.data + (at - from), bytes.len - (at - from),
					  false, err)
			  : compare_piece(c, "", 0, true, err);
	}
	c->file = rows;
	for (int i = 0; rc == 0 && i < c->n; i++)
		rc = delete_alike(c, &c->all[i], err);
	return rc;
}

static int compare_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct comparison *c = arg;
	(void)conn; /* it is c->conn */
	return compare_bytes(c, c->file, c->file, err);
}

static int begin(struct comparison *c, struct engine *engine, struct db_error *err) {
	/* no line begins with the byte that gzip data begins with */
	AUTO_BUF struct buf first = { 0 };
	uint64_t at = 0;
	int rc = ingest_file_chunks(NULL, c->conn, c->file, 0, NULL, &first, &at, err);
	if (rc != 0)
		return rc;
	bool gzip = first.len > 0 && (unsigned char)first.data[0] == 0x1f;
	rc = parser_begin(&c->parser, engine, c->in, gzip, NULL);
	return rc != 0 ? db_error_set(err, ENOMEM, "out of memory") : 0;
}

/* Deletes those that say what the file says. What cannot be compared stays. */
static int compare(struct comparison *c, struct engine *engine, struct db_error *err) {
	int rc = begin(c, engine, err);
	if (rc != 0)
		return rc;
	rc = db_part_on(c->conn, compare_in_tx, c, err);
	if (rc != 0 && is_refusal(err)) {
		db_error_clear(err);
		rc = 0;
	}
	return rc;
}

/* -- both -------------------------------------------------------------------------------------- */

static void put_sentence(const struct ingest *in, const PGresult *left, struct buf *out) {
	int n = PQntuples(left), told = n > TOLD_MOST ? TOLD_MOST : n;
	AUTO_BUF struct buf ids = { 0 };
	for (int i = 0; i < told; i++)
		buf_printf(&ids, "%s%s", i > 0 ? ", " : "", field_text(left, i, 0));
	buf_printf(
		out,
		"rows of %s with ids that rows of this file had stay, because they say something else now "
		"and may be somebody else's: %s = %s%s. If they are old rows of this file: DELETE FROM "
		"%s WHERE %s IN (%s%s)",
		in->rel->layout_name, in->key->name, ids.failed ? "?" : ids.data,
		n > told ? " and more" : "", in->rel->layout_name, in->key->name,
		ids.failed ? "?" : ids.data, n > told ? ", …" : "");
}

int ingest_rows_delete(struct db_conn *conn, struct engine *engine, const struct ingest *in,
		       int64_t id, int64_t only, const char *fresh, struct buf *kept,
		       struct db_error *err) {
	struct comparison c = { .conn = conn, .in = in, .file = id, .only = only, .fresh = fresh };
	AUTO_RESULT PGresult *left = NULL, *still = NULL;
	buf_resize(kept, 0);
	int rc = delete_shown(&c, err);
	if (rc == 0)
		rc = ask_unclear(&c, &left, err);
	if (rc == 0 && PQntuples(left) > 0) {
		rc = compare(&c, engine, err);
		comparison_free(&c);
		if (rc == 0)
			rc = ask_unclear(&c, &still, err);
		if (rc == 0 && PQntuples(still) > 0)
			put_sentence(in, still, kept);
	}
	return rc == 0 && only == 0 ? ingest_file_forget(conn, id, err) : rc;
}

void ingest_rows_tell(struct engine *engine, const char *path, struct buf *kept) {
	if (kept->len > 0)
		report_error(engine->report, path, EEXIST, "", kept->failed ? "" : kept->data);
	buf_free(kept);
}

/* -- counting ---------------------------------------------------------------------------------- */

struct counting {
	struct engine *engine;
	const struct ingest *in;
	int64_t id, owner;
	struct rowfs_rows *out;
};

static int count_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct counting *w = arg;
	struct comparison c = { .conn = conn, .in = w->in, .file = w->id, .count = w->out };
	char owner[NUMBER_TEXT];
	*w->out = (struct rowfs_rows){ 0 };
	int rc = begin(&c, w->engine, err);
	/* the bytes are this file's, the rows may be the owner's */
	if (rc == 0)
		rc = compare_bytes(&c, w->id, w->owner, err);
	struct db_param params[] = { db_number(owner, w->owner), db_text(NULL), db_text(NULL) };
	if (rc == 0)
		rc = ask_count(&c, ingest_count_alike_sql(w->in, NULL, 0), params, 3, &w->out->rows,
			       err);
	comparison_free(&c);
	if (w->owner != w->id) /* it has the rows of its other lines, too */
		w->out->rows = w->out->alike;
	return rc;
}

int ingest_rows_count(struct engine *engine, const struct ingest *in, int64_t id, int64_t owner,
		      struct db_cancel *cancel, struct rowfs_rows *out, struct db_error *err) {
	struct counting w = { .engine = engine, .in = in, .id = id, .owner = owner, .out = out };
	return db_transaction(engine->pool, count_in_tx, &w, DB_REPEATABLE, cancel, err);
}
