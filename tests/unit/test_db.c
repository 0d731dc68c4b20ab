/* Queries, parameters, results, errors, transactions, settings: the database is well. */
#include "db/quote.h"
#include "db/held.h"
#include "tests/unit/dbkit.h"

static void test_errno_table(void) {
	static const struct {
		const char *state;
		int errnum;
	} want[] = {
		{ "23505", EEXIST },     { "23503", ENOENT },    { "23514", EINVAL },
		{ "23502", EINVAL },     { "22P02", EINVAL },    { "22003", EINVAL },
		{ "22007", EINVAL },     { "22008", EINVAL },    { "22021", EINVAL },
		{ "22P05", EINVAL },     { "22023", EINVAL },    { "22001", EFBIG },
		{ "42501", EACCES },     { "28P01", EACCES },    { "28000", EACCES },
		{ "25006", EROFS },      { "53100", ENOSPC },    { "53300", EIO },
		{ "53200", EIO },        { "57014", EINTR },     { "08006", EIO },
		{ "57P01", EIO },        { "42P01", EIO },       { "42703", EIO },
		{ "42883", EIO },        { "55P03", EBUSY },     { "23P01", EEXIST },
		{ "P0001", EINVAL },     { "54000", EFBIG },     { "54001", EFBIG },
		{ "0A000", EOPNOTSUPP }, { "2BP01", ENOTEMPTY }, { "40001", EBUSY },
		{ "40003", EIO },        { "XX000", EIO },       { "", EIO },
	};
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_INT(db_errno_of_sqlstate(want[i].state), want[i].errnum);
}

static void test_error_set(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	CHECK_INT(db_error_set(&err, EIO, " two\nlines\tand  %d%% ", 5), -EIO);
	CHECK_STR(err.sentence, "two lines and 5%");
	CHECK_INT(db_error_set(&err, EINVAL, "again: %s", err.sentence), -EINVAL);
	CHECK_STR(err.sentence, "again: two lines and 5%");
}

static void test_quoting(void) {
	AUTO_BUF struct buf b = { 0 };
	db_quote_ident(&b, "we\"ird; DROP");
	db_quote_literal(&b, "it's \\ \"x\"");
	CHECK_STR(b.data, "\"we\"\"ird; DROP\"'it''s \\ \"x\"'");
}

static void test_params(struct db_pool *pool) {
	static struct db_statement echo = {
		.sql = "SELECT $1, $2 IS NULL, length($3), encode($4, 'hex'), "
		       "$5::numeric * 10, octet_length($6)"
	};
	static const char bytes[] = "\0\xff'\\";
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	const struct db_param params[] = {
		db_text("Робот '; DROP"),
		db_text(NULL),
		{ .data = "abcdef", .len = 3 },
		{ .data = bytes, .len = 4, .oid = DB_BYTEA },
		db_text("12345678901234567890.00000001"),
		{ .data = "", .len = 0, .oid = DB_BYTEA },
	};
	CHECK_INT(db_query(pool, &echo, params, 6, DB_REPEATABLE, NULL, &res, &err), 0);
	CHECK_STR(PQgetvalue(res, 0, 0), "Робот '; DROP");
	CHECK_STR(PQgetvalue(res, 0, 1), "t");
	CHECK_STR(PQgetvalue(res, 0, 2), "3");
	CHECK_STR(PQgetvalue(res, 0, 3), "00ff275c");
	CHECK_STR(PQgetvalue(res, 0, 4), "123456789012345678900.00000010");
	CHECK_STR(PQgetvalue(res, 0, 5), "0");
}

static void test_many_params(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	AUTO_BUF struct buf sql = { 0 };
	struct db_param params[100];
	buf_puts(&sql, "SELECT concat(");
	for (int i = 0; i < 100; i++) {
		buf_printf(&sql, "%s$%d::text", i > 0 ? "," : "", i + 1);
		params[i] = db_text("x");
	}
	buf_puts(&sql, ")");
	CHECK_INT(db_query_text(pool, sql.data, params, 100, 0, NULL, &res, &err), 0);
	CHECK_INT(PQgetlength(res, 0, 0), 100);
}

