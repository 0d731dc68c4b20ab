/* The predicate of freshness: each change against each thing that was found before and after it. */
#include "fs/inodes/fresh.h"

#include "fs/inodes/node_struct.h"
#include "schema/notice/notice.h"
#include "tests/unit/table.h"

#include <stdlib.h>

/* In place of schema/notice/notice.c, which reads them from a database: what is told of a place. */
static const struct place *untold, *vague;

bool notices_told(const struct notices *notices, const struct place *place) {
	(void)notices;
	return place != untold;
}

bool notices_exact(const struct notices *notices, const struct place *place) {
	return notices_told(notices, place) && place != vague;
}

static struct snapshot snapshot, replaced;
static struct tree tree = { .snapshot = &snapshot };

/* /dir/file, and the literal name `other` beside it. */
static struct place file_place = { .tree = &tree, .text = (char[]){ "file" } };
static struct place other_place = { .tree = &tree, .text = (char[]){ "other" } };
static struct place *files[] = { &file_place, &other_place };
static struct place dir_place = { .tree = &tree, .children = files, .nchildren = 2 };
static struct place root_place = { .tree = &tree };

static struct options opt = { .coherence = COHERENCE_NOTIFY, .ttl = 3600 };
static struct fs fs = { .opt = &opt };
static struct node root, dir, file;
static char no_name[] = "", dir_name[] = "dir", file_name[] = "file";

static struct node node_at(struct node *parent, const struct place *place, char *name) {
	return (struct node){
		.parent = parent, .place = place, .strings = name, .name = NAME_HELD
	};
}

/* All was found with ticket 5, and is told. */
static void begin(void) {
	free(fs.fresh);
	untold = vague = NULL;
	root_place.changed = dir_place.changed = file_place.changed = 0;
	fs.fresh = calloc(1, sizeof(*fs.fresh));
	if (fs.fresh == NULL)
		abort();
	fresh_tell(fs.fresh, &snapshot);
	atomic_store(&fs.fresh->listening, true);
	atomic_store(&fs.epoch, 5);
	atomic_store(&fs.changed, 1);
	root = node_at(NULL, &root_place, no_name);
	dir = node_at(&root, &dir_place, dir_name);
	file = node_at(&dir, &file_place, file_name);
	fresh_found(&fs, &dir, 5);
	fresh_found(&fs, &file, 5);
}

/* What is still good of what was found with TICKET. */
struct good {
	bool dir, file, name_file, name_other, listing;
};

static void check_good(unsigned long ticket, struct good want, int line) {
	struct good got = {
		.dir = fresh_is_good(fs.fresh, &dir, NULL, ticket),
		.file = fresh_is_good(fs.fresh, &file, NULL, ticket),
		.name_file = fresh_is_good(fs.fresh, &dir, "file", ticket),
		.name_other = fresh_is_good(fs.fresh, &dir, "other", ticket),
		.listing = fresh_is_good(fs.fresh, &dir, "", ticket),
	};
	if (memcmp(&got, &want, sizeof(got)) != 0)
		fprintf(stderr, "line %d: %d %d %d %d %d\n", line, got.dir, got.file, got.name_file,
			got.name_other, got.listing);
	CHECK(memcmp(&got, &want, sizeof(got)) == 0);
}

static const struct good all = { true, true, true, true, true }, none;

static void test_changes(void) {
	begin();
	check_good(5, all, __LINE__);
	check_good(0, none, __LINE__); /* ticket 0: never */

	fresh_change_all(fs.fresh, 6);
	check_good(5, none, __LINE__);
	check_good(6, all, __LINE__);

	begin();
	fresh_change_place(&file_place, 6);
	check_good(5, (struct good){ .dir = true, .name_other = true }, __LINE__);
	check_good(6, all, __LINE__);

	begin();
	fresh_change_place(&dir_place, 6); /* and so all below */
	check_good(5, none, __LINE__);
	check_good(6, all, __LINE__);

	begin();
	dir.below = 6; /* another directory has the name */
	check_good(5, none, __LINE__);
	check_good(6, all, __LINE__);

	begin();
	fresh_change_name(fs.fresh, &dir, "", 6);
	check_good(5, (struct good){ true, true, true, true, false }, __LINE__);
	check_good(6, all, __LINE__);

	begin();
	fresh_change_name(fs.fresh, &dir, "file", 6);
	fresh_change_name(fs.fresh, &dir, "file", 3); /* an older one, late */
	fresh_move(&file, FRESH_ON_CHANGE);           /* the mark does it: see nodes_mark() */
	check_good(5, (struct good){ true, false, false, true, true }, __LINE__);
	check_good(6, all, __LINE__);
}

