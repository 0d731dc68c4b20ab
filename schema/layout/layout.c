#include "schema/layout/layout.h"

#include "util/text/strings.h"
#include "util/text/utf8.h"
#include "util/text/json_shape.h"
#include "util/list.h"

#include <stddef.h>
#include <string.h>

static const char *const kind_words[] = { "row", "column", "rows", "query", "file", "rows" };
enum { NKINDS = KIND_TABLE }; /* which "rows" it is, the path tells */

const char *route_kind_word(enum route_kind kind) {
	return kind_words[kind];
}

/* What the functions below share: where mistakes go, of what they speak, and whose memory it is. */
struct reader {
	struct buf *mistakes;
	const char *subject; /* "route", "table" or "timer" */
	const char *name;
	struct arena *memory;
};

/* A word of an object of the layout: TAKE puts its value at AT in what is read. */
struct word {
	const char *name;
	void (*take)(struct reader *r, const cJSON *item, const struct word *word, void *out);
	size_t at;
	const char *no, *yes; /* take_choice(): the values */
};

static void mistake(struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void mistake(struct reader *r, const char *fmt, ...) {
	va_list ap;
	buf_printf(r->mistakes, "%s%s%s: ", r->subject, r->name != NULL ? " " : "",
		   r->name != NULL ? r->name : "");
	va_start(ap, fmt);
	buf_vprintf(r->mistakes, fmt, ap);
	va_end(ap);
	buf_putc(r->mistakes, '\n');
}

/* Takes E by that of WORDS that it is, into OUT. False: it is none of them. */
static bool take_word(struct reader *r, const cJSON *e, const struct word *words, void *out) {
	while (words->name != NULL && strcmp(e->string, words->name) != 0)
		words++;
	if (words->name != NULL)
		words->take(r, e, words, (char *)out + words->at);
	return words->name != NULL;
}

/* The values of ITEMS as an array of N things of SIZE bytes that READ makes. */
static void *take_each(struct reader *r, const cJSON *items, size_t size, int *n,
		       void (*read)(struct reader *r, const cJSON *item, void *out)) {
	const cJSON *e;
	char *list = arena_alloc(r->memory, cJSON_GetArraySize(items), size);
	cJSON_ArrayForEach(e, items) {
		if (list != NULL)
			read(r, e, list + (size_t)(*n)++ * size);
	}
	return list;
}

static void take_string(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	char **text = out;
	if (cJSON_IsString(item) && item->valuestring[0] != '\0')
		*text = arena_strdup(r->memory, item->valuestring);
	else
		mistake(r, "\"%s\" must be a string", item->string);
}

static void take_choice(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	if (cJSON_IsString(item) && strcmp(item->valuestring, word->yes) == 0)
		*(bool *)out = true;
	else if (!cJSON_IsString(item) || strcmp(item->valuestring, word->no) != 0)
		mistake(r, "\"%s\" must be \"%s\" or \"%s\"", item->string, word->no, word->yes);
}

static void take_flag(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	if (!cJSON_IsBool(item))
		mistake(r, "\"%s\" must be true or false", item->string);
	*(bool *)out = cJSON_IsTrue(item);
}

static void take_true(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	*(bool *)out = cJSON_IsTrue(item);
}

static void take_write(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	static const char *const words[] = { "none", "rows", "all" };
	enum layout_write *write = out;
	int at = cJSON_IsString(item) ? text_index(words, 3, item->valuestring) : -1;
	if (at >= 0)
		*write = (enum layout_write)(WRITE_NONE + at);
	if (*write == WRITE_UNSAID)
		mistake(r, "\"write\" must be \"none\", \"rows\" or \"all\"");
}

static void list_begin(struct reader *r, const cJSON *item, struct name_list *list) {
	list->names = arena_alloc(r->memory, cJSON_GetArraySize(item), sizeof(*list->names));
}

static void list_add(struct reader *r, struct name_list *list, const char *name) {
	if (list->names != NULL)
		list->names[list->n++] = arena_strdup(r->memory, name);
}

static void take_list(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	const cJSON *e;
	if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) == 0) {
		mistake(r, "\"%s\" must be a list of column names", item->string);
		return;
	}
	list_begin(r, item, out);
	cJSON_ArrayForEach(e, item) {
		if (cJSON_IsString(e))
			list_add(r, out, e->valuestring);
		else
			mistake(r, "\"%s\" must be a list of column names", item->string);
	}
}

