/* COPY both ways: many rows, bytes of any kind, refused lines, connections that end in each phase. */
#include "db/copy.h"
#include "tests/unit/dbkit.h"

#include <signal.h>

enum { MANY = 1000000 };

static struct db_pool *admin; /* sees and ends what the pools under test do */

static const char csv_in[] = "COPY c (a, b) FROM STDIN (FORMAT csv)";

static void empty_table(void) {
	kit_run(admin, "TRUNCATE c");
}

static long copying_backend(const char *mark) {
	return kit_wait_active(admin, mark);
}

static void terminate(long pid) {
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(&sql, "SELECT pg_terminate_backend(%ld, 5000)", pid);
	CHECK_VALUE(admin, sql.data, "t");
}

static struct db_copy_in *begin_in(struct db_pool *pool, const char *sql) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_copy_in *copy = NULL;
	if (!CHECK_INT(db_copy_in_begin(pool, NULL, sql, &copy, &err), 0)) {
		fprintf(stderr, "%s: %s\n", sql, err.sentence);
		exit(1);
	}
	return copy;
}

static void put(struct db_copy_in *copy, const char *text) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	CHECK_INT(db_copy_in_put(copy, text, strlen(text), &err), 0);
}

static struct db_copy_out *begin_out(struct db_pool *pool, const char *sql) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_copy_out *copy = NULL;
	if (!CHECK_INT(db_copy_out_begin(pool, NULL, 0, sql, NULL, &copy, &err), 0)) {
		fprintf(stderr, "%s: %s\n", sql, err.sentence);
		exit(1);
	}
	return copy;
}

/* -- what goes well ----------------------------------------------------------------------------- */

/* Pieces of all sizes, cut anywhere in a line; read back in order and summed up here. */
static void test_million(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf all = { 0 };
	long long rows = 0, seen = 0, wrong = 0;
	const char *row;
	size_t len, at = 0, piece = 1;

	empty_table();
	for (int i = 0; i < MANY; i++)
		buf_printf(&all, "%d,text of row %d\n", i, i);
	struct db_copy_in *in = begin_in(pool, csv_in);
	while (at < all.len) {
		size_t n = all.len - at < piece ? all.len - at : piece;
		if (!CHECK(db_copy_in_put(in, all.data + at, n, &err) == 0))
			break;
		at += n;
		piece = piece * 3 % 300007 + 1;
	}
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, &rows, &err), 0);
	CHECK_INT(rows, MANY);
	CHECK_VALUE(admin, "SELECT count(*) || ' ' || sum(a) FROM c", "1000000 499999500000");

	struct db_copy_out *out =
		begin_out(pool, "COPY (SELECT a, b FROM c ORDER BY a) TO STDOUT CSV");
	at = 0;
	int rc;
	while ((rc = db_copy_out_next(out, &row, &len, &err)) == 1) {
		wrong += at + len > all.len || memcmp(all.data + at, row, len) != 0;
		at += len;
		seen++;
	}
	CHECK_INT(rc, 0);
	CHECK_INT(seen, MANY);
	CHECK_INT(wrong, 0);
	CHECK_INT((long long)at, (long long)all.len);
	CHECK_INT(db_copy_out_next(out, &row, &len, &err), 0);
	db_copy_out_end(out);
}

static char after[] = "after", never[] = "never";

static int note_batch(struct db_conn *conn, void *arg, struct db_error *err) {
	const char *note = arg;
	const struct db_param p = db_text(note);
	long long rows = 0;
	int rc = db_query_on(conn, "INSERT INTO ledger VALUES ($1)", &p, 1, NULL, err);
	if (rc == 0)
		rc = db_copy_on(conn, "COPY public.c (a) FROM STDIN", "7\n8\n", 4, &rows, err);
	CHECK(rc < 0 || rows == 2);
	return rc;
}

