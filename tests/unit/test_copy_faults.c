/* COPY both ways: connections that end in each phase, deadlines, and who gives up. */
#include "tests/unit/copykit.h"

#include <signal.h>

static long copying_backend(const char *mark) {
	return kit_wait_active(admin, mark);
}

static void terminate(long pid) {
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(&sql, "SELECT pg_terminate_backend(%ld, 5000)", pid);
	CHECK_VALUE(admin, sql.data, "t");
}

/* -- connections that end ---------------------------------------------------------------------- */

/* Between begin and the first bytes, and in the middle: nothing is in doubt. */
static void test_killed_while_fed(void) {
	for (int fed = 0; fed < 2; fed++) {
		AUTO_DB_ERROR struct db_error err = { 0 };
		struct db_pool *pool = pool_of(1, 0);
		empty_table();
		struct db_copy_in *in = begin_in(pool, csv_in);
		if (fed > 0)
			put(in, "1,a\n2,b\n");
		terminate(copying_backend("COPY c (a, b)"));
		int rc = 0;
		for (int i = 0; i < 100000 && rc == 0; i++)
			rc = db_copy_in_put(in, "3,some more text\n", 17, &err);
		CHECK_INT(rc, -EIO);
		CHECK(err.retryable && !err.in_doubt);
		db_error_clear(&err);
		CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EIO);
		CHECK(err.retryable && !err.in_doubt);
		CHECK_VALUE(pool, "SELECT count(*) FROM c", "0");
		db_pool_free(pool);
	}
}

/* Nothing was sent in between: it shows at the end. */
static void test_killed_before_end(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	struct db_copy_in *in = begin_in(pool, csv_in);
	put(in, "1,a\n");
	terminate(copying_backend("COPY c (a, b)"));
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EIO);
	CHECK(err.retryable && !err.in_doubt);
	CHECK_VALUE(pool, "SELECT 1", "1");
	db_pool_free(pool);
}

static int kill_self(struct db_conn *conn, void *arg, struct db_error *err) {
	return db_query_on(conn, "SELECT pg_terminate_backend(pg_backend_pid())", NULL, 0, NULL,
			   err);
}

/* In FN: rolled back for certain. */
static void test_killed_in_function(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	empty_table();
	struct db_copy_in *in = begin_in(pool, csv_in);
	put(in, "1,a\n");
	CHECK_INT(db_copy_in_finish(in, kill_self, NULL, NULL, &err), -EIO);
	CHECK(err.retryable && !err.in_doubt);
	CHECK_VALUE(pool, "SELECT count(*) FROM c", "0");
	db_pool_free(pool);
}

/* kill -9 of the backend while it commits: nobody knows. */
static void test_killed_in_commit(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	kit_run(admin, "CREATE TABLE suicide (pid integer)");
	kit_run(admin, "CREATE EXTENSION IF NOT EXISTS plpgsql");
	kit_run(admin, "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
		       "EXECUTE format('COPY suicide TO PROGRAM ''kill -9 %s''', "
		       "pg_backend_pid()); PERFORM pg_sleep(5); RETURN NULL; END$$");
	kit_run(admin, "CREATE CONSTRAINT TRIGGER d AFTER INSERT ON suicide DEFERRABLE INITIALLY "
		       "DEFERRED FOR EACH ROW EXECUTE FUNCTION die()");
	long before = backend_of(admin);
	struct db_copy_in *in = begin_in(pool, "COPY suicide FROM STDIN");
	put(in, "1\n");
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EIO);
	CHECK(err.retryable && err.in_doubt);
	WAIT_UNTIL(backend_of(admin) != before);
	db_pool_free(pool);
}

static void test_killed_while_read(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	const char *row;
	size_t len;
	int rc;
	struct db_copy_out *out =
		begin_out(pool, "COPY (SELECT generate_series(1, 100000000), 'killed') TO STDOUT");
	CHECK_INT(db_copy_out_next(out, &row, &len, &err), 1);
	terminate(copying_backend("'killed'"));
	while ((rc = db_copy_out_next(out, &row, &len, &err)) == 1)
		;
	CHECK_INT(rc, -EIO);
	CHECK(err.retryable);
	db_copy_out_end(out);
	CHECK_VALUE(pool, "SELECT 1", "1");
	db_pool_free(pool);
}

/* An idle connection that the server closed is replaced without a word. */
static void test_stale_start(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	empty_table();
	terminate(backend_of(pool));
	struct db_copy_in *in = begin_in(pool, csv_in);
	put(in, "1,a\n");
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), 0);
	CHECK_VALUE(pool, "SELECT count(*) FROM c", "1");
	db_pool_free(pool);
}

