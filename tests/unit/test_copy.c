/* COPY both ways: many rows, bytes of any kind, refused lines. */
#include "tests/unit/copykit.h"

enum { MANY = 1000000 };

/* -- what goes well ---------------------------------------------------------------------------- */

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
	if (!copy_begin())
		return 77;
	test_while_all_is_well();
	db_pool_free(admin);
	return check_end();
}
