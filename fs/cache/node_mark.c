#include "fs/cache/node_mark.h"
#include "fs/core/kind.h"

#include "fs/inodes/fresh.h"
#include "fs/inodes/inode.h"
#include "fs/inodes/node.h"
#include "fs/inodes/node_table.h"
#include "util/clock.h"
#include "util/mutex.h"

/* Out of memory: the kernel keeps it, until its time is up or the next notice. */
static struct forget *add_forget(struct forget **list, struct node *node) {
	struct forget *f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	node->references++;
	f->node = node;
	f->next = *list;
	*list = f;
	return f;
}

/* Attributes of NODE and, with DATA, its pages or listing. */
static void forget_node(struct forget **list, struct node *node, bool data) {
	struct forget *f = add_forget(list, node);
	if (f == NULL)
		return;
	f->data = data;
	f->listing = data && S_ISDIR(node->attr.mode);
}

/* NAME in DIR, which NODE has (NULL: nobody). */
static void forget_name(struct forget **list, struct node *dir, const char *name,
			const struct node *node) {
	char *copy = strdup(name);
	struct forget *f = copy != NULL ? add_forget(list, dir) : NULL;
	if (f == NULL) {
		free(copy);
		return;
	}
	f->name = copy;
	f->directory = node != NULL && S_ISDIR(node->attr.mode);
}

static bool is_directory(const struct place *place) {
	return place->route == NULL;
}

/* True if the node stays the same when what stands behind it changes. */
static bool is_followed(const struct nodes *nodes, const struct place *place) {
	return is_directory(place) || nodes->fs->kinds->of_place(place)->followed;
}

/* The identity of a directory at PLACE, which the N NAMES lead to. */
static uint64_t identity_of(const struct place *place, char *const *names, int n) {
	if (n == 0)
		return INODE_ROOT;
	return node_place_ino(place->parent, identity_of(place->parent, names, n - 1),
			      names[n - 1]);
}

bool nodes_mark(struct nodes *nodes, const struct place *place, char *const *names, int n,
		enum notice_kind kind, unsigned long epoch, struct forget **list) {
	LOCK_SCOPE(&nodes->lock);
	struct node *dir = atomic_load(&nodes->root);
	if (dir->place->tree != place->tree)
		return false; /* replaced just now: see coherence_publish() */
	for (int i = 0; i + 1 < n && dir != NULL; i++)
		dir = nodes_find(nodes, dir, names[i]);
	if (dir == NULL) { /* nobody has asked for anything there, or the kernel has forgotten it */
		if (kind == NOTICE_NAMES)
			times_named(nodes->times, identity_of(place->parent, names, n - 1),
				    clock_now_ns());
		return false;
	}
	const char *name = names[n - 1];
	struct node *node = nodes_find(nodes, dir, name);
	/* a pending name is listed already, and the kernel keeps nothing of it or below it */
	bool grown = kind == NOTICE_GROWN;
	if (grown)
		kind = node != NULL && (node->fresh == FRESH_FOUND || node->fresh == FRESH_LOST)
			       ? NOTICE_CHANGED
			       : NOTICE_NAMES;
	if (node != NULL)
		fresh_move(node, grown                  ? FRESH_ON_GROW
				 : kind == NOTICE_NAMES ? FRESH_ON_NAME
							: FRESH_ON_CHANGE);
	fresh_change_name(nodes->fs->fresh, dir, name, epoch);
	if (node != NULL && kind == NOTICE_NAMES)
		node->below = epoch;
	/* while a file is written, the kernel keeps nothing of it that could be old: most appends
	 * have nobody to tell */
	if (node != NULL && is_followed(nodes, place) && node->kept)
		forget_node(list, node, !is_directory(place));
	if (dir->place->mtime != NULL && dir->parent != NULL) {
		/* its time is a column of the row that what is in it shows */
		fresh_move(dir, FRESH_ON_CHANGE);
		fresh_change_name(nodes->fs->fresh, dir->parent, dir->strings, epoch);
		forget_node(list, dir, false);
		forget_name(list, dir->parent, dir->strings, dir);
	}
	if (kind == NOTICE_NAMES) {
		fresh_change_name(nodes->fs->fresh, dir, "", epoch);
		times_named(nodes->times, dir->ino, clock_now_ns());
		forget_node(list, dir, true);
	}
	if (kind == NOTICE_NAMES || !is_followed(nodes, place))
		forget_name(list, dir, name, node);
	return kind == NOTICE_NAMES && node != NULL && is_directory(place) && node->references > 0;
}

void nodes_list(struct nodes *nodes, const struct place *place, bool names, struct forget **list) {
	LOCK_SCOPE(&nodes->lock);
	for (size_t i = 0; i < nodes->nslots; i++) {
		struct node *node = nodes->slots[i].node;
		if (node == NULL || node->type != NODE_PLACE)
			continue;
		bool listed = place != NULL && node->place == place->parent;
		bool meant = place == NULL || node->place == place;
		if (listed || (meant && is_followed(nodes, node->place)))
			forget_node(list, node, true);
		if (names && meant && node_is_named(node) && node->parent != NULL)
			forget_name(list, node->parent, node->strings, node);
	}
}
