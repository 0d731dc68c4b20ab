#include "fs/stream/once.h"

#include "fs/stream/fence.h"

#include <errno.h>

int once_begin(struct engine *engine, struct once *once, struct db_error *err) {
	*once = (struct once){ 0 };
	ledger_new_uuid(once->id);
	return engine->has_ledger && engine->has_streams
		       ? fence_stream(engine->fence, engine->pool, once->stream, err)
		       : 0;
}

void once_failed(struct engine *engine, const struct once *once, int rc,
		 const struct db_error *err) {
	if (rc == -EIO || rc == -ETIMEDOUT || err->in_doubt)
		fence_leave(engine->fence, once->stream);
}

struct run {
	bool has_ledger;
	unsigned flags;
	db_tx_fn fn;
	void *arg;
	struct once *once;
};

static int run_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct run *run = arg;
	int rc = 0;
	if ((run->flags & ONCE_ONE_SNAPSHOT) != 0)
		rc = db_query_on(conn, ledger_one_snapshot_sql, NULL, 0, NULL, err);
	if (rc == 0)
		rc = ledger_ask(conn, run->has_ledger, run->once, err);
	if (rc == 0)
		rc = run->fn(conn, run->arg, err);
	else if (rc == LEDGER_DONE)
		rc = 0;
	return rc;
}

int once_run(struct engine *engine, unsigned flags, db_tx_fn fn, void *arg, struct once *once,
	     struct db_error *err) {
	struct once own;
	if (once == NULL)
		once = &own;
	struct run run = {
		.has_ledger = engine->has_ledger, .flags = flags, .fn = fn, .arg = arg, .once = once
	};
	int rc = once_begin(engine, once, err);
	if (rc != 0)
		return rc;
	rc = db_transaction(engine->pool, run_in_tx, &run, engine->has_ledger ? DB_REPEATABLE : 0,
			    NULL, err);
	if (rc != 0)
		once_failed(engine, once, rc, err);
	return rc;
}
