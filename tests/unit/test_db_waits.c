/* Cancels, time-outs, a full pool, shutdown, and what is said when no connection can be made at
 * all. */
#include "tests/unit/dbkit.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>

static struct db_pool *admin; /* sees and ends what the pools under test do */

static void test_cancel_running(void) {
	struct db_cancel cancel = DB_CANCEL_INIT;
	struct db_pool *pool = pool_of(1, 3);
	long pid = backend_of(pool);
	struct job j = { .pool = pool, .sql = "SELECT pg_sleep(20), 'c1'", .cancel = &cancel };
	job_start(&j);
	kit_wait_active(admin, "'c1'");
	int64_t start = clock_us();
	db_cancel_fire(&cancel);
	job_join(&j);
	CHECK(ms_since(start) < 100);
	CHECK_INT(j.rc, -EINTR);
	CHECK_HAS(j.err.sentence, "interrupted");
	CHECK(!j.err.in_doubt);
	/* It stays fired. */
	job_start(&j);
	job_join(&j);
	CHECK_INT(j.rc, -EINTR);
	CHECK(j.took_ms < 1000);
	/* The connection is the same, and the next statement on it is not hit. */
	CHECK_INT(backend_of(pool), pid);
	CHECK_INT(stats_of(pool).cancels, 1);
	db_error_clear(&j.err);
	db_pool_free(pool);
}

/* Many at once, fired at any moment: nobody else is hit, nothing hangs. */
static void test_cancel_at_any_moment(void) {
	struct db_pool *pool = pool_of(3, 3);
	for (int i = 0; i < 60; i++) {
		struct db_cancel cancel = DB_CANCEL_INIT;
		struct job mine = { .pool = pool,
				    .sql = "SELECT pg_sleep(0.003)",
				    .cancel = &cancel };
		struct job other = { .pool = pool, .sql = "SELECT 'well', pg_sleep(0.003)" };
		job_start(&mine);
		job_start(&other);
		usleep((useconds_t)(i * 100));
		db_cancel_fire(&cancel);
		job_join(&mine);
		job_join(&other);
		CHECK(mine.rc == 0 || mine.rc == -EINTR);
		CHECK_STR(other.value, "well");
		db_error_clear(&mine.err);
		db_error_clear(&other.err);
	}
	db_pool_free(pool);
}

/* An administrator's pg_cancel_backend, or a pooler's late cancel: repeated once, then told. */
static void test_stray_cancel(void) {
	struct db_pool *pool = pool_of(1, 0);
	struct job j = { .pool = pool, .sql = "SELECT pg_sleep(0.3), 'stray'" };
	for (int strays = 1; strays <= 2; strays++) {
		job_start(&j);
		for (int i = 0; i < strays; i++) {
			AUTO_BUF struct buf sql = { 0 };
			uint64_t before = stats_of(pool).queries;
			buf_printf(&sql, "SELECT pg_cancel_backend(%ld)",
				   kit_wait_active(admin, "'stray'"));
			kit_run(admin, sql.data);
			WAIT_UNTIL(stats_of(pool).queries > before);
		}
		job_join(&j);
		CHECK_INT(j.rc, strays == 1 ? 0 : -EIO);
		db_error_clear(&j.err);
	}
	db_pool_free(pool);
}

static void test_command_timeout(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_config cfg = kit_config();
	cfg.command_timeout_ms = 300;
	cfg.max_connections = 1;
	struct db_pool *pool = kit_pool(&cfg);
	long pid = backend_of(pool);
	int64_t start = clock_us();
	CHECK_INT(kit_fails(pool, "SELECT pg_sleep(20)", &err), -ETIMEDOUT);
	CHECK(ms_since(start) >= 295 && ms_since(start) < 1500);
	CHECK_HAS(err.sentence, "command_timeout (0.3 s)");
	CHECK_STR(err.sqlstate, "57014");
	CHECK_INT(backend_of(pool), pid);
	CHECK_INT(stats_of(pool).timeouts, 1);
	db_pool_free(pool);
}

