#include "fs/names/moved.h"

#include "fs/core/part.h"
#include "fs/core/fs.h"
#include "util/mutex.h"
#include "util/list.h"

#include <stdatomic.h>
#include <string.h>

struct moved {
	char **paths; /* guarded by fs_lists */
	atomic_size_t n;
};

static bool moved_open(struct fs *fs) {
	struct moved *moved = fs->moved = calloc(1, sizeof(*moved));
	return moved != NULL;
}

static void moved_close(struct fs *fs) {
	struct moved *moved = fs->moved;
	for (size_t i = 0; i < moved->n; i++)
		free(moved->paths[i]);
	free(moved->paths);
	free(moved);
}

const struct mount_part moved_part = { "moved", moved_open, moved_close };

/* Index of PATH, or n. */
static size_t find_locked(const struct moved *moved, const char *path) {
	size_t i = 0, n = atomic_load(&moved->n);
	while (i < n && strcmp(moved->paths[i], path) != 0)
		i++;
	return i;
}

void moved_hide(struct moved *moved, const char *path) {
	LOCK_SCOPE(&fs_lists);
	if (find_locked(moved, path) < moved->n)
		return;
	if (list_room(moved->paths, moved->n) && (moved->paths[moved->n] = strdup(path)) != NULL)
		moved->n++;
}

void moved_show(struct moved *moved, const char *path) {
	if (!moved_any(moved))
		return;
	LOCK_SCOPE(&fs_lists);
	size_t i = find_locked(moved, path);
	if (i == moved->n)
		return;
	free(moved->paths[i]);
	moved->paths[i] = moved->paths[--moved->n];
}

void moved_show_below(struct moved *moved, const char *path) {
	size_t len = strlen(path);
	if (!moved_any(moved))
		return;
	LOCK_SCOPE(&fs_lists);
	for (size_t i = moved->n; i > 0; i--) {
		char *hidden = moved->paths[i - 1];
		if (strncmp(hidden, path, len) != 0 || hidden[len] != '/')
			continue;
		free(hidden);
		moved->paths[i - 1] = moved->paths[--moved->n];
	}
}

bool moved_any(const struct moved *moved) {
	return atomic_load(&moved->n) > 0;
}

bool moved_has(struct moved *moved, const char *path) {
	LOCK_SCOPE(&fs_lists);
	return find_locked(moved, path) < moved->n;
}