static void test_no_server(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	struct db_copy_in *in = NULL;
	struct db_copy_out *out = NULL;
	kit_server("stop");
	CHECK_INT(db_copy_in_begin(pool, NULL, csv_in, &in, &err), -EIO);
	CHECK(err.retryable && !err.in_doubt);
	CHECK_INT(db_copy_out_begin(pool, NULL, 0, "COPY c TO STDOUT", NULL, &out, &err), -EIO);
	CHECK(err.retryable);
	kit_server("start");
	db_pool_free(pool);
}

/* -- time -------------------------------------------------------------------------------------- */

/* Pauses longer than every time-out, in both directions. */
static void test_pauses(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_config cfg = kit_config();
	const char *row;
	size_t len;
	cfg.command_timeout_ms = 300;
	cfg.transaction_timeout_ms = 300;
	struct db_pool *pool = kit_pool(&cfg);
	empty_table();
	struct db_copy_in *in = begin_in(pool, csv_in);
	put(in, "1,a\n");
	struct db_copy_out *out =
		begin_out(pool, "COPY (SELECT g FROM generate_series(1, 1000000) g) TO STDOUT");
	CHECK_INT(db_copy_out_next(out, &row, &len, &err), 1);
	CHECK_VALUE(admin, "SELECT pg_sleep(0.8)", ""); /* the pause is what is tested */
	put(in, "2,b\n");
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), 0);
	int rows = 1;
	while (db_copy_out_next(out, &row, &len, &err) == 1)
		rows++;
	CHECK_INT(rows, 1000000);
	db_copy_out_end(out);
	CHECK_VALUE(admin, "SELECT count(*) FROM c", "2");
	db_pool_free(pool);
}

static int sleep_long(struct db_conn *conn, void *arg, struct db_error *err) {
	return db_query_on(conn, "SELECT pg_sleep(60)", NULL, 0, NULL, err);
}

static void test_deadline_of_finish(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_config cfg = kit_config();
	cfg.transaction_timeout_ms = 300;
	struct db_pool *pool = kit_pool(&cfg);
	struct db_copy_in *in = begin_in(pool, csv_in);
	int64_t start = clock_us();
	put(in, "1,a\n");
	CHECK_INT(db_copy_in_finish(in, sleep_long, NULL, NULL, &err), -ETIMEDOUT);
	CHECK(!err.in_doubt && !err.retryable);
	CHECK(ms_since(start) < 5000);
	db_pool_free(pool);
}

/* A frozen server: neither a put nor the end may hang. */
static void test_frozen(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_FREE char *lines = calloc(1, 65536);
	struct db_config cfg = kit_config();
	cfg.command_timeout_ms = 200;
	cfg.retry_attempts = 0;
	struct db_pool *pool = kit_pool(&cfg);
	const char *row;
	size_t len;
	int rc = 0;

	memset(lines, '\n', 65536);
	struct db_copy_in *in = begin_in(pool, csv_in), *other = begin_in(pool, csv_in);
	struct db_copy_out *out =
		begin_out(pool, "COPY (SELECT generate_series(1, 100000000)) TO STDOUT");
	kit_server("freeze");
	int64_t start = clock_us();
	for (int i = 0; i < 100 && rc == 0; i++)
		rc = db_copy_in_put(in, lines, 65536, &err);
	CHECK_INT(rc, -ETIMEDOUT);
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -ETIMEDOUT);
	CHECK(!err.in_doubt);
	CHECK(ms_since(start) < 9000);
	start = clock_us();
	db_copy_in_abort(other);
	CHECK(ms_since(start) < 1500);
	start = clock_us();
	while ((rc = db_copy_out_next(out, &row, &len, &err)) == 1)
		;
	CHECK_INT(rc, -ETIMEDOUT);
	db_copy_out_end(out);
	CHECK(ms_since(start) < 5000);
	kit_server("thaw");
	WAIT_UNTIL(kit_number(admin, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE "
				     "'%COPY c (a, b)%' AND pid <> pg_backend_pid()") == 0);
	db_pool_free(pool);
}

/* -- giving up --------------------------------------------------------------------------------- */

