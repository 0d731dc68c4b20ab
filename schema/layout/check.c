#include "schema/layout/check.h"

#include <string.h>

bool check_mistake(struct check *c, const char *fmt, ...) {
	va_list ap;
	buf_printf(c->mistakes, "route %s: ", c->route->path);
	va_start(ap, fmt);
	buf_vprintf(c->mistakes, fmt, ap);
	va_end(ap);
	buf_putc(c->mistakes, '\n');
	return false;
}

/* What is missing, noted; NULL (and MISTAKES failed) if out of memory. */
static struct lack *note(struct check *c, const char *kind, const char *relation,
			 const char *column) {
	struct lack *lack = lacks_add(c->lacks, kind, relation, column);
	c->mistakes->failed = c->mistakes->failed || lack == NULL;
	return lack;
}

bool check_missing(struct check *c, const char *kind, const char *relation, const char *column,
		   const char *fmt, ...) {
	if (c->optional) {
		const struct lack *lack = note(c, kind, relation, column);
		if (c->lack == 0 && lack != NULL)
			c->lack = 1 + (int)(lack - c->lacks->list);
		return false;
	}
	va_list ap;
	AUTO_BUF struct buf text = { 0 };
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	return check_mistake(c, "%s", text.data != NULL ? text.data : "out of memory");
}

void check_readable(struct check *c, const struct relation *rel, const struct column *column) {
	if (column == NULL || !column->hidden)
		return;
	struct lack *lack = note(c, "table or view", rel->layout_name, column->name);
	if (lack != NULL)
		lack->denied = true;
}

/* True if all that name RELATION can do without it. Routes that cannot say so themselves. */
static bool is_optional(const struct check *c, const char *relation) {
	for (int i = 0; i < c->layout->nroutes; i++)
		if (!c->layout->routes[i].broken && c->layout->routes[i].optional &&
		    layout_route_names(&c->layout->routes[i], relation))
			return true;
	return c->layout->optional;
}

static void check_table_column(struct check *c, const struct relation *rel, const char *word,
			       const char *column) {
	if (column == NULL || relation_column(rel, column) != NULL)
		return;
	bool mtime = strcmp(word, "\"mtime\"") == 0;
	if (c->before != NULL && !mtime)
		return; /* the routes tell it */
	if (c->before == NULL && !is_optional(c, rel->layout_name)) {
		buf_printf(c->mistakes, "table %s: %s: column \"%s\" does not exist\n",
			   rel->layout_name, word, column);
		return;
	}
	struct lack *lack = note(c, "table or view", rel->layout_name, column);
	if (lack != NULL && mtime)
		lack->mtime = true;
}

void check_tables(struct check *c) {
	for (int i = 0; i < c->layout->ntables; i++) {
		const struct layout_table *table = &c->layout->tables[i];
		const struct relation *rel = catalog_relation(c->catalog, table->relation);
		if (rel == NULL && c->before != NULL)
			continue; /* the routes tell it */
		if (rel == NULL) {
			if (is_optional(c, table->relation))
				(void)note(c, "table or view", table->relation, NULL);
			else
				buf_printf(c->mistakes, "table %s: does not exist\n",
					   table->relation);
			continue;
		}
		check_table_column(c, rel, "\"mtime\"", table->mtime);
		for (int k = 0; k < table->key.n; k++)
			check_table_column(c, rel, "\"key\"", table->key.names[k]);
		for (int k = 0; k < table->parent_columns.n; k++)
			check_table_column(c, rel, "\"parent\"", table->parent_columns.names[k]);
	}
}

bool check_said_columns(struct check *c, const struct relation *rel) {
	const struct layout_table *table = layout_table(c->layout, rel->layout_name);
	if (table == NULL)
		return true;
	const struct name_list *lists[] = { &table->key, &table->parent_columns };
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < lists[k]->n; i++) {
			const char *name = lists[k]->names[i];
			if (relation_column(rel, name) != NULL)
				continue;
			return check_missing(c, "table or view", rel->layout_name, name,
					     "column \"%s\" does not exist in %s", name,
					     rel->layout_name);
		}
	}
	return true;
}

const struct relation *check_relation(struct check *c, const char *words, const char *kind,
				      const char *name) {
	const struct relation *rel = catalog_relation(c->catalog, name);
	if (rel == NULL)
		check_missing(c, kind, name, NULL, "%s: %s %s does not exist", words, kind, name);
	return rel != NULL && check_said_columns(c, rel) ? rel : NULL;
}
