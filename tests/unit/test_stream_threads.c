/* The torture of the stream engine, without a mount: many writers, connections that are lost again
 * and again, some at COMMIT. At the end each line that a writer was told is committed is a row
 * once. */
#include "tests/unit/cutkit.h"
#include "tests/unit/streamkit.h"

enum { WRITERS = 8, COMMITS = 100, UNITS_MOST = 4, LINES_MOST = 60, ROUNDS = 4 };

static struct db_pool *admin; /* straight to the server */

struct line_writer {
	struct streamkit *kit;
	pthread_t thread;
	uint64_t random;
	int first, lines; /* its lines are FIRST .. FIRST + LINES - 1 */
};

static int below(struct line_writer *w, int n) {
	w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (int)((w->random >> 33) % (uint64_t)n);
}

static void *writer_main(void *arg) {
	struct line_writer *w = arg;
	struct source *source = streamkit_source(w->kit, "/rows.csv");
	for (int i = 0; i < COMMITS; i++) {
		int refused = 0;
		for (int units = 1 + below(w, UNITS_MOST); units > 0; units--) {
			int n = 1 + below(w, LINES_MOST), room = below(w, 4) == 0 ? 200 : 8;
			CHECK_INT(streamkit_put(source, w->first + w->lines, n, room), 0);
			w->lines += n;
		}
		CHECK_INT(source_commit(source, &refused), 0);
		CHECK_INT(refused, 0);
	}
	source_drop(source);
	return NULL;
}

static void check_lines(const struct line_writer *w) {
	AUTO_BUF struct buf sql = { 0 }, want = { 0 };
	buf_printf(&sql,
		   "SELECT count(*) || ' ' || count(DISTINCT a) || ' ' || max(a) FROM t "
		   "WHERE a BETWEEN %d AND %d",
		   w->first, w->first + 999999);
	buf_printf(&want, "%d %d %d", w->lines, w->lines, w->first + w->lines - 1);
	CHECK_VALUE(admin, sql.data, want.data);
}

/* Each STEP-th message of all connections is lost, with its connection. */
static void test_writers(struct cutter *cutter, struct db_pool *pool, long step) {
	struct streamkit kit;
	struct line_writer writers[WRITERS] = { 0 };
	kit_run(admin, "TRUNCATE public.t");
	streamkit_open(&kit, pool);
	cutter_arm(cutter, step, step);
	for (int i = 0; i < WRITERS; i++) {
		writers[i] = (struct line_writer){ .kit = &kit,
						   .random = (uint64_t)(step + i),
						   .first = 1 + i * 1000000 };
		if (pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]) != 0)
			exit(1);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	int cuts = atomic_load(&cutter->cuts);
	cutter_arm(cutter, 0, 0);
	for (int i = 0; i < WRITERS; i++)
		check_lines(&writers[i]);
	CHECK(cuts > 1);
	if (!CHECK_INT((long long)atomic_load(&kit.count.lines_rejected), 0)) {
		AUTO_BUF struct buf errors = { 0 };
		report_errors(kit.engine.report, &errors);
		fprintf(stderr, "%s", errors.data);
	}
	printf("%d connections lost, one at each %ldth message\n", cuts, step);
	streamkit_close(&kit);
}

int main(void) {
	static const long steps[ROUNDS] = { 131, 211, 307, 997 };
	struct cutter cutter;
	struct db_config cfg = kit_config();
	log_setup(LOG_LEVEL_ERROR, false);
	admin = kit_default_pool();
	streamkit_tables(admin);
	cutter_open(&cutter);
	cfg.conninfo = cutter.conninfo;
	cfg.retry_attempts = 30;
	cfg.retry_delay_ms = 1;
	cfg.retry_backoff = 1.2;
	struct db_pool *pool = kit_pool(&cfg);
	for (int i = 0; i < ROUNDS; i++)
		test_writers(&cutter, pool, steps[i]);
	db_pool_free(pool);
	cutter_close(&cutter);
	db_pool_free(admin);
	return check_end();
}