/* POOL's database is known to be gone, and an attempt takes long: four callers share each. */
static void check_one_attempt_at_a_time(struct db_pool *pool) {
	struct job jobs[4];
	int64_t fresh_until = clock_us() + 60 * US_PER_MS; /* retry_delay / 2, and more */
	WAIT_UNTIL(clock_us() > fresh_until);
	for (int i = 0; i < 4; i++) {
		jobs[i] = (struct job){ .pool = pool, .sql = "SELECT 1" };
		job_start(&jobs[i]);
	}
	WAIT_UNTIL(stats_of(pool).waiting == 3);
	CHECK_INT(stats_of(pool).open, 1);
	for (int i = 0; i < 4; i++) {
		job_join(&jobs[i]);
		CHECK_INT(jobs[i].rc, -EIO);
		CHECK(jobs[i].took_ms < 2000);
		db_error_clear(&jobs[i].err);
	}
}

/* A server that does not answer at all, not even to a cancel. */
static void test_frozen_server(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_config cfg = kit_config();
	cfg.command_timeout_ms = 300;
	cfg.connect_timeout_s = 1;
	cfg.retry_attempts = 0;
	struct db_pool *pool = kit_pool(&cfg);
	kit_server("freeze");
	int64_t start = clock_us();
	CHECK_INT(kit_fails(pool, "SELECT 1", &err), -ETIMEDOUT);
	CHECK(err.in_doubt);
	CHECK(ms_since(start) >= 300 && ms_since(start) < 6000);
	CHECK_INT(stats_of(pool).open, 0);
	start = clock_us();
	CHECK_INT(kit_fails(pool, "SELECT 1", &err), -EIO);
	CHECK_HAS(err.sentence, "within 1 s");
	CHECK(!err.in_doubt);
	CHECK(ms_since(start) >= 1000 && ms_since(start) < 3000);
	check_one_attempt_at_a_time(pool);
	kit_server("thaw");
	WAIT_UNTIL(kit_fails(pool, "SELECT 1", &err) == 0);
	db_pool_free(pool);
}

static void *many_queries(void *arg) {
	for (int i = 0; i < 50; i++)
		if (kit_number(arg,
			       "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
			       "'bounded'") > 3)
			return arg;
	return NULL;
}

static void test_pool_is_bounded(void) {
	AUTO_BUF struct buf conninfo = { 0 };
	struct db_config cfg = kit_config();
	pthread_t threads[20];
	buf_printf(&conninfo, "%s application_name=bounded", cfg.conninfo);
	cfg.conninfo = conninfo.data;
	cfg.max_connections = 3;
	struct db_pool *pool = kit_pool(&cfg);
	for (int i = 0; i < 20; i++)
		pthread_create(&threads[i], NULL, many_queries, pool);
	for (int i = 0; i < 20; i++) {
		void *too_many;
		pthread_join(threads[i], &too_many);
		CHECK(too_many == NULL);
	}
	CHECK_INT(stats_of(pool).queries, 1000);
	CHECK_INT(stats_of(pool).open, 3);
	CHECK_INT(stats_of(pool).idle, 3);
	db_pool_free(pool);
}

struct holder {
	struct db_pool *pool;
	pthread_barrier_t held, go_on;
	pthread_t thread;
	int rc;
};

static int hold(struct db_conn *conn, void *arg, struct db_error *err) {
	struct holder *h = arg;
	pthread_barrier_wait(&h->held);
	pthread_barrier_wait(&h->go_on);
	return db_query_on(conn, "SELECT 1", NULL, 0, NULL, err);
}

static void *holder_main(void *arg) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct holder *h = arg;
	h->rc = db_transaction(h->pool, hold, h, 0, NULL, &err);
	return NULL;
}

/* Keeps one connection of the pool busy, until released. */
static void holder_start(struct holder *h) {
	pthread_barrier_init(&h->held, NULL, 2);
	pthread_barrier_init(&h->go_on, NULL, 2);
	pthread_create(&h->thread, NULL, holder_main, h);
	pthread_barrier_wait(&h->held);
}

static void holder_end(struct holder *h) {
	pthread_barrier_wait(&h->go_on);
	pthread_join(h->thread, NULL);
	pthread_barrier_destroy(&h->held);
	pthread_barrier_destroy(&h->go_on);
	CHECK_INT(h->rc, 0);
}

