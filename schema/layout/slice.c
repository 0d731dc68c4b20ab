#include "schema/layout/slice.h"

#include "schema/layout/match.h"
#include "util/text/strings.h"
#include "util/hash.h"

#include <string.h>

/* -- definitions ------------------------------------------------------------------------------- */

static uint64_t hash_type(uint64_t h, const struct column *column) {
	char modifier[16];
	snprintf(modifier, sizeof(modifier), "%d", column->modifier);
	return hash_text(hash_text(h, column->type), modifier);
}

/* Types go into it, too: a column of another type renders other texts. */
static int64_t slice_hash(const struct slice *s) {
	uint64_t h = hash_text(HASH_BEGIN, s->rel->schema);
	h = hash_text(h, s->rel->name);
	h = hash_text(h, s->definition);
	for (int i = 0; i < s->nkeys; i++)
		h = hash_type(h, s->keys[i].column);
	for (int i = 0; i < s->ncolumns; i++)
		h = hash_type(h, s->columns[i]);
	h = hash_text(h, s->mtime != NULL ? s->mtime->name : "");
	return (int64_t)(h & INT64_MAX);
}

/* Types of which equal values have one text, whichever of two columns they stand in. */
static bool has_one_text(const struct column *column) {
	static const char *const types[] = {
		"smallint", "integer", "bigint",  "uuid",
		"text",     "date",    "boolean", "character varying"
	};
	return text_index(types, sizeof(types) / sizeof(types[0]), column->base) >= 0;
}

static bool add_key(struct slice *s, const struct column *column, const char *unit,
		    const char *format) {
	if (s->nkeys == SLICE_KEYS || column == NULL)
		return false;
	s->keys[s->nkeys++] =
		(struct slice_key){ .column = column, .unit = unit, .format = format };
	return true;
}

/* The keys of a target that is reached by a foreign key. */
static bool add_joined(struct slice *s, const struct place *place) {
	const struct scope_table *target = &place->scope.tables[place->target];
	for (int t = 0; t < place->scope.n; t++)
		if (place->scope.tables[t].joined == place->target)
			return false; /* the file depends on more than its own rows */
	if (target->joined < 0)
		return true;
	const struct scope_table *parent = &place->scope.tables[target->joined];
	if (target->upwards || !parent->determined)
		return false;
	for (int i = 0; i < target->fk->columns.n; i++) {
		const struct column *column =
			relation_column(target->rel, target->fk->columns.names[i]);
		const struct column *ref =
			relation_column(parent->rel, target->fk->references.names[i]);
		if (column == NULL || ref == NULL || !has_one_text(column) || !has_one_text(ref) ||
		    !add_key(s, column, NULL, NULL))
			return false;
	}
	return true;
}

/* The target's own keys on the path, from the root on. */
static bool add_own(struct slice *s, const struct place *place, int target) {
	if (place->parent != NULL && !add_own(s, place->parent, target))
		return false;
	for (int i = 0; i < place->nkeys; i++) {
		const struct key *key = &place->keys[i];
		if (key->table == target && !add_key(s, key->column, key->unit, key->format))
			return false;
	}
	return true;
}

/* -- how rows are counted ---------------------------------------------------------------------- */

/* The members of a list of names, which may be NULL. */
static void put_names(struct buf *json, const char *name, const char *const *names, int n) {
	buf_printf(json, ", \"%s\": [", name);
	for (int i = 0; i < n; i++) {
		buf_puts(json, i > 0 ? ", " : "");
		if (names[i] != NULL)
			buf_json_string(json, names[i], strlen(names[i]));
		else
			buf_puts(json, "null");
	}
	buf_putc(json, ']');
}

