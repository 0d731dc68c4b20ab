#include "schema/layout/tree.h"

#include "schema/layout/rights.h"
#include "schema/layout/tree_check.h"
#include "schema/layout/tree_write.h"
#include "util/text/strings.h"
#include "util/list.h"

#include <string.h>

static struct place *place_new(struct tree *tree, struct place *parent, const char *text) {
	struct arena *memory = &tree->memory;
	struct place *place = arena_alloc(memory, 1, sizeof(*place));
	if (place == NULL || !list_room(tree->all, tree->nall))
		return NULL;
	int keys = 0;
	for (const char *s = text; *s != '\0'; s++)
		keys += *s == '{';
	place->tree = tree;
	place->memory = memory;
	place->parent = parent;
	place->text = arena_strdup(memory, text);
	place->keys = arena_alloc(memory, keys, sizeof(*place->keys));
	place->parts = arena_alloc(memory, 2 * keys + 1, sizeof(*place->parts));
	place->row_table = -1;
	place->target = -1;
	place->number = tree->nall;
	tree->all[tree->nall++] = place;
	if (parent == NULL)
		return memory->failed ? NULL : place;
	place->nparams = parent->nparams;
	place->scope.n = parent->scope.n;
	/* room for what its own keys and its route may add */
	place->scope.tables = arena_alloc(memory, parent->scope.n + PATH_KEYS_MAX + 1,
					  sizeof(struct scope_table));
	if (place->scope.tables != NULL && parent->scope.n > 0)
		memcpy(place->scope.tables, parent->scope.tables,
		       (size_t)parent->scope.n * sizeof(struct scope_table));
	return memory->failed ? NULL : place;
}

static bool same_shape(const struct place *a, const struct place *b) {
	if (a->nparts != b->nparts)
		return false;
	for (int i = 0; i < a->nparts; i++)
		if (!text_same(a->parts[i].literal, b->parts[i].literal))
			return false;
	return true;
}

static bool same_keys(const struct place *a, const struct place *b) {
	for (int i = 0; i < a->nkeys; i++) {
		const struct key *x = &a->keys[i], *y = &b->keys[i];
		bool same_name = x->column != NULL || strcmp(x->name, y->name) == 0;
		if (x->column != y->column || x->table != y->table || !same_name ||
		    !text_same(x->format, y->format))
			return false;
	}
	return true;
}

/* The route of the first file at or below PLACE, to name in a message. */
static const char *some_path(const struct place *place) {
	while (place->route == NULL && place->nchildren > 0)
		place = place->children[0];
	return place->route != NULL ? place->route->path : place->text;
}

/* Finds the sibling that FRESH would double. Returns it if both mean the same directory, FRESH if
 * there is none, NULL after a mistake. */
static struct place *merge(struct check *c, struct place *parent, struct place *fresh, bool last) {
	for (int i = 0; i < parent->nchildren; i++) {
		struct place *old = parent->children[i];
		if (!same_shape(old, fresh))
			continue;
		if (last && old->route != NULL)
			check_mistake(c, "names the same path as route %s", old->route->path);
		else if (last || old->route != NULL)
			check_mistake(c,
				      "\"%s\" is a file in one route and a directory in route %s",
				      fresh->text, some_path(old));
		else if (!same_keys(old, fresh))
			check_mistake(c, "\"%s\" means something else in route %s", fresh->text,
				      some_path(old));
		else
			return old;
		return NULL;
	}
	return fresh;
}

/* Adds one component of the current route below PARENT. NULL after a mistake. */
static struct place *add_component(struct check *c, struct tree *tree, struct place *parent,
				   const char *text, bool last) {
	struct place *fresh = place_new(tree, parent, text);
	if (fresh == NULL || !check_component(c, fresh))
		return NULL;
	struct place *place = merge(c, parent, fresh, last);
	if (place == fresh) {
		if (!list_room(parent->children, parent->nchildren))
			return NULL;
		return parent->children[parent->nchildren++] = fresh;
	}
	tree->nall--; /* it was the last one added, and nothing points to it */
	free(fresh->children);
	return place;
}

/* Takes back the places from number BEFORE on: those of one route, each in the one before it. */
static void drop_places(struct tree *tree, int before) {
	while (tree->nall > before) {
		struct place *place = tree->all[--tree->nall], *parent = place->parent;
		/* one that did not fit has no place among its parent's children yet */
		if (parent->nchildren > 0 && parent->children[parent->nchildren - 1] == place)
			parent->nchildren--;
		free(place->children);
	}
}

