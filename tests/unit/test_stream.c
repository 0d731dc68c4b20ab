/* Lines to rows without a mount: what comes of them, and that each becomes a row exactly once
 * though the connection is lost, at each message of the protocol in turn. */
#include "fs/stream/batch.h"
#include "fs/stream/once.h"
#include "tests/unit/cutkit.h"
#include "tests/unit/streamkit.h"

static struct db_pool *admin; /* straight to the server */

/* Few lines go by one statement, many by COPY, and very many ahead of the commit. */
static void test_lines_become_rows(void) {
	struct streamkit kit;
	int refused;
	streamkit_open(&kit, admin);
	struct source *source = streamkit_source(&kit, "/rows.csv");
	kit_run(admin, "TRUNCATE public.t");
	CHECK_INT(streamkit_put(source, 1, 3, 1), 0);
	CHECK_INT(source_commit(source, &refused), 0);
	CHECK_INT(streamkit_put(source, 4, 100, 1), 0);
	CHECK_INT(source_commit(source, &refused), 0);
	CHECK_INT(streamkit_put(source, 104, 1000, 200), 0);
	CHECK_INT(streamkit_put(source, 1104, 10, 1), 0);
	CHECK_INT(source_commit(source, &refused), 0);
	CHECK_INT(refused, 0);
	CHECK_VALUE(admin, "SELECT count(*) || ' ' || count(DISTINCT a) || ' ' || max(a) FROM t",
		    "1113 1113 1113");
	CHECK_VALUE(admin, "SELECT max(off) FROM rowfs.stream", "3");
	CHECK_INT(atomic_load(&kit.changes), 3);
	CHECK_INT((long long)atomic_load(&kit.count.rows_written), 1113);
	source_drop(source);
	streamkit_close(&kit);
}

/* A line that the server refuses costs only itself, and is told. */
static void test_refused_line(void) {
	struct streamkit kit;
	AUTO_BUF struct buf errors = { 0 };
	int refused;
	streamkit_open(&kit, admin);
	struct source *source = streamkit_source(&kit, "/bad.csv");
	kit_run(admin, "TRUNCATE public.t");
	CHECK_INT(streamkit_put(source, -1, 60, 1), 0); /* -1 and 0 are none */
	CHECK_INT(source_commit(source, &refused), 0);
	CHECK_INT(refused, -EINVAL);
	CHECK_VALUE(admin, "SELECT count(*) || ' ' || min(a) FROM t", "58 1");
	CHECK_INT((long long)atomic_load(&kit.count.lines_rejected), 2);
	report_errors(kit.engine.report, &errors);
	CHECK_HAS(errors.data, "/bad.csv");
	source_drop(source);
	streamkit_close(&kit);
}

/* -- cuts -------------------------------------------------------------------------------------- */

static struct db_pool *cut_pool(const struct cutter *c) {
	struct db_config cfg = kit_config();
	cfg.conninfo = c->conninfo;
	cfg.retry_attempts = 8;
	cfg.retry_delay_ms = 1;
	cfg.retry_backoff = 1.5;
	return kit_pool(&cfg);
}

/* Three ways of sending, one after the other. */
static void put_all_ways(struct streamkit *kit, int *lines) {
	static const struct { int n, room; } ways[] = { { 3, 1 }, { 50, 1 }, { 1000, 100 } };
	struct source *source = streamkit_source(kit, "/rows.csv");
	*lines = 0;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int refused = 0;
		CHECK_INT(streamkit_put(source, *lines + 1, ways[i].n, ways[i].room), 0);
		*lines += ways[i].n;
		CHECK_INT(streamkit_put(source, *lines + 1, 1, 1), 0);
		*lines += 1;
		CHECK_INT(source_commit(source, &refused), 0);
		CHECK_INT(refused, 0);
	}
	source_drop(source);
}

static void check_rows(int lines) {
	AUTO_BUF struct buf want = { 0 };
	buf_printf(&want, "%d %d %d", lines, lines, lines);
	CHECK_VALUE(admin, "SELECT count(*) || ' ' || count(DISTINCT a) || ' ' || max(a) FROM t",
		    want.data);
}

static void test_cut_at_each_message(void) {
	struct streamkit kit;
	struct cutter cutter;
	int lines;
	long cut_at = 1;
	cutter_open(&cutter);
	struct db_pool *pool = cut_pool(&cutter);
	streamkit_open(&kit, pool);
	do {
		kit_run(admin, "TRUNCATE public.t");
		cutter_arm(&cutter, cut_at, 0);
		put_all_ways(&kit, &lines);
		check_rows(lines);
		cut_at++;
	} while (atomic_load(&cutter.cuts) > 0);
	CHECK(cut_at > 20);
	printf("cut at each of %ld messages\n", cut_at - 2);
	streamkit_close(&kit);
	db_pool_free(pool);
	cutter_close(&cutter);
}

/* -- once_run() -------------------------------------------------------------------------------- */

static int add_row(struct db_conn *conn, void *arg, struct db_error *err) {
	int *runs = arg;
	++*runs;
	return db_query_on(conn, "INSERT INTO t (a) VALUES (1)", NULL, 0, NULL, err);
}

