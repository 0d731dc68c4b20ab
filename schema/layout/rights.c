#include "schema/layout/rights.h"

#include "db/error.h"
#include "util/text/json_shape.h"

#include <errno.h>
#include <string.h>

/* True if the role may do it to any column of REL that files can have a value for. */
static bool any_column(const struct relation *rel, bool insert) {
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		if (!column->generated && (insert ? column->insertable : column->updatable))
			return true;
	}
	return false;
}

static bool any_selectable(const struct relation *rel) {
	for (int i = 0; i < rel->ncolumns; i++)
		if (rel->columns[i].selectable)
			return true;
	return false;
}

static bool may_write(const struct place *place, const struct relation *rel) {
	bool insert = any_column(rel, true), update = any_column(rel, false);
	switch (place->route->kind) {
	case KIND_ROW:
		return update;
	case KIND_COLUMN:
		return place->column->updatable && !place->column->generated &&
		       !place->column->identity_always;
	case KIND_TABLE:
		return insert || update || rel->deletable;
	case KIND_ROWS:
		return insert;
	case KIND_QUERY:
	case KIND_FILE:
		break;
	}
	return true;
}

void rights_set(struct place *place, const struct catalog *catalog) {
	bool own = place->route != NULL && place->target >= 0;
	const struct relation *rel = own ? place->scope.tables[place->target].rel : NULL;
	place->may_read = rel == NULL ||
			  (place->column != NULL ? place->column->selectable : any_selectable(rel));
	place->may_write = rel == NULL || (!catalog->read_only && may_write(place, rel));
}

static void put_columns(struct buf *out, const char *words, const struct relation *rel,
			bool insert) {
	int n = 0, lacking = 0;
	AUTO_BUF struct buf names = { 0 };
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		if (column->generated)
			continue;
		if (insert ? column->insertable : column->updatable)
			buf_printf(&names, "%s%s", n++ > 0 ? ", " : "", column->name);
		else
			lacking++;
	}
	if (n > 0 && lacking > 0)
		buf_printf(out, "; of %s this role may %s only: %s", rel->layout_name, words,
			   names.data != NULL ? names.data : "");
}

void rights_explain(const struct relation *rel, struct db_error *err) {
	if (err->errnum != EACCES || strcmp(err->sqlstate, "42501") != 0)
		return;
	AUTO_BUF struct buf text = { 0 };
	buf_puts(&text, err->sentence != NULL ? err->sentence : "");
	size_t before = text.len;
	put_columns(&text, "update", rel, false);
	put_columns(&text, "insert", rel, true);
	if (text.len == before || text.failed)
		return;
	free(err->sentence);
	err->sentence = buf_take(&text);
}
