/* A tree made of generated routes over a catalog that is made up: tables with every kind of key and
 * foreign key. The unit test and the fuzz target share it. */
#pragma once

#include "schema/statements/sql.h"
#include "schema/layout/tree.h"

#include <stdint.h>
#include <string.h>

/* -- the catalog ------------------------------------------------------------------------------- */

enum { SHELVES = 1, PLANTS, POTS, WATERINGS, NOTES, LOOSE, PARTED, SUMMARY };

/* A text of the catalog that nobody changes or frees. */
#define TEXT(literal) ((char *)(literal))

#define COLUMN(the_name, the_type, the_category, ...)                                              \
	{                                                                                          \
		.name = TEXT(the_name), .type = TEXT(the_type), .base = TEXT(the_type),            \
		.category = (the_category), .kind = 'b', .modifier = -1, __VA_ARGS__               \
	}
#define NAMES(...)                                                                                 \
	{                                                                                          \
		.names = (char *[]){ __VA_ARGS__ },                                                \
		.n = sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)                            \
	}
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static struct column treekit_shelves[] = { COLUMN("id", "integer", 'N', .not_null = true),
					   COLUMN("name", "text", 'S') };
static struct column treekit_plants[] = {
	COLUMN("name", "text", 'S', .not_null = true), COLUMN("shelf", "integer", 'N'),
	COLUMN("sort", "text", 'S'), COLUMN("bought", "date", 'D'), COLUMN("extra", "jsonb", 'U')
};
static struct column treekit_pots[] = { COLUMN("plant", "text", 'S', .not_null = true),
					COLUMN("no", "smallint", 'N', .not_null = true),
					COLUMN("first", "text", 'S'),
					COLUMN("price", "numeric", 'N') };
static struct column treekit_waterings[] = {
	COLUMN("id", "bigint", 'N', .not_null = true, .has_default = true),
	COLUMN("plant", "text", 'S', .not_null = true),
	COLUMN("pot", "smallint", 'N'),
	COLUMN("at", "timestamp with time zone", 'D', .not_null = true),
	COLUMN("us", "bigint", 'N'),
	COLUMN("litres", "numeric", 'N')
};
static struct column treekit_notes[] = { COLUMN("id", "uuid", 'U', .not_null = true),
					 COLUMN("watering", "bigint", 'N'),
					 COLUMN("plant", "text", 'S'), COLUMN("body", "text", 'S'),
					 COLUMN("raw", "bytea", 'U') };
static struct column treekit_loose[] = { COLUMN("plant", "text", 'S'),
					 COLUMN("n", "integer", 'N') };
static struct column treekit_parted[] = { COLUMN("id", "bigint", 'N', .not_null = true),
					  COLUMN("at", "timestamp without time zone", 'D',
						 .not_null = true),
					  COLUMN("plant", "text", 'S') };
static struct column treekit_summary[] = { COLUMN("name", "text", 'S'),
					   COLUMN("waterings", "bigint", 'N') };

