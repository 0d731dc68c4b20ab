#include "schema/layout/lack.h"

#include "util/text/strings.h"
#include "util/list.h"

#include <string.h>

struct lack *lacks_add(struct lacks *lacks, const char *kind, const char *relation,
		       const char *column) {
	for (int i = 0; i < lacks->n; i++)
		if (strcmp(lacks->list[i].relation, relation) == 0 &&
		    text_same(lacks->list[i].column, column))
			return &lacks->list[i];
	if (!list_room(lacks->list, lacks->n))
		return NULL;
	struct lack *lack = &lacks->list[lacks->n];
	*lack = (struct lack){
		.kind = kind,
		.relation = arena_strdup(lacks->memory, relation),
		.column = column != NULL ? arena_strdup(lacks->memory, column) : NULL,
	};
	if (lacks->memory->failed)
		return NULL;
	lacks->n++;
	return lack;
}

/* True if PATH is the first LEN bytes of START, or goes on below them. */
static bool begins_with(const char *path, const char *start, size_t len) {
	return strncmp(path, start, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

bool lacks_path(const struct lacks *lacks, const struct layout *layout, const char *path) {
	size_t len = strcmp(path, "/") == 0 ? 0 : strlen(path);
	for (int i = 0; i < layout->nroutes; i++)
		if (lacks->of[i] > 0 && begins_with(layout->routes[i].path, path, len))
			return true;
	return false;
}

/* The length of the shortest beginning of route I's path below which all routes lack the same. */
static size_t common(const struct lacks *lacks, const struct layout *layout, int i) {
	const char *path = layout->routes[i].path;
	for (const char *end = path; *end != '\0';) {
		end = end + 1 + strcspn(end + 1, "/");
		bool all = true;
		for (int k = 0; all && k < layout->nroutes; k++) {
			const char *other = layout->routes[k].path;
			all = lacks->of[k] == lacks->of[i] || other == NULL ||
			      !begins_with(other, path, (size_t)(end - path));
		}
		if (all)
			return (size_t)(end - path);
	}
	return strlen(path);
}

static void put_item(struct buf *out, const char **comma, const char *text, size_t len) {
	buf_puts(out, *comma);
	buf_add(out, text, len);
	*comma = ", ";
}

/* The paths that entry I leaves out, each once. */
static void put_paths(const struct lacks *lacks, const struct layout *layout, int i,
		      const char **comma, struct buf *out) {
	for (int r = 0; r < layout->nroutes; r++) {
		if (lacks->of[r] != i + 1)
			continue;
		const char *path = layout->routes[r].path;
		size_t len = common(lacks, layout, r);
		bool told = false;
		for (int k = 0; !told && k < r; k++)
			told = lacks->of[k] == i + 1 &&
			       begins_with(layout->routes[k].path, path, len);
		if (!told)
			put_item(out, comma, path, len);
	}
}

void lacks_put(const struct lacks *lacks, const struct layout *layout, int i, struct buf *out) {
	static const char timer[] = "the timer that calls it", mtime[] = "\"mtime\" in \"tables\"",
			  entry[] = "what \"tables\" says of it";
	const struct lack *lack = &lacks->list[i];
	const char *comma = "";
	if (lack->denied) {
		buf_printf(
			out,
			"this role may not read column \"%s\" of %s, by which files are found or "
			"ordered: using them is refused (GRANT SELECT on it)",
			lack->column, lack->relation);
		return;
	}
	if (lack->column != NULL)
		buf_printf(out, "column \"%s\" does not exist in %s; left out: ", lack->column,
			   lack->relation);
	else
		buf_printf(out, "%s %s does not exist; left out: ", lack->kind, lack->relation);
	put_paths(lacks, layout, i, &comma, out);
	if (lack->timer)
		put_item(out, &comma, timer, sizeof(timer) - 1);
	if (lack->mtime)
		put_item(out, &comma, mtime, sizeof(mtime) - 1);
	if (comma[0] == '\0')
		buf_puts(out, entry);
}