/* More than a socket's buffer takes, both ways. */
static void test_large_values(struct db_pool *pool) {
	static struct db_statement st = { .sql = "SELECT $1 || $1" };
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	AUTO_BUF struct buf big = { 0 };
	buf_resize(&big, 16 << 20);
	memset(big.data, 'x', big.len);
	const struct db_param p = { .data = big.data, .len = big.len };
	CHECK_INT(db_query(pool, &st, &p, 1, DB_REPEATABLE, NULL, &res, &err), 0);
	CHECK_INT(PQgetlength(res, 0, 0), 32 << 20);
}

static void test_binary_results(struct db_pool *pool) {
	static struct db_statement st = { .sql = "SELECT '\\x00ff00'::bytea" };
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	CHECK_INT(db_query(pool, &st, NULL, 0, DB_REPEATABLE | DB_BINARY, NULL, &res, &err), 0);
	CHECK_INT(PQgetlength(res, 0, 0), 3);
	CHECK(memcmp(PQgetvalue(res, 0, 0), "\0\xff\0", 3) == 0);
}

static long prepared_count(struct db_pool *pool) {
	return kit_number(pool, "SELECT count(*) FROM pg_prepared_statements");
}

/* One connection, so that it is known what it has. */
static void test_prepared_once(void) {
	static struct db_statement st = { .sql = "SELECT * FROM prep" };
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_config cfg = kit_config();
	cfg.max_connections = 1;
	struct db_pool *pool = kit_pool(&cfg);
	kit_run(pool, "CREATE TABLE prep AS SELECT 1 AS a");
	CHECK_INT(prepared_count(pool), 0);
	for (int i = 0; i < 3; i++)
		CHECK_INT(db_query(pool, &st, NULL, 0, 0, NULL, NULL, &err), 0);
	CHECK_INT(prepared_count(pool), 1);

	/* A pooler that gave the session away. */
	kit_run(pool, "DEALLOCATE ALL");
	CHECK_INT(db_query(pool, &st, NULL, 0, 0, NULL, NULL, &err), 0);
	CHECK_INT(prepared_count(pool), 1);

	/* A result of another shape: "cached plan must not change result type". */
	kit_run(pool, "ALTER TABLE prep ADD b text DEFAULT 'new'");
	AUTO_RESULT PGresult *res = NULL;
	CHECK_INT(db_query(pool, &st, NULL, 0, 0, NULL, &res, &err), 0);
	CHECK_INT(PQnfields(res), 2);
	CHECK(err.errnum == 0 && err.sentence == NULL);

	/* A session that has it already, by the same name. */
	AUTO_FREE char *name = kit_value(pool, "SELECT name FROM pg_prepared_statements");
	CHECK(name != NULL && name[0] == 's');
	db_pool_free(pool);
	pool = kit_pool(&cfg);
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(&sql, "PREPARE %s AS SELECT * FROM prep", name);
	kit_run(pool, sql.data);
	CHECK_INT(db_query(pool, &st, NULL, 0, 0, NULL, NULL, &err), 0);
	db_pool_free(pool);

	cfg.prepared_statements = false;
	pool = kit_pool(&cfg);
	CHECK_INT(db_query(pool, &st, NULL, 0, 0, NULL, NULL, &err), 0);
	CHECK_INT(prepared_count(pool), 0);
	kit_run(pool, "DROP TABLE prep");
	db_pool_free(pool);
}

static void test_settings(void) {
	struct db_config cfg = kit_config();
	cfg.search_path = "My Schema";
	cfg.isolation_level = "repeatable read";
	cfg.min_connections = 3;
	struct db_pool *pool = kit_pool(&cfg);
	struct db_stats stats;
	db_pool_stats(pool, &stats);
	CHECK_INT(stats.open, 3);
	CHECK_INT(stats.idle, 3);
	CHECK_VALUE(pool, "SHOW client_encoding", "UTF8");
	CHECK_VALUE(pool, "SHOW TimeZone", "UTC");
	CHECK_VALUE(pool, "SHOW DateStyle", "ISO, YMD");
	CHECK_VALUE(pool, "SHOW IntervalStyle", "postgres");
	CHECK_VALUE(pool, "SHOW extra_float_digits", "1");
	CHECK_VALUE(pool, "SHOW bytea_output", "hex");
	CHECK_VALUE(pool, "SHOW jit", "off");
	CHECK_VALUE(pool, "SHOW statement_timeout", "20s");
	CHECK_VALUE(pool, "SHOW idle_in_transaction_session_timeout", "30s");
	CHECK_VALUE(pool, "SHOW transaction_isolation", "repeatable read");
	CHECK_VALUE(pool, "SHOW application_name", "rowfs");
	CHECK_VALUE(pool, "SHOW search_path", "\"My Schema\", \"$user\", public");
	CHECK(db_pool_server_version(pool) >= 140000);
	CHECK(db_pool_healthy(pool, NULL, 0));
	db_pool_free(pool);
}