static struct relation treekit_relations[] = {
	{ .layout_name = TEXT("shelves"),
	  .oid = SHELVES,
	  .kind = 'r',
	  .columns = treekit_shelves,
	  .ncolumns = COUNT(treekit_shelves),
	  .keys = (struct unique_key[]){ { NAMES(TEXT("id")), true },
					 { NAMES(TEXT("name")), false } },
	  .nkeys = 2 },
	{ .layout_name = TEXT("plants"),
	  .oid = PLANTS,
	  .kind = 'r',
	  .takes_copy = true,
	  .columns = treekit_plants,
	  .ncolumns = COUNT(treekit_plants),
	  .keys = (struct unique_key[]){ { NAMES(TEXT("name")), true } },
	  .nkeys = 1,
	  .parents = (struct foreign_key[]){ { SHELVES, NAMES(TEXT("shelf")), NAMES(TEXT("id")) },
					     { PLANTS, NAMES(TEXT("sort")), NAMES(TEXT("name")) } },
	  .nparents = 2 },
	{ .layout_name = TEXT("pots"),
	  .oid = POTS,
	  .kind = 'r',
	  .columns = treekit_pots,
	  .ncolumns = COUNT(treekit_pots),
	  .keys = (struct unique_key[]){ { NAMES(TEXT("plant"), TEXT("no")), true } },
	  .nkeys = 1,
	  .parents =
		  (struct foreign_key[]){ { PLANTS, NAMES(TEXT("plant")), NAMES(TEXT("name")) },
					  { PLANTS, NAMES(TEXT("first")), NAMES(TEXT("name")) } },
	  .nparents = 2 },
	{ .layout_name = TEXT("waterings"),
	  .oid = WATERINGS,
	  .kind = 'r',
	  .takes_copy = true,
	  .columns = treekit_waterings,
	  .ncolumns = COUNT(treekit_waterings),
	  .keys = (struct unique_key[]){ { NAMES(TEXT("id")), true } },
	  .nkeys = 1,
	  .parents = (struct foreign_key[]){ { PLANTS, NAMES(TEXT("plant")), NAMES(TEXT("name")) },
					     { POTS, NAMES(TEXT("plant"), TEXT("pot")),
					       NAMES(TEXT("plant"), TEXT("no")) } },
	  .nparents = 2 },
	{ .layout_name = TEXT("notes"),
	  .oid = NOTES,
	  .kind = 'r',
	  .columns = treekit_notes,
	  .ncolumns = COUNT(treekit_notes),
	  .keys = (struct unique_key[]){ { NAMES(TEXT("id")), true } },
	  .nkeys = 1,
	  .parents =
		  (struct foreign_key[]){ { WATERINGS, NAMES(TEXT("watering")), NAMES(TEXT("id")) },
					  { PLANTS, NAMES(TEXT("plant")), NAMES(TEXT("name")) } },
	  .nparents = 2 },
	{ .layout_name = TEXT("loose"),
	  .oid = LOOSE,
	  .kind = 'r',
	  .columns = treekit_loose,
	  .ncolumns = COUNT(treekit_loose),
	  .parents =
		  (struct foreign_key[]){ { PLANTS, NAMES(TEXT("plant")), NAMES(TEXT("name")) } },
	  .nparents = 1 },
	{ .layout_name = TEXT("parted"),
	  .oid = PARTED,
	  .kind = 'p',
	  .columns = treekit_parted,
	  .ncolumns = COUNT(treekit_parted),
	  .keys = (struct unique_key[]){ { NAMES(TEXT("id"), TEXT("at")), true } },
	  .nkeys = 1,
	  .parents =
		  (struct foreign_key[]){ { PLANTS, NAMES(TEXT("plant")), NAMES(TEXT("name")) } },
	  .nparents = 1 },
	{ .layout_name = TEXT("summary"),
	  .oid = SUMMARY,
	  .kind = 'v',
	  .columns = treekit_summary,
	  .ncolumns = COUNT(treekit_summary) },
};

static struct function treekit_functions[] = {
	{ .layout_name = TEXT("latest"),
	  .schema = TEXT("public"),
	  .name = TEXT("latest"),
	  .arguments = (struct function_argument[]){ { TEXT("name"), TEXT("text") },
						     { TEXT("n"), TEXT("integer") } },
	  .narguments = 2,
	  .ndefaults = 1 },
};

static const struct catalog *treekit_catalog(void) {
	static struct catalog catalog = { .relations = treekit_relations,
					  .nrelations = COUNT(treekit_relations),
					  .functions = treekit_functions,
					  .nfunctions = COUNT(treekit_functions),
					  .database = TEXT("db"),
					  .user = TEXT("keeper"),
					  .has_ledger = true,
					  .has_streams = true };
	for (int i = 0; i < catalog.nrelations; i++) {
		treekit_relations[i].schema = TEXT("public");
		treekit_relations[i].name = treekit_relations[i].layout_name;
	}
	return &catalog;
}

/* -- routes ------------------------------------------------------------------------------------ */

struct choices {
	const uint8_t *data;
	size_t left;
};

/* The next choice among N; the first where nothing is left. */
static size_t choose(struct choices *c, size_t n) {
	if (c->left == 0)
		return 0;
	c->left--;
	return *c->data++ % n;
}

#define PICK(c, list) ((list)[choose((c), COUNT(list))])

