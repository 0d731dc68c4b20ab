/* Which opens are told ESTALE, and for how long readers are kept out of the kernel's pages. */
#include "fs/inodes/reopen.h"

#include "tests/unit/table.h"
#include "util/clock.h"

enum { TID = 77, OTHER = TID + REOPEN_THREADS, PATH = 5, SECOND = 6, INO = 9 };

static void test_threads(void) {
	static struct reopens all;
	CHECK(reopen_may_tell(&all, TID, PATH, 0));
	CHECK(!reopen_may_tell(&all, TID, PATH, 1));   /* the kernel opens for the second time */
	CHECK(!reopen_may_tell(&all, OTHER, PATH, 1)); /* its slot is taken */
	CHECK(reopen_may_tell(&all, TID, SECOND, 2));
	CHECK(!reopen_may_tell(&all, TID, SECOND, 3));
	reopen_over(&all, OTHER); /* nothing of it is there */
	CHECK(!reopen_may_tell(&all, TID, SECOND, 4));
	reopen_over(&all, TID);
	reopen_over(&all, TID);
	CHECK(reopen_may_tell(&all, TID, SECOND, 5));
	/* one that never came back is forgotten */
	CHECK(!reopen_may_tell(&all, OTHER, PATH, 4 + US_PER_S));
	CHECK(reopen_may_tell(&all, OTHER, PATH, 5 + US_PER_S));
	CHECK(!reopen_may_tell(&all, 0, PATH, 0));
	CHECK(reopen_may_tell(&all, -TID, PATH, 0)); /* see rows_pass() */
}

static void test_files(void) {
	static struct reopens all;
	CHECK(!reopen_is_wanted(&all, INO, 0));
	reopen_expel(&all, INO, 0);
	CHECK(reopen_is_wanted(&all, INO, 5 * US_PER_S - 1));
	CHECK(!reopen_is_wanted(&all, INO + REOPEN_FILES, 1));
	CHECK(!reopen_is_wanted(&all, INO + 1, 1));
	reopen_expel(&all, INO, US_PER_S); /* a second writer */
	CHECK(reopen_is_wanted(&all, INO, 6 * US_PER_S - 1));
	CHECK(!reopen_is_wanted(&all, INO, 6 * US_PER_S));
	reopen_expel(&all, INO, 7 * US_PER_S);
	reopen_expel(&all, INO + REOPEN_FILES, 7 * US_PER_S); /* the later one has the slot */
	CHECK(!reopen_is_wanted(&all, INO, 7 * US_PER_S));
	CHECK(reopen_is_wanted(&all, INO + REOPEN_FILES, 7 * US_PER_S));
}

int main(void) {
	check_table(&reopen_table);
	test_threads();
	test_files();
	return check_end();
}
