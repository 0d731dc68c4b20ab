#include "import/route.h"

#include "util/text/strings.h"
#include "util/buf.h"
#include "util/json.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

/* In a pattern: what is no byte of a file's name in a layout. */
enum { ANY_TEXT = 1, ONE_DIGIT = 2, DEEPEST_PATH = 63 };

const char *class_word(enum file_class what) {
	static const char *const words[CLASS_COUNT] = {
		[CLASS_LINES] = "rows",       [CLASS_TABLE] = "table document",
		[CLASS_ROW] = "row document", [CLASS_COLUMN] = "column",
		[CLASS_INGEST] = "ingest",    [CLASS_PLAIN] = "plain",
		[CLASS_QUERY] = "query",
	};
	return words[what];
}

/* -- patterns ---------------------------------------------------------------------------------- */

/* The format of a time bucket: %Y is four digits, the others are two. */
static void put_format(struct buf *out, const char *format) {
	for (const char *p = format; *p != '\0'; p++) {
		if (*p != '%' || p[1] == '\0') {
			buf_putc(out, *p);
			continue;
		}
		p++;
		for (int i = *p == 'Y' ? 4 : 2; i > 0; i--)
			buf_putc(out, ONE_DIGIT);
	}
}

static char *pattern_of(struct arena *memory, const char *part, const cJSON *keys) {
	AUTO_BUF struct buf out = { 0 };
	buf_puts(&out, "");
	while (*part != '\0') {
		const char *close = *part == '{' ? strchr(part, '}') : NULL;
		if (close == NULL) {
			buf_putc(&out, *part++);
			continue;
		}
		AUTO_FREE char *name = strndup(part + 1, (size_t)(close - part) - 1);
		const char *format = json_word(
			cJSON_GetObjectItemCaseSensitive(keys, name != NULL ? name : ""), "format");
		if (format != NULL)
			put_format(&out, format);
		else
			buf_putc(&out, ANY_TEXT);
		part = close + 1;
	}
	return arena_keep(memory, buf_take(&out));
}

static bool matches(const char *pattern, const char *name, size_t len) {
	for (; *pattern != '\0' && *pattern != ANY_TEXT; pattern++, name++, len--)
		if (len == 0 ||
		    (*pattern == ONE_DIGIT ? !isdigit((unsigned char)*name) : *pattern != *name))
			return false;
	if (*pattern == '\0')
		return len == 0;
	for (size_t skip = 1; skip <= len; skip++)
		if (matches(pattern + 1, name + skip, len - skip))
			return true;
	return false;
}

static bool is_literal(const char *pattern) {
	return strchr(pattern, ANY_TEXT) == NULL && strchr(pattern, ONE_DIGIT) == NULL;
}

/* True if the route has PATH; LITERALS gets a bit for each literal component, the first the
 * highest. */
static bool route_has(const struct route *route, const char *path, uint64_t *literals) {
	*literals = 0;
	for (int i = 0; i < route->nparts; i++) {
		const char *slash = strchr(path, '/');
		bool last = i == route->nparts - 1;
		if (last != (slash == NULL))
			return false;
		size_t len = slash != NULL ? (size_t)(slash - path) : strlen(path);
		if (!matches(route->parts[i], path, len))
			return false;
		if (is_literal(route->parts[i]))
			*literals |= 1ULL << (DEEPEST_PATH - i);
		path += len + (slash != NULL);
	}
	return route->nparts > 0;
}

const struct route *routes_match(const struct routes *routes, const char *path) {
	const struct route *best = NULL;
	uint64_t best_literals = 0, literals;
	for (int i = 0; i < routes->n; i++) {
		if (!route_has(&routes->list[i], path, &literals) ||
		    (best != NULL && literals <= best_literals))
			continue;
		best = &routes->list[i];
		best_literals = literals;
	}
	return best;
}

/* -- reading the layout ------------------------------------------------------------------------ */

/* What the route is, and of which relation (borrowed). */
static enum file_class classify(const cJSON *json, const char **relation) {
	static const struct {
		const char *key;
		enum file_class what;
	} kinds[] = { { "row", CLASS_ROW },
		      { "column", CLASS_COLUMN },
		      { "rows", CLASS_LINES },
		      { "query", CLASS_QUERY },
		      { "ingest", CLASS_INGEST } };
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if ((*relation = json_word(json, kinds[i].key)) != NULL)
			return kinds[i].what == CLASS_LINES &&
					       text_ends(json_word(json, "path"), ".json")
				       ? CLASS_TABLE
				       : kinds[i].what;
	return CLASS_PLAIN;
}

