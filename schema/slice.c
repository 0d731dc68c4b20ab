#include "schema/slice.h"

#include "schema/sql_build.h"

#include <string.h>

/* -- definitions --------------------------------------------------------------------------------- */

static void hash_text(uint64_t *h, const char *s) {
	for (; *s != '\0'; s++)
		*h = (*h ^ (unsigned char)*s) * 1099511628211u;
	*h = (*h ^ 0xffu) * 1099511628211u; /* where one text ends */
}

static void hash_type(uint64_t *h, const struct column *column) {
	char modifier[16];
	snprintf(modifier, sizeof(modifier), "%d", column->modifier);
	hash_text(h, column->type);
	hash_text(h, modifier);
}

/* Types go into it, too: a column of another type renders other texts. */
static int64_t slice_hash(const struct slice *s) {
	uint64_t h = 14695981039346656037u;
	hash_text(&h, s->rel->schema);
	hash_text(&h, s->rel->name);
	hash_text(&h, s->definition);
	for (int i = 0; i < s->nkeys; i++)
		hash_type(&h, s->keys[i].column);
	for (int i = 0; i < s->ncolumns; i++)
		hash_type(&h, s->columns[i]);
	hash_text(&h, s->mtime != NULL ? s->mtime->name : "");
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

/* -- how rows are counted ------------------------------------------------------------------------ */

/* The key's column as it is called in a group: g1, g2 ... NAME has room for it and is what the column borrows. */
static struct column fact(const struct slice *s, int i, char name[16]) {
	struct column column = *s->keys[i].column;
	snprintf(name, 16, "g%d", i + 1);
	column.name = name;
	return column;
}

/* What rows are grouped by for key I: the key's value, a finer time bucket, or the key's text. */
static void put_group(struct buf *sql, const struct slice *s, int i) {
	const struct slice_key *k = &s->keys[i];
	const struct key key = { .column = k->column, .unit = k->unit, .format = k->format };
	if (k->format != NULL) {
		put_bucket_group(sql, &key, "r");
	} else if (!has_one_text(k->column)) {
		put_key_text_of(sql, &key, "r");
	} else {
		buf_puts(sql, "r.");
		db_quote_ident(sql, k->column->name);
		/* a collation may call texts equal that differ */
		buf_puts(sql, is_text_type(k->column) ? " COLLATE \"C\"" : "");
	}
}

static void put_fact(struct buf *sql, const struct slice *s, int i) {
	if (s->keys[i].format == NULL) {
		put_group(sql, s, i);
		return;
	}
	buf_puts(sql, "r.");
	db_quote_ident(sql, s->keys[i].column->name);
}

static void put_group_key(struct buf *sql, const struct slice *s, int i) {
	char name[16];
	const struct column column = fact(s, i, name);
	const struct key key = { .column = &column,
				 .unit = s->keys[i].unit,
				 .format = s->keys[i].format };
	put_key_text_of(sql, &key, "g");
}

static void put_array(struct buf *json, const char *name, const struct slice *s,
		      void (*put)(struct buf *, const struct slice *, int)) {
	buf_printf(json, "\"%s\": [", name);
	for (int i = 0; i < s->nkeys; i++) {
		AUTO_BUF struct buf sql = { 0 };
		put(&sql, s, i);
		json->failed = json->failed || sql.failed;
		buf_puts(json, i > 0 ? ", " : "");
		buf_json_string(json, sql.data, sql.len);
	}
	buf_puts(json, "], ");
}

/* The key that has all of COLUMN's text; -1: none. */
static int key_with(const struct slice *s, const struct column *column) {
	for (int i = 0; i < s->nkeys; i++)
		if (s->keys[i].column == column && s->keys[i].format == NULL &&
		    has_one_text(column))
			return i;
	return -1;
}

/* The length of a line, in two parts: ROW differs from row to row, FILE is the same for a group. */
static void put_lengths(struct buf *row, struct buf *file, const struct slice *s,
			const struct place *place) {
	if (!s->csv) {
		buf_puts(row, "octet_length(");
		put_line(row, place, "r");
		buf_putc(row, ')');
		buf_puts(file, "1");
		return;
	}
	buf_puts(row, "0");
	buf_printf(file, "%d", s->ncolumns); /* commas and the newline */
	for (int i = 0; i < s->ncolumns; i++) {
		char name[16];
		int k = key_with(s, s->columns[i]);
		const struct column column = k >= 0 ? fact(s, k, name) : *s->columns[i];
		struct buf *sql = k >= 0 ? file : row;
		buf_puts(sql, " + octet_length(");
		put_csv_field(sql, &column, k >= 0 ? "g" : "r");
		buf_putc(sql, ')');
	}
}

static bool define(struct slice *s, const struct place *place) {
	AUTO_BUF struct buf json = { 0 }, row = { 0 }, file = { 0 };
	put_lengths(&row, &file, s, place);
	buf_putc(&json, '{');
	put_array(&json, "groups", s, put_group);
	put_array(&json, "facts", s, put_fact);
	put_array(&json, "keys", s, put_group_key);
	buf_puts(&json, "\"row_bytes\": ");
	buf_json_string(&json, row.data, row.len);
	buf_puts(&json, ", \"file_bytes\": ");
	buf_json_string(&json, file.data, file.len);
	buf_putc(&json, '}');
	return !row.failed && !file.failed && !json.failed &&
	       (s->definition = buf_take(&json)) != NULL;
}

/* -- slices -------------------------------------------------------------------------------------- */

void slice_free(struct slice *slice) {
	if (slice == NULL)
		return;
	free(slice->definition);
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
	bool fits = add_joined(s, place);
	place->slice_joined = s->nkeys;
	if (!fits || !add_own(s, place, place->target)) {
		slice_free(s);
		return true;
	}
	if (!define(s, place)) {
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