static void test_busy_pool(void) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_cancel cancel = DB_CANCEL_INIT;
	struct db_config cfg = kit_config();
	cfg.max_connections = 1;
	cfg.command_timeout_ms = 400;
	struct holder h = { .pool = kit_pool(&cfg) };
	struct job j = { .pool = h.pool, .sql = "SELECT 1", .cancel = &cancel };
	holder_start(&h);
	int64_t start = clock_us();
	CHECK_INT(kit_fails(h.pool, "SELECT 1", &err), -ETIMEDOUT);
	CHECK_HAS(err.sentence, "all 1 connections are busy: mount with more");
	CHECK(ms_since(start) >= 390 && ms_since(start) < 1500);
	job_start(&j);
	WAIT_UNTIL(stats_of(h.pool).waiting == 1);
	db_cancel_fire(&cancel);
	job_join(&j);
	CHECK_INT(j.rc, -EINTR);
	CHECK(j.took_ms < 390);
	db_error_clear(&j.err);
	holder_end(&h);
	CHECK_VALUE(h.pool, "SELECT 1", "1");
	db_pool_free(h.pool);
}

/* Cancel in the pauses between attempts to reach a server that is gone. */
static void test_pauses_can_be_ended(void) {
	struct db_cancel cancel = DB_CANCEL_INIT;
	struct db_config cfg = kit_config();
	cfg.retry_delay_ms = 20000;
	struct db_pool *pool = kit_pool(&cfg);
	struct job a = { .pool = pool, .sql = "SELECT 1", .cancel = &cancel };
	kit_server("stop");
	job_start(&a);
	WAIT_UNTIL(stats_of(pool).waiting == 1);
	db_cancel_fire(&cancel);
	job_join(&a);
	CHECK_INT(a.rc, -EINTR);
	CHECK(a.took_ms < 10000);
	db_error_clear(&a.err);
	db_pool_free(pool);
	kit_server("start");
}

static void check_refused(const char *conninfo, int errnum, const char *part) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = NULL;
	struct db_config cfg = kit_config();
	cfg.conninfo = conninfo;
	cfg.connect_timeout_s = 1;
	cfg.retry_delay_ms = 20000; /* no pause may happen */
	int64_t start = clock_us();
	CHECK_INT(db_pool_new(&cfg, &pool, &err), -errnum);
	CHECK_HAS(err.sentence, part);
	CHECK(err.sentence != NULL && strstr(err.sentence, "hunter2") == NULL);
	CHECK(err.sentence != NULL && strchr(err.sentence, '\n') == NULL);
	CHECK(ms_since(start) < 5000);
}

static void test_refused_at_start(void) {
	AUTO_BUF struct buf text = { 0 };
	const char *good = getenv("ROWFS_TEST_CONNINFO");

	check_refused("host=/nowhere password=hunter2", EIO, "No such file or directory");
	check_refused("postgresql://u:hunter2@[::1/db", EINVAL, "cannot be read");
	check_refused("host=x password hunter2", EINVAL, "cannot be read: missing");
	check_refused("hunter2=1 host=x", EINVAL, "cannot be read");
	buf_printf(&text, "%s user=who password=hunter2", good);
	check_refused(text.data, EACCES, "role \"who\" does not exist");
	buf_resize(&text, 0);
	buf_printf(&text, "%s dbname=hunter2 password=hunter2", good);
	check_refused(text.data, EIO, "database \"***\" does not exist");
	buf_resize(&text, 0);
	buf_printf(&text, "%s options='-c nothing=1'", good);
	check_refused(text.data, EIO, "nothing");

	struct db_config cfg = kit_config();
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool;
	cfg.isolation_level = "loose";
	CHECK_INT(db_pool_new(&cfg, &pool, &err), -EINVAL);
	CHECK_HAS(err.sentence, "default_transaction_isolation");
}

/* A host that takes connections and never says anything. */
static void test_silent_host(void) {
	AUTO_BUF struct buf text = { 0 };
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 8) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
	buf_printf(&text, "host=127.0.0.1 port=%d password=hunter2 dbname=x", ntohs(addr.sin_port));
	check_refused(text.data, EIO, "no answer from 127.0.0.1 within 1 s");
}

int main(void) {
	if (getenv("ROWFS_TEST_CONNINFO") == NULL || getenv("ROWFS_TEST_PGCTL") == NULL) {
		puts("skipped: run it through tests/unit/run-with-postgres");
		return 77;
	}
	log_setup(LOG_LEVEL_ERROR, false);
	admin = pool_of(3, 10);
	test_cancel_running();
	test_cancel_at_any_moment();
	test_stray_cancel();
	test_command_timeout();
	test_frozen_server();
	test_pool_is_bounded();
	test_busy_pool();
	test_pauses_can_be_ended();
	test_refused_at_start();
	test_silent_host();
	db_pool_free(admin);
	return check_end();
}
