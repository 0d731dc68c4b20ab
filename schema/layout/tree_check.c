#include "schema/layout/tree_check.h"

#include "schema/layout/ingest.h"
#include "schema/layout/match.h"
#include "util/text/strings.h"
#include "util/list.h"

#include <string.h>

/* -- scope ------------------------------------------------------------------------------------- */

static int scope_find(const struct scope *scope, const struct relation *rel) {
	for (int i = 0; i < scope->n; i++)
		if (scope->tables[i].rel == rel)
			return i;
	return -1;
}

/* The column that the layout names for CHILD's reference to PARENT, or NULL. */
static const char *chosen_column(const struct check *c, const struct relation *child,
				 const struct relation *parent) {
	const struct layout_table *table = layout_table(c->layout, child->layout_name);
	int i = table != NULL ? text_index((const char *const *)table->parents.names,
					   table->parents.n, parent->layout_name)
			      : -1;
	return i >= 0 ? table->parent_columns.names[i] : NULL;
}

/* The foreign key from CHILD to PARENT; *N is how many there are to choose from. */
static const struct foreign_key *find_fk(const struct check *c, const struct relation *child,
					 const struct relation *parent, int *n) {
	const struct foreign_key *found = NULL;
	const char *chosen = chosen_column(c, child, parent);
	*n = 0;
	for (int i = 0; i < child->nparents; i++) {
		const struct foreign_key *fk = &child->parents[i];
		if (fk->relation != parent->oid)
			continue;
		if (chosen != NULL && !name_list_has(&fk->columns, chosen))
			continue;
		if (found == NULL)
			found = fk;
		(*n)++;
	}
	return found;
}

static int scope_push(struct scope *scope, const struct relation *rel, int joined,
		      const struct foreign_key *fk, bool upwards) {
	scope->tables[scope->n] = (struct scope_table){
		.rel = rel,
		.joined = joined,
		.fk = fk,
		.upwards = upwards,
		.determined = upwards && scope->tables[joined].determined,
	};
	return scope->n++;
}

/* Tells which columns of FK, from CHILD to PARENT, may not be read. */
static void check_join(struct check *c, const struct relation *child, const struct relation *parent,
		       const struct foreign_key *fk) {
	for (int i = 0; i < fk->columns.n; i++) {
		check_readable(c, child, relation_column(child, fk->columns.names[i]));
		check_readable(c, parent, relation_column(parent, fk->references.names[i]));
	}
}

/* The index of REL in PLACE's scope, joined to the nearest table before it where it is new. -1
 * after a mistake. */
static int scope_reach(struct check *c, struct place *place, const struct relation *rel) {
	struct scope *scope = &place->scope;
	int at = scope_find(scope, rel), n = 0;
	if (at >= 0)
		return at;
	if (scope->n == 0)
		return scope_push(scope, rel, -1, NULL, false);
	for (int i = scope->n - 1; i >= 0; i--) {
		const struct relation *other = scope->tables[i].rel;
		bool upwards = false;
		const struct foreign_key *fk = find_fk(c, rel, other, &n);
		if (fk == NULL) {
			fk = find_fk(c, other, rel, &n);
			upwards = true;
		}
		if (n > 1) {
			check_mistake(c,
				      "%s and %s are joined by several foreign keys: say which in "
				      "\"tables\": { \"%s\": { \"parent\": ... } }",
				      rel->layout_name, other->layout_name,
				      upwards ? other->layout_name : rel->layout_name);
			return -1;
		}
		if (fk != NULL) {
			check_join(c, upwards ? other : rel, upwards ? rel : other, fk);
			return scope_push(scope, rel, i, fk, upwards);
		}
	}
	check_mistake(c, "%s has no foreign key to a table that the path names before it",
		      rel->layout_name);
	return -1;
}

/* True if COLUMN of scope table T has one value, given the keys on the path to PLACE. */
static bool column_bound(const struct place *place, int t, const char *column) {
	const struct scope_table *table = &place->scope.tables[t];
	if (table->fk != NULL && !table->upwards && place->scope.tables[table->joined].determined &&
	    name_list_has(&table->fk->columns, column))
		return true;
	for (const struct place *p = place; p != NULL; p = p->parent)
		for (int i = 0; i < p->nkeys; i++)
			if (p->keys[i].table == t && p->keys[i].format == NULL &&
			    strcmp(p->keys[i].column->name, column) == 0)
				return true;
	return false;
}

