#include "schema/slice.h"

#include "schema/sql_build.h"

#include <string.h>

/* -- definitions --------------------------------------------------------------------------------- */

static void hash_text(uint64_t *h, const char *s) {
	for (; *s != '\0'; s++)
		*h = (*h ^ (unsigned char)*s) * 1099511628211u;
	*h = (*h ^ 0xffu) * 1099511628211u; /* where one text ends */
}

/* Types go into it, too: a column of another type renders other texts. */
static int64_t slice_hash(const struct slice *s) {
	uint64_t h = 14695981039346656037u;
	hash_text(&h, s->rel->schema);
	hash_text(&h, s->rel->name);
	for (int i = 0; i < s->nkeys; i++) {
		hash_text(&h, s->key_sql[i]);
		hash_text(&h, s->keys[i].column->type);
	}
	hash_text(&h, s->line_sql);
	for (int i = 0; i < s->ncolumns; i++)
		hash_text(&h, s->columns[i]->type);
	return (int64_t)(h & INT64_MAX);
}

/* Types of which equal values have one text, whichever of two columns they stand in. */
static bool has_one_text(const struct column *column) {
	static const char *const types[] = { "smallint", "integer", "bigint", "uuid",
					     "text",     "date",    "boolean" };
	if (strcmp(column->base, "character varying") == 0)
		return true;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(column->base, types[i]) == 0)
			return true;
	return false;
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
	s->joined = s->nkeys;
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

static bool put_texts(struct slice *s, const struct place *place) {
	bool ok = true;
	for (int i = 0; i < s->nkeys; i++) {
		AUTO_BUF struct buf sql = { 0 };
		const struct key key = { .column = s->keys[i].column,
					 .unit = s->keys[i].unit,
					 .format = s->keys[i].format };
		put_key_text_of(&sql, &key, "r");
		ok = ok && !sql.failed && (s->key_sql[i] = buf_take(&sql)) != NULL;
	}
	AUTO_BUF struct buf line = { 0 };
	put_line(&line, place, "r");
	return ok && !line.failed && (s->line_sql = buf_take(&line)) != NULL;
}

void slice_free(struct slice *slice) {
	if (slice == NULL)
		return;
	for (int i = 0; i < SLICE_KEYS; i++)
		free(slice->key_sql[i]);
	free(slice->line_sql);
	free(slice->why);
	free(slice);
}

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
	struct slice *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return false;
	s->rel = rel;
	s->columns = place->columns;
	s->ncolumns = place->ncolumns;
	s->mtime = place->mtime;
	s->csv = path_format(place->route->path) == FORMAT_CSV;
	if (!add_joined(s, place) || !add_own(s, place, place->target)) {
		slice_free(s);
		return true;
	}
	if (!put_texts(s, place)) {
		slice_free(s);
		return false;
	}
	s->id = slice_hash(s);
	place->slice = find_same(tree, s);
	if (place->slice != NULL) {
		slice_free(s);
		return true;
	}
	place->slice = tree->slices[tree->nslices++] = s;
	return true;
}

/* -- directories --------------------------------------------------------------------------------- */

/* Rows that are in no file of WIDE, but in one of PLACE, would make a directory that WIDE does not know. */
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

/* The slice with the fewest keys among the rows files below PLACE that are of its table. */
static void widest(const struct place *place, int table, struct slice **out) {
	for (int i = 0; i < place->nchildren; i++)
		widest(place->children[i], table, out);
	if (place->slice != NULL && place->route != NULL && place->target == table &&
	    (*out == NULL || place->slice->nkeys < (*out)->nkeys))
		*out = place->slice;
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
	struct slice *wide = NULL;
	widest(place, place->row_table, &wide);
	if (wide != NULL && all_covered(place, place->row_table, wide))
		place->slice = wide;
}

bool slices_make(struct tree *tree) {
	tree->slices = calloc((size_t)tree->nall + 1, sizeof(struct slice *));
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
