#include "schema/layout/layout.h"

#include "util/text/utf8.h"
#include "util/text/json_shape.h"
#include "util/list.h"

#include <string.h>

static const char *const kind_words[] = { "row", "column", "rows", "query", "file", "rows" };
enum { NKINDS = KIND_TABLE }; /* which "rows" it is, the path tells */

const char *route_kind_word(enum route_kind kind) {
	return kind_words[kind];
}

/* What the functions below share: where mistakes go, and of what they speak. */
struct reader {
	struct buf *mistakes;
	const char *subject; /* "route", "table" or "timer" */
	const char *name;
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

static void take_string(struct reader *r, const cJSON *item, char **out) {
	if (!cJSON_IsString(item) || item->valuestring[0] == '\0') {
		mistake(r, "\"%s\" must be a string", item->string);
		return;
	}
	free(*out);
	*out = strdup(item->valuestring);
}

static void take_choice(struct reader *r, const cJSON *item, const char *no, const char *yes,
			bool *out) {
	if (cJSON_IsString(item) && strcmp(item->valuestring, yes) == 0)
		*out = true;
	else if (!cJSON_IsString(item) || strcmp(item->valuestring, no) != 0)
		mistake(r, "\"%s\" must be \"%s\" or \"%s\"", item->string, no, yes);
}

static void take_flag(struct reader *r, const cJSON *item, bool *out) {
	if (!cJSON_IsBool(item))
		mistake(r, "\"%s\" must be true or false", item->string);
	*out = cJSON_IsTrue(item);
}

static void take_write(struct reader *r, const cJSON *item, enum layout_write *out) {
	static const char *const words[] = { "none", "rows", "all" };
	for (int i = 0; i < 3; i++)
		if (cJSON_IsString(item) && strcmp(item->valuestring, words[i]) == 0)
			*out = (enum layout_write)(WRITE_NONE + i);
	if (*out == WRITE_UNSAID)
		mistake(r, "\"write\" must be \"none\", \"rows\" or \"all\"");
}

static void list_add(struct name_list *list, const char *name) {
	if (list_room(list->names, list->n) && (list->names[list->n] = strdup(name)) != NULL)
		list->n++;
}

static void take_list(struct reader *r, const cJSON *item, struct name_list *out) {
	const cJSON *e;
	if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) == 0) {
		mistake(r, "\"%s\" must be a list of column names", item->string);
		return;
	}
	cJSON_ArrayForEach(e, item) {
		if (cJSON_IsString(e))
			list_add(out, e->valuestring);
		else
			mistake(r, "\"%s\" must be a list of column names", item->string);
	}
}

static bool one_of(const char *s, const char *const *words, size_t n) {
	for (size_t i = 0; i < n; i++)
		if (strcmp(s, words[i]) == 0)
			return true;
	return false;
}

static bool is_unit(const char *s) {
	static const char *const units[] = { "s", "ms", "us", "ns" };
	return one_of(s, units, 4);
}

static void read_key(struct reader *r, const cJSON *item, struct layout_key *key) {
	const cJSON *e;
	key->name = strdup(item->string);
	if (!cJSON_IsObject(item)) {
		mistake(r, "key {%s}: must be an object", item->string);
		return;
	}
	cJSON_ArrayForEach(e, item) {
		if (strcmp(e->string, "column") == 0)
			take_string(r, e, &key->column);
		else if (strcmp(e->string, "unit") == 0)
			take_string(r, e, &key->unit);
		else if (strcmp(e->string, "format") == 0)
			take_string(r, e, &key->format);
		else
			mistake(r, "key {%s}: unknown word \"%s\"", item->string, e->string);
	}
	if (key->column == NULL || key->format == NULL)
		mistake(r, "key {%s}: needs \"column\" and \"format\"", item->string);
	if (key->unit != NULL && !is_unit(key->unit))
		mistake(r, "key {%s}: \"unit\" must be s, ms, us or ns", item->string);
}

static void take_keys(struct reader *r, const cJSON *item, struct layout_route *route) {
	const cJSON *e;
	if (!cJSON_IsObject(item)) {
		mistake(r, "\"keys\" must be an object");
		return;
	}
	route->keys = calloc((size_t)cJSON_GetArraySize(item) + 1, sizeof(*route->keys));
	cJSON_ArrayForEach(e, item) {
		if (route->keys != NULL)
			read_key(r, e, &route->keys[route->nkeys++]);
	}
}