static const char *const treekit_components[] = {
	"a",
	"b",
	"{plants.name}",
	"{plants.name}",
	"{waterings.plant}",
	"{waterings.id}",
	"{shelves.id}",
	"{shelves.name}",
	"{plants.shelf}",
	"{plants.sort}",
	"{pots.plant}",
	"{pots.no}",
	"{pots.plant},{pots.no}",
	"{waterings.pot}",
	"{notes.watering}",
	"{notes.id}",
	"{notes.plant}",
	"{loose.plant}",
	"{loose.n}",
	"{parted.plant}",
	"{parted.id}",
	"x{plants.name}",
	"{day}",
	"{hour}",
};
static const char *const treekit_relation_names[] = {
	"plants", "waterings", "waterings", "pots", "notes", "loose", "parted", "shelves"
};
/* Ways to rows that mean something; what is drawn component by component mostly does not. */
static const struct treekit_way {
	const char *relation, *path;
} treekit_ways[] = {
	{ "waterings", "" },
	{ "waterings", "/{waterings.plant}" },
	{ "waterings", "/{plants.name}" },
	{ "waterings", "/{shelves.id}/{plants.name}" },
	{ "waterings", "/{plants.name}/{day}" },
	{ "waterings", "/{day}/{hour}" },
	{ "waterings", "/{waterings.plant}/{day}" },
	{ "waterings", "/{day}/{waterings.plant}" },
	{ "waterings", "/{plants.name}/{waterings.id}" },
	{ "waterings", "/{pots.plant},{pots.no}" },
	{ "waterings", "/{waterings.plant}/{waterings.pot}" },
	{ "waterings", "/{waterings.plant},{waterings.pot}" },
	{ "waterings", "/{plants.name}/{pots.no}" },
	{ "plants", "/{plants.name}" },
	{ "plants", "/{plants.shelf}" },
	{ "plants", "/{shelves.id}" },
	{ "plants", "/{shelves.name}" },
	{ "plants", "/{plants.sort}" },
	{ "plants", "/{waterings.id}" },
	{ "pots", "/{plants.name}" },
	{ "pots", "/{pots.plant}" },
	{ "pots", "/{pots.plant}/{pots.no}" },
	{ "notes", "/{waterings.id}" },
	{ "notes", "/{notes.watering}" },
	{ "notes", "/{notes.plant}/{notes.watering}" },
	{ "notes", "/{plants.name}/{notes.watering}" },
	{ "notes", "/{plants.name}" },
	{ "notes", "/{plants.name}/{waterings.id}" },
	{ "loose", "/{plants.name}" },
	{ "loose", "/{loose.plant}" },
	{ "loose", "/{loose.plant}/{loose.n}" },
	{ "parted", "/{plants.name}" },
	{ "parted", "/{parted.plant}" },
	{ "parted", "/{parted.plant}/{day}" },
	{ "shelves", "/{shelves.name}" },
	{ "shelves", "/{plants.name}" },
};
static const char *const treekit_columns[] = { "plants.extra",    "plants.sort", "waterings.litres",
					       "pots.price",      "notes.raw",   "shelves.name",
					       "waterings.plant", "parted.at" };

/* The words of one route that begin with its kind. */
static void put_kind(struct choices *c, const char *relation, struct buf *json, struct buf *path) {
	static const char *const lines[] = { "csv", "csv", "jsonl" };
	switch (choose(c, 8)) {
	case 0:
		buf_printf(json, "\"row\": \"%s\"", relation);
		buf_puts(path, ".json");
		return;
	case 1:
		buf_printf(json, "\"column\": \"%s\"", PICK(c, treekit_columns));
		return;
	case 2:
		buf_printf(json, "\"rows\": \"%s\", \"as\": \"array\"", relation);
		buf_puts(path, ".json");
		return;
	case 3:
		buf_printf(json, "\"query\": \"%s\"", choose(c, 2) > 0 ? "summary" : "latest");
		buf_puts(path, ".json");
		return;
	default:
		buf_printf(json, "\"rows\": \"%s\"", relation);
		buf_printf(path, ".%s", PICK(c, lines));
		if (choose(c, 3) == 0)
			buf_puts(json, ", \"columns\": [\"plant\"]");
		if (choose(c, 4) == 0)
			buf_puts(json, ", \"order\": [\"plant\"]");
	}
}