static void test_stats(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_stats stats;
	db_pool_reset_stats(pool);
	kit_run(pool, "SELECT pg_sleep(0.02)");
	CHECK_INT(kit_fails(pool, "SELECT 1/0", &err), -EINVAL);
	db_pool_stats(pool, &stats);
	CHECK_INT(stats.queries, 2);
	CHECK_INT(stats.query_errors, 1);
	CHECK(stats.query_us >= 20000);
	CHECK_INT(stats.retries, 0);
}

static void test_errors(struct db_pool *pool) {
	static const struct {
		const char *sql;
		int errnum;
		const char *state, *sentence;
	} cases[] = {
		{ "INSERT INTO e (id) VALUES (1)", EEXIST, "23505",
		  "duplicate key value violates unique constraint \"e_pkey\". Key (id)=(1) already "
		  "exists." },
		{ "INSERT INTO e (id, up) VALUES (2, 9)", ENOENT, "23503",
		  "is not present in table" },
		{ "INSERT INTO e (id, n) VALUES (2, -1)", EINVAL, "23514", "\"e_n_check\"" },
		{ "INSERT INTO e (id) VALUES (NULL)", EINVAL, "23502",
		  "null value in column \"id\"" },
		{ "INSERT INTO e (id, v) VALUES (2, 'toolong')", EFBIG, "22001", "too long" },
		{ "INSERT INTO e (id, n) VALUES (2, 1000)", EINVAL, "22003", "overflow" },
		{ "SELECT 'x'::uuid", EINVAL, "22P02", "uuid" },
		{ "SELECT '{\"a\":\n 1,,}'::jsonb", EINVAL, "22P02", "JSON data, line 2: 1,," },
		{ "SELECT '\"\\u0000\"'::jsonb", EINVAL, "22P05", "Unicode" },
		{ "SELECT 'nodate'::date", EINVAL, "22007", "date" },
		{ "SELECT '2024-02-31'::date", EINVAL, "22008", "out of range" },
		{ "SELECT * FROM nowhere", EIO, "42P01", "has changed since it was mounted" },
		{ "SELECT nothing FROM e", EIO, "42703", "nothing" },
		{ "DO $$ BEGIN RAISE 'no, \n because' USING HINT = 'do not'; END $$", EINVAL,
		  "P0001", "no, because. Hint: do not" },
		{ "DO $$ BEGIN SET LOCAL transaction_read_only = on; DELETE FROM e; END $$", EROFS,
		  "25006", "read-only" },
		{ "SET LOCAL lock_timeout = 1; SELECT 1", EIO, "42601", "multiple commands" },
		{ "COPY e TO STDOUT", EIO, "", "COPY" },
	};
	AUTO_DB_ERROR struct db_error err = { 0 };

	kit_run(pool, "CREATE TABLE e (id int PRIMARY KEY, up int REFERENCES e, "
		      "n numeric(3,1) CHECK (n > 0), v varchar(3))");
	kit_run(pool, "INSERT INTO e VALUES (1)");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_INT(kit_fails(pool, cases[i].sql, &err), -cases[i].errnum);
		CHECK_INT(err.errnum, cases[i].errnum);
		CHECK_STR(err.sqlstate, cases[i].state);
		CHECK_HAS(err.sentence, cases[i].sentence);
		CHECK(err.sentence != NULL && strchr(err.sentence, '\n') == NULL);
		CHECK(!err.in_doubt);
	}
	kit_fails(pool, "INSERT INTO e (id) VALUES (1)", &err);
	CHECK_STR(err.constraint, "e_pkey");
}