static void update_determined(struct place *place) {
	for (int t = 0; t < place->scope.n; t++) {
		struct scope_table *table = &place->scope.tables[t];
		for (int k = 0; k < table->rel->nkeys && !table->determined; k++) {
			const struct name_list *columns = &table->rel->keys[k].columns;
			bool all = true;
			for (int i = 0; all && i < columns->n; i++)
				all = column_bound(place, t, columns->names[i]);
			table->determined = all;
		}
	}
}

/* -- keys -------------------------------------------------------------------------------------- */

static bool check_bucket(struct check *c, const struct key *key) {
	bool integer = key->column->category == 'N' &&
		       strstr("smallint integer bigint", key->column->base);
	bool time = key->column->category == 'D' && strncmp(key->column->base, "time ", 5) != 0;
	if (key->unit != NULL ? !integer : !time)
		return check_mistake(c, "key {%s}: column \"%s\" (%s) %s", key->name,
				     key->column->name, key->column->type,
				     key->unit != NULL
					     ? "must be an integer type to have a \"unit\""
					     : "is no date or timestamp: give its \"unit\"");
	for (const char *p = strchr(key->format, '%'); p != NULL; p = strchr(p + 2, '%')) {
		if (p[1] == '\0' || strchr("YmdHMS", p[1]) == NULL)
			return check_mistake(
				c, "key {%s}: \"format\" has more than %%Y %%m %%d %%H %%M %%S",
				key->name);
	}
	static const char *const parts[] = { "%Y", "%m", "%d", "%H", "%M", "%S" };
	int last = strcmp(key->column->base, "date") == 0 ? 2 : 5;
	bool missing = false;
	for (int i = 0; i < 6; i++) {
		bool there = strstr(key->format, parts[i]) != NULL;
		if (there && (missing || i > last))
			return check_mistake(c, "key {%s}: \"format\" has %s, but %s", key->name,
					     parts[i],
					     missing ? "not every coarser part from %Y on"
						     : "the column is a date");
		missing = missing || !there;
	}
	if (strstr(key->format, "%Y") == NULL)
		return check_mistake(c, "key {%s}: \"format\" needs %%Y", key->name);
	return true;
}

/* Splits "relation.column" and finds the relation; a bare column is the route's. */
static const struct relation *key_relation(struct check *c, const char *name, const char **column) {
	const char *dot = strrchr(name, '.');
	*column = dot != NULL ? dot + 1 : name;
	if (dot == NULL)
		return check_relation(c, route_kind_word(c->route->kind), "table or view",
				      c->route->relation);
	AUTO_FREE char *relation = strndup(name, (size_t)(dot - name));
	AUTO_BUF struct buf words = { 0 };
	buf_printf(&words, "key {%s}", name);
	if (relation != NULL && !words.failed)
		return check_relation(c, words.data, "table or view", relation);
	c->mistakes->failed = true;
	return NULL;
}

/* Binds one key. False after a mistake. */
static bool bind_key(struct check *c, struct place *place, struct key *key) {
	const struct layout_key *alias =
		list_find(c->route->keys, c->route->nkeys, name, key->name);
	const char *column, *name = alias != NULL ? alias->column : key->name;
	bool qualified = strchr(name, '.') != NULL;
	key->table = -1;
	if (c->route->kind == KIND_FILE && c->route->relation != NULL)
		return true; /* any text */
	if (c->route->kind == KIND_FILE)
		return check_mistake(c, "key {%s}: a file route has no keys", key->name);
	if (c->route->kind == KIND_QUERY && !qualified && alias == NULL)
		return true; /* a parameter; check_file() finds it a place */
	const struct relation *rel = key_relation(c, name, &column);
	if (rel == NULL)
		return false;
	key->column = relation_column(rel, column);
	if (key->column == NULL)
		return check_missing(c, "table or view", rel->layout_name, column,
				     "key {%s}: column \"%s\" does not exist in %s", key->name,
				     column, rel->layout_name);
	if (alias != NULL) {
		key->unit = alias->unit;
		key->format = alias->format;
		if (!check_bucket(c, key))
			return false;
	}
	key->table = scope_reach(c, place, rel);
	check_readable(c, rel, key->column);
	return key->table >= 0;
}

/* Room for them was made by the number of braces. */
static void add_part(struct place *place, char *literal, int key) {
	place->parts[place->nparts++] = (struct part){ .literal = literal, .key = key };
}

