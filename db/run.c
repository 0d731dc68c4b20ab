/* Running one statement on one connection: send it, prepared where that is wanted, and have its
 * answer judged. */
#include "db/run.h"

#include "db/answer.h"
#include "util/clock.h"
#include "util/hash.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum { FEW_PARAMS = 16, NAME_LEN = 32 };

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
	h = hash_add(HASH_BEGIN, st->sql, strlen(st->sql));
	atomic_store_explicit(&st->hash, h, memory_order_relaxed);
	return h;
}

struct conn_work conn_work_of(struct db_statement *st, const struct db_param *params, int n,
			      unsigned flags, PGresult **out) {
	return (struct conn_work){
		.sql = st->sql,
		.id = statement_id(st),
		.hash = statement_hash(st),
		.params = params,
		.n = n,
		.flags = flags,
		.out = out,
	};
}

enum conn_end conn_script(struct db_conn *c, const char *sql, PGresult **out,
			  struct db_error *err) {
	int64_t started = clock_us();
	enum conn_end end = answer_to(c, PQsendQuery(c->pg, sql), UNTIL_DONE, out, err);
	return answer_note(c, sql, clock_us() - started, end, err);
}

enum conn_end conn_command(struct db_conn *c, const char *sql, struct db_error *err) {
	return conn_script(c, sql, NULL, err);
}

void conn_roll_back(struct db_conn *c, int64_t deadline_us) {
	AUTO_DB_ERROR struct db_error ignored = { 0 };

	conn_detach(c);
	c->deadline_us = deadline_us;
	if (!conn_is_dead(c) && c->state != CONN_LENT &&
	    conn_command(c, "ROLLBACK", &ignored) != CONN_DONE)
		conn_lose(c);
	c->deadline_us = NEVER_US;
}

/* The name holds the text's hash: behind a pooler a session may have another daemon's statements,
 * and the same name must mean the same text. */
static void statement_name(const struct conn_work *w, char name[NAME_LEN]) {
	snprintf(name, NAME_LEN, "s%u_%016llx", w->id, w->hash);
}

/* Sends W, with its parameters as they are: binary format is exact for text too, NUL and bad UTF-8
 * included, which the server then refuses with a sentence. */
static enum conn_end send_work(struct db_conn *c, const struct conn_work *w, const char *name,
			       struct db_error *err) {
	Oid few_types[FEW_PARAMS];
	const char *few_values[FEW_PARAMS];
	int few_lengths[FEW_PARAMS], few_formats[FEW_PARAMS];
	AUTO_FREE void *many = NULL;
	Oid *types = few_types;
	const char **values = few_values;
	int *lengths = few_lengths, *formats = few_formats;

	if (w->n > FEW_PARAMS) {
		many = calloc((size_t)w->n, sizeof(*values) + sizeof(*types) + 2 * sizeof(int));
		if (many == NULL) {
			db_error_set(err, ENOMEM, "out of memory");
			return CONN_FAILED;
		}
		values = many;
		types = (Oid *)(values + w->n);
		lengths = (int *)(types + w->n);
		formats = lengths + w->n;
	}
	for (int i = 0; i < w->n; i++) {
		const struct db_param *p = &w->params[i];
		if (p->len > INT_MAX / 2) {
			db_error_set(err, EFBIG, "a value of %zu bytes is too large", p->len);
			return CONN_FAILED;
		}
		types[i] = p->oid != 0 ? p->oid : DB_TEXT;
		values[i] = p->data;
		lengths[i] = (int)p->len;
		formats[i] = 1;
	}
	int result_format = (w->flags & DB_BINARY) != 0;
	int sent = name != NULL ? PQsendQueryPrepared(c->pg, name, w->n, values, lengths, formats,
						      result_format)
				: PQsendQueryParams(c->pg, w->sql, w->n, types, values, lengths,
						    formats, result_format);
	return sent ? CONN_DONE : answer_not_sent(c, err);
}

static enum conn_end send_with_params(struct db_conn *c, const struct conn_work *w,
				      const char *name, struct db_error *err) {
	enum conn_end end = send_work(c, w, name, err);
	return end == CONN_DONE ? answer_wait(c, UNTIL_DONE, w->out, err) : end;
}

static bool is_prepared(const struct db_conn *c, unsigned id) {
	return id / 8 < c->prepared_len && (c->prepared[id / 8] & (1u << id % 8)) != 0;
}

static void forget_prepared(struct db_conn *c, unsigned id) {
	if (id / 8 < c->prepared_len)
		c->prepared[id / 8] &= (unsigned char)~(1u << id % 8);
}