static void test_abort(void) {
	struct db_pool *pool = pool_of(1, 0);
	empty_table();
	long pid = backend_of(pool);
	for (int i = 0; i < 20; i++) {
		struct db_copy_in *in = begin_in(pool, csv_in);
		put(in, i % 2 == 0 ? "1,a\n" : "1,");
		db_copy_in_abort(in);
	}
	db_copy_in_abort(NULL);
	CHECK_VALUE(pool, "SELECT count(*) FROM c", "0");
	CHECK_INT(backend_of(pool), pid); /* the connection was kept */
	db_pool_free(pool);
}

static void test_end_in_the_middle(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	const char *row;
	size_t len;
	long pid = backend_of(pool);
	for (int i = 0; i < 20; i++) {
		struct db_copy_out *out =
			begin_out(pool, "COPY (SELECT generate_series(1, 100000000)) TO STDOUT");
		for (int n = 0; n < i; n++)
			CHECK_INT(db_copy_out_next(out, &row, &len, &err), 1);
		int64_t start = clock_us();
		db_copy_out_end(out);
		CHECK(ms_since(start) < 1000);
		CHECK_VALUE(pool, "SELECT 'good'", "good");
	}
	CHECK_INT(backend_of(pool), pid);
	db_copy_out_end(NULL);
	db_pool_free(pool);
}

struct reading {
	struct db_copy_out *out;
	pthread_t thread;
	int rows, rc;
};

static void *reading_main(void *arg) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct reading *r = arg;
	const char *row;
	size_t len;
	while ((r->rc = db_copy_out_next(r->out, &row, &len, &err)) == 1)
		r->rows++;
	return NULL;
}

/* An interrupted reader may go on. */
static void test_cancel(void) {
	struct db_pool *pool = pool_of(1, 0);
	struct db_cancel cancel = DB_CANCEL_INIT, fired = DB_CANCEL_INIT;
	AUTO_DB_ERROR struct db_error err = { 0 };
	const char *row;
	size_t len;
	kit_run(admin, "CREATE TABLE gate (n integer)");
	kit_run(admin,
		"CREATE FUNCTION wait_gate(n integer) RETURNS integer LANGUAGE plpgsql AS "
		"$$BEGIN IF n = 5001 THEN PERFORM pg_advisory_lock(77); END IF; RETURN n; END$$");
	struct db_pool *holder = pool_of(1, 0);
	kit_run(holder, "SELECT pg_advisory_lock(77)");
	struct reading r = {
		.out = begin_out(
			pool,
			"COPY (SELECT wait_gate(generate_series(1, 5003)), repeat('x', 100)) TO STDOUT")
	};
	db_copy_out_attach(r.out, &cancel);
	pthread_create(&r.thread, NULL, reading_main, &r);
	WAIT_UNTIL(kit_number(admin, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 1);
	db_cancel_fire(&cancel);
	pthread_join(r.thread, NULL);
	CHECK_INT(r.rc, -EINTR);
	db_copy_out_attach(r.out, NULL);
	db_cancel_fire(&fired);
	db_copy_out_attach(r.out, &fired);
	CHECK_INT(db_copy_out_next(r.out, &row, &len, &err), -EINTR);
	db_copy_out_attach(r.out, NULL);
	kit_run(holder, "SELECT pg_advisory_unlock(77)");
	int rc;
	while ((rc = db_copy_out_next(r.out, &row, &len, &err)) == 1)
		r.rows++;
	CHECK_INT(rc, 0);
	CHECK_INT(r.rows, 5003);
	db_copy_out_end(r.out);
	db_pool_free(holder);
	db_pool_free(pool);
}

/* The server says nothing before the first rows: the start itself may be what takes too long. */
static void test_deadline_of_start(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_config cfg = kit_config();
	struct db_copy_out *out = NULL;
	cfg.command_timeout_ms = 200;
	struct db_pool *pool = kit_pool(&cfg);
	CHECK_INT(db_copy_out_begin(pool, NULL, 0, "COPY (SELECT pg_sleep(60)) TO STDOUT", NULL,
				    &out, &err),
		  -ETIMEDOUT);
	CHECK_VALUE(pool, "SELECT 1", "1");
	db_pool_free(pool);
}

int main(void) {
	if (!copy_begin())
		return 77;
	test_killed_while_fed();
	test_killed_before_end();
	test_killed_in_function();
	test_killed_in_commit();
	test_killed_while_read();
	test_stale_start();
	test_no_server();
	test_pauses();
	test_deadline_of_finish();
	test_deadline_of_start();
	test_abort();
	test_end_in_the_middle();
	test_cancel();
	test_frozen();
	db_pool_free(admin);
	return check_end();
}
