#include "schema/layout/ingest.h"

#include "schema/layout/check.h"
#include "util/text/strings.h"

#include <string.h>

/* -- the route's words ------------------------------------------------------------------------- */

/* The one column of the primary key that is drawn from a sequence. */
static const struct column *find_key(const struct relation *rel) {
	const struct name_list *key = relation_key(rel);
	const struct column *found = NULL;
	/* a collector's role need not read it */
	if (key == NULL && rel->nkeys > 0 && rel->keys[0].primary)
		key = &rel->keys[0].columns;
	for (int i = 0; key != NULL && i < key->n; i++) {
		const struct column *column = relation_column(rel, key->names[i]);
		bool integer = column != NULL && (strcmp(column->base, "bigint") == 0 ||
						  strcmp(column->base, "integer") == 0 ||
						  strcmp(column->base, "smallint") == 0);
		if (integer && column->has_default)
			found = found == NULL ? column : NULL;
	}
	return found;
}

static int exponent_of(const char *unit) {
	return strcmp(unit, "s") == 0    ? 0
	       : strcmp(unit, "ms") == 0 ? 3
	       : strcmp(unit, "us") == 0 ? 6
					 : 9;
}

/* The factor from one unit of time to another, as text: 1000 or 0.001. */
static char *factor_of(const char *from, const char *to) {
	AUTO_BUF struct buf out = { 0 };
	int zeros = exponent_of(to) - exponent_of(from);
	buf_puts(&out, zeros < 0 ? "0." : "1");
	for (int i = zeros < 0 ? zeros + 1 : -zeros; i < 0; i++)
		buf_putc(&out, '0');
	if (zeros < 0)
		buf_putc(&out, '1');
	return buf_take(&out);
}

/* NAME is the layout's or the catalog's, which live as long. */
static void add_field(struct ingest *in, char *name, const struct column *column) {
	int n = in->nfields++;
	in->fields[n].column = column;
	in->names[n] = *column;
	in->names[n].name = name;
	in->header[n] = &in->names[n];
}

static bool take_fields(struct check *c, struct arena *memory, struct ingest *in) {
	const struct layout_route *route = c->route;
	for (int i = 0; i < route->nfields; i++) {
		const struct layout_field *f = &route->fields[i];
		const struct column *column = relation_column(in->rel, f->column);
		if (column == NULL)
			return check_missing(c, "table or view", in->rel->layout_name, f->column,
					     "field \"%s\": column \"%s\" does not exist in %s",
					     f->name, f->column, in->rel->layout_name);
		if (column->generated)
			return check_mistake(c, "field \"%s\": column \"%s\" does not exist in %s",
					     f->name, f->column, in->rel->layout_name);
		add_field(in, f->name, column);
		if (f->from == NULL || strcmp(f->from, f->to) == 0)
			continue;
		if (column->category != 'N')
			return check_mistake(c, "field \"%s\": column \"%s\" is no number", f->name,
					     f->column);
		in->fields[in->nfields - 1].factor = arena_keep(memory, factor_of(f->from, f->to));
		in->by_copy = false;
	}
	for (int i = 0; i < in->rel->ncolumns; i++) {
		const struct column *column = &in->rel->columns[i];
		bool usable = column != in->key && column != in->overflow && !column->generated;
		if (usable && ingest_field(in, column->name, strlen(column->name)) < 0)
			add_field(in, column->name, column);
	}
	return true;
}

/* NAME of "columns" is no field: a column that a file cannot have, or none. */
static void take_no_plain(struct check *c, const struct ingest *in, const char *name) {
	static const char words[] =
		"\"columns\": \"%s\" is no field of the file and no column of %s";
	if (relation_column(in->rel, name) != NULL)
		check_mistake(c, words, name, in->rel->layout_name);
	else
		check_missing(c, "table or view", in->rel->layout_name, name, words, name,
			      in->rel->layout_name);
}

/* What the fields of a line are where no header says it: the route's columns, or all. */
static bool take_plain(struct check *c, struct arena *memory, struct ingest *in) {
	const struct name_list *list = &c->route->columns;
	in->plain = arena_alloc(memory, list->n + in->nfields, sizeof(*in->plain));
	for (int i = 0; in->plain != NULL && i < list->n; i++) {
		int f = ingest_field(in, list->names[i], strlen(list->names[i]));
		if (f < 0) {
			take_no_plain(c, in, list->names[i]);
			return false;
		}
		in->plain[in->nplain++] = f;
	}
	for (int i = 0; in->plain != NULL && list->n == 0 && i < in->rel->ncolumns; i++) {
		const char *name = in->rel->columns[i].name;
		int f = ingest_field(in, name, strlen(name));
		if (f >= 0)
			in->plain[in->nplain++] = f;
	}
	return in->plain != NULL;
}