static void take_args(struct reader *r, const cJSON *item, struct layout_route *route) {
	const cJSON *e;
	if (!cJSON_IsObject(item)) {
		mistake(r, "\"args\" must be an object");
		return;
	}
	route->args = calloc((size_t)cJSON_GetArraySize(item) + 1, sizeof(*route->args));
	cJSON_ArrayForEach(e, item) {
		if (!cJSON_IsString(e)) {
			mistake(r, "\"args\": \"%s\" must name a key", e->string);
			continue;
		}
		if (route->args == NULL)
			return;
		route->args[route->nargs].parameter = strdup(e->string);
		route->args[route->nargs++].key = strdup(e->valuestring);
	}
}

static void read_field(struct reader *r, const cJSON *item, struct layout_field *field) {
	const cJSON *e;
	field->name = strdup(item->string);
	if (cJSON_IsString(item)) {
		field->column = strdup(item->valuestring);
		return;
	}
	cJSON_ArrayForEach(e, item) {
		if (strcmp(e->string, "column") == 0)
			take_string(r, e, &field->column);
		else if (strcmp(e->string, "from") == 0)
			take_string(r, e, &field->from);
		else if (strcmp(e->string, "to") == 0)
			take_string(r, e, &field->to);
		else
			mistake(r, "field \"%s\": unknown word \"%s\"", item->string, e->string);
	}
	if (field->column == NULL || (field->from == NULL) != (field->to == NULL))
		mistake(r, "field \"%s\": needs \"column\", and \"from\" and \"to\" together",
			item->string);
	else if (field->from != NULL && (!is_unit(field->from) || !is_unit(field->to)))
		mistake(r, "field \"%s\": \"from\" and \"to\" are s, ms, us or ns", item->string);
}

static void take_fields(struct reader *r, const cJSON *item, struct layout_route *route) {
	const cJSON *e;
	if (!cJSON_IsObject(item) || route->fields != NULL) {
		mistake(r, "\"fields\" must be an object");
		return;
	}
	route->fields = calloc((size_t)cJSON_GetArraySize(item) + 1, sizeof(*route->fields));
	cJSON_ArrayForEach(e, item) {
		if (route->fields != NULL)
			read_field(r, e, &route->fields[route->nfields++]);
	}
}

/* The words of an ingest file. Returns false if E is none of them. */
static bool read_ingest_word(struct reader *r, const cJSON *e, struct layout_route *route) {
	const char *value = cJSON_IsString(e) ? e->valuestring : "";
	if (strcmp(e->string, "ingest") == 0)
		take_string(r, e, &route->relation);
	else if (strcmp(e->string, "fields") == 0)
		take_fields(r, e, route);
	else if (strcmp(e->string, "format") == 0)
		take_string(r, e, &route->format);
	else if (strcmp(e->string, "gzip") == 0)
		route->gzip = cJSON_IsTrue(e);
	else if (strcmp(e->string, "replace") == 0)
		take_choice(r, e, "rows", "keep", &route->keep_replaced);
	else if (strcmp(e->string, "remove") == 0 && strcmp(value, "keep") == 0)
		route->remove_rows = false;
	else if (strcmp(e->string, "remove") == 0 && strcmp(value, "rows") == 0)
		route->remove_rows = true;
	else
		return false;
	return true;
}