static void test_once_cut_at_each_message(void) {
	struct streamkit kit;
	struct cutter cutter;
	long cut_at = 1;
	int most = 0;
	cutter_open(&cutter);
	struct db_pool *pool = cut_pool(&cutter);
	streamkit_open(&kit, pool);
	do {
		AUTO_DB_ERROR struct db_error err = { 0 };
		int runs = 0;
		kit_run(admin, "TRUNCATE public.t");
		cutter_arm(&cutter, cut_at++, 0);
		CHECK_INT(once_run(&kit.engine, 0, add_row, &runs, NULL, &err), 0);
		CHECK_VALUE(admin, "SELECT count(*) FROM t", "1");
		most = runs > most ? runs : most;
	} while (atomic_load(&cutter.cuts) > 0);
	CHECK_INT(most, 2);
	CHECK(cut_at > 8);
	streamkit_close(&kit);
	db_pool_free(pool);
	cutter_close(&cutter);
}

/* -- lines that do not go by COPY -------------------------------------------------------------- */

/* Sends lines LOW .. HIGH - 1 as one statement. */
static int insert_lines(struct db_conn *conn, struct batch_owner *owner, const struct batch *b,
			int low, int high, size_t at, struct db_error *err) {
	struct buf array = batch_array(b, low, high, at);
	const struct db_param param = { .data = array.data, .len = array.len, .oid = DB_TEXT };
	(void)owner;
	int rc = db_query_on(
		conn,
		"INSERT INTO t (a) SELECT a::integer FROM json_array_elements_text($1::json) AS a",
		&param, 1, NULL, err);
	batch_array_end(&array);
	return rc;
}

/* The numbers 1 to 40, and between them two that the table refuses. */
static void put_numbers(struct batch *b) {
	for (int i = 1; i <= 42; i++) {
		char text[16];
		snprintf(text, sizeof(text), "%d", i < 10 ? i : i == 10 || i == 42 ? -i : i - 1);
		const struct unit_line line = { .text = text,
						.len = (uint32_t)strlen(text),
						.number = (uint64_t)i };
		const struct unit unit = { .lines = &line, .n = 1, .lead = ',' };
		CHECK_INT(batch_put(b, NULL, &unit), 0);
	}
}

/* At once, and then around what is refused, under one operation: PLAIN or not. */
static void test_owner_cut_at_each_message(bool plain) {
	struct streamkit kit;
	struct cutter cutter;
	long cut_at = 1;
	cutter_open(&cutter);
	struct db_pool *pool = cut_pool(&cutter);
	streamkit_open(&kit, pool);
	do {
		AUTO_DB_ERROR struct db_error err = { 0 };
		struct once once;
		struct batch_owner owner = { .send = insert_lines, .plain = plain };
		struct batch_target to = { .engine = &kit.engine, .once = &once, .owner = &owner };
		struct batch *b = batch_new(1);
		put_numbers(b);
		kit_run(admin, "TRUNCATE public.t");
		cutter_arm(&cutter, cut_at++, 0);
		CHECK_INT(once_begin(&kit.engine, &once, &err), 0);
		if (!CHECK_INT(batch_commit(b, &to, &err), SENT))
			fprintf(stderr, "cut at message %ld: %s\n", cut_at - 1, err.sentence);
		CHECK_VALUE(admin, "SELECT count(*) || ' ' || min(a) || ' ' || max(a) FROM t",
			    "40 1 40");
		CHECK_INT(b->refused.n, 2);
		if (b->refused.n == 2) {
			CHECK_INT((long long)b->refused.all[0].number, 10);
			CHECK_INT((long long)b->refused.all[0].len, 3);
			CHECK(memcmp(b->refused.all[0].text, "-10", 3) == 0);
			CHECK_INT((long long)b->refused.all[1].number, 42);
		}
		batch_free(b);
	} while (atomic_load(&cutter.cuts) > 0);
	CHECK(cut_at > 20);
	streamkit_close(&kit);
	db_pool_free(pool);
	cutter_close(&cutter);
}

/* Another mount has ended the stream of this one: nothing is committed. */
static void test_once_fenced(void) {
	struct streamkit kit;
	AUTO_DB_ERROR struct db_error err = { 0 };
	int runs = 0;
	streamkit_open(&kit, admin);
	kit_run(admin, "TRUNCATE public.t");
	CHECK_INT(once_run(&kit.engine, 0, add_row, &runs, NULL, &err), 0);
	kit_run(admin, "DELETE FROM rowfs.stream");
	CHECK_INT(once_run(&kit.engine, 0, add_row, &runs, NULL, &err), -EIO);
	CHECK_HAS(err.sentence, "is gone from rowfs.stream");
	CHECK_INT(runs, 1);
	db_error_clear(&err);
	/* the next one takes another stream */
	CHECK_INT(once_run(&kit.engine, ONCE_ONE_SNAPSHOT, add_row, &runs, NULL, &err), 0);
	CHECK_VALUE(admin, "SELECT count(*) FROM t", "2");
	streamkit_close(&kit);
}

int main(void) {
	log_setup(LOG_LEVEL_ERROR, false);
	admin = kit_default_pool();
	streamkit_tables(admin);
	test_lines_become_rows();
	test_refused_line();
	test_cut_at_each_message();
	test_once_cut_at_each_message();
	test_once_fenced();
	test_owner_cut_at_each_message(true);
	test_owner_cut_at_each_message(false);
	db_pool_free(admin);
	return check_end();
}
