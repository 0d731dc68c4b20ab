#include "fs/rows_rotate.h"

#include "fs/lookup.h"

#include <ctype.h>
#include <string.h>

static bool is_kept_log(const struct node *dir, const char *name, size_t len) {
	AUTO_TARGET struct target target = { 0 };
	AUTO_FREE char *log = strndup(name, len);
	if (log == NULL)
		return false;
	lookup_target(dir, log, false, &target);
	return target.place != NULL && target.place->route != NULL &&
	       target.place->route->kind == KIND_ROWS &&
	       (target.place->write != WRITE_ALL || target.place->route->refuse_truncate ||
		target.place->route->refuse_remove);
}

bool rows_are_kept_rotations(const struct node *dir, const char *from, const char *to) {
	for (const char *dot = strchr(from, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
		size_t len = (size_t)(dot - from);
		bool numbered = isdigit((unsigned char)dot[1]) && strncmp(from, to, len + 1) == 0 &&
				isdigit((unsigned char)to[len + 1]);
		if (numbered && dir->type == NODE_PLACE && is_kept_log(dir, from, len))
			return true;
	}
	return false;
}