/* What stands before, after and in the COPY is one transaction. */
static void test_one_transaction(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_copy_in *copy;
	long long rows;

	empty_table();
	CHECK_INT(
		db_copy_in_begin(pool, "INSERT INTO ledger VALUES ('before')", csv_in, &copy, &err),
		0);
	put(copy, "1,a\n2,");
	put(copy, "b\n");
	CHECK_VALUE(admin, "SELECT count(*) FROM ledger", "0");
	CHECK_INT(db_copy_in_finish(copy, note_batch, after, &rows, &err), 0);
	CHECK_INT(rows, 2);
	CHECK_VALUE(admin, "SELECT string_agg(t, ',' ORDER BY t) FROM ledger", "after,before");
	CHECK_VALUE(admin, "SELECT string_agg(a::text, ',' ORDER BY a) FROM c", "1,2,7,8");
	kit_run(admin, "TRUNCATE ledger");
}

static void test_any_bytes(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf line = { 0 };
	const char *row;
	size_t len;

	kit_run(admin, "CREATE TABLE bytes (b bytea)");
	buf_puts(&line, "\\\\x");
	for (int i = 0; i < 256; i++)
		buf_printf(&line, "%02x", i);
	buf_putc(&line, '\n');
	struct db_copy_in *in = begin_in(pool, "COPY bytes FROM STDIN");
	CHECK_INT(db_copy_in_put(in, line.data, line.len, &err), 0);
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), 0);
	CHECK_VALUE(admin, "SELECT sum(get_byte(b, i)) FROM bytes, generate_series(0, 255) i",
		    "32640");
	struct db_copy_out *out =
		begin_out(pool, "COPY (SELECT b FROM bytes) TO STDOUT (FORMAT binary)");
	AUTO_BUF struct buf all = { 0 };
	while (db_copy_out_next(out, &row, &len, &err) == 1)
		buf_add(&all, row, len);
	db_copy_out_end(out);
	/* header 19, field count 2, length 4, the bytes, trailer 2 */
	if (CHECK_INT((long long)all.len, 19 + 2 + 4 + 256 + 2))
		for (int i = 0; i < 256; i++)
			CHECK_INT((unsigned char)all.data[25 + i], i);
}

/* A NUL and bad UTF-8 are refused with the line that has them. */
static void test_bad_bytes(struct db_pool *pool) {
	static const struct {
		const char *data;
		size_t len;
	} bad[] = { { "1,a\n2,\0b\n", 9 }, { "1,a\n2,\xff\n", 8 } };

	for (size_t i = 0; i < 2; i++) {
		AUTO_DB_ERROR struct db_error err = { 0 };
		struct db_copy_in *in = begin_in(pool, csv_in);
		CHECK_INT(db_copy_in_put(in, bad[i].data, bad[i].len, &err), 0);
		CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EINVAL);
		CHECK_STR(err.sqlstate, "22021");
		CHECK_INT(err.copy_line, 2);
	}
}

/* The keys are parameters: whatever is in them. */
static void test_keys(struct db_pool *pool) {
	static const char evil[] = "x'; drop table c; --\n\\ \"";
	AUTO_DB_ERROR struct db_error err = { 0 };
	const struct db_param keys[] = { db_text(evil), db_text("second") };
	struct db_copy_out *out;
	const char *row;
	size_t len;

	CHECK_INT(db_copy_out_begin(pool, keys, 2,
				    "COPY (SELECT octet_length(current_setting('rowfs.k1')), "
				    "current_setting('rowfs.k2')) TO STDOUT",
				    NULL, &out, &err),
		  0);
	CHECK_INT(db_copy_out_next(out, &row, &len, &err), 1);
	AUTO_FREE char *got = strndup(row, len);
	AUTO_BUF struct buf want = { 0 };
	buf_printf(&want, "%zu\tsecond\n", strlen(evil));
	CHECK_STR(got, want.data);
	CHECK_INT(db_copy_out_next(out, &row, &len, &err), 0);
	db_copy_out_end(out);
	/* nothing is left in the session */
	CHECK_VALUE(pool, "SELECT coalesce(nullif(current_setting('rowfs.k1', true), ''), 'none')",
		    "none");
	CHECK_VALUE(pool, "SHOW statement_timeout", "20s");
}

