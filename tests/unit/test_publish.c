/* A mount whose tree is replaced again and again while names are looked up and files are open; and
 * what waits until requests have ended. */
#include "fs/cache/coherence.h"
#include "fs/core/handle.h"
#include "fs/core/intake.h"
#include "fs/core/kind.h"
#include "fs/core/part.h"
#include "fs/inodes/node.h"
#include "fs/open/handle.h"
#include "tests/unit/check.h"
#include "util/thread.h"

#include <sched.h>
#include <stdlib.h>

enum { WALKERS = 4, ROUNDS = 200, OPEN = 8, MOST_DIRS = 7 };

/* -- a mount without a database ---------------------------------------------------------------- */

static const struct kind plain = { .name = "plain" };

static const struct kind *of_place(const struct place *place) {
	(void)place;
	return &plain;
}

static const struct kind *of_node(const struct node *node) {
	(void)node;
	return &plain;
}

static const struct kind *const naming[] = { NULL };
static const struct kinds kinds = { .of_place = of_place, .of_node = of_node, .naming = naming };
static const struct options opt = { .coherence = COHERENCE_TTL, .ttl = 1, .cache = 1 };
static int left; /* nodes at the end of the last mount */
static struct fs fs = { .opt = &opt, .kinds = &kinds, .memory.most = 1 << 20, .epoch = 1 };

static bool is_quick(void *arg, const void *request, size_t size) {
	(void)arg;
	(void)size;
	return *(const char *)request != 0;
}

/* A snapshot of NDIRS directories with a plain file each. */
static struct snapshot *made(int ndirs) {
	AUTO_BUF struct buf text = { 0 }, mistakes = { 0 };
	buf_puts(&text, "{ \"routes\": [");
	for (int i = 0; i < ndirs; i++)
		buf_printf(&text, "%s{ \"path\": \"/d%d/x\", \"file\": true }", i > 0 ? ", " : "",
			   i);
	buf_puts(&text, "] }");
	struct layout *layout = layout_parse(text.data, text.len, &mistakes);
	struct snapshot *s = snapshot_new(buf_take(&text), layout,
					  calloc(1, sizeof(struct catalog)), NULL, &mistakes);
	if (s == NULL)
		abort();
	return s;
}

static void begin(void) {
	snapshots_init(&fs.snapshots);
	snapshots_publish(&fs.snapshots, made(1));
	CHECK(inodes_part.open(&fs));
	CHECK(coherence_part.open(&fs));
	fs.handles = handles_new();
	fs.intake = intake_new(WALKERS, is_quick, NULL);
	CHECK(fs.handles != NULL && fs.intake != NULL);
}

static void end(void) {
	handles_free(fs.handles);
	intake_free(fs.intake);
	coherence_part.close(&fs); /* what the kernel was to forget holds nodes */
	left = (int)nodes_count(fs.nodes);
	inodes_part.close(&fs);
	snapshots_destroy(&fs.snapshots);
}

/* This thread begins a request when FD is /dev/zero, and has ended the one before; /dev/null: it
 * only ends it. */
static void request(int fd) {
	char byte;
	(void)!intake_read(fs.intake, fd, &byte, 1);
}

/* -- look-ups and open files ------------------------------------------------------------------- */

/* NAME in DIR, with one more look-up of the kernel's, as a look-up finds it. */
static struct node *find(struct node *dir, const char *name) {
	bool fresh;
	struct node *known = node_get_fresh(fs.nodes, dir, name, true, &fresh);
	if (fresh)
		return known;
	node_put(fs.nodes, known);
	const struct place *place = place_literal(dir->place, name);
	const struct found found = {
		.type = NODE_PLACE,
		.place = place,
		.attr.mode = place->route != NULL ? S_IFREG | 0644 : S_IFDIR | 0755,
		.epoch = coherence_ticket(&fs),
	};
	struct node *node = node_found(fs.nodes, dir, name, &found, true);
	if (node == NULL)
		abort();
	return node;
}

/* H is what it was opened as, whatever is served now. */
static void check_handle(const struct handle *h) {
	AUTO_FREE char *path = node_path(fs.nodes, h->node, NULL);
	CHECK_STR(path, h->node->place->route->path);
	CHECK(h->node->place->parent->parent->tree == h->node->place->tree);
}