static void put_route(struct choices *c, size_t number, struct buf *json) {
	AUTO_BUF struct buf path = { 0 }, kind = { 0 };
	static const char *const days[] = {
		"\"column\": \"waterings.at\", \"format\": \"%Y-%m-%d\"",
		"\"column\": \"waterings.at\", \"format\": \"%Y-%m-%d\"",
		"\"column\": \"waterings.us\", \"unit\": \"us\", \"format\": \"%Y-%m-%d\"",
		"\"column\": \"parted.at\", \"format\": \"%Y-%m-%d\"",
		"\"column\": \"plants.bought\", \"format\": \"%Y\"",
	};
	static const char *const ends[] = { "/all", "", "-x" };
	const char *relation = PICK(c, treekit_relation_names);
	if (choose(c, 4) > 0)
		buf_printf(&path, "/%zu", number);
	if (choose(c, 4) > 0) {
		const struct treekit_way *way = &PICK(c, treekit_ways);
		relation = way->relation;
		buf_puts(&path, way->path);
		buf_puts(&path, way->path[0] == '\0' ? "/all" : PICK(c, ends));
	} else {
		for (size_t i = choose(c, 3) + 1; i > 0; i--)
			buf_printf(&path, "/%s", PICK(c, treekit_components));
	}
	put_kind(c, relation, &kind, &path);
	buf_printf(json,
		   "{ \"path\": \"%s\", %s, \"keys\": { \"day\": { %s }, \"hour\": { \"column\": "
		   "\"waterings.at\", \"format\": \"%%Y-%%m-%%d %%H\" } } }",
		   path.data, kind.data, PICK(c, days));
}

static void treekit_layout(struct choices *c, struct buf *json) {
	size_t n = 2 + choose(c, 3);
	buf_puts(json, "{ \"tables\": { \"plants\": { \"mtime\": \"bought\" }, \"pots\": { "
		       "\"parent\": { \"plants\": \"plant\" } } }, \"routes\": [ ");
	for (size_t i = 0; i < n; i++) {
		buf_puts(json, i > 0 ? ",\n" : "");
		put_route(c, i, json);
	}
	buf_printf(json, " ], \"optional\": %s }", choose(c, 2) > 0 ? "true" : "false");
}

/* -- one try ----------------------------------------------------------------------------------- */

/* A place's slice has its keys from the parent's row and from the path, no others. */
static bool treekit_slice_fits(const struct place *place) {
	int own = 0, target = place->route != NULL ? place->target : place->row_table;
	const struct scope_table *table = &place->scope.tables[target];
	for (const struct place *p = place; p != NULL; p = p->parent)
		for (int i = 0; i < p->nkeys; i++)
			own += p->keys[i].table == target;
	return (place->slice_joined == 0 || (table->fk != NULL && !table->upwards)) &&
	       (place->route != NULL ? place->slice_joined + own == place->slice->nkeys
				     : place->slice_joined + own <= place->slice->nkeys);
}

/* Builds the tree of the layout JSON, with and without summaries. Returns true if what has to hold
 * of it does: a tree or a mistake, and each file with its statements. *BUILT counts the trees. */
static bool treekit_try(const char *json, size_t len, int *built) {
	AUTO_BUF struct buf mistakes = { 0 };
	struct layout *layout = layout_parse(json, len, &mistakes);
	if (layout == NULL)
		return mistakes.len > 0;
	struct tree *tree = tree_build(layout, treekit_catalog(), NULL, &mistakes);
	bool ok = (tree == NULL) == (mistakes.len > 0);
	ok = ok && (tree == NULL || sql_build(tree));
	for (int i = 0; ok && tree != NULL && i < tree->nslices; i++)
		tree->slices[i]->usable = true;
	ok = ok && (tree == NULL || sql_use_slices(tree));
	for (int i = 0; ok && tree != NULL && i < tree->nall; i++) {
		const struct place *place = tree->all[i];
		/* also where a route that lacks something was taken back */
		ok = place->number == i && (i == 0 || place->parent->number < i) &&
		     (place->route != NULL || place->nchildren > 0);
		for (int k = 0; ok && k < place->nchildren; k++)
			ok = tree->all[place->children[k]->number] == place->children[k];
		ok = ok && (place->slice == NULL || treekit_slice_fits(place));
		ok = ok &&
		     (place->nkeys == 0 || place->route == NULL || place->sql.find.sql != NULL);
	}
	*built += tree != NULL;
	tree_free(tree);
	layout_free(layout);
	return ok;
}
