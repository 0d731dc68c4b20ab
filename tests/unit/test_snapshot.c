/* Snapshots: one is freed with its last reference, and a new one can be published while threads use
 * the old one. */
#include "schema/snapshot/snapshot.h"
#include "tests/unit/check.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { READERS = 4, ROUNDS = 500 };

/* A snapshot of NDIRS directories with a plain file each. */
static struct snapshot *made(int ndirs, struct buf *mistakes) {
	AUTO_BUF struct buf text = { 0 };
	buf_puts(&text, "{ \"routes\": [");
	for (int i = 0; i < ndirs; i++)
		buf_printf(&text, "%s{ \"path\": \"/d%d/x\", \"file\": true }", i > 0 ? ", " : "",
			   i);
	buf_puts(&text, "] }");
	struct layout *layout = layout_parse(text.data, text.len, mistakes);
	return snapshot_new(buf_take(&text), layout, calloc(1, sizeof(struct catalog)), NULL,
			    mistakes);
}

static void test_references(void) {
	AUTO_BUF struct buf mistakes = { 0 };
	struct snapshots all;
	snapshots_init(&all);
	CHECK(snapshots_current(&all) == NULL);
	snapshots_publish(&all, made(2, &mistakes));
	struct snapshot *one = snapshots_current(&all);
	CHECK(one != NULL && one->tree->root->nchildren == 2);
	const struct place *place = one->tree->root->children[1];
	snapshot_hold_place(place);
	snapshots_publish(&all, made(3, &mistakes));
	snapshot_drop(one);
	/* the place keeps it: AddressSanitizer would tell */
	CHECK_STR(place->text, "d1");
	snapshot_drop_place(place);
	struct snapshot *two = snapshots_current(&all);
	CHECK(two->tree->root->nchildren == 3);
	snapshots_destroy(&all);
	CHECK_STR(two->tree->root->children[2]->text, "d2");
	snapshot_drop(two);
	CHECK(mistakes.len == 0);
}

static void test_mistakes(void) {
	AUTO_BUF struct buf mistakes = { 0 };
	CHECK(snapshot_new(strdup(""), NULL, NULL, NULL, &mistakes) == NULL && mistakes.len == 0);
	CHECK(made(0, &mistakes) == NULL && mistakes.len > 0);
}

struct shared {
	struct snapshots all;
	atomic_bool done;
	atomic_int seen;
};

/* Holds a place by the way of nodes, uses it, and gives it back. */
static void *reader(void *arg) {
	struct shared *shared = arg;
	while (!atomic_load(&shared->done)) {
		struct snapshot *s = snapshots_current(&shared->all);
		const struct place *dir = s->tree->root;
		snapshot_hold_place(dir);
		snapshot_drop(s);
		const struct place *found = place_literal(dir, "d0");
		CHECK(found != NULL && found->parent == dir && found->nchildren == 1);
		CHECK_STR(dir->children[dir->nchildren - 1]->children[0]->route->path +
				  strlen(dir->children[dir->nchildren - 1]->text) + 1,
			  "/x");
		atomic_fetch_add(&shared->seen, 1);
		snapshot_drop_place(dir);
	}
	return NULL;
}

static void test_threads(void) {
	AUTO_BUF struct buf mistakes = { 0 };
	struct shared shared = { 0 };
	pthread_t threads[READERS];
	snapshots_init(&shared.all);
	snapshots_publish(&shared.all, made(1, &mistakes));
	for (int i = 0; i < READERS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, reader, &shared), 0);
	for (int i = 0; i < ROUNDS; i++)
		snapshots_publish(&shared.all, made(1 + i % 7, &mistakes));
	/* each reader has at least one round behind it */
	while (atomic_load(&shared.seen) < READERS)
		sched_yield();
	atomic_store(&shared.done, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	snapshots_destroy(&shared.all);
	CHECK(mistakes.len == 0);
}

int main(void) {
	test_references();
	test_mistakes();
	test_threads();
	return check_end();
}