/* The format, by the route's word or the extension. */
static bool take_format(struct check *c, struct ingest *in) {
	const char *path = c->route->path, *format = c->route->format;
	size_t zipped = text_ends(path, ".gz") ? strlen(".gz") : 0;
	in->gzip = c->route->gzip || zipped > 0;
	in->format = format != NULL ? format_called(format, strlen(format))
				    : format_of(path, strlen(path) - zipped);
	in->by_copy = in->format != NULL && in->format->by_copy && in->rel->takes_copy;
	if (in->format == NULL)
		check_mistake(
			c,
			"the name does not tell the format: give \"format\": \"csv\" or \"jsonl\"");
	return in->format != NULL;
}

static bool take_dir(struct check *c, const struct place *place, struct ingest *in) {
	for (const struct place *p = place->parent; p != NULL; p = p->parent) {
		if (p->nkeys > 0)
			return check_mistake(
				c, "the directories of an ingest file must be literal names");
	}
	const char *slash = strrchr(place->route->path, '/');
	size_t len = (size_t)(slash - place->route->path);
	in->dir = arena_keep(place->memory, strndup(place->route->path, len > 0 ? len : 1));
	return in->dir != NULL;
}

static bool take_all(struct check *c, const struct place *place, struct ingest *in) {
	int room = in->rel->ncolumns + c->route->nfields;
	struct arena *memory = place->memory;
	if (strchr("rp", in->rel->kind) == NULL || (in->key = find_key(in->rel)) == NULL)
		return check_mistake(
			c,
			"ingest: %s must be a table whose primary key is one integer column "
			"with a sequence: rows are known by it to be a file's. Give it one "
			"(ALTER TABLE ... ADD COLUMN n bigserial, and make it the key), or use a "
			"\"rows\" route, which takes any key",
			in->rel->layout_name);
	if (c->route->overflow != NULL) {
		in->overflow = relation_column(in->rel, c->route->overflow);
		if (in->overflow == NULL && c->route->optional)
			return check_missing(c, "table or view", in->rel->layout_name,
					     c->route->overflow, "\"overflow\"");
		if (in->overflow == NULL || strcmp(in->overflow->base, "jsonb") != 0)
			return check_mistake(c, "\"overflow\": \"%s\" is no jsonb column of %s",
					     c->route->overflow, in->rel->layout_name);
	}
	in->fields = arena_alloc(memory, room, sizeof(*in->fields));
	in->names = arena_alloc(memory, room, sizeof(*in->names));
	in->header = arena_alloc(memory, room, sizeof(*in->header));
	return !memory->failed && take_format(c, in) && take_dir(c, place, in) &&
	       take_fields(c, memory, in) && take_plain(c, memory, in);
}

bool ingest_check(struct check *c, struct place *place) {
	const struct relation *rel = check_relation(c, "ingest", "table", c->route->relation);
	if (rel == NULL)
		return false;
	place->ingest = arena_alloc(place->memory, 1, sizeof(*place->ingest));
	if (place->ingest == NULL)
		return false;
	place->ingest->tree = place->tree;
	place->ingest->rel = rel;
	place->ingest->has_proof = c->catalog->has_proof;
	place->ingest->of_table = c->catalog->has_file_relations ? rel->full_name : NULL;
	return take_all(c, place, place->ingest);
}

int ingest_field(const struct ingest *in, const char *name, size_t len) {
	for (int i = 0; i < in->nfields; i++)
		if (strlen(in->names[i].name) == len && memcmp(in->names[i].name, name, len) == 0)
			return i;
	return -1;
}

bool ingest_is_gzip(const struct ingest *in, const char *name) {
	return in->gzip || text_ends(name, ".gz");
}

static bool same_field(const struct ingest *a, const struct ingest *b, int i) {
	return a->fields[i].column == b->fields[i].column &&
	       strcmp(a->names[i].name, b->names[i].name) == 0 &&
	       text_same(a->fields[i].factor, b->fields[i].factor);
}

bool ingest_same_rows(const struct ingest *a, const struct ingest *b) {
	if (a->rel != b->rel || a->format != b->format || a->overflow != b->overflow ||
	    a->nfields != b->nfields || a->nplain != b->nplain)
		return false;
	for (int i = 0; i < a->nfields; i++)
		if (!same_field(a, b, i))
			return false;
	return memcmp(a->plain, b->plain, (size_t)a->nplain * sizeof(*a->plain)) == 0;
}