static void take_kind(struct reader *r, const cJSON *item, enum route_kind kind,
		      struct layout_route *route) {
	route->kind = kind;
	if (kind == KIND_FILE) {
		if (!cJSON_IsTrue(item))
			mistake(r, "\"file\" must be true");
		return;
	}
	take_string(r, item, &route->relation);
	if (kind != KIND_COLUMN || route->relation == NULL)
		return;
	char *dot = strrchr(route->relation, '.');
	if (dot == NULL || dot[1] == '\0') {
		mistake(r, "\"column\" must be RELATION.COLUMN");
		return;
	}
	route->column = strdup(dot + 1);
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
	if (strcmp(e->string, "path") == 0)
		return 0; /* taken before */
	if (read_ingest_word(r, e, route))
		return 0;
	if (strcmp(e->string, "keys") == 0)
		take_keys(r, e, route);
	else if (strcmp(e->string, "args") == 0)
		take_args(r, e, route);
	else if (strcmp(e->string, "columns") == 0)
		take_list(r, e, &route->columns);
	else if (strcmp(e->string, "order") == 0)
		take_list(r, e, &route->order);
	else if (strcmp(e->string, "overflow") == 0)
		take_string(r, e, &route->overflow);
	else if (strcmp(e->string, "mtime") == 0)
		take_string(r, e, &route->mtime);
	else if (strcmp(e->string, "truncate") == 0)
		take_choice(r, e, "replace", "refuse", &route->refuse_truncate);
	else if (strcmp(e->string, "remove") == 0)
		take_choice(r, e, "delete", "refuse", &route->refuse_remove);
	else if (strcmp(e->string, "write") == 0)
		take_write(r, e, &route->write);
	else if (strcmp(e->string, "as") == 0)
		take_choice(r, e, "object", "array", &route->as_array);
	else if (strcmp(e->string, "by") == 0)
		take_string(r, e, &route->by);
	else if (strcmp(e->string, "optional") == 0) {
		take_flag(r, e, &route->optional);
		route->says_optional = true;
	} else
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
	size_t len = strlen(route->path);
	if (route->kind != KIND_ROWS || len < 5 || strcmp(route->path + len - 5, ".json") != 0)
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

static void read_route(struct reader *r, const cJSON *item, struct layout_route *route) {
	const cJSON *e, *path = cJSON_GetObjectItemCaseSensitive(item, "path");
	size_t before = r->mistakes->len;
	r->subject = "route";
	r->name = cJSON_IsString(path) ? path->valuestring : NULL;
	route->broken = true;
	if (r->name == NULL) {
		mistake(r, "needs a \"path\"");
		return;
	}
	route->path = strdup(r->name);
	if (route->path == NULL) {
		mistake(r, "out of memory");
		return;
	}
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

static void take_parents(struct reader *r, const cJSON *item, struct layout_table *table) {
	const cJSON *e;
	cJSON_ArrayForEach(e, item) {
		if (!cJSON_IsString(e)) {
			mistake(r, "\"parent\": \"%s\" must name a column", e->string);
			continue;
		}
		list_add(&table->parents, e->string);
		list_add(&table->parent_columns, e->valuestring);
	}
}

static void read_table(struct reader *r, const cJSON *item, struct layout_table *table) {
	const cJSON *e;
	r->subject = "table";
	r->name = item->string;
	table->relation = strdup(item->string);
	if (!cJSON_IsObject(item)) {
		mistake(r, "must be an object");
		return;
	}
	cJSON_ArrayForEach(e, item) {
		if (strcmp(e->string, "mtime") == 0)
			take_string(r, e, &table->mtime);
		else if (strcmp(e->string, "key") == 0)
			take_list(r, e, &table->key);
		else if (strcmp(e->string, "parent") == 0 && cJSON_IsObject(e))
			take_parents(r, e, table);
		else
			mistake(r, "unknown word \"%s\"", e->string);
	}
}

static void read_timer(struct reader *r, const cJSON *item, struct layout_timer *timer) {
	const cJSON *e;
	r->subject = "timer";
	r->name = NULL;
	if (!cJSON_IsObject(item)) {
		mistake(r, "must be an object");
		return;
	}
	cJSON_ArrayForEach(e, item) {
		if (strcmp(e->string, "call") == 0)
			take_string(r, e, &timer->call);
		else if (strcmp(e->string, "every") == 0)
			take_string(r, e, &timer->every);
		else
			mistake(r, "unknown word \"%s\"", e->string);
	}
	if (timer->call == NULL || timer->every == NULL)
		mistake(r, "needs \"call\" and \"every\"");
	else if (strcmp(timer->every, "cleanup_interval") != 0)
		mistake(r, "\"every\" must be \"cleanup_interval\", not \"%s\"", timer->every);
}

static void add_rule(struct reader *r, const char *path, const cJSON *word, struct layout *layout) {
	struct layout_rule *rule = &layout->rules[layout->nrules];
	r->subject = "write";
	r->name = path;
	take_write(r, word, &rule->write);
	if (path[0] != '/' || (path[1] != '\0' && path[strlen(path) - 1] == '/'))
		mistake(r, "a path begins with / and does not end with it");
	rule->path = strdup(path);
	layout->nrules += rule->path != NULL;
}

/* "write": a word for all paths, or an object of paths with theirs. */
static void read_rules(struct reader *r, const cJSON *e, struct layout *layout) {
	const cJSON *item;
	layout->rules = calloc((size_t)cJSON_GetArraySize(e) + 2, sizeof(*layout->rules));
	if (layout->rules == NULL)
		return;
	if (!cJSON_IsObject(e)) {
		add_rule(r, "/", e, layout);
		return;
	}
	cJSON_ArrayForEach(item, e)
		add_rule(r, item->string, item, layout);
}

static void read_section(struct reader *r, const cJSON *e, struct layout *layout) {
	const cJSON *item;
	size_t n = (size_t)cJSON_GetArraySize(e) + 1;
	r->subject = "layout";
	r->name = NULL;
	if (strcmp(e->string, "routes") == 0 && cJSON_IsArray(e) && layout->routes == NULL) {
		layout->routes = calloc(n, sizeof(*layout->routes));
		cJSON_ArrayForEach(item, e) {
			if (layout->routes != NULL)
				read_route(r, item, &layout->routes[layout->nroutes++]);
		}
	} else if (strcmp(e->string, "tables") == 0 && cJSON_IsObject(e) &&
		   layout->tables == NULL) {
		layout->tables = calloc(n, sizeof(*layout->tables));
		cJSON_ArrayForEach(item, e) {
			if (layout->tables != NULL)
				read_table(r, item, &layout->tables[layout->ntables++]);
		}
	} else if (strcmp(e->string, "timers") == 0 && cJSON_IsArray(e) && layout->timers == NULL) {
		layout->timers = calloc(n, sizeof(*layout->timers));
		cJSON_ArrayForEach(item, e) {
			if (layout->timers != NULL)
				read_timer(r, item, &layout->timers[layout->ntimers++]);
		}
	} else if (strcmp(e->string, "write") == 0 && layout->rules == NULL) {
		read_rules(r, e, layout);
	} else if (strcmp(e->string, "optional") == 0) {
		take_flag(r, e, &layout->optional);
	} else {
		mistake(r, "unknown, repeated or wrongly shaped word \"%s\"", e->string);
	}
}

/* What the layout says of all, its words being in any order. */
static void spread_optional(struct layout *layout) {
	for (int i = 0; i < layout->nroutes; i++)
		if (!layout->routes[i].says_optional)
			layout->routes[i].optional = layout->optional;
	for (int i = 0; i < layout->ntimers; i++)
		layout->timers[i].optional = layout->optional;
}

/* Line and column of byte AT, counted from 1. */
static void syntax_mistake(struct reader *r, const char *text, const char *at) {
	int line = 1, column = 1;
	for (const char *p = text; p < at && *p != '\0'; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	mistake(r, "not valid JSON at line %d, column %d", line, column);
}

struct layout *layout_parse(const char *text, size_t len, struct buf *mistakes) {
	struct reader r = { .mistakes = mistakes, .subject = "layout" };
	const char *end = text;
	AUTO_BUF struct buf why = { 0 };
	AUTO_JSON cJSON *json = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (json == NULL) {
		syntax_mistake(&r, text, end);
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
	cJSON_ArrayForEach(e, json)
		read_section(&r, e, layout);
	spread_optional(layout);
	r.subject = "layout";
	r.name = NULL;
	if (layout->nroutes == 0)
		mistake(&r, "has no \"routes\"");
	return layout;
}

const struct layout_table *layout_table(const struct layout *layout, const char *relation) {
	for (int i = 0; i < layout->ntables; i++)
		if (strcmp(layout->tables[i].relation, relation) == 0)
			return &layout->tables[i];
	return NULL;
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

static void list_free(struct name_list *list) {
	for (int i = 0; i < list->n; i++)
		free(list->names[i]);
	free(list->names);
}

static void route_free(struct layout_route *route) {
	for (int i = 0; i < route->nkeys; i++) {
		free(route->keys[i].name);
		free(route->keys[i].column);
		free(route->keys[i].unit);
		free(route->keys[i].format);
	}
	for (int i = 0; i < route->nargs; i++) {
		free(route->args[i].parameter);
		free(route->args[i].key);
	}
	for (int i = 0; i < route->nfields; i++) {
		free(route->fields[i].name);
		free(route->fields[i].column);
		free(route->fields[i].from);
		free(route->fields[i].to);
	}
	free(route->fields);
	free(route->format);
	free(route->keys);
	free(route->args);
	free(route->path);
	free(route->relation);
	free(route->column);
	free(route->overflow);
	free(route->by);
	free(route->mtime);
	list_free(&route->columns);
	list_free(&route->order);
}

void layout_free(struct layout *layout) {
	if (layout == NULL)
		return;
	for (int i = 0; i < layout->nroutes; i++)
		route_free(&layout->routes[i]);
	for (int i = 0; i < layout->ntables; i++) {
		free(layout->tables[i].relation);
		free(layout->tables[i].mtime);
		list_free(&layout->tables[i].key);
		list_free(&layout->tables[i].parents);
		list_free(&layout->tables[i].parent_columns);
	}
	for (int i = 0; i < layout->ntimers; i++) {
		free(layout->timers[i].call);
		free(layout->timers[i].every);
	}
	free(layout->routes);
	free(layout->tables);
	for (int k = 0; k < layout->nrules; k++)
		free(layout->rules[k].path);
	free(layout->rules);
	free(layout->timers);
	free(layout);
}
