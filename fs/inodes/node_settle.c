/* Look-ups wait a moment for handles that are unsettled (see handle.h): of their name; or of a
 * document, a column or a table's document, if what is looked up shows rows of the same table. */
#include "fs/core/kind.h"
#include "fs/inodes/node.h"
#include "fs/inodes/node_table.h"
#include "util/clock.h"
#include "util/mutex.h"

#include <stdlib.h>

enum { SETTLE_US = 100 * US_PER_MS };

/* The table whose rows the file at PLACE is made of, if it is made of them as a whole. */
static const struct relation *table_of(const struct nodes *nodes, const struct place *place) {
	return nodes->fs->kinds->of_place(place)->document ? place->scope.tables[place->target].rel
							   : NULL;
}

/* True if a name in PARENT may show rows of TABLE. */
static bool shows(const struct node *parent, const struct relation *table) {
	if (parent == NULL || parent->type != NODE_PLACE)
		return false;
	for (int i = 0; i < parent->place->nchildren; i++) {
		const struct place *child = parent->place->children[i];
		if (child->target >= 0 && child->scope.tables[child->target].rel == table)
			return true;
	}
	return false;
}

/* The unsettled handle that concerns NAME in PARENT and is waited for longest, or NULL. Renames
 * move the name that it has. */
static const struct unsettled *find_unsettled(const struct nodes *nodes, const struct node *parent,
					      const char *name) {
	const struct unsettled *found = NULL;
	for (const struct unsettled *u = nodes->unsettled; u != NULL; u = u->next)
		if (((u->node->parent == parent && strcmp(u->node->strings, name) == 0) ||
		     (u->table != NULL && shows(parent, u->table))) &&
		    (found == NULL || u->until > found->until))
			found = u;
	return found;
}

void nodes_settle(struct nodes *nodes, const struct node *parent, const char *name) {
	const struct unsettled *u;
	int rc = 0;
	while (rc == 0 && (u = find_unsettled(nodes, parent, name)) != NULL) {
		int64_t until = u->until;
		rc = mutex_wait_until(&nodes->settled, &nodes->lock, until);
	}
}

void node_unsettle(struct nodes *nodes, struct node *node, bool unsettled) {
	struct unsettled *new = unsettled ? calloc(1, sizeof(*new)) : NULL;
	LOCK_SCOPE(&nodes->lock);
	if (new != NULL) { /* without memory nobody waits */
		*new = (struct unsettled){ .next = nodes->unsettled,
					   .node = node,
					   .table = table_of(nodes, node->place),
					   .until = clock_us() + SETTLE_US };
		nodes->unsettled = new;
	}
	struct unsettled **at = &nodes->unsettled;
	while (!unsettled && *at != NULL && (*at)->node != node)
		at = &(*at)->next;
	if (unsettled || *at == NULL)
		return;
	struct unsettled *old = *at;
	*at = old->next;
	free(old);
	pthread_cond_broadcast(&nodes->settled);
}

void nodes_settle_free(struct nodes *nodes) {
	for (struct unsettled *u; (u = nodes->unsettled) != NULL;) {
		nodes->unsettled = u->next;
		free(u);
	}
}