/* "a{b}c" into parts. */
static bool parse_parts(struct check *c, struct place *place) {
	const char *s = place->text;
	while (*s != '\0') {
		size_t n = strcspn(s, "{}");
		if (n > 0) {
			add_part(place, arena_keep(place->memory, strndup(s, n)), -1);
			s += n;
			continue;
		}
		const char *end = strchr(s, '}');
		if (*s == '}' || end == NULL || memchr(s + 1, '{', (size_t)(end - s - 1)) != NULL)
			return check_mistake(c, "\"%s\": braces do not match", place->text);
		if (end == s + 1) {
			return check_mistake(c, "\"%s\": empty braces", place->text);
		}
		if (place->nparts > 0 && place->parts[place->nparts - 1].literal == NULL)
			return check_mistake(c, "\"%s\": two keys need text between them",
					     place->text);
		if (place->nparams == PATH_KEYS_MAX) {
			return check_mistake(c, "more than %d keys", PATH_KEYS_MAX);
		}
		add_part(place, NULL, place->nkeys);
		place->keys[place->nkeys++] = (struct key){
			.name = arena_keep(place->memory, strndup(s + 1, (size_t)(end - s - 1))),
			.param = place->nparams++,
		};
		s = end + 1;
	}
	return !place->memory->failed;
}

bool check_shape(struct check *c, struct place *place) {
	if (!parse_parts(c, place))
		return false;
	for (int i = 0; i < place->nkeys; i++)
		place->keys[i].table = -1;
	return true;
}

/* The time of the directory of one row. What is wrong with the layout's word is told where the table
 * is checked, and by the files that show it. */
static void take_row_mtime(const struct check *c, struct place *place) {
	const struct relation *rel = place->scope.tables[place->row_table].rel;
	const struct layout_table *table = layout_table(c->layout, rel->layout_name);
	const char *name = table != NULL ? table->mtime : NULL;
	const struct column *column = name != NULL ? relation_column(rel, name) : NULL;
	bool shown = column != NULL && column->category == 'D' && !column->hidden;
	place->mtime = shown ? column : NULL;
}

bool check_component(struct check *c, struct place *place) {
	bool ok = parse_parts(c, place);
	for (int i = 0; ok && i < place->nkeys; i++)
		ok = bind_key(c, place, &place->keys[i]);
	if (!ok)
		return false;
	update_determined(place);
	for (int t = place->parent->scope.n; t < place->scope.n; t++) {
		int joined = place->scope.tables[t].joined;
		if (joined < 0 || place->parent->scope.tables[joined].determined)
			continue;
		return check_mistake(c, "\"%s\": the keys before it do not determine one row of %s",
				     place->text, place->scope.tables[joined].rel->layout_name);
	}
	for (int i = 0; i < place->nkeys; i++) {
		if (i > 0 && place->keys[i].table != place->row_table)
			return check_mistake(c, "\"%s\": keys of one name must be of one relation",
					     place->text);
		place->row_table = place->keys[i].table;
	}
	place->row_dir = place->row_table >= 0 && place->scope.tables[place->row_table].determined;
	if (place->row_dir)
		take_row_mtime(c, place);
	return true;
}

/* -- files ------------------------------------------------------------------------------------- */

static const struct column *need_column(struct check *c, const struct relation *rel,
					const char *word, const char *name) {
	const struct column *column = relation_column(rel, name);
	if (column == NULL)
		check_missing(c, "table or view", rel->layout_name, name,
			      "%s: column \"%s\" does not exist in %s", word, name,
			      rel->layout_name);
	return column;
}

/* The route's columns, or all, of which the role may read any. */
static void take_columns(struct check *c, struct place *place, const struct relation *rel) {
	const struct name_list *names = &c->route->columns;
	int count = names->n == 0 ? rel->ncolumns : names->n;
	place->columns = arena_alloc(place->memory, count, sizeof(*place->columns));
	for (int i = 0; place->columns != NULL && i < count; i++) {
		const struct column *column =
			names->n == 0 ? &rel->columns[i]
				      : need_column(c, rel, "\"columns\"", names->names[i]);
		if (column != NULL && !column->hidden)
			place->columns[place->ncolumns++] = column;
	}
}

/* The order of the lines: the route's, and the key behind it so that it is total. */
static bool take_order(struct check *c, struct place *place, const struct relation *rel) {
	const struct name_list *key = relation_key(rel);
	int n = 0, extra = key != NULL ? key->n : 0;
	place->order = arena_alloc(place->memory, c->route->order.n + extra, sizeof(*place->order));
	if (place->order == NULL)
		return false;
	for (int i = 0; i < c->route->order.n; i++) {
		const struct column *column =
			need_column(c, rel, "\"order\"", c->route->order.names[i]);
		if (column == NULL)
			return false;
		check_readable(c, rel, column);
		place->order[n++] = column;
	}
	for (int i = 0; i < extra; i++) {
		const struct column *column = relation_column(rel, key->names[i]);
		bool there = false;
		for (int k = 0; k < n; k++)
			there = there || place->order[k] == column;
		if (!there)
			place->order[n++] = column;
	}
	if (key == NULL && strchr("rm", rel->kind) == NULL)
		return check_mistake(c, "%s has no key: give its \"key\" in \"tables\"",
				     rel->layout_name);
	return true;
}