static void test_two_at_once(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(2, 0);
	const char *row;
	size_t len;

	empty_table();
	struct db_copy_in *one = begin_in(pool, csv_in), *two = begin_in(pool, csv_in);
	for (int i = 0; i < 1000; i++) {
		put(one, "1,one\n");
		put(two, "2,two\n");
	}
	db_copy_in_abort(two);
	struct db_copy_out *out = begin_out(pool, "COPY (SELECT count(*) FROM c) TO STDOUT");
	CHECK_INT(db_copy_out_next(out, &row, &len, &err), 1);
	CHECK_INT(row[0], '0');
	CHECK_INT(db_copy_in_finish(one, NULL, NULL, NULL, &err), 0);
	db_copy_out_end(out);
	CHECK_VALUE(admin, "SELECT count(*) || ' ' || sum(a) FROM c", "1000 1000");
	CHECK_INT(stats_of(pool).open, 2);
	CHECK_INT(stats_of(pool).idle, 2);
	db_pool_free(pool);
}

static void test_stats(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	const char *row;
	size_t len;
	db_pool_reset_stats(pool);
	struct db_copy_in *in = begin_in(pool, csv_in);
	put(in, "1,a\n");
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), 0);
	CHECK_INT((long long)stats_of(pool).queries, 2); /* COPY and COMMIT */
	struct db_copy_out *out = begin_out(pool, "COPY (SELECT 1) TO STDOUT");
	while (db_copy_out_next(out, &row, &len, &err) == 1)
		;
	db_copy_out_end(out);
	CHECK_INT((long long)stats_of(pool).queries, 4); /* BEGIN and COPY */
	CHECK_INT((long long)stats_of(pool).query_errors, 0);
	in = begin_in(pool, csv_in);
	put(in, "x,a\n");
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EINVAL);
	CHECK_INT((long long)stats_of(pool).query_errors, 1);
	db_pool_free(pool);
}

/* -- what the server refuses ------------------------------------------------------------------- */

static void test_error_in_the_middle(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	empty_table();
	struct db_copy_in *in = begin_in(pool, csv_in);
	for (int i = 1; i <= 100000; i++)
		put(in, i == 40001 ? "many,x\n" : "1,x\n");
	CHECK_INT(db_copy_in_finish(in, note_batch, never, NULL, &err), -EINVAL);
	CHECK_STR(err.sqlstate, "22P02");
	CHECK_INT(err.copy_line, 40001);
	CHECK(!err.in_doubt && !err.retryable);
	CHECK_VALUE(pool, "SELECT count(*) FROM c", "0");
	CHECK_VALUE(pool, "SELECT count(*) FROM ledger", "0");
	CHECK_INT(stats_of(pool).idle, stats_of(pool).open);
}

/* A name may look like the text around it; a value too. */
static void test_quoted_names(struct db_pool *pool) {
	static const char *const names[] = { "\"x, line 7\"", "\"a \"\"b\"\" 99.c\"",
					     "public.\"Z, line 8, column 3\"", "y2024" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		AUTO_DB_ERROR struct db_error err = { 0 };
		AUTO_BUF struct buf sql = { 0 };
		buf_printf(&sql, "CREATE TABLE %s (a integer CHECK (a < 10))", names[i]);
		kit_run(admin, sql.data);
		sql.len = 0;
		buf_printf(&sql, "COPY %s FROM STDIN (FORMAT csv)", names[i]);
		struct db_copy_in *in = begin_in(pool, sql.data);
		put(in, "1\n2\n\"COPY y2024, line 9\nCOPY y2024, line 9\"\n");
		CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EINVAL);
		CHECK_INT(err.copy_line, 4); /* the value's second line is the record's last */
		in = begin_in(pool, sql.data);
		put(in, "1\n2\n3\n4\n10\n6\n");
		CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EINVAL);
		CHECK_STR(err.sqlstate, "23514");
		CHECK_INT(err.copy_line, 5);
	}
}

