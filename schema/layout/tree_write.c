#include "schema/layout/tree_write.h"

#include <string.h>

static void put_path(struct buf *path, const struct place *place) {
	if (place->parent == NULL)
		return;
	put_path(path, place->parent);
	buf_printf(path, "/%s", place->text);
}

/* The rule for PLACE's own path; NULL: none. *USED says which rules have a place. */
static const struct layout_rule *rule_of(const struct layout *layout, const struct place *place,
					 bool *used) {
	AUTO_BUF struct buf path = { 0 };
	put_path(&path, place);
	for (int i = 0; i < layout->nrules; i++) {
		const char *own = path.len > 0 ? path.data : "/";
		if (strcmp(layout->rules[i].path, own) != 0)
			continue;
		used[i] = true;
		return &layout->rules[i];
	}
	return NULL;
}

/* True if PLACE is the row's own document, or a column of it, that the layout does not let go. */
static bool is_kept(const struct layout *layout, const struct place *place) {
	if (place->route == NULL || place->target < 0)
		return false;
	if (place->route->refuse_remove)
		return true;
	const struct relation *rel = place->scope.tables[place->target].rel;
	/* also if the row's own document is left out of the tree */
	for (int i = 0; place->route->kind == KIND_COLUMN && i < layout->nroutes; i++) {
		const struct layout_route *row = &layout->routes[i];
		if (row->kind == KIND_ROW && row->refuse_remove && row->relation != NULL &&
		    strcmp(row->relation, rel->layout_name) == 0)
			return true;
	}
	return false;
}

void tree_set_write(struct tree *tree, const struct layout *layout, struct buf *mistakes) {
	bool *used = calloc((size_t)layout->nrules + 1, sizeof(*used));
	if (used == NULL) {
		mistakes->failed = true;
		return;
	}
	for (int i = 0; i < tree->nall; i++) { /* parents come before children */
		struct place *place = tree->all[i];
		const struct layout_rule *rule = rule_of(layout, place, used);
		place->write = place->parent != NULL ? place->parent->write : WRITE_ALL;
		if (rule != NULL && rule->write != WRITE_UNSAID)
			place->write = rule->write;
		if (place->route != NULL && place->route->write != WRITE_UNSAID)
			place->write = place->route->write;
		place->stays = is_kept(layout, place);
	}
	for (int i = 0; i < layout->nrules; i++)
		if (!used[i] && !lacks_path(&tree->lacks, layout, layout->rules[i].path))
			buf_printf(mistakes, "write %s: no route has this path or begins with it\n",
				   layout->rules[i].path);
	free(used);
}