/* A program's bytes reach the server as they are, and it refuses them. */
static void test_bad_text(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	const struct db_param nul = { .data = "a\0b", .len = 3 };
	const struct db_param latin = { .data = "\xe9t\xe9", .len = 3 };
	CHECK_INT(db_query_text(pool, "SELECT $1", &nul, 1, 0, NULL, NULL, &err), -EINVAL);
	CHECK_STR(err.sqlstate, "22021");
	CHECK_INT(db_query_text(pool, "SELECT $1", &latin, 1, 0, NULL, NULL, &err), -EINVAL);
	CHECK_STR(err.sqlstate, "22021");
}

static void test_no_privilege(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf conninfo = { 0 };
	struct db_config cfg = kit_config();
	kit_run(pool, "CREATE ROLE nobody_here LOGIN");
	buf_printf(&conninfo, "%s user=nobody_here", cfg.conninfo);
	cfg.conninfo = conninfo.data;
	struct db_pool *weak = kit_pool(&cfg);
	CHECK_INT(kit_fails(weak, "SELECT * FROM e", &err), -EACCES);
	CHECK_STR(err.sqlstate, "42501");
	db_pool_free(weak);
}

/* Inserts two rows; ARG is how it goes wrong, or NULL. */
static int insert_two(struct db_conn *conn, void *arg, struct db_error *err) {
	const char *how = arg;
	int rc = db_query_on(conn, "INSERT INTO tx VALUES (1)", NULL, 0, NULL, err);
	if (rc < 0)
		return rc;
	if (how != NULL && strcmp(how, "own") == 0)
		return db_error_set(err, EFBIG, "I do not like it");
	if (how != NULL && strcmp(how, "ignored") == 0)
		return db_query_on(conn, "SELECT 1/0", NULL, 0, NULL, err) < 0 ? 0 : -EIO;
	if (how != NULL && strcmp(how, "silent") == 0)
		return -ENOENT;
	const struct db_param p = db_text(how != NULL ? how : "2");
	return db_query_on(conn, "INSERT INTO tx VALUES ($1::int)", &p, 1, NULL, err);
}

static int transact(struct db_pool *pool, const char *how, struct db_error *err) {
	return db_transaction(pool, insert_two, (void *)how, 0, NULL, err);
}

static uint64_t connects_of(struct db_pool *pool) {
	struct db_stats stats;
	db_pool_stats(pool, &stats);
	return stats.connects;
}