static bool is_unit(const char *s) {
	static const char *const units[] = { "s", "ms", "us", "ns" };
	return text_index(units, 4, s) >= 0;
}

static const struct word key_words[] = {
	{ "column", take_string, offsetof(struct layout_key, column) },
	{ "unit", take_string, offsetof(struct layout_key, unit) },
	{ "format", take_string, offsetof(struct layout_key, format) },
	{ NULL },
};

static void read_key(struct reader *r, const cJSON *item, void *out) {
	struct layout_key *key = out;
	const cJSON *e;
	key->name = arena_strdup(r->memory, item->string);
	if (!cJSON_IsObject(item)) {
		mistake(r, "key {%s}: must be an object", item->string);
		return;
	}
	cJSON_ArrayForEach(e, item) {
		if (!take_word(r, e, key_words, key))
			mistake(r, "key {%s}: unknown word \"%s\"", item->string, e->string);
	}
	if (key->column == NULL || key->format == NULL)
		mistake(r, "key {%s}: needs \"column\" and \"format\"", item->string);
	if (key->unit != NULL && !is_unit(key->unit))
		mistake(r, "key {%s}: \"unit\" must be s, ms, us or ns", item->string);
}

static void take_keys(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	struct layout_route *route = out;
	if (cJSON_IsObject(item))
		route->keys = take_each(r, item, sizeof(*route->keys), &route->nkeys, read_key);
	else
		mistake(r, "\"keys\" must be an object");
}

static void take_args(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	struct layout_route *route = out;
	const cJSON *e;
	if (!cJSON_IsObject(item)) {
		mistake(r, "\"args\" must be an object");
		return;
	}
	route->args = arena_alloc(r->memory, cJSON_GetArraySize(item), sizeof(*route->args));
	cJSON_ArrayForEach(e, item) {
		if (!cJSON_IsString(e))
			mistake(r, "\"args\": \"%s\" must name a key", e->string);
		else if (route->args != NULL)
			route->args[route->nargs++] = (struct layout_arg){
				.parameter = arena_strdup(r->memory, e->string),
				.key = arena_strdup(r->memory, e->valuestring),
			};
	}
}

static const struct word field_words[] = {
	{ "column", take_string, offsetof(struct layout_field, column) },
	{ "from", take_string, offsetof(struct layout_field, from) },
	{ "to", take_string, offsetof(struct layout_field, to) },
	{ NULL },
};

static void read_field(struct reader *r, const cJSON *item, void *out) {
	struct layout_field *field = out;
	const cJSON *e;
	field->name = arena_strdup(r->memory, item->string);
	if (cJSON_IsString(item)) {
		field->column = arena_strdup(r->memory, item->valuestring);
		return;
	}
	cJSON_ArrayForEach(e, item) {
		if (!take_word(r, e, field_words, field))
			mistake(r, "field \"%s\": unknown word \"%s\"", item->string, e->string);
	}
	if (field->column == NULL || (field->from == NULL) != (field->to == NULL))
		mistake(r, "field \"%s\": needs \"column\", and \"from\" and \"to\" together",
			item->string);
	else if (field->from != NULL && (!is_unit(field->from) || !is_unit(field->to)))
		mistake(r, "field \"%s\": \"from\" and \"to\" are s, ms, us or ns", item->string);
}

static void take_fields(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	struct layout_route *route = out;
	if (cJSON_IsObject(item) && route->fields == NULL)
		route->fields =
			take_each(r, item, sizeof(*route->fields), &route->nfields, read_field);
	else
		mistake(r, "\"fields\" must be an object");
}

/* Of an ingest file, what becomes of its rows; of other files, whether they may be removed. */
static void take_remove(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	struct layout_route *route = out;
	const char *value = cJSON_IsString(item) ? item->valuestring : "";
	bool rows = strcmp(value, "rows") == 0;
	if (rows || strcmp(value, "keep") == 0)
		route->remove_rows = rows;
	else
		take_choice(r, item, word, &route->refuse_remove);
}

static void take_optional(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	struct layout_route *route = out;
	take_flag(r, item, word, &route->optional);
	route->says_optional = true;
}

