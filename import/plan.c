#include "import/plan.h"

#include "util/buf.h"
#include "util/list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* -- items ------------------------------------------------------------------------------------- */

void item_end(struct item *item, enum item_state state, int errnum, const char *why) {
	free(item->why);
	item->why = why != NULL ? strdup(why) : NULL;
	item->errnum = errnum;
	item->state = state;
}

const struct format *item_format(const struct item *item) {
	const struct format *format = format_of(item->path, strlen(item->path));
	return format != NULL ? format : &format_jsonl;
}

/* -- walking ----------------------------------------------------------------------------------- */

struct walk {
	struct plan *plan;
	const char *prefix;
};

static struct item *add_item(struct walk *w, const char *path, const struct stat *st) {
	struct plan *plan = w->plan;
	AUTO_BUF struct buf whole = { 0 };
	if (!list_room(plan->items, plan->n)) {
		plan->failed = true;
		return NULL;
	}
	struct item *item = &plan->items[plan->n];
	buf_printf(&whole, "%s%s", w->prefix, path);
	*item = (struct item){ .path = strdup(path),
			       .size = (uint64_t)st->st_size,
			       .mtime = st->st_mtim,
			       .mode = st->st_mode & 07777,
			       .what = CLASS_PLAIN };
	if (item->path == NULL || whole.failed) {
		plan->failed = true;
		return NULL;
	}
	item->route = routes_match(&plan->routes, whole.data);
	if (item->route != NULL)
		item->what = item->route->what;
	if (item->route != NULL && item->route->absent)
		item_end(item, ITEM_REFUSED, EOPNOTSUPP, /* no later pass helps */
			 "the database does not have what this path's route needs (left_out in "
			 "/.rowfs/status.json says what): it would be no rows");
	plan->n++;
	return item;
}

static const char *odd_kind(mode_t mode) {
	return S_ISLNK(mode)
		       ? "a symbolic link: its target is copied where it is itself in the tree"
	       : S_ISSOCK(mode) ? "a socket"
	       : S_ISFIFO(mode) ? "a pipe"
	       : S_ISREG(mode)  ? NULL
				: "a device";
}

static void walk_directory(struct walk *w, int fd, struct buf *path);

static void walk_into(struct walk *w, int parent, const char *name, struct buf *path,
		      const struct stat *st) {
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		buf_putc(path, '/');
		walk_directory(w, fd, path);
		return;
	}
	int errnum = errno;
	struct item *item = add_item(w, path->data, st);
	if (item != NULL) {
		item->size = 0;
		item_end(item, ITEM_REFUSED, errnum, "the old directory cannot be read");
	}
}

static void walk_name(struct walk *w, int fd, const char *name, struct buf *path) {
	struct stat st;
	struct item *item;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		int errnum = errno;
		st = (struct stat){ 0 };
		if ((item = add_item(w, path->data, &st)) != NULL)
			item_end(item, ITEM_REFUSED, errnum, "the old file cannot be looked at");
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		walk_into(w, fd, name, path, &st);
		return;
	}
	item = add_item(w, path->data, &st);
	if (item == NULL)
		return;
	if (odd_kind(st.st_mode) != NULL)
		item_end(item, ITEM_LEFT_OUT, 0, odd_kind(st.st_mode));
	else if (item->what == CLASS_QUERY)
		item_end(item, ITEM_LEFT_OUT, 0, "a query file: the database makes it");
}

static void note_empty(struct walk *w, const struct buf *path) {
	struct plan *plan = w->plan;
	char *name = strndup(path->data, path->len - 1);
	if (name == NULL || !list_room(plan->directories, plan->ndirectories)) {
		free(name);
		plan->failed = true;
		return;
	}
	plan->directories[plan->ndirectories++] = name;
}