static void test_transactions(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	uint64_t connects = connects_of(pool);
	kit_run(pool, "CREATE TABLE tx (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)");
	CHECK_INT(transact(pool, "own", &err), -EFBIG);
	CHECK_STR(err.sentence, "I do not like it");
	CHECK_INT(transact(pool, "abc", &err), -EINVAL);
	CHECK_STR(err.sqlstate, "22P02");
	CHECK_INT(transact(pool, "ignored", &err), -EIO);
	CHECK_HAS(err.sentence, "rolled back");
	CHECK_INT(transact(pool, "silent", &err), -ENOENT);
	CHECK(err.sentence != NULL);
	CHECK_INT(transact(pool, "1", &err), -EEXIST); /* told by COMMIT */
	CHECK_VALUE(pool, "SELECT count(*) FROM tx", "0");
	CHECK_INT(transact(pool, NULL, &err), 0);
	CHECK(err.sentence == NULL);
	CHECK_VALUE(pool, "SELECT count(*) FROM tx", "2");
	/* And outside of a transaction: the error comes after the statement's own success. */
	CHECK_INT(kit_fails(pool, "INSERT INTO tx VALUES (1)", &err), -EEXIST);
	CHECK_VALUE(pool, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'", "0");
	CHECK_INT(connects_of(pool), connects); /* a rolled back connection is used on */
}

/* A part of a transaction; ARG is its statement, "own" for a failure that no server told. */
static int part(struct db_conn *conn, void *arg, struct db_error *err) {
	int rc = db_query_on(conn, "INSERT INTO parts VALUES (10)", NULL, 0, NULL, err);
	if (rc == 0 && strcmp(arg, "own") == 0)
		return db_error_set(err, EFBIG, "I do not like it");
	return rc == 0 ? db_query_on(conn, arg, NULL, 0, NULL, err) : rc;
}

/* Parts that are refused leave nothing, and do not end what they are part of. ARG is the last
 * part. */
static int in_parts(struct db_conn *conn, void *arg, struct db_error *err) {
	int rc = db_query_on(conn, "INSERT INTO parts VALUES (1)", NULL, 0, NULL, err);
	if (rc < 0)
		return rc;
	CHECK_INT(db_part_on(conn, part, (void *)"INSERT INTO parts VALUES (1)", err), -EEXIST);
	CHECK_STR(err->sqlstate, "23505");
	CHECK_INT(db_part_on(conn, part, (void *)"SELECT 1/0", err), -EINVAL);
	db_error_clear(err);
	rc = db_part_on(conn, part, (void *)"INSERT INTO parts VALUES (2)", err);
	if (rc == 0 && arg != NULL)
		rc = db_part_on(conn, part, arg, err);
	return rc;
}

static void test_parts(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	kit_run(pool, "CREATE TABLE parts (a int)");
	kit_run(pool, "CREATE UNIQUE INDEX parts_small ON parts (a) WHERE a < 10");
	CHECK_INT(db_transaction(pool, in_parts, NULL, 0, NULL, &err), 0);
	CHECK_VALUE(pool, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM parts", "1 2 10");
	kit_run(pool, "TRUNCATE parts");
	CHECK_INT(db_transaction(pool, in_parts, (void *)"own", 0, NULL, &err), -EFBIG);
	CHECK_STR(err.sentence, "I do not like it");
	CHECK_VALUE(pool, "SELECT count(*) FROM parts", "0");
	/* The connection is gone: the part says so, and all of it is done again, until there is no
	 * more patience. */
	CHECK(db_transaction(pool, in_parts,
			     (void *)"SELECT pg_terminate_backend(pg_backend_pid())", DB_NO_RETRY,
			     NULL, &err) < 0);
	CHECK_VALUE(pool, "SELECT count(*) FROM parts", "0");
}

/* A constraint that waits for COMMIT says at once what it does not like. */
static int check_early(struct db_conn *conn, void *arg, struct db_error *err) {
	if (arg != NULL && db_check_constraints_on(conn, err) < 0)
		return -EIO;
	int rc = db_query_on(conn, "INSERT INTO early VALUES (1), (1)", NULL, 0, NULL, err);
	CHECK_INT(rc, arg != NULL ? -EEXIST : 0);
	return rc;
}

static void test_constraints_now(struct db_pool *pool) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	kit_run(pool, "CREATE TABLE early (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
	CHECK_INT(db_transaction(pool, check_early, NULL, 0, NULL, &err), -EEXIST);
	CHECK_INT(db_transaction(pool, check_early, (void *)"early", 0, NULL, &err), -EEXIST);
	CHECK_VALUE(pool, "SELECT count(*) FROM early", "0");
}

struct bump {
	struct db_pool *pool;
	const char *first, *second;
	int rc, calls;
};

static int bump_two(struct db_conn *conn, void *arg, struct db_error *err) {
	struct bump *b = arg;
	b->calls++;
	int rc = db_query_on(conn, b->first, NULL, 0, NULL, err);
	if (rc == 0)
		rc = db_query_on(conn, b->second, NULL, 0, NULL, err);
	/* Words of its own do not hide the deadlock. */
	return rc < 0 ? db_error_set(err, EIO, "not bumped: %s", err->sentence) : 0;
}

static void *bump_main(void *arg) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct bump *b = arg;
	for (int i = 0; i < 20 && b->rc == 0; i++)
		b->rc = db_transaction(b->pool, bump_two, b, 0, NULL, &err);
	return NULL;
}

/* Two threads take two locks in opposite order: a deadlock ends one, which is repeated. */
static void test_deadlocks_are_repeated(struct db_pool *pool) {
	static const char *const up_1 = "UPDATE dl SET n = n + 1 WHERE id = 1";
	static const char *const up_2 = "UPDATE dl SET n = n + 1 WHERE id = 2";
	struct bump bumps[2] = { { .pool = pool, .first = up_1, .second = up_2 },
				 { .pool = pool, .first = up_2, .second = up_1 } };
	pthread_t threads[2];
	kit_run(pool, "CREATE TABLE dl AS SELECT id, 0 AS n FROM generate_series(1, 2) id");
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, bump_main, &bumps[i]);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		CHECK_INT(bumps[i].rc, 0);
	}
	CHECK_VALUE(pool, "SELECT string_agg(n::text, ',') FROM dl", "40,40");
	printf("deadlocks: %d tries of 40 transactions\n", bumps[0].calls + bumps[1].calls);
}

