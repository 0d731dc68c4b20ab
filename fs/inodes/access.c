#include "fs/inodes/access.h"

#include <errno.h>

/* True if CHANGE, to a file of KIND at PLACE, is one to many rows at once. */
static bool is_many(const struct kind *kind, const struct place *place, enum change change) {
	if (change == CHANGE_ANY)
		return false;
	return kind->many != NULL ? kind->many(place, change) : kind->lines;
}

/* What the route's own words say. */
static int check_words(struct call *call, const struct place *place, enum change change) {
	if (change == CHANGE_ANEW && place->route != NULL && place->route->refuse_truncate)
		return call_error(
			call, EPERM,
			"the layout refuses to write this file anew (\"truncate\": \"refuse\")%s",
			call->fs->kinds->of_place(place)->appended ? ": append to it" : "");
	if (change == CHANGE_REMOVE && place->stays)
		return call_error(
			call, EPERM,
			place->route->refuse_remove
				? "the layout refuses to remove this file (\"remove\": \"refuse\")"
				: "the layout refuses to remove this file: its row has \"remove\": \"refuse\"");
	return 0;
}

int access_check(struct call *call, const struct place *place, enum change change) {
	/* the kernel lets programs write again after `mount -o remount,rw` */
	if (call->fs->opt->read_only)
		return call_error(
			call, EROFS,
			"rowfs was started to read only (-o ro): unmount it, and mount it again");
	if (place == NULL)
		return 0;
	if (place->write == WRITE_NONE)
		return call_error(call, EROFS,
				  "the layout allows no changes here (\"write\": \"none\")");
	int rc = check_words(call, place, change);
	if (rc != 0 || !is_many(call->fs->kinds->of_place(place), place, change))
		return rc;
	if (place->write == WRITE_ROWS)
		return call_error(
			call, EPERM,
			"the layout allows to change one row at a time here, and to append (\"write\": "
			"\"rows\"): many rows are not replaced or removed at once");
	const struct relation *rel =
		place->target >= 0 ? place->scope.tables[place->target].rel : NULL;
	if (rel != NULL && rel->inherited)
		return call_error(
			call, EPERM,
			"other tables inherit from %s, and rows of theirs are among these lines: they are "
			"not replaced or removed here; change them one by one, or through their own tables",
			rel->name);
	return 0;
}

const struct place *access_place(const struct node *node) {
	while (node != NULL && node->type == NODE_PLAIN)
		node = node->parent;
	return node != NULL && node->type == NODE_PLACE ? node->place : NULL;
}

uint64_t text_most(struct fs *fs, const struct node *node) {
	uint64_t most = fs->opt->max_document;
	struct stat st = { 0 };
	if (node != NULL)
		node_stat(fs->nodes, node, &st);
	return (uint64_t)st.st_size > most ? (uint64_t)st.st_size + most : most;
}
