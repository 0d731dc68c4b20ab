/* Identities and inode numbers: different, in order, and small enough. */
#include "fs/inodes/inode.h"

#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAMES = 200000, LITERALS = 5000, DIRECTORIES = 40, FEW = 8 };

static int compare(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* How many of the N VALUES, which are sorted, stand there before. */
static int repeated(uint64_t *values, int n) {
	int same = 0;
	qsort(values, (size_t)n, sizeof(*values), compare);
	for (int i = 1; i < n; i++)
		same += values[i] == values[i - 1];
	return same;
}

static bool fits(uint64_t number) {
	return number > INODE_ROOT && number < UINT64_C(1) << INODE_BITS;
}

/* Names that begin alike: the order tells them apart by nothing. */
static void test_many_names(void) {
	static uint64_t identities[NAMES], numbers[NAMES];
	char name[32];
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "user-%d.json", i);
		identities[i] = inode_of_name(INODE_ROOT + 1 + (uint64_t)i % 3, name);
		numbers[i] = inode_number(identities[i]);
		CHECK(fits(numbers[i]));
	}
	CHECK(repeated(identities, NAMES) == 0);
	CHECK(repeated(numbers, NAMES) < FEW); /* 0.3 are to be expected */
}

static void test_order(void) {
	static const char *const names[] = { "",  "-x",   "0000", "0001", "0010", "0999",
					     "1", "9999", "aaaa", "maaa", "zaaa", "\xc3\xa4" };
	uint64_t before = 0;
	for (int i = 0; i < (int)(sizeof(names) / sizeof(*names)); i++) {
		uint64_t number = inode_number(inode_of_name(77, names[i])) >> 36;
		CHECK(i < 2 || number > before);
		before = number;
	}
	for (int d = 0; d < DIRECTORIES; d++) {
		before = 0;
		for (int i = 0; i < LITERALS; i++) {
			uint64_t number = inode_number(inode_of_literal((uint64_t)d, i));
			CHECK(fits(number) && number > before);
			before = number;
		}
	}
}

/* What is of a path, a plain file and an ingest file is never the same. */
static void test_kinds(void) {
	static const uint64_t odd[] = { 0, 1, 2, 77, (UINT64_C(1) << 51) - 1, UINT64_MAX };
	uint64_t of_path = inode_of_name(1, "z"), numbers[3];
	for (int i = 0; i < (int)(sizeof(odd) / sizeof(*odd)); i++) {
		int64_t id = (int64_t)(odd[i] >> 14) + 1;
		numbers[0] = inode_number(of_path);
		numbers[1] = inode_number(inode_of_plain(odd[i]));
		numbers[2] = inode_number(inode_of_ingest(id));
		for (int k = 0; k < 3; k++)
			CHECK(fits(numbers[k]));
		CHECK(repeated(numbers, 3) == 0);
		CHECK(inode_ingest_id(inode_of_ingest(id)) == id);
		CHECK(inode_ingest_id(inode_of_plain(odd[i])) == 0);
	}
	CHECK(inode_ingest_id(of_path) == 0 && inode_ingest_id(INODE_ROOT) == 0);
	CHECK(inode_number(INODE_ROOT) == INODE_ROOT);
	CHECK(inode_of_name(1, "a") != inode_of_name(2, "a"));
}

int main(void) {
	test_many_names();
	test_order();
	test_kinds();
	return check_end();
}
