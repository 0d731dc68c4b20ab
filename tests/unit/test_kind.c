/* A kind of file that is known to this file and to a registry alone: /length, which says how many
 * bytes it has. What finds, lists, opens and reads names is the program's own. */
#include "fs/core/call.h"
#include "fs/core/kind.h"
#include "fs/inodes/fresh.h"
#include "fs/names/lookup.h"
#include "fs/open/handle.h"
#include "fs/options/options.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* -- the kind: its own file -------------------------------------------------------------------- */

static const struct kind length_kind;
static const struct own_name length_name = { &length_kind };

static bool length_owns(const struct node *dir, const char *name) {
	return dir->parent == NULL && strcmp(name, "length") == 0;
}

static int length_look_up(struct call *call, struct node *dir, const char *name, bool lookup,
			  struct node **out) {
	const struct found found = { .type = NODE_CONTROL,
				     .control = &length_name,
				     .attr = { .mode = S_IFREG | 0444, .size = 2 } };
	*out = node_found(call->fs->nodes, dir, name, &found, lookup);
	return *out != NULL ? 0 : -ENOMEM;
}

static void length_names(struct call *call, const struct node *dir, name_each_fn each, void *arg) {
	(void)call;
	if (dir->parent == NULL)
		each("length", arg);
}

struct open_length {
	struct buf text;
};

static const struct state_type length_state = { sizeof(struct open_length) };

static int length_open(struct call *call, struct handle *h) {
	struct open_length *l = h->state;
	(void)call;
	buf_puts(&l->text, "2\n");
	return l->text.failed ? -ENOMEM : 0;
}

static int length_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
		       struct buf *out) {
	const struct open_length *l = h->state;
	(void)call;
	if (offset < l->text.len)
		buf_add(out, l->text.data + offset,
			size < l->text.len - offset ? size : l->text.len - (size_t)offset);
	return 0;
}

static void length_close(struct fs *fs, struct handle *h) {
	struct open_length *l = h->state;
	(void)fs;
	buf_free(&l->text);
}

static const struct kind length_kind = {
	.name = "length",
	.state = &length_state,
	.open = length_open,
	.read = length_read,
	.close = length_close,
	.owns = length_owns,
	.look_up = length_look_up,
	.names = length_names,
};

/* -- the registry ------------------------------------------------------------------------------ */

static const struct kind directory = { .name = "directory" };

static const struct kind *of_place(const struct place *place) {
	(void)place;
	return &directory;
}

static const struct kind *of_node(const struct node *node) {
	return node->type == NODE_CONTROL ? node->control->kind : &directory;
}

static const struct kind *const naming[] = { &length_kind, NULL };
static const struct kinds kinds = { .of_place = of_place, .of_node = of_node, .naming = naming };

/* -- the test ---------------------------------------------------------------------------------- */

static void check_file(struct fs *fs, struct call *call) {
	AUTO_BUF struct buf out = { 0 };
	struct node *root = nodes_root(fs->nodes), *node = NULL;
	CHECK(lookup_child(call, root, "length", false, &node) == 0);
	const struct kind *kind = fs->kinds->of_node(node);
	CHECK(kind == &length_kind);
	CHECK(lookup_refresh(call, node, true) == 0);
	struct handle *h = handle_new(fs, node, kind, O_RDONLY);
	CHECK(h != NULL);
	CHECK(h->kind->open(call, h) == 0);
	CHECK(h->kind->read(call, h, 100, 0, &out) == 0);
	CHECK(out.len == node->attr.size && memcmp(out.data, "2\n", 2) == 0);
	handle_free(fs, h);
	node_put(fs->nodes, node);
}

static bool count_name(const char *name, void *arg) {
	int *n = arg;
	CHECK(strcmp(name, "length") == 0);
	(*n)++;
	return true;
}

int main(void) {
	struct place root = { .text = (char *)(uintptr_t) "" };
	struct tree tree = { .root = &root };
	root.tree = &tree;
	const struct options opt = { .ttl = 1 };
	struct fs fs = { .opt = &opt, .kinds = &kinds, .memory.most = 1 << 20, .epoch = 1 };
	struct call call = { .fs = &fs };
	int n = 0;
	fs.bodies = bodies_new(1 << 20);
	fs.fresh = calloc(1, sizeof(*fs.fresh));
	fs.nodes = nodes_new(&fs, &root);
	fs.handles = handles_new();
	CHECK(fs.nodes != NULL && fs.handles != NULL);
	check_file(&fs, &call);
	naming[0]->names(&call, nodes_root(fs.nodes), count_name, &n);
	CHECK(n == 1);
	handles_free(fs.handles);
	nodes_free(fs.nodes);
	bodies_free(fs.bodies);
	free(fs.fresh);
	return check_end();
}