/* FD is taken over. PATH ends in a slash, or is empty. */
static void walk_directory(struct walk *w, int fd, struct buf *path) {
	DIR *d = fdopendir(fd);
	const struct dirent *e;
	size_t len = path->len;
	int seen = 0;
	if (d == NULL) {
		close(fd);
		w->plan->failed = true;
		return;
	}
	while (!w->plan->failed && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    (len == 0 && w->prefix[0] == '\0' && strcmp(e->d_name, ".rowfs") == 0))
			continue;
		seen++;
		buf_resize(path, len);
		buf_puts(path, e->d_name);
		walk_name(w, dirfd(d), e->d_name, path);
	}
	buf_resize(path, len);
	if (seen == 0 && len > 0)
		note_empty(w, path);
	closedir(d);
}

/* -- order ------------------------------------------------------------------------------------- */

static int compare_items(const void *a, const void *b) {
	const struct item *x = a, *y = b;
	/* bytes as such, and query files, come last */
	int x_rank = x->what >= CLASS_INGEST ? 1000 + (int)x->what : x->route->rank;
	int y_rank = y->what >= CLASS_INGEST ? 1000 + (int)y->what : y->route->rank;
	if (x_rank != y_rank)
		return x_rank - y_rank;
	if (x->what != y->what)
		return (int)x->what - (int)y->what;
	if (x->route != y->route)
		return x->route < y->route ? -1 : 1;
	return strcmp(x->path, y->path);
}

static int compare_paths(const void *a, const void *b) {
	return strcmp((*(struct item *const *)a)->path, (*(struct item *const *)b)->path);
}

/* Index of the first item by path that is not less than PATH's first LEN bytes. */
static size_t lower_bound(const struct plan *plan, const char *path, size_t len) {
	size_t low = 0, high = plan->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strncmp(plan->by_path[middle]->path, path, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool plan_shadowed(const struct plan *plan, const struct item *item, bool done) {
	const char *slash = strrchr(item->path, '/');
	size_t len = slash != NULL ? (size_t)(slash - item->path) + 1 : 0;
	for (size_t i = lower_bound(plan, item->path, len);
	     i < plan->n && strncmp(plan->by_path[i]->path, item->path, len) == 0; i++)
		if (plan->by_path[i]->what == CLASS_ROW &&
		    (!done || plan->by_path[i]->state == ITEM_DONE) &&
		    strcmp(plan->by_path[i]->route->relation, item->route->relation) == 0)
			return true;
	return false;
}

int plan_scan(struct plan *plan, int old, const char *prefix) {
	struct walk w = { .plan = plan, .prefix = prefix };
	AUTO_BUF struct buf path = { 0 };
	int fd = openat(old, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	buf_puts(&path, "");
	walk_directory(&w, fd, &path);
	if (!plan->failed)
		plan->by_path = calloc(plan->n + 1, sizeof(struct item *));
	if (plan->failed || path.failed || plan->by_path == NULL)
		return -ENOMEM;
	if (plan->n > 0)
		qsort(plan->items, plan->n, sizeof(*plan->items), compare_items);
	for (size_t i = 0; i < plan->n; i++)
		plan->by_path[i] = &plan->items[i];
	if (plan->n > 0)
		qsort(plan->by_path, plan->n, sizeof(struct item *), compare_paths);
	for (size_t i = 0; i < plan->n; i++)
		if (plan->items[i].what == CLASS_LINES)
			plan->items[i].shadowed = plan_shadowed(plan, &plan->items[i], false);
	return 0;
}

struct item *plan_find(const struct plan *plan, const char *path) {
	size_t i = lower_bound(plan, path, strlen(path) + 1);
	return i < plan->n && strcmp(plan->by_path[i]->path, path) == 0 ? plan->by_path[i] : NULL;
}

void plan_free(struct plan *plan) {
	for (size_t i = 0; i < plan->n; i++) {
		free(plan->items[i].path);
		free(plan->items[i].why);
	}
	for (size_t i = 0; i < plan->ndirectories; i++)
		free(plan->directories[i]);
	arena_free(&plan->routes.memory);
	free(plan->items);
	free(plan->by_path);
	free(plan->directories);
	*plan = (struct plan){ 0 };
}