static void test_languages(void) {
	CHECK_INT(db_error_copy_line("COPY t, line 12, column a: \"13\"", "t"), 12);
	CHECK_INT(db_error_copy_line("COPY t, Zeile 12, Spalte a: »13«", "t"), 12);
	CHECK_INT(db_error_copy_line("tのCOPY、行 12、列 a: \"13\"", "t"), 12);
	CHECK_INT(db_error_copy_line("t 복사, 12번째 줄: \"13\"", "t"), 12);
	CHECK_INT(db_error_copy_line("PL/pgSQL function f() line 3 at RAISE\nCOPY t, line 12", "t"),
		  12);
	CHECK_INT(db_error_copy_line("PL/pgSQL function f() line 3 at RAISE", "t"), 0);
	CHECK_INT(db_error_copy_line("COPY t, line", "t"), 0);
	CHECK_INT(db_error_copy_line(NULL, "t"), 0);
}

/* A trigger of the person's own: its context comes first, with a line number of the function. */
static void test_trigger_refuses(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	kit_run(admin, "CREATE TABLE trig (a integer)");
	kit_run(admin, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n"
		       "IF new.a = 3 THEN\nRAISE 'no threes';\nEND IF;\nRETURN new;\nEND$$");
	kit_run(admin,
		"CREATE TRIGGER r BEFORE INSERT ON trig FOR EACH ROW EXECUTE FUNCTION refuse()");
	struct db_copy_in *in = begin_in(pool, "COPY trig FROM STDIN");
	put(in, "1\n2\n3\n4\n");
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EINVAL);
	CHECK_INT(err.copy_line, 3);
	CHECK_HAS(err.sentence, "no threes");
}

static void test_constraint_at_the_end(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	kit_run(admin, "CREATE TABLE late (a integer UNIQUE DEFERRABLE INITIALLY DEFERRED)");
	struct db_copy_in *in = begin_in(pool, "COPY late FROM STDIN");
	put(in, "1\n2\n1\n");
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), -EEXIST);
	CHECK_STR(err.constraint, "late_a_key");
	CHECK(!err.in_doubt && !err.retryable);
	CHECK_INT(err.copy_line, 0);
	CHECK_VALUE(pool, "SELECT count(*) FROM late", "0");
}

static int refuse_batch(struct db_conn *conn, void *arg, struct db_error *err) {
	return db_error_set(err, ESTALE, "somebody else has moved the ledger");
}

static void test_function_refuses(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	empty_table();
	struct db_copy_in *in = begin_in(pool, csv_in);
	put(in, "1,a\n");
	CHECK_INT(db_copy_in_finish(in, refuse_batch, NULL, NULL, &err), -ESTALE);
	CHECK_HAS(err.sentence, "somebody else");
	CHECK(!err.in_doubt && !err.retryable);
	CHECK_VALUE(pool, "SELECT count(*) FROM c", "0");
}

static void test_bad_start(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_copy_in *in;
	struct db_copy_out *out;
	CHECK(db_copy_in_begin(pool, NULL, "COPY nothing FROM STDIN", &in, &err) < 0);
	CHECK_STR(err.sqlstate, "42P01");
	CHECK(db_copy_in_begin(pool, "SELECT 1/0", csv_in, &in, &err) == -EINVAL);
	CHECK(db_copy_out_begin(pool, NULL, 0, "COPY (SELECT 1/0) TO STDOUT", NULL, &out, &err) <=
	      0);
	CHECK_VALUE(pool, "SELECT 1", "1");
	CHECK_INT(stats_of(pool).idle, stats_of(pool).open);
}

