/* What the tests of COPY share: streams that must begin, and an administrator of the server. */
#pragma once

#include "db/copy.h"
#include "tests/unit/dbkit.h"

static struct db_pool *admin; /* sees and ends what the pools under test do */

static const char csv_in[] = "COPY c (a, b) FROM STDIN (FORMAT csv)";

static inline void empty_table(void) {
	kit_run(admin, "TRUNCATE c");
}

static inline struct db_copy_in *begin_in(struct db_pool *pool, const char *sql) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_copy_in *copy = NULL;
	if (!CHECK_INT(db_copy_in_begin(pool, NULL, sql, &copy, &err), 0)) {
		fprintf(stderr, "%s: %s\n", sql, err.sentence);
		exit(1);
	}
	return copy;
}

static inline void put(struct db_copy_in *copy, const char *text) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	CHECK_INT(db_copy_in_put(copy, text, strlen(text), &err), 0);
}

static inline struct db_copy_out *begin_out(struct db_pool *pool, const char *sql) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_copy_out *copy = NULL;
	if (!CHECK_INT(db_copy_out_begin(pool, NULL, 0, sql, NULL, &copy, &err), 0)) {
		fprintf(stderr, "%s: %s\n", sql, err.sentence);
		exit(1);
	}
	return copy;
}

/* Begins a program: the server's tables, ADMIN, and no log. Returns false if there is no server. */
static inline bool copy_begin(void) {
	if (getenv("ROWFS_TEST_CONNINFO") == NULL) {
		puts("skipped: run it through tests/unit/run-with-postgres");
		return false;
	}
	log_setup(LOG_LEVEL_ERROR, false);
	admin = kit_default_pool();
	kit_run(admin, "CREATE TABLE c (a integer, b text)");
	kit_run(admin, "CREATE TABLE ledger (t text)");
	return true;
}