static bool take_mtime(struct check *c, struct place *place, const struct relation *rel) {
	const struct layout_table *table = layout_table(c->layout, rel->layout_name);
	const char *name = place->route != NULL ? place->route->mtime : NULL;
	if (name == NULL && table != NULL)
		name = table->mtime;
	if (name == NULL || (place->route != NULL && place->route->kind == KIND_QUERY))
		return true;
	place->mtime = relation_column(rel, name);
	bool own = place->route != NULL && place->route->mtime != NULL;
	if (place->mtime != NULL && place->mtime->hidden) {
		place->mtime = NULL;
		return true; /* its files are shown without it */
	}
	if (place->mtime == NULL && (c->optional || (c->before != NULL && !own))) {
		if (own)
			check_missing(c, "table or view", rel->layout_name, name, "\"mtime\"");
		return !own; /* what "tables" says is noted: the files are shown without it */
	}
	if (place->mtime == NULL || place->mtime->category != 'D')
		return check_mistake(c, "\"mtime\": \"%s\" is no timestamp column of %s", name,
				     rel->layout_name);
	return true;
}

static bool overflow_fits(struct check *c, const struct relation *rel) {
	if (c->route->overflow == NULL)
		return true;
	const struct column *column = need_column(c, rel, "\"overflow\"", c->route->overflow);
	if (column == NULL)
		return false;
	if (strcmp(column->base, "jsonb") == 0)
		return true;
	return check_mistake(c, "\"overflow\": column \"%s\" must be jsonb", column->name);
}

/* What tells the rows of one document apart: the key; for an object, the unique key that its "by"
 * completes. */
static bool take_match(struct check *c, struct place *place, const struct relation *rel) {
	place->match = relation_key(rel);
	if (c->route->by == NULL)
		return true;
	place->match = NULL;
	place->by = need_column(c, rel, "\"by\"", c->route->by);
	for (int k = 0; place->by != NULL && place->match == NULL && k < rel->nkeys; k++) {
		const struct name_list *columns = &rel->keys[k].columns;
		bool complete = (place->by->not_null || rel->keys[k].primary) &&
				name_list_has(columns, c->route->by);
		for (int i = 0; complete && i < columns->n; i++)
			complete = strcmp(columns->names[i], c->route->by) == 0 ||
				   column_bound(place, place->target, columns->names[i]);
		if (complete)
			place->match = columns;
	}
	if (place->by != NULL && place->match == NULL)
		check_mistake(c,
			      "\"by\": the values of \"%s\" are not unique and NOT NULL among the "
			      "rows of one file",
			      c->route->by);
	return place->match != NULL;
}

static bool check_rows(struct check *c, struct place *place, const struct relation *rel) {
	if (c->route->kind == KIND_ROWS && place->format == NULL)
		return check_mistake(c, "a rows file ends in .csv, .jsonl or .json");
	if (c->route->kind == KIND_TABLE && !take_match(c, place, rel))
		return false;
	for (const struct place *p = place; p != NULL; p = p->parent)
		place->grouped = place->grouped || (p->nkeys > 0 && p->row_table == place->target);
	const struct scope_table *target = &place->scope.tables[place->target];
	if (!place->grouped && target->joined >= 0 &&
	    !place->scope.tables[target->joined].determined)
		return check_mistake(
			c,
			"the keys of the path do not determine one row of %s, which %s is joined to",
			place->scope.tables[target->joined].rel->layout_name, rel->layout_name);
	place->always = place->nparams == 0;
	return take_order(c, place, rel) && overflow_fits(c, rel);
}