static void build_route(struct check *c, struct tree *tree, const struct layout_route *route) {
	AUTO_FREE char *path = strdup(route->path + 1);
	struct place *place = tree->root;
	char *rest = path;
	c->route = route;
	c->lack = 0;
	while (place != NULL && rest != NULL) {
		char *text = strsep(&rest, "/");
		if (text[0] == '\0' || strcmp(text, ".") == 0 || strcmp(text, "..") == 0) {
			check_mistake(c, "\"path\" has an empty, . or .. component");
			return;
		}
		place = add_component(c, tree, place, text, rest == NULL);
	}
	if (place != NULL)
		check_file(c, place);
}

/* The child of DIR that has FRESH's shape, or NULL. */
static struct place *find_shape(const struct place *dir, const struct place *fresh) {
	for (int i = 0; i < dir->nchildren; i++)
		if (same_shape(dir->children[i], fresh))
			return dir->children[i];
	return NULL;
}

/* Adds the names of ROUTE, the layout's I, which does not fit, with WHY: one place, in the deepest
 * directory of its path that is there. False if out of memory. */
static bool add_misfit(struct tree *tree, const struct layout_route *route, int i,
		       const char *why) {
	AUTO_FREE char *path = strdup(route->path + 1);
	struct layout_route *plain = arena_alloc(&tree->memory, 1, sizeof(*plain));
	struct place *dir = tree->root, *place = NULL;
	struct check none = { 0 };
	char *rest = path;
	if (plain == NULL)
		return false;
	while (place == NULL && rest != NULL) {
		place = place_new(tree, dir, strsep(&rest, "/"));
		if (place == NULL || !check_shape(&none, place))
			return false;
		place->first = i;
		struct place *there = find_shape(dir, place);
		if (there == NULL)
			break;
		tree->nall--; /* it is there, and nothing points to the new one */
		if (there->first > i)
			there->first = i;
		if (there->route != NULL)
			return true; /* an earlier route has said it of all that is below */
		dir = there;
		place = NULL;
	}
	if (place == NULL)
		return true;
	if (!list_room(dir->children, dir->nchildren))
		return false;
	*plain = (struct layout_route){ .path = route->path,
					.kind = KIND_FILE,
					.write = route->write };
	place->route = plain;
	place->misfit = why;
	dir->children[dir->nchildren++] = place;
	return true;
}

/* What is wrong with the current route of a tree that is served, one sentence. */
static void put_why(struct buf *why, const struct buf *mistakes) {
	buf_puts(why, "the database has changed: ");
	for (const char *line = mistakes->data; line != NULL && *line != '\0';) {
		size_t len = strcspn(line, "\n");
		buf_puts(why, line == mistakes->data ? "" : "; ");
		buf_add(why, line, len);
		line += line[len] == '\n' ? len + 1 : len;
	}
}

static void add_route(struct check *c, struct tree *tree, int i) {
	AUTO_BUF struct buf mistakes = { 0 }, why = { 0 };
	struct buf *all = c->mistakes;
	const struct layout_route *route = &c->layout->routes[i];
	int before = tree->nall;
	c->optional = route->optional && (c->before == NULL || c->before->lacks.of[i] > 0);
	if (c->before != NULL)
		c->mistakes = &mistakes;
	build_route(c, tree, route);
	c->mistakes = all;
	tree->lacks.of[i] = c->lack;
	bool fits = c->lack == 0 && mistakes.len == 0 && !mistakes.failed;
	if (!fits)
		drop_places(tree, before);
	for (int k = before; k < tree->nall; k++)
		tree->all[k]->first = i;
	if (c->lack > 0)
		return;
	tree->nroutes++;
	if (fits)
		return;
	put_why(&why, &mistakes);
	tree->misfits[i] = arena_keep(&tree->memory, buf_take(&why));
	all->failed = all->failed || mistakes.failed || tree->misfits[i] == NULL;
}

/* All routes. Those that do not fit come last, since they are where the others have no
 * directory. */
