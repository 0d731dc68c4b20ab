/* Lost connections, restarts, crashes, a server that is gone. */
#include "db/run.h"
#include "tests/unit/dbkit.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct db_pool *admin; /* sees and ends what the pools under test do */

static void terminate(long pid) {
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(&sql, "SELECT pg_terminate_backend(%ld, 5000)", pid);
	CHECK_VALUE(admin, sql.data, "t");
}

/* kill -9 of a backend: the server ends all sessions at once and recovers. Waits until it has. */
static void crash(long pid) {
	long before = backend_of(admin);
	CHECK_INT(kill((pid_t)pid, SIGKILL), 0);
	WAIT_UNTIL(backend_of(admin) != before);
}

/* Even with no retries at all: the dead connection is noticed before anything is sent. */
static void test_terminated_while_idle(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	terminate(backend_of(pool));
	CHECK_INT(db_query_text(pool, "INSERT INTO t VALUES (1)", NULL, 0, 0, NULL, NULL, &err), 0);
	db_pool_free(pool);
}

/* The same where the server had no time for an ordered end. */
static void test_crashed_while_idle(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = pool_of(1, 0);
	kit_server("kill");
	kit_server("start");
	CHECK_INT(db_query_text(pool, "INSERT INTO t VALUES (6)", NULL, 0, 0, NULL, NULL, &err), 0);
	db_pool_free(pool);
}

/* The end comes between our look at the connection and the server's at the statement. */
static void test_terminated_as_it_is_sent(void) {
	struct db_pool *pool = pool_of(1, 0);
	long pid = backend_of(pool);
	struct job j = { .pool = pool, .sql = "INSERT INTO t VALUES (2) RETURNING 'done'" };
	CHECK_INT(kill((pid_t)pid, SIGSTOP), 0);
	job_start(&j);
	WAIT_UNTIL(stats_of(pool).idle == 0);
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(&sql, "SELECT pg_terminate_backend(%ld)", pid);
	kit_run(admin, sql.data);
	CHECK_INT(kill((pid_t)pid, SIGCONT), 0);
	job_join(&j);
	CHECK_INT(j.rc, 0);
	CHECK_STR(j.value, "done");
	CHECK_VALUE(admin, "SELECT count(*) FROM t WHERE a = 2", "1");
	db_error_clear(&j.err);
	db_pool_free(pool);
}

/* An ordered end of the session in the middle is not in doubt: rolled back, so sent again. */
static void test_terminated_while_active(void) {
	struct db_pool *pool = pool_of(2, 1);
	struct job j = {
		.pool = pool,
		.sql = "WITH i AS (INSERT INTO t VALUES (3)) SELECT pg_sleep(0.3) IS NULL"
	};
	job_start(&j);
	terminate(kit_wait_active(admin, "VALUES (3)"));
	job_join(&j);
	CHECK_INT(j.rc, 0);
	CHECK_STR(j.value, "f");
	CHECK_VALUE(admin, "SELECT count(*) FROM t WHERE a = 3", "1");
	CHECK(stats_of(pool).retries >= 1);
	CHECK(db_pool_healthy(pool, NULL, 0));
	db_error_clear(&j.err);
	db_pool_free(pool);
}

/* Nobody knows what became of a statement that the server did not answer. */
static void test_server_crash(void) {
	struct db_pool *pool = pool_of(4, 8);
	struct job doubt = {
		.pool = pool,
		.sql = "WITH i AS (INSERT INTO t VALUES (4)) SELECT pg_sleep(1), 'doubt'"
	};
	struct job safe = { .pool = pool,
			    .sql = "SELECT 'safe', pg_sleep(1)",
			    .flags = DB_REPEATABLE };
	job_start(&doubt);
	job_start(&safe);
	kit_wait_active(admin, "'safe'");
	crash(kit_wait_active(admin, "'doubt'"));
	job_join(&doubt);
	job_join(&safe);
	CHECK_INT(doubt.rc, -EIO);
	CHECK(doubt.err.in_doubt);
	CHECK_HAS(doubt.err.sentence, "connection to the database was lost");
	CHECK_INT(safe.rc, 0);
	CHECK_STR(safe.value, "safe");
	CHECK_VALUE(admin, "SELECT count(*) FROM t WHERE a = 4", "0");
	db_error_clear(&doubt.err);
	db_error_clear(&safe.err);
	db_pool_free(pool);
}

static void test_server_restart(void) {
	struct db_pool *pool = pool_of(5, 8);
	struct job jobs[5];
	for (int i = 0; i < 5; i++) {
		jobs[i] = (struct job){ .pool = pool, .sql = "SELECT 'back'" };
		job_start(&jobs[i]);
	}
	for (int i = 0; i < 5; i++)
		job_join(&jobs[i]);
	kit_server("stop");
	for (int i = 0; i < 5; i++)
		job_start(&jobs[i]);
	WAIT_UNTIL(stats_of(pool).waiting >= 4);
	char text[256] = "";
	CHECK(!db_pool_healthy(pool, text, sizeof(text)));
	CHECK_HAS(text, "cannot connect to the database");
	kit_server("start");
	for (int i = 0; i < 5; i++) {
		job_join(&jobs[i]);
		CHECK_INT(jobs[i].rc, 0);
		CHECK_STR(jobs[i].value, "back");
	}
	CHECK(db_pool_healthy(pool, text, sizeof(text)));
	db_pool_free(pool);
}