#define OF_ROUTE(member) offsetof(struct layout_route, member)
static const struct word route_words[] = {
	{ "ingest", take_string, OF_ROUTE(relation) },
	{ "fields", take_fields },
	{ "format", take_string, OF_ROUTE(format) },
	{ "gzip", take_true, OF_ROUTE(gzip) },
	{ "replace", take_choice, OF_ROUTE(keep_replaced), "rows", "keep" },
	{ "remove", take_remove, 0, "delete", "refuse" },
	{ "keys", take_keys },
	{ "args", take_args },
	{ "columns", take_list, OF_ROUTE(columns) },
	{ "order", take_list, OF_ROUTE(order) },
	{ "overflow", take_string, OF_ROUTE(overflow) },
	{ "mtime", take_string, OF_ROUTE(mtime) },
	{ "truncate", take_choice, OF_ROUTE(refuse_truncate), "replace", "refuse" },
	{ "write", take_write, OF_ROUTE(write) },
	{ "as", take_choice, OF_ROUTE(as_array), "object", "array" },
	{ "by", take_string, OF_ROUTE(by) },
	{ "optional", take_optional },
	{ NULL },
};

static void take_kind(struct reader *r, const cJSON *item, enum route_kind kind,
		      struct layout_route *route) {
	route->kind = kind;
	if (kind == KIND_FILE) {
		if (!cJSON_IsTrue(item))
			mistake(r, "\"file\" must be true");
		return;
	}
	take_string(r, item, NULL, &route->relation);
	if (kind != KIND_COLUMN || route->relation == NULL)
		return;
	char *dot = strrchr(route->relation, '.');
	if (dot == NULL || dot[1] == '\0') {
		mistake(r, "\"column\" must be RELATION.COLUMN");
		return;
	}
	route->column = dot + 1;
	*dot = '\0';
}

/* One word of a route. Returns 1 if it named the kind. */
static int read_word(struct reader *r, const cJSON *e, struct layout_route *route) {
	for (int k = 0; k < NKINDS; k++) {
		if (strcmp(e->string, kind_words[k]) == 0) {
			take_kind(r, e, (enum route_kind)k, route);
			return 1;
		}
	}
	/* the path was taken before */
	if (strcmp(e->string, "path") != 0 && !take_word(r, e, route_words, route))
		mistake(r, "unknown word \"%s\"", e->string);
	return 0;
}

static void check_path(struct reader *r, const char *path) {
	if (path[0] != '/' || path[1] == '\0')
		mistake(r, "\"path\" must begin with / and name something");
	if (!utf8_valid(path, strlen(path)))
		mistake(r, "\"path\" is not UTF-8");
	if (strncmp(path, "/.rowfs", 7) == 0 && (path[7] == '/' || path[7] == '\0'))
		mistake(r, "/.rowfs belongs to rowfs itself");
}

/* All rows as one document, if the route's path ends in .json. */
static void take_table(struct reader *r, struct layout_route *route) {
	if (route->kind != KIND_ROWS || !text_ends(route->path, ".json"))
		return;
	route->kind = KIND_TABLE;
	if (route->as_array == (route->by != NULL))
		mistake(r, "rows in a .json are either \"as\": \"array\", or an object \"by\" the "
			   "column whose values are its keys");
}

/* A word that would have no effect on the kind is a mistake where somebody relies on it. */
static void check_refusals(struct reader *r, const struct layout_route *route) {
	const char *kind = kind_words[route->kind];
	bool plain = route->kind == KIND_FILE && route->relation == NULL;
	if (route->refuse_truncate && route->kind != KIND_ROWS && route->kind != KIND_TABLE &&
	    route->kind != KIND_COLUMN)
		mistake(r, "\"truncate\" is for rows and column, not for %s", kind);
	if (route->refuse_remove && (route->kind == KIND_QUERY || route->kind == KIND_FILE))
		mistake(r, "\"remove\": \"refuse\" is for row, column and rows, not for %s", kind);
	if (route->write != WRITE_UNSAID && (route->kind == KIND_QUERY || plain))
		mistake(r, "\"write\" is for files of rows, not for %s",
			plain ? "plain files" : kind);
}

