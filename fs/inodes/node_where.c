/* What a node stands for: its path, its keys, and what holds for the directories above it. */
#include "fs/inodes/fresh.h"
#include "fs/inodes/node.h"
#include "fs/inodes/node_table.h"
#include "util/mutex.h"

#include <errno.h>

/* Puts "/PART" in front of AT. */
static char *put_before(char *at, const char *part) {
	for (size_t n = strlen(part); n > 0; n--)
		*--at = part[n - 1];
	*--at = '/';
	return at;
}

static char *path_locked(const struct node *node, const char *name) {
	size_t len = name != NULL ? strlen(name) + 1 : 0;
	for (const struct node *n = node; n->parent != NULL; n = n->parent)
		len += strlen(n->strings) + 1;
	if (len == 0)
		return strdup("/");
	char *path = malloc(len + 1);
	if (path == NULL)
		return NULL;
	char *at = path + len;
	*at = '\0';
	if (name != NULL)
		at = put_before(at, name);
	for (; node->parent != NULL; node = node->parent)
		at = put_before(at, node->strings);
	return path;
}

char *node_path(struct nodes *nodes, const struct node *node, const char *name) {
	LOCK_SCOPE(&nodes->lock);
	return path_locked(node, name);
}

/* The own keys of NODE, malloc'd. */
static bool own_keys(const struct node *node, char **values) {
	if (!node->has_keys)
		return place_match(node->place, node->strings, values) == MATCH_KEYS;
	const char *key = node->strings + strlen(node->strings) + 1;
	if (node->has_version)
		key += strlen(key) + 1;
	values[0] = strdup(key);
	return values[0] != NULL;
}

/* Keys of NODE and of the directories above it. */
static bool keys_locked(const struct node *node, struct where *out) {
	for (; node != NULL; node = node->parent) {
		char *values[PATH_KEYS_MAX] = { NULL };
		if (node->place == NULL || node->place->nkeys == 0)
			continue;
		if (!own_keys(node, values))
			return false;
		for (int i = 0; i < node->place->nkeys; i++)
			out->keys[node->place->keys[i].param] = values[i];
	}
	return true;
}

int node_where(struct nodes *nodes, const struct node *node, struct where *out) {
	LOCK_SCOPE(&nodes->lock);
	out->place = node->place;
	out->path = path_locked(node, NULL);
	return keys_locked(node, out) && out->path != NULL ? 0 : -ENOMEM;
}

int node_where_child(struct nodes *nodes, const struct node *dir, const char *name,
		     const struct place *place, char *const *keys, struct where *out) {
	LOCK_SCOPE(&nodes->lock);
	out->place = place;
	out->path = path_locked(dir, name);
	for (int i = 0; i < place->nkeys; i++)
		if ((out->keys[place->keys[i].param] = strdup(keys[i])) == NULL)
			return -ENOMEM;
	return keys_locked(dir, out) && out->path != NULL ? 0 : -ENOMEM;
}

bool node_is_gone(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	while (node != NULL && node->fresh != FRESH_GONE)
		node = node->parent;
	return node != NULL;
}

/* True if the directory DIR stands for a row of REL. */
static bool stands_for(const struct node *dir, const struct relation *rel) {
	return dir->place->owns_row && dir->place->scope.tables[dir->place->row_table].rel == rel;
}

void node_set_gone_above(struct nodes *nodes, struct node *node, const struct relation *rel) {
	LOCK_SCOPE(&nodes->lock);
	for (struct node *dir = node->parent; dir != NULL && dir->type == NODE_PLACE;
	     dir = dir->parent)
		if (stands_for(dir, rel))
			fresh_move(dir, FRESH_ON_REMOVE);
}

int node_row_dirs(struct nodes *nodes, const struct node *node, const struct relation *rel,
		  uint64_t *inos, int most) {
	LOCK_SCOPE(&nodes->lock);
	int n = 0;
	for (const struct node *dir = node->parent; dir != NULL && dir->type == NODE_PLACE;
	     dir = dir->parent)
		if (stands_for(dir, rel) && n < most)
			inos[n++] = dir->ino;
	return n;
}

bool node_is_below(struct nodes *nodes, const struct node *node, const uint64_t *inos, int n) {
	LOCK_SCOPE(&nodes->lock);
	for (const struct node *dir = n > 0 ? node : NULL; dir != NULL; dir = dir->parent)
		for (int i = 0; i < n; i++)
			if (dir->ino == inos[i])
				return true;
	return false;
}

bool node_has_name(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node_is_named(node);
}

bool node_is_in(struct nodes *nodes, const struct node *node, const struct node *dir) {
	LOCK_SCOPE(&nodes->lock);
	return node->parent == dir;
}

bool node_is_open(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node->opened != NULL;
}

bool node_is_unlinked(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	enum name_state state = node_name_state(node);
	return state == NAME_UNLINKED || state == NAME_REPLACED;
}

bool node_is_pending(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	while (node != NULL && !node->pending)
		node = node->parent;
	return node != NULL;
}

char *node_layout_path(struct nodes *nodes, const struct node *node, int *levels) {
	LOCK_SCOPE(&nodes->lock);
	const struct node *dir = node->parent;
	char *path = path_locked(dir, NULL);
	for (*levels = 0; dir->parent != NULL && dir->type == NODE_PLACE && !dir->pending;
	     dir = dir->parent)
		(*levels)++;
	return path;
}