static void read_route(struct arena *memory, struct route *out, const cJSON *json) {
	const char *path = json_word(json, "path"), *relation;
	const char *truncate = json_word(json, "truncate");
	if (path == NULL)
		return; /* the mount would not have taken it */
	out->what = classify(json, &relation);
	if (relation != NULL) {
		out->relation = arena_strdup(memory, relation);
		char *dot = out->what == CLASS_COLUMN && out->relation != NULL
				    ? strrchr(out->relation, '.')
				    : NULL;
		if (dot != NULL)
			*dot = '\0';
	}
	const char *replace = json_word(json, "replace");
	out->keeps = replace != NULL && strcmp(replace, "keep") == 0;
	out->replaceable = truncate == NULL || strcmp(truncate, "refuse") != 0;
	out->parts = arena_alloc(memory, DEEPEST_PATH, sizeof(char *));
	char *copy = arena_strdup(memory, path);
	if (memory->failed)
		return;
	char *rest = copy, *part;
	while ((part = strsep(&rest, "/")) != NULL && out->nparts <= DEEPEST_PATH) {
		if (*part != '\0')
			out->parts[out->nparts++] = pattern_of(
				memory, part, cJSON_GetObjectItemCaseSensitive(json, "keys"));
	}
}

/* -- ranks ------------------------------------------------------------------------------------- */

/* Relations that stand behind one another in a path refer to one another: each is a rank behind the
 * one before it. Returns true if anything moved. */
static bool raise_ranks(struct routes *routes, const struct route *route, const char *path) {
	int before = -1; /* rank of the relation of the last key */
	const char *relation = NULL;
	AUTO_FREE char *last = NULL;
	bool moved = false;
	for (const char *open = strchr(path, '{'); open != NULL; open = strchr(open + 1, '{')) {
		const char *dot = memrchr(open + 1, '.', strcspn(open + 1, "}"));
		if (dot == NULL)
			continue;
		free(last);
		last = strndup(open + 1, (size_t)(dot - open) - 1);
		relation = last;
		for (int i = 0; i < routes->n && relation != NULL; i++)
			if (routes->list[i].relation != NULL &&
			    strcmp(routes->list[i].relation, relation) == 0)
				before = routes->list[i].rank;
	}
	if (relation == NULL || route->relation == NULL || route->what == CLASS_QUERY ||
	    strcmp(relation, route->relation) == 0)
		return false;
	for (int i = 0; i < routes->n; i++) {
		struct route *other = &routes->list[i];
		if (other->relation != NULL && strcmp(other->relation, route->relation) == 0 &&
		    other->rank <= before) {
			other->rank = before + 1;
			moved = true;
		}
	}
	return moved;
}

/* Rows files and ingest files of one relation: who replaced the one would remove what the other has
 * brought. */
static void note_ingested(struct routes *routes) {
	for (int i = 0; i < routes->n; i++)
		for (int k = 0; k < routes->n; k++)
			if (routes->list[i].what == CLASS_LINES &&
			    routes->list[k].what == CLASS_INGEST &&
			    strcmp(routes->list[i].relation, routes->list[k].relation) == 0)
				routes->list[i].ingested = true;
}

/* Those that the mount leaves out: what is written there would be plain files, and no rows. */
static void note_absent(struct route *route, const cJSON *json, const cJSON *left_out) {
	const char *path = json_word(json, "path");
	const cJSON *one;
	cJSON_ArrayForEach(one, left_out)
		if (path != NULL && cJSON_IsString(one) && strcmp(one->valuestring, path) == 0)
			route->absent = true;
}

bool routes_read(struct routes *out, const char *layout, const char *status) {
	AUTO_JSON cJSON *json = cJSON_Parse(layout);
	AUTO_JSON cJSON *state = status != NULL ? cJSON_Parse(status) : NULL;
	const cJSON *left_out = cJSON_GetObjectItemCaseSensitive(state, "left_out_routes");
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "routes"), *route;
	int n = cJSON_GetArraySize(list), i = 0;
	if (!cJSON_IsArray(list))
		return false;
	out->list = arena_alloc(&out->memory, n, sizeof(*out->list));
	if (out->list == NULL)
		return false;
	cJSON_ArrayForEach(route, list) {
		struct route *one = &out->list[out->n++];
		read_route(&out->memory, one, route);
		note_absent(one, route, left_out);
	}
	if (out->memory.failed)
		return false;
	note_ingested(out);
	/* relations that refer to each other have no end: what is left is for the later passes */
	for (bool moved = true; moved && i < 32; i++) {
		int at = 0;
		moved = false;
		cJSON_ArrayForEach(route, list) {
			const char *path = json_word(route, "path");
			if (path != NULL && raise_ranks(out, &out->list[at], path))
				moved = true;
			at++;
		}
	}
	return true;
}