/* A conflict that the server found: roll back, and the same may succeed later. */
static int conflict(struct db_conn *conn, void *arg, struct db_error *err) {
	return db_query_on(conn, "DO $$BEGIN RAISE SQLSTATE '40001'; END$$", NULL, 0, NULL, err);
}

static void test_conflict(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_copy_in *in = begin_in(pool, csv_in);
	put(in, "1,a\n");
	CHECK_INT(db_copy_in_finish(in, conflict, NULL, NULL, &err), -EBUSY);
	CHECK(err.retryable && !err.in_doubt);
}

static void test_error_while_reading(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_copy_out *out = begin_out(
		pool, "COPY (SELECT 1 / (1000 - g) FROM generate_series(1, 2000) g) TO STDOUT");
	const char *row;
	size_t len;
	int rows = 0, rc;
	while ((rc = db_copy_out_next(out, &row, &len, &err)) == 1)
		rows++;
	CHECK_INT(rc, -EINVAL);
	CHECK_INT(rows, 999);
	CHECK_STR(err.sqlstate, "22012");
	CHECK_INT(db_copy_out_next(out, &row, &len, &err), -EINVAL);
	db_copy_out_end(out);
	CHECK_INT(stats_of(pool).idle, stats_of(pool).open);
	CHECK_VALUE(pool, "SELECT 1", "1");
}

/* -- connections that end ----------------------------------------------------------------------- */

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

/* -- time --------------------------------------------------------------------------------------- */

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

/* -- giving up ---------------------------------------------------------------------------------- */

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

static void test_shutdown(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(2, 0);
	const char *row;
	size_t len;
	struct reading r = {
		.out = begin_out(
			pool,
			"COPY (SELECT repeat('x', 100), CASE WHEN g = 5001 THEN pg_sleep(60) END "
			"FROM generate_series(1, 5003) g) TO STDOUT")
	};
	struct db_copy_in *in = begin_in(pool, csv_in);
	struct db_copy_in *late = NULL;
	put(in, "1,a\n");
	pthread_create(&r.thread, NULL, reading_main, &r);
	copying_backend("pg_sleep(60) END");
	int64_t start = clock_us();
	db_pool_shutdown(pool);
	pthread_join(r.thread, NULL);
	CHECK_INT(r.rc, -EIO);
	CHECK(ms_since(start) < 1000);
	CHECK_INT(db_copy_out_next(r.out, &row, &len, &err), -EIO);
	/* what is under way may end well */
	CHECK_INT(db_copy_in_finish(in, NULL, NULL, NULL, &err), 0);
	CHECK_INT(db_copy_in_begin(pool, NULL, csv_in, &late, &err), -EIO);
	CHECK(!err.retryable);
	db_copy_out_end(r.out);
	CHECK(ms_since(start) < 3000);
	db_pool_free(pool);
}

static void test_while_all_is_well(void) {
	struct db_pool *pool = kit_default_pool();
	test_languages();
	test_million(pool);
	test_one_transaction(pool);
	test_any_bytes(pool);
	test_bad_bytes(pool);
	test_keys(pool);
	test_two_at_once();
	test_stats();
	test_error_in_the_middle(pool);
	test_quoted_names(pool);
	test_trigger_refuses(pool);
	test_constraint_at_the_end(pool);
	test_function_refuses(pool);
	test_bad_start(pool);
	test_conflict(pool);
	test_error_while_reading(pool);
	db_pool_free(pool);
}

int main(void) {
	if (getenv("ROWFS_TEST_CONNINFO") == NULL) {
		puts("skipped: run it through tests/unit/run-with-postgres");
		return 77;
	}
	log_setup(LOG_LEVEL_ERROR, false);
	admin = kit_default_pool();
	kit_run(admin, "CREATE TABLE c (a integer, b text)");
	kit_run(admin, "CREATE TABLE ledger (t text)");
	test_while_all_is_well();
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
	test_shutdown();
	test_frozen();
	db_pool_free(admin);
	return check_end();
}