/* Names only: rowfs.expressions_of() makes the SQL of them. */
static bool define(struct arena *memory, struct slice *s) {
	AUTO_BUF struct buf json = { 0 };
	const char *keys[SLICE_KEYS], *units[SLICE_KEYS], *formats[SLICE_KEYS];
	const char **columns = arena_alloc(memory, s->ncolumns, sizeof(*columns));
	for (int i = 0; i < s->nkeys; i++) {
		keys[i] = s->keys[i].column->name;
		units[i] = s->keys[i].unit;
		formats[i] = s->keys[i].format;
	}
	for (int i = 0; columns != NULL && i < s->ncolumns; i++)
		columns[i] = s->columns[i]->name;
	buf_printf(&json, "{\"csv\": %s", s->format->by_copy ? "true" : "false");
	put_names(&json, "columns", columns, columns != NULL ? s->ncolumns : 0);
	put_names(&json, "keys", keys, s->nkeys);
	put_names(&json, "units", units, s->nkeys);
	put_names(&json, "formats", formats, s->nkeys);
	buf_putc(&json, '}');
	s->definition = arena_keep(memory, buf_take(&json));
	return !memory->failed;
}

/* -- slices ------------------------------------------------------------------------------------ */

static struct slice *find_same(const struct tree *tree, const struct slice *s) {
	for (int i = 0; i < tree->nslices; i++)
		if (tree->slices[i]->id == s->id)
			return tree->slices[i];
	return NULL;
}

static bool make_slice(struct tree *tree, struct place *place) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	if (rel->kind != 'r' && rel->kind != 'p')
		return true;
	struct slice *s = arena_alloc(place->memory, 1, sizeof(*s));
	if (s == NULL)
		return false;
	s->rel = rel;
	s->columns = place->columns;
	s->ncolumns = place->ncolumns;
	s->mtime = place->mtime;
	s->format = place->format;
	bool fits = add_joined(s, place);
	place->slice_joined = s->nkeys;
	if (!fits || !add_own(s, place, place->target))
		return true;
	if (!define(place->memory, s))
		return false;
	s->id = slice_hash(s);
	place->slice = find_same(tree, s);
	if (place->slice == NULL)
		place->slice = tree->slices[tree->nslices++] = s;
	return true;
}

/* -- directories ------------------------------------------------------------------------------- */

/* Rows that are in no file of WIDE, but in one of PLACE, would make a directory that WIDE does not
 * know. */
static bool covers(const struct slice *wide, const struct place *place) {
	if (place->slice == wide)
		return true;
	for (int i = 0; i < wide->nkeys; i++) {
		bool shared = place->slice != NULL && i < place->slice->nkeys &&
			      place->slice->keys[i].column == wide->keys[i].column;
		if (!shared && (wide->keys[i].format != NULL || !wide->keys[i].column->not_null))
			return false;
	}
	return true;
}

/* Of the rows files below PLACE that are of its table, the one whose slice has the fewest keys. */
static void widest(const struct place *place, int table, const struct place **out) {
	for (int i = 0; i < place->nchildren; i++)
		widest(place->children[i], table, out);
	if (place->slice != NULL && place->route != NULL && place->target == table &&
	    (*out == NULL || place->slice->nkeys < (*out)->slice->nkeys))
		*out = place;
}

static bool all_covered(const struct place *place, int table, const struct slice *wide) {
	for (int i = 0; i < place->nchildren; i++)
		if (!all_covered(place->children[i], table, wide))
			return false;
	return place->route == NULL ||
	       ((place->target == table || place->target < 0) && covers(wide, place));
}

/* A directory that groups rows exists while one of its files does. */
static void give_directory(struct place *place) {
	const struct place *wide = NULL;
	widest(place, place->row_table, &wide);
	if (wide == NULL || !all_covered(place, place->row_table, wide->slice))
		return;
	place->slice = wide->slice;
	place->slice_joined = wide->slice_joined;
}

bool slices_make(struct tree *tree) {
	tree->slices = arena_alloc(&tree->memory, tree->nall, sizeof(struct slice *));
	if (tree->slices == NULL)
		return false;
	for (int i = 0; i < tree->nall; i++) {
		struct place *place = tree->all[i];
		if (place->route != NULL && place->route->kind == KIND_ROWS &&
		    !make_slice(tree, place))
			return false;
	}
	for (int i = 0; i < tree->nall; i++) {
		struct place *place = tree->all[i];
		if (place->route == NULL && place->nkeys > 0 && place->row_table >= 0 &&
		    !place->row_dir)
			give_directory(place);
	}
	return true;
}
