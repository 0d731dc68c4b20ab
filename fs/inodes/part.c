/* The files that are known: their nodes, their texts, and how fresh what is known of them is. */
#include "fs/core/part.h"
#include "fs/inodes/body.h"
#include "fs/inodes/fresh.h"
#include "fs/inodes/node.h"

static void inodes_close(struct fs *fs) {
	nodes_free(fs->nodes); /* the last names of the texts */
	bodies_free(fs->bodies);
	free(fs->fresh);
}

static bool inodes_open(struct fs *fs) {
	fs->bodies = bodies_new((uint64_t)fs->opt->cache << 20);
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	fs->fresh = calloc(1, sizeof(*fs->fresh));
	fs->nodes = fs->bodies != NULL ? nodes_new(fs, s->tree->root) : NULL;
	if (fs->nodes != NULL && fs->fresh != NULL)
		return true;
	inodes_close(fs);
	return false;
}

const struct mount_part inodes_part = { "inodes", inodes_open, inodes_close };