static void test_not_told(void) {
	begin();
	atomic_store(&fs.fresh->listening, false);
	check_good(5, none, __LINE__);

	begin();
	fresh_tell(fs.fresh, NULL);
	check_good(5, none, __LINE__);

	begin();
	fresh_tell(fs.fresh, &replaced); /* another layout is served */
	CHECK(!fresh_is_told(fs.fresh, &file));
	check_good(5, none, __LINE__);

	begin();
	file.pending = true;
	CHECK(!fresh_is_told(fs.fresh, &file));
	check_good(5, (struct good){ true, false, true, true, true }, __LINE__);

	begin();
	fresh_move(&dir, FRESH_ON_REMOVE); /* its names are not there any more */
	check_good(5, (struct good){ .dir = true, .file = true }, __LINE__);

	begin();
	untold = &file_place;
	check_good(5, (struct good){ .dir = true, .name_other = true }, __LINE__);

	begin();
	vague = &file_place; /* told, but not by its name */
	check_good(5, (struct good){ .dir = true, .file = true, .name_other = true }, __LINE__);
}

/* A look-up's answer that a notice has overtaken is not kept. */
static void test_overtaken(void) {
	begin();
	fresh_change_name(fs.fresh, &dir, "file", 6);
	fresh_found(&fs, &file, 5);
	CHECK_INT((long long)file.epoch, 0);
	CHECK(!fresh_is_found(&fs, &file));
	fresh_found(&fs, &file, 6);
	CHECK(fresh_is_found(&fs, &file));
	fresh_lose(&file);
	CHECK(!fresh_is_found(&fs, &file));
	fresh_change_all(fs.fresh, 7);
	CHECK(fresh_is_found(&fs, &root)); /* nothing tells of the root, nor need it */
}

/* A notice finds the node that has the name: another one, such as an earlier version that somebody
 * has open, keeps its ticket, and is old all the same. */
static void test_no_name(void) {
	begin();
	file.name = NAME_NONE;
	CHECK(fresh_is_good(fs.fresh, &file, NULL, 5));
	fresh_change_name(fs.fresh, &dir, "file", 6);
	CHECK(!fresh_is_good(fs.fresh, &file, NULL, 5));
	CHECK(fresh_is_good(fs.fresh, &file, NULL, 6));
}

static void test_by_time(void) {
	begin();
	fresh_tell(fs.fresh, NULL);
	fresh_found(&fs, &file, 5);
	CHECK(fresh_is_found(&fs, &file));
	atomic_store(&fs.changed, 6); /* this mount has changed something */
	CHECK(!fresh_is_found(&fs, &file));
	fresh_found(&fs, &file, 6);
	CHECK(fresh_is_found(&fs, &file));
	opt.ttl = 0;
	fresh_found(&fs, &file, 6);
	CHECK(!fresh_is_found(&fs, &file));
	opt.ttl = 3600;
	opt.coherence = COHERENCE_NONE;
	fresh_found(&fs, &file, 6);
	CHECK(!fresh_is_found(&fs, &file));
	opt.coherence = COHERENCE_NOTIFY;
}

/* A shell is one until its row is back, and the node of an expelled file has no second life. */
static void test_states(void) {
	begin();
	fresh_move(&dir, FRESH_ON_REMOVE);
	fresh_found(&fs, &dir, 6);
	CHECK_INT(dir.fresh, FRESH_GONE);
	CHECK(!fresh_is_found(&fs, &dir));
	fresh_move(&dir, FRESH_ON_BACK);
	CHECK(!fresh_is_found(&fs, &dir));
	fresh_found(&fs, &dir, 6);
	CHECK(fresh_is_found(&fs, &dir));

	fresh_move(&file, FRESH_ON_NAME);
	CHECK_INT(file.fresh, FRESH_VANISHED);
	CHECK_INT((long long)file.epoch, 0);
	fresh_move(&file, FRESH_ON_CHANGE);
	CHECK_INT(file.fresh, FRESH_VANISHED);
	fresh_move(&file, FRESH_ON_GROW);
	CHECK_INT(file.fresh, FRESH_LOST);
	fresh_move(&file, FRESH_ON_EXPEL);
	fresh_found(&fs, &file, 6);
	CHECK_INT(file.fresh, FRESH_EXPELLED);
	CHECK_INT((long long)file.epoch, 6); /* those who have it open found it then */
	CHECK(!fresh_is_found(&fs, &file));
}

int main(void) {
	check_table(&fresh_table);
	test_states();
	test_changes();
	test_not_told();
	test_overtaken();
	test_no_name();
	test_by_time();
	free(fs.fresh);
	return check_end();
}