/* Every caller gets his own budget and the cached text, and few attempts are made for all of
 * them. */
static void test_budget_when_unreachable(void) {
	struct db_pool *pool = pool_of(10, 3);
	struct job jobs[8];
	kit_server("stop");
	db_pool_reset_stats(pool);
	for (int i = 0; i < 8; i++) {
		jobs[i] = (struct job){ .pool = pool, .sql = "SELECT 1" };
		job_start(&jobs[i]);
	}
	for (int i = 0; i < 8; i++) {
		job_join(&jobs[i]);
		CHECK_INT(jobs[i].rc, -EIO);
		CHECK(jobs[i].took_ms >= 450 &&
		      jobs[i].took_ms < 5000); /* 0.1 + 0.2 + 0.4 s, ± 20 % */
		CHECK_HAS(jobs[i].err.sentence, "No such file or directory");
		CHECK(!jobs[i].err.in_doubt);
		db_error_clear(&jobs[i].err);
	}
	CHECK(stats_of(pool).connects <= 8 + 3 * 4);
	struct job quick = { .pool = pool, .sql = "SELECT 1", .flags = DB_NO_RETRY };
	job_start(&quick);
	job_join(&quick);
	CHECK_INT(quick.rc, -EIO);
	CHECK(quick.took_ms < 450);
	db_error_clear(&quick.err);
	kit_server("start");
	CHECK_VALUE(pool, "SELECT 1", "1");
	CHECK_INT(stats_of(pool).open, 1);
	db_pool_free(pool);
}

/* What a server that shuts down says to a session that it has just made: all is well, and then, as
 * a notice, that it is not. */
static void *ending_server(void *arg) {
	static const char said[] = "R\0\0\0\x08\0\0\0\0"
				   "S\0\0\0\x18server_version\0"
				   "15.0\0"
				   "K\0\0\0\x0c\0\0\0\1\0\0\0\1"
				   "N\0\0\0\x21SFATAL\0VFATAL\0C57P01\0Mended\0\0"
				   "Z\0\0\0\x05I";
	int listener = *(int *)arg, fd;
	char startup[1024];
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (read(fd, startup, sizeof(startup)) > 0)
			CHECK_INT(send(fd, said, sizeof(said) - 1, MSG_NOSIGNAL), sizeof(said) - 1);
		close(fd);
	}
	return NULL;
}

static void test_a_session_that_is_ended_as_it_is_made(void) {
	char dir[] = "/tmp/rowfs-ended.XXXXXX", conninfo[64];
	struct sockaddr_un where = { .sun_family = AF_UNIX };
	struct db_config config = kit_config();
	struct db_pool *pool = NULL;
	AUTO_DB_ERROR struct db_error err = { 0 };
	pthread_t thread;
	CHECK(mkdtemp(dir) != NULL);
	snprintf(where.sun_path, sizeof(where.sun_path), "%s/.s.PGSQL.5432", dir);
	snprintf(conninfo, sizeof(conninfo), "host=%s user=x dbname=x", dir);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_INT(bind(listener, (struct sockaddr *)&where, sizeof(where)), 0);
	CHECK_INT(listen(listener, 8), 0);
	pthread_create(&thread, NULL, ending_server, &listener);
	config.conninfo = conninfo;
	config.retry_attempts = 0;
	CHECK_INT(db_pool_new(&config, &pool, &err), -EIO); /* it makes one */
	CHECK_HAS(err.sentence, "ended the new connection");
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
	unlink(where.sun_path);
	rmdir(dir);
}

/* Wrong user, password or database: no budget is spent on what waiting cannot mend. */
static void test_final_refusal_while_running(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf conninfo = { 0 };
	struct db_config cfg = kit_config();
	kit_run(admin, "CREATE ROLE passing LOGIN");
	buf_printf(&conninfo, "%s user=passing", cfg.conninfo);
	cfg.conninfo = conninfo.data;
	cfg.retry_delay_ms = 20000;
	struct db_pool *pool = kit_pool(&cfg);
	kit_run(admin, "ALTER ROLE passing NOLOGIN");
	terminate(backend_of(pool));
	for (int i = 0; i < 2; i++) {
		CHECK_INT(kit_fails(pool, "SELECT 1", &err), -EACCES);
		CHECK_HAS(err.sentence, "role \"passing\" is not permitted to log in");
		CHECK_STR(err.sqlstate, "28000");
	}
	db_pool_free(pool);
}

struct tx {
	int calls;
	void (*end)(long pid); /* ends its backend, in the first call */
};

static int tx_insert(struct db_conn *conn, void *arg, struct db_error *err) {
	struct tx *tx = arg;
	AUTO_RESULT PGresult *res = NULL;
	tx->calls++;
	int rc = db_query_on(conn, "INSERT INTO t VALUES (5) RETURNING pg_backend_pid()", NULL, 0,
			     &res, err);
	if (rc < 0)
		return rc;
	if (tx->calls == 1)
		tx->end(strtol(PQgetvalue(res, 0, 0), NULL, 10));
	return db_query_on(conn, "SELECT 1", NULL, 0, NULL, err);
}