static void add_routes(struct check *c, struct tree *tree) {
	int n = c->layout->nroutes;
	tree->lacks.of = arena_alloc(&tree->memory, n, sizeof(*tree->lacks.of));
	tree->misfits = arena_alloc(&tree->memory, n, sizeof(*tree->misfits));
	if (tree->misfits == NULL || tree->lacks.of == NULL)
		return;
	for (int i = 0; i < n; i++)
		if (!c->layout->routes[i].broken)
			add_route(c, tree, i);
	for (int i = 0; i < n; i++)
		if (tree->misfits[i] != NULL &&
		    !add_misfit(tree, &c->layout->routes[i], i, tree->misfits[i]))
			c->mistakes->failed = true;
}

bool tree_misses_names(const struct place *dir, const char **why) {
	for (int i = 0; i < dir->nkeyed; i++) {
		*why = dir->keyed[i]->misfit;
		if (*why != NULL)
			return true;
	}
	return false;
}

static void add_timers(struct check *c, struct tree *tree, const struct layout *layout) {
	tree->timers = arena_alloc(&tree->memory, layout->ntimers, sizeof(*tree->timers));
	for (int i = 0; tree->timers != NULL && i < layout->ntimers; i++) {
		if (layout->timers[i].call == NULL)
			continue; /* a mistake, and told */
		const struct function *fn = catalog_function(c->catalog, layout->timers[i].call);
		bool fits = fn != NULL && fn->narguments <= fn->ndefaults;
		if (!fits && (c->before != NULL || (fn == NULL && layout->timers[i].optional))) {
			struct lack *lack =
				lacks_add(c->lacks, "function", layout->timers[i].call, NULL);
			if (lack != NULL)
				lack->timer = true;
			c->mistakes->failed = c->mistakes->failed || lack == NULL;
			continue;
		}
		if (!fits) {
			buf_printf(
				c->mistakes,
				"timer: %s is no function that can be called without arguments\n",
				layout->timers[i].call);
			continue;
		}
		tree->timers[tree->ntimers++] = (struct tree_timer){
			.function = fn,
			.every = layout->timers[i].every,
		};
	}
}

/* A layout of which nothing is left is none for this database. */
static void put_nothing_left(const struct tree *tree, const struct layout *layout,
			     struct buf *mistakes) {
	for (int i = 0; i < tree->lacks.n; i++) {
		lacks_put(&tree->lacks, layout, i, mistakes);
		buf_putc(mistakes, '\n');
	}
	buf_puts(mistakes, "layout: the database has nothing of it, and no route is left\n");
}

struct tree *tree_build(const struct layout *layout, const struct catalog *catalog,
			const struct tree *before, struct buf *mistakes) {
	struct check c = {
		.layout = layout, .catalog = catalog, .before = before, .mistakes = mistakes
	};
	struct tree *tree = calloc(1, sizeof(*tree));
	bool ok = tree != NULL && (tree->root = place_new(tree, NULL, "")) != NULL;
	if (ok) {
		tree->lacks.memory = &tree->memory;
		tree->has_ledger = catalog->has_ledger;
		tree->has_streams = catalog->has_streams;
		c.lacks = &tree->lacks;
		check_tables(&c);
		add_routes(&c, tree);
		/* what "write" names was there when the layout was read */
		AUTO_BUF struct buf ignored = { 0 };
		tree_set_write(tree, layout, before != NULL ? &ignored : mistakes);
		add_timers(&c, tree, layout);
		if (tree->nroutes == 0 && before == NULL && mistakes->len == 0)
			put_nothing_left(tree, layout, mistakes);
		ok = mistakes->len == 0 && !mistakes->failed;
	}
	for (int i = 0; ok && i < tree->nall; i++) {
		tree->all[i]->recodes = catalog->recodes;
		rights_set(tree->all[i], catalog);
		ok = place_rank_children(tree->all[i]);
	}
	ok = ok && slices_make(tree) && !tree->memory.failed;
	if (ok)
		return tree;
	if (mistakes->len == 0)
		buf_puts(mistakes, "layout: out of memory\n");
	tree_free(tree);
	return NULL;
}

void tree_free(struct tree *tree) {
	if (tree == NULL)
		return;
	for (int i = 0; i < tree->nall; i++)
		free(tree->all[i]->children);
	for (int i = 0; i < tree->nslices; i++)
		free(tree->slices[i]->why);
	free(tree->lacks.list);
	free(tree->all);
	arena_free(&tree->memory);
	free(tree);
}