static bool check_relation_file(struct check *c, struct place *place) {
	const struct layout_route *route = c->route;
	const struct relation *rel =
		check_relation(c, route_kind_word(route->kind), "table or view", route->relation);
	if (rel == NULL)
		return false;
	place->target = scope_reach(c, place, rel);
	if (place->target < 0 || !take_mtime(c, place, rel))
		return false;
	update_determined(place);
	if (route->kind == KIND_COLUMN)
		place->column = need_column(c, rel, "column", route->column);
	take_columns(c, place, rel);
	if (place->columns == NULL || (route->kind == KIND_COLUMN && place->column == NULL))
		return false;
	if (route->kind == KIND_ROWS || route->kind == KIND_TABLE)
		return check_rows(c, place, rel);
	if (!place->scope.tables[place->target].determined)
		return check_mistake(
			c,
			"the keys of the path do not determine one row of %s (give all columns "
			"of a primary key or unique constraint)",
			rel->layout_name);
	if (route->kind == KIND_ROW && !text_ends(route->path, ".json")) {
		return check_mistake(c, "a row file ends in .json");
	}
	return overflow_fits(c, rel);
}

static bool query_takes(const struct place *place, const char *parameter) {
	if (place->view != NULL)
		return relation_column(place->view, parameter) != NULL;
	for (int i = 0; i < place->function->narguments; i++)
		if (strcmp(place->function->arguments[i].name, parameter) == 0)
			return true;
	return false;
}

static bool path_has_key(const struct place *place, const char *name) {
	for (const struct place *p = place; p != NULL; p = p->parent)
		for (int i = 0; i < p->nkeys; i++)
			if (strcmp(p->keys[i].name, name) == 0)
				return true;
	return false;
}

/* A function's parameters without a default must come from the path. */
static bool check_required(struct check *c, const struct place *place) {
	const struct function *fn = place->view == NULL ? place->function : NULL;
	bool ok = true;
	for (int a = 0; fn != NULL && a < fn->narguments - fn->ndefaults; a++) {
		bool given = false;
		for (const struct place *p = place; p != NULL; p = p->parent)
			for (int i = 0; i < p->nkeys; i++)
				given = given || strcmp(layout_parameter(c->route, p->keys[i].name),
							fn->arguments[a].name) == 0;
		if (given)
			continue;
		check_mistake(c, "query: no key of the path gives %s its parameter \"%s\"",
			      c->route->relation, fn->arguments[a].name);
		ok = false;
	}
	return ok;
}

/* A function without a parameter is there, and does something else; a view without a column shows
 * less. */
static void query_lacks(struct check *c, const struct place *place, const char *name,
			const char *words) {
	const char *query = c->route->relation;
	if (place->view != NULL)
		check_missing(c, "table or view", query, name, "%s: %s has no column \"%s\"", words,
			      query, name);
	else
		check_mistake(c, "%s: %s has no parameter \"%s\"", words, query, name);
}

static bool check_query(struct check *c, struct place *place) {
	bool ok = true;
	place->view = catalog_relation(c->catalog, c->route->relation);
	place->function = catalog_function(c->catalog, c->route->relation);
	if (place->view == NULL && place->function == NULL)
		return check_missing(c, "view or function", c->route->relation, NULL,
				     "query: view or function %s does not exist",
				     c->route->relation);
	if (place->view != NULL && !check_said_columns(c, place->view))
		return false;
	for (const struct place *p = place; p != NULL; p = p->parent) {
		for (int i = 0; i < p->nkeys; i++) {
			const struct key *key = &p->keys[i];
			if (key->column != NULL ||
			    query_takes(place, layout_parameter(c->route, key->name)))
				continue;
			AUTO_BUF struct buf words = { 0 };
			buf_printf(&words, "key {%s}", key->name);
			query_lacks(c, place, layout_parameter(c->route, key->name),
				    words.data != NULL ? words.data : "key");
			ok = false;
		}
	}
	ok = check_required(c, place) && ok;
	place->always = place->nkeys == 0;
	for (int i = 0; i < c->route->nargs; i++) {
		const struct layout_arg *arg = &c->route->args[i];
		if (!path_has_key(place, arg->key)) {
			check_mistake(c, "\"args\": the path has no key {%s}", arg->key);
			ok = false;
		}
		if (!query_takes(place, arg->parameter)) {
			query_lacks(c, place, arg->parameter, "\"args\"");
			ok = false;
		}
	}
	return ok;
}

bool check_file(struct check *c, struct place *place) {
	place->route = c->route;
	place->format = format_of(c->route->path, strlen(c->route->path));
	place->row_dir = false;
	place->mtime = NULL;
	switch (c->route->kind) {
	case KIND_FILE:
		return c->route->relation == NULL || ingest_check(c, place);
	case KIND_QUERY:
		return check_query(c, place);
	case KIND_ROW:
	case KIND_COLUMN:
	case KIND_ROWS:
	case KIND_TABLE:
		return check_relation_file(c, place);
	}
	return false;
}