/* Opens the file of the last directory that is served. */
static struct handle *open_last(void) {
	char name[16];
	struct node *root = nodes_root(fs.nodes);
	CHECK(root->parent == NULL && root->ino == 1);
	snprintf(name, sizeof(name), "d%d", root->place->nchildren - 1);
	sched_yield(); /* and another one may be served */
	struct node *dir = find(root, name), *file = find(dir, "x");
	CHECK(dir->place->tree == root->place->tree && file->place->parent == dir->place);
	CHECK_INT(file->ino, (long long)node_child_ino(dir, "x"));
	struct handle *h = handle_new(&fs, file, &plain, O_RDONLY);
	if (h == NULL)
		abort();
	node_forget(fs.nodes, file, 1);
	node_forget(fs.nodes, dir, 1);
	return h;
}

static atomic_bool done;
static atomic_int rounds;

static void *walker(void *arg) {
	const int *zero = arg;
	struct handle *open[OPEN] = { NULL };
	for (unsigned i = 0; !atomic_load(&done); i++) {
		struct handle **h = &open[i % OPEN];
		request(*zero);
		if (*h != NULL) {
			check_handle(*h);
			handle_free(&fs, *h);
		}
		*h = open_last();
		atomic_fetch_add(&rounds, 1);
	}
	for (int i = 0; i < OPEN; i++)
		if (open[i] != NULL) {
			check_handle(open[i]);
			handle_free(&fs, open[i]);
		}
	return NULL;
}

static void *walk(void *arg) {
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	walker(arg);
	request(null);
	close(null);
	return NULL;
}

static void test_threads(void) {
	pthread_t threads[WALKERS];
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	begin();
	for (int i = 0; i < WALKERS; i++)
		CHECK_INT(thread_start(&threads[i], walk, &zero), 0);
	for (int i = 0; i < ROUNDS; i++) {
		CHECK_INT(coherence_publish(&fs, made(1 + i % MOST_DIRS)), 0);
		for (int n = atomic_load(&rounds); atomic_load(&rounds) == n;)
			sched_yield();
	}
	atomic_store(&done, true);
	for (int i = 0; i < WALKERS; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(nodes_root(fs.nodes)->place->nchildren, 1 + (ROUNDS - 1) % MOST_DIRS);
	end();
	CHECK_INT(left, 1); /* the root: no other is held */
	close(zero);
}

/* -- one thread -------------------------------------------------------------------------------- */

/* What is open, and below a directory of the old tree, stays; a name at the root is another. */
static void *test_names(void *arg) {
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	begin();
	request(zero);
	struct node *old = nodes_root(fs.nodes), *dir = find(old, "d0");
	CHECK_INT(coherence_publish(&fs, made(2)), 0);
	struct node *root = nodes_root(fs.nodes), *other = find(root, "d0");
	CHECK(root != old && other != dir);
	CHECK_INT((long long)other->ino, (long long)dir->ino);
	CHECK_INT(old->place->nchildren, 1); /* this request may still use it */
	CHECK(find(dir, "x")->place->tree == dir->place->tree);
	CHECK(place_literal(root->place, "d1") != NULL);
	end();
	close(zero);
	return arg;
}

static void count(void *arg) {
	(*(int *)arg)++;
}

/* A wait is over when the requests before it have ended, and no other. */
static void *test_waits(void *arg) {
	int over = 0, zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct intake_wait waits[4];
	for (int i = 0; i < 4; i++)
		waits[i] = (struct intake_wait){ .over = count, .arg = &over };
	fs.intake = intake_new(2, is_quick, NULL);
	intake_after(fs.intake, &waits[0]);
	CHECK_INT(over, 1);
	request(zero);
	intake_after(fs.intake, &waits[1]);
	intake_after(fs.intake, &waits[2]);
	CHECK_INT(over, 1);
	request(zero);
	CHECK_INT(over, 3);
	intake_after(fs.intake, &waits[3]);
	request(null);
	CHECK_INT(over, 4);
	request(zero);
	intake_after(fs.intake, &waits[0]);
	intake_free(fs.intake);
	CHECK_INT(over, 5);
	close(zero);
	close(null);
	return arg;
}

/* A thread belongs to one intake. */
static void in_thread(void *(*test)(void *arg)) {
	pthread_t thread;
	CHECK_INT(thread_start(&thread, test, NULL), 0);
	pthread_join(thread, NULL);
}

int main(void) {
	test_threads();
	in_thread(test_names);
	in_thread(test_waits);
	return check_end();
}