/* -- news -------------------------------------------------------------------------------------- */

#define SAY(text) "DO $$BEGIN RAISE INFO USING MESSAGE = '" text "', ERRCODE = 'RF001'; END$$"

/* Takes the news of ERR, which are to be TEXTS, each with a comma behind it. */
static void check_news(struct db_error *err, const char *texts, bool unknown, int line) {
	struct db_news news = db_news_take(err);
	for (size_t i = 0; i < news.texts.len; i++)
		if (news.texts.data[i] == '\0')
			news.texts.data[i] = ',';
	const char *got = news.texts.data != NULL ? news.texts.data : "";
	if (strcmp(got, texts) != 0 || news.unknown != unknown)
		fprintf(stderr, "line %d: \"%s\", %d\n", line, got, news.unknown);
	CHECK(strcmp(got, texts) == 0 && news.unknown == unknown && !db_error_has_news(err));
	buf_free(&news.texts);
}

static int say_two(struct db_conn *conn, void *arg, struct db_error *err) {
	int rc = db_query_on(conn, SAY("b"), NULL, 0, NULL, err);
	/* they come with the transaction's end: there is the "a" of the call before */
	CHECK(err->news.texts.len == 2);
	return rc == 0 ? db_query_on(conn, SAY("c"), NULL, 0, NULL, err) : rc;
}

static int lose(struct db_conn *conn, void *arg, struct db_error *err) {
	return db_query_on(conn, "SELECT pg_terminate_backend(pg_backend_pid())", NULL, 0, NULL,
			   err);
}

static void test_news(void) {
	static struct db_statement d = { .sql = SAY("d") }, e = { .sql = SAY("e") };
	struct db_pool *pool = pool_of(2, 1);
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_held *held = NULL;
	/* a session without a mark has none */
	CHECK(db_query_text(pool, SAY("x"), NULL, 0, 0, NULL, NULL, &err) == 0);
	check_news(&err, "", false, __LINE__);
	CHECK(db_pool_mark(pool, "m", "SELECT 1") == 0);
	CHECK(db_query_text(pool, SAY("a"), NULL, 0, 0, NULL, NULL, &err) == 0);
	CHECK(db_transaction(pool, say_two, NULL, 0, NULL, &err) == 0);
	/* of both calls, whatever became of an error between them */
	db_error_clear(&err);
	check_news(&err, "a,b,c,", false, __LINE__);
	/* of an open transaction twice: early, and when it is committed */
	CHECK(db_held_begin(pool, &d, NULL, 0, 0, NULL, &held, &err) == 0);
	check_news(&err, "d,", false, __LINE__);
	CHECK(db_held_run(held, &e, NULL, 0, 0, NULL, &err) == 0);
	check_news(&err, "e,", false, __LINE__);
	CHECK(db_held_commit(held, &err) == 0);
	check_news(&err, "d,e,", false, __LINE__);
	CHECK(db_held_begin(pool, &d, NULL, 0, 0, NULL, &held, &err) == 0);
	check_news(&err, "d,", false, __LINE__);
	db_held_drop(held);
	/* nothing of it was committed; what is in doubt, test_db_faults.c has */
	CHECK(db_transaction(pool, lose, NULL, 0, NULL, &err) != 0);
	check_news(&err, "", false, __LINE__);
	db_pool_free(pool);
}

int main(void) {
	if (getenv("ROWFS_TEST_CONNINFO") == NULL) {
		puts("skipped: run it through tests/unit/run-with-postgres");
		return 77;
	}
	log_setup(LOG_LEVEL_ERROR, false);
	test_errno_table();
	test_error_set();
	test_quoting();
	struct db_pool *pool = kit_default_pool();
	test_params(pool);
	test_many_params(pool);
	test_large_values(pool);
	test_binary_results(pool);
	test_prepared_once();
	test_settings();
	test_stats(pool);
	test_errors(pool);
	test_bad_text(pool);
	test_no_privilege(pool);
	test_transactions(pool);
	test_parts(pool);
	test_constraints_now(pool);
	test_deadlocks_are_repeated(pool);
	test_news();
	db_pool_free(pool);
	return check_end();
}