static bool note_prepared(struct db_conn *c, unsigned id) {
	if (id / 8 >= c->prepared_len) {
		size_t len = id / 8 + 16;
		unsigned char *more = realloc(c->prepared, len);
		if (more == NULL)
			return false;
		memset(more + c->prepared_len, 0, len - c->prepared_len);
		c->prepared = more;
		c->prepared_len = len;
	}
	c->prepared[id / 8] |= (unsigned char)(1u << id % 8);
	return true;
}

static enum conn_end prepare(struct db_conn *c, const struct conn_work *w, const char *name,
			     struct db_error *err) {
	AUTO_FREE Oid *types = calloc((size_t)w->n + 1, sizeof(*types));
	if (types == NULL) {
		db_error_set(err, ENOMEM, "out of memory");
		return CONN_FAILED;
	}
	for (int i = 0; i < w->n; i++)
		types[i] = w->params[i].oid != 0 ? w->params[i].oid : DB_TEXT;
	enum conn_end end = answer_to(c, PQsendPrepare(c->pg, name, w->sql, w->n, types),
				      UNTIL_DONE, NULL, err);
	if (end == CONN_LOST_SENT)
		return CONN_LOST; /* preparing does nothing that could be done twice */
	/* 42P05: a pooled session that has it from earlier. The same name is the same text. */
	if (end == CONN_FAILED && strcmp(err->sqlstate, "42P05") == 0)
		end = CONN_DONE;
	if (end == CONN_DONE && !note_prepared(c, w->id)) {
		db_error_set(err, ENOMEM, "out of memory");
		return CONN_FAILED;
	}
	return end;
}

/* True if the session has lost the statement, or its tables have changed: it was not run, and is
 * made ready to be prepared anew. */
static bool must_prepare_again(struct db_conn *c, const struct conn_work *w, const char *name,
			       const struct db_error *err) {
	AUTO_DB_ERROR struct db_error ignored = { 0 };
	char sql[NAME_LEN + 16];

	if (strcmp(err->sqlstate, "26000") == 0) {
		forget_prepared(c, w->id);
		return true;
	}
	if (strcmp(err->sqlstate, "0A000") != 0)
		return false;
	forget_prepared(c, w->id);
	snprintf(sql, sizeof(sql), "DEALLOCATE %s", name);
	return conn_command(c, sql, &ignored) == CONN_DONE;
}

static enum conn_end run_prepared(struct db_conn *c, const struct conn_work *w,
				  struct db_error *err) {
	char name[NAME_LEN];
	statement_name(w, name);
	for (bool again = false;; again = true) {
		bool known = is_prepared(c, w->id);
		enum conn_end end = known ? CONN_DONE : prepare(c, w, name, err);
		if (end == CONN_DONE)
			end = send_with_params(c, w, name, err);
		if (end != CONN_FAILED || !known || again || !must_prepare_again(c, w, name, err))
			return end;
	}
}

enum conn_end conn_run(struct db_conn *c, const struct conn_work *w, struct db_error *err) {
	bool prepared = w->id != 0 && c->cfg->prepared_statements;
	int64_t started = clock_us();
	enum conn_end end = prepared ? run_prepared(c, w, err) : send_with_params(c, w, NULL, err);
	return answer_note(c, w->sql, clock_us() - started, end, err);
}

/* -- several statements in one message --------------------------------------------------------- */

static enum conn_end send_all(struct db_conn *c, const char *const *first, int n,
			      const struct conn_work *w, const char *name, struct db_error *err) {
	for (int i = 0; i < n; i++)
		if (!PQsendQueryParams(c->pg, first[i], 0, NULL, NULL, NULL, NULL, 0))
			return answer_not_sent(c, err);
	enum conn_end end = send_work(c, w, name, err);
	if (end == CONN_DONE && !PQpipelineSync(c->pg))
		return answer_not_sent(c, err);
	if (end != CONN_DONE)
		conn_lose(c); /* half a message is out */
	return end;
}

enum conn_end conn_run_behind(struct db_conn *c, const char *const *first, int n,
			      const struct conn_work *w, struct db_error *err) {
	bool prepared = w->id != 0 && c->cfg->prepared_statements;
	char name[NAME_LEN];
	int64_t started = clock_us();
	enum conn_end end = CONN_DONE;
	statement_name(w, name);
	if (prepared && !is_prepared(c, w->id))
		end = prepare(c, w, name, err);
	if (end == CONN_DONE && !PQenterPipelineMode(c->pg))
		end = answer_not_sent(c, err);
	if (end == CONN_DONE)
		end = send_all(c, first, n, w, prepared ? name : NULL, err);
	if (end == CONN_DONE)
		end = answer_wait(c, UNTIL_SYNC, w->out, err);
	if (end == CONN_FAILED && prepared && strcmp(err->sqlstate, "26000") == 0)
		forget_prepared(
			c, w->id); /* a pooler gave us another session; the next try prepares */
	return answer_note(c, w->sql, clock_us() - started, end, err);
}