static void read_route(struct reader *r, const cJSON *item, void *out) {
	struct layout_route *route = out;
	const cJSON *e, *path = cJSON_GetObjectItemCaseSensitive(item, "path");
	size_t before = r->mistakes->len;
	r->subject = "route";
	r->name = cJSON_IsString(path) ? path->valuestring : NULL;
	route->broken = true;
	if (r->name == NULL) {
		mistake(r, "needs a \"path\"");
		return;
	}
	route->path = arena_strdup(r->memory, r->name);
	if (route->path == NULL)
		return;
	check_path(r, r->name);
	int kinds = 0;
	cJSON_ArrayForEach(e, item)
		kinds += read_word(r, e, route);
	if (kinds != 1)
		mistake(r, "needs exactly one of row, column, rows, query, file");
	take_table(r, route);
	check_refusals(r, route);
	route->broken = r->mistakes->len > before;
}

static void take_parents(struct reader *r, const cJSON *item, const struct word *word, void *out) {
	struct layout_table *table = out;
	const cJSON *e;
	if (!cJSON_IsObject(item)) {
		mistake(r, "unknown word \"%s\"", item->string);
		return;
	}
	list_begin(r, item, &table->parents);
	list_begin(r, item, &table->parent_columns);
	cJSON_ArrayForEach(e, item) {
		if (!cJSON_IsString(e)) {
			mistake(r, "\"parent\": \"%s\" must name a column", e->string);
			continue;
		}
		list_add(r, &table->parents, e->string);
		list_add(r, &table->parent_columns, e->valuestring);
	}
}

static const struct word table_words[] = {
	{ "mtime", take_string, offsetof(struct layout_table, mtime) },
	{ "key", take_list, offsetof(struct layout_table, key) },
	{ "parent", take_parents },
	{ NULL },
};

/* An object of WORDS, into OUT. False after a mistake that leaves nothing to be looked at. */
static bool read_object(struct reader *r, const cJSON *item, const struct word *words, void *out) {
	const cJSON *e;
	if (!cJSON_IsObject(item)) {
		mistake(r, "must be an object");
		return false;
	}
	cJSON_ArrayForEach(e, item) {
		if (!take_word(r, e, words, out))
			mistake(r, "unknown word \"%s\"", e->string);
	}
	return true;
}

static void read_table(struct reader *r, const cJSON *item, void *out) {
	struct layout_table *table = out;
	r->subject = "table";
	r->name = item->string;
	table->relation = arena_strdup(r->memory, item->string);
	(void)read_object(r, item, table_words, table);
}

static const struct word timer_words[] = {
	{ "call", take_string, offsetof(struct layout_timer, call) },
	{ "every", take_string, offsetof(struct layout_timer, every) },
	{ NULL },
};

static void read_timer(struct reader *r, const cJSON *item, void *out) {
	struct layout_timer *timer = out;
	r->subject = "timer";
	r->name = NULL;
	if (!read_object(r, item, timer_words, timer))
		return;
	if (timer->call == NULL || timer->every == NULL)
		mistake(r, "needs \"call\" and \"every\"");
	else if (strcmp(timer->every, "cleanup_interval") != 0)
		mistake(r, "\"every\" must be \"cleanup_interval\", not \"%s\"", timer->every);
}

static void set_rule(struct reader *r, const char *path, const cJSON *item,
		     struct layout_rule *rule) {
	r->subject = "write";
	r->name = path;
	take_write(r, item, NULL, &rule->write);
	if (path[0] != '/' || (path[1] != '\0' && path[strlen(path) - 1] == '/'))
		mistake(r, "a path begins with / and does not end with it");
	rule->path = arena_strdup(r->memory, path);
}

static void read_rule(struct reader *r, const cJSON *item, void *out) {
	set_rule(r, item->string, item, out);
}

/* "write": a word for all paths, or an object of paths with theirs. */
static void read_rules(struct reader *r, const cJSON *e, struct layout *layout) {
	size_t size = sizeof(*layout->rules);
	if (cJSON_IsObject(e)) {
		layout->rules = take_each(r, e, size, &layout->nrules, read_rule);
	} else if ((layout->rules = arena_alloc(r->memory, 1, size)) != NULL) {
		layout->nrules = 1;
		set_rule(r, "/", e, layout->rules);
	}
}

