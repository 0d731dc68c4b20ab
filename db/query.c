#include "db/query.h"

#include "db/retry.h"
#include "util/buf.h"

#include <string.h>

static atomic_uint statements;

/* The number of ST, given at its first use by whichever thread comes first. */
static unsigned statement_id(struct db_statement *st) {
	unsigned id = atomic_load(&st->id);
	if (id != 0)
		return id;
	unsigned mine = atomic_fetch_add(&statements, 1) + 1;
	return atomic_compare_exchange_strong(&st->id, &id, mine) ? mine : id;
}

/* FNV-1a of ST's text, worked out once. */
static unsigned long long statement_hash(struct db_statement *st) {
	unsigned long long h = atomic_load_explicit(&st->hash, memory_order_relaxed);
	if (h != 0)
		return h;
	h = 14695981039346656037u;
	for (const char *s = st->sql; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 1099511628211u;
	atomic_store_explicit(&st->hash, h, memory_order_relaxed);
	return h;
}

struct work {
	const struct conn_work *what;
	PGresult **out;
};

static enum conn_end run_once(struct db_conn *c, void *arg, struct db_error *err) {
	const struct work *w = arg;
	return conn_run(c, w->what, w->out, err);
}

static int run_work(struct db_pool *pool, const struct conn_work *w, struct db_cancel *cancel,
		    PGresult **out, struct db_error *err) {
	struct retry r = { .pool = pool, .cancel = cancel, .flags = w->flags };
	struct work work = { .what = w, .out = out };
	return retry_run(&r, run_once, &work, NULL, err);
}

int db_query(struct db_pool *pool, struct db_statement *st, const struct db_param *params, int n,
	     unsigned flags, struct db_cancel *cancel, PGresult **out, struct db_error *err) {
	const struct conn_work w = {
		.sql = st->sql,
		.id = statement_id(st),
		.hash = statement_hash(st),
		.params = params,
		.n = n,
		.flags = flags,
	};
	return run_work(pool, &w, cancel, out, err);
}

const char db_health_sql[] = "SELECT 1";

int db_query_text(struct db_pool *pool, const char *sql, const struct db_param *params, int n,
		  unsigned flags, struct db_cancel *cancel, PGresult **out, struct db_error *err) {
	const struct conn_work w = { .sql = sql, .params = params, .n = n, .flags = flags };
	return run_work(pool, &w, cancel, out, err);
}

struct db_param db_text(const char *s) {
	return (struct db_param){ .data = s, .len = s != NULL ? strlen(s) : 0, .oid = DB_TEXT };
}

/* Appends S between QUOTEs, each QUOTE in it doubled. */
static void quote(struct buf *sql, const char *s, char mark) {
	buf_putc(sql, mark);
	for (; *s != '\0'; s++) {
		if (*s == mark)
			buf_putc(sql, mark);
		buf_putc(sql, *s);
	}
	buf_putc(sql, mark);
}

void db_quote_ident(struct buf *sql, const char *ident) {
	quote(sql, ident, '"');
}

void db_quote_literal(struct buf *sql, const char *s) {
	quote(sql, s, '\'');
}