static void test_transaction_lost_before_commit(void (*end)(long pid)) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct tx tx = { .end = end };
	struct db_pool *pool = pool_of(2, 8);
	kit_run(admin, "DELETE FROM t WHERE a = 5");
	CHECK_INT(db_transaction(pool, tx_insert, &tx, 0, NULL, &err), 0);
	CHECK_INT(tx.calls, 2);
	CHECK_VALUE(admin, "SELECT count(*) FROM t WHERE a = 5", "1");
	db_pool_free(pool);
}

/* libpq has read a session's end behind an answer, as a notice, and the next statement is under way
 * already: it is lost like any other. */
static int tx_asks_the_ended(struct db_conn *conn, void *arg, struct db_error *err) {
	int *calls = arg;
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_query_on(conn, "SELECT pg_backend_pid()", NULL, 0, &res, err);
	if (rc < 0 || ++*calls > 1)
		return rc;
	terminate(strtol(PQgetvalue(res, 0, 0), NULL, 10));
	conn_lose(conn);
	CHECK(conn_command(conn, "SELECT 1", err) != CONN_DONE);
	return -err->errnum;
}

static void test_a_statement_behind_the_end(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	int calls = 0;
	struct db_pool *pool = pool_of(2, 8);
	CHECK_INT(db_transaction(pool, tx_asks_the_ended, &calls, 0, NULL, &err), 0);
	CHECK_INT(calls, 2);
	db_pool_free(pool);
}

static int tx_slow_commit(struct db_conn *conn, void *arg, struct db_error *err) {
	int *calls = arg;
	++*calls;
	return db_query_on(conn, "INSERT INTO slow VALUES (1)", NULL, 0, NULL, err);
}

struct tx_job {
	struct db_pool *pool;
	unsigned flags;
	int calls, rc;
	struct db_error err;
};

static void *tx_job_main(void *arg) {
	struct tx_job *j = arg;
	j->rc = db_transaction(j->pool, tx_slow_commit, &j->calls, j->flags, NULL, &j->err);
	return NULL;
}

/* The server dies while COMMIT runs: only a caller who can find out may try again. */
static void test_transaction_lost_in_commit(unsigned flags) {
	pthread_t thread;
	struct tx_job j = { .pool = pool_of(2, 8), .flags = flags };
	CHECK(db_pool_mark(j.pool, "mount", "SELECT 1") == 0);
	pthread_create(&thread, NULL, tx_job_main, &j);
	crash(kit_wait_active(admin, "COMMIT"));
	pthread_join(thread, NULL);
	CHECK(j.err.news.unknown);
	if (flags & DB_REPEATABLE) {
		CHECK_INT(j.rc, 0);
		CHECK(j.calls >= 2); /* it may come back before the server has noticed its crash */
	} else {
		CHECK_INT(j.rc, -EIO);
		CHECK(j.err.in_doubt);
		CHECK_INT(j.calls, 1);
	}
	db_error_clear(&j.err);
	db_pool_free(j.pool);
}

static void test_transaction_timeout(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_config cfg = kit_config();
	cfg.transaction_timeout_ms = 300;
	struct db_pool *pool = kit_pool(&cfg);
	int calls = 0;
	int64_t start = clock_us();
	CHECK_INT(db_transaction(pool, tx_slow_commit, &calls, 0, NULL, &err), -ETIMEDOUT);
	CHECK(ms_since(start) >= 290 && ms_since(start) < 900);
	CHECK_HAS(err.sentence, "transaction_timeout");
	CHECK_INT(calls, 1);
	db_pool_free(pool);
}

int main(void) {
	if (getenv("ROWFS_TEST_CONNINFO") == NULL || getenv("ROWFS_TEST_PGCTL") == NULL) {
		puts("skipped: run it through tests/unit/run-with-postgres");
		return 77;
	}
	log_setup(LOG_LEVEL_ERROR, false);
	admin = pool_of(1, 10);
	kit_run(admin, "CREATE TABLE t (a int)");
	kit_run(admin, "CREATE TABLE slow (a int)");
	kit_run(admin, "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
		       "'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'");
	kit_run(admin, "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow INITIALLY DEFERRED "
		       "FOR EACH ROW EXECUTE FUNCTION slow()");
	test_terminated_while_idle();
	test_crashed_while_idle();
	test_terminated_as_it_is_sent();
	test_terminated_while_active();
	test_server_crash();
	test_server_restart();
	test_budget_when_unreachable();
	test_a_session_that_is_ended_as_it_is_made();
	test_final_refusal_while_running();
	test_transaction_lost_before_commit(terminate);
	test_a_statement_behind_the_end();
	test_transaction_lost_before_commit(crash);
	test_transaction_lost_in_commit(0);
	test_transaction_lost_in_commit(DB_REPEATABLE);
	test_transaction_timeout();
	db_pool_free(admin);
	return check_end();
}