static void read_section(struct reader *r, const cJSON *e, struct layout *layout) {
	bool array = cJSON_IsArray(e), object = cJSON_IsObject(e);
	r->subject = "layout";
	r->name = NULL;
	if (strcmp(e->string, "routes") == 0 && array && layout->routes == NULL)
		layout->routes =
			take_each(r, e, sizeof(*layout->routes), &layout->nroutes, read_route);
	else if (strcmp(e->string, "tables") == 0 && object && layout->tables == NULL)
		layout->tables =
			take_each(r, e, sizeof(*layout->tables), &layout->ntables, read_table);
	else if (strcmp(e->string, "timers") == 0 && array && layout->timers == NULL)
		layout->timers =
			take_each(r, e, sizeof(*layout->timers), &layout->ntimers, read_timer);
	else if (strcmp(e->string, "write") == 0 && layout->rules == NULL)
		read_rules(r, e, layout);
	else if (strcmp(e->string, "optional") == 0)
		take_flag(r, e, NULL, &layout->optional);
	else
		mistake(r, "unknown, repeated or wrongly shaped word \"%s\"", e->string);
}

/* What the layout says of all, its words being in any order. */
static void spread_optional(struct layout *layout) {
	for (int i = 0; i < layout->nroutes; i++)
		if (!layout->routes[i].says_optional)
			layout->routes[i].optional = layout->optional;
	for (int i = 0; i < layout->ntimers; i++)
		layout->timers[i].optional = layout->optional;
}

struct layout *layout_parse(const char *text, size_t len, struct buf *mistakes) {
	struct reader r = { .mistakes = mistakes, .subject = "layout" };
	const char *end = text;
	AUTO_BUF struct buf why = { 0 };
	AUTO_JSON cJSON *json = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (json == NULL) {
		json_put_position(&why, text, end);
		mistake(&r, "not valid JSON at %s", why.data);
		return NULL;
	}
	if (json_check(text, len, &why) != 0) { /* a word that stands twice, for one */
		mistake(&r, "%s", why.data);
		return NULL;
	}
	if (!cJSON_IsObject(json)) {
		mistake(&r, "must be a JSON object");
		return NULL;
	}
	struct layout *layout = calloc(1, sizeof(*layout));
	if (layout == NULL)
		return NULL;
	const cJSON *e;
	r.memory = &layout->memory;
	cJSON_ArrayForEach(e, json)
		read_section(&r, e, layout);
	spread_optional(layout);
	r.subject = "layout";
	r.name = NULL;
	if (layout->nroutes == 0)
		mistake(&r, "has no \"routes\"");
	if (!layout->memory.failed)
		return layout;
	mistake(&r, "out of memory");
	layout_free(layout);
	return NULL;
}

const struct layout_arg *layout_arg(const struct layout_route *route, const char *key) {
	for (int i = 0; i < route->nargs; i++)
		if (strcmp(route->args[i].key, key) == 0)
			return &route->args[i];
	return NULL;
}

const char *layout_parameter(const struct layout_route *route, const char *key) {
	const struct layout_arg *arg = layout_arg(route, key);
	const char *dot = strrchr(key, '.');
	return arg != NULL ? arg->parameter : dot != NULL ? dot + 1 : key;
}

const struct layout_table *layout_table(const struct layout *layout, const char *relation) {
	return list_find(layout->tables, layout->ntables, relation, relation);
}

bool layout_route_names(const struct layout_route *route, const char *relation) {
	size_t len = strlen(relation);
	if (route->relation != NULL && strcmp(route->relation, relation) == 0)
		return true;
	for (const char *p = strchr(route->path, '{'); p != NULL; p = strchr(p + 1, '{'))
		if (strncmp(p + 1, relation, len) == 0 && p[1 + len] == '.' &&
		    p[2 + len + strcspn(p + 2 + len, ".}")] == '}')
			return true;
	for (int k = 0; k < route->nkeys; k++)
		if (strncmp(route->keys[k].column, relation, len) == 0 &&
		    route->keys[k].column[len] == '.' &&
		    strchr(route->keys[k].column + len + 1, '.') == NULL)
			return true;
	return false;
}

void layout_free(struct layout *layout) {
	if (layout == NULL)
		return;
	arena_free(&layout->memory);
	free(layout);
}
