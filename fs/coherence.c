#include "fs/coherence.h"

#include "fs/node.h"

bool coherence_may_cache(struct fs *fs, unsigned long ticket, const struct node *dir,
			 const char *name) {
	(void)fs;
	(void)ticket;
	(void)dir;
	(void)name;
	return false;
}

double coherence_negative_timeout(struct fs *fs, unsigned long ticket, const struct node *dir,
				  const char *name) {
	(void)fs;
	(void)ticket;
	(void)dir;
	(void)name;
	return 0;
}

double coherence_timeout(struct fs *fs, struct node *node, bool entry) {
	double ttl = fs->opt->coherence == COHERENCE_TTL ? fs->opt->ttl : 0;
	/* A file on a route gets a new node with each version, and a row's directory goes with its document: such a name is looked
	 * up every time, which costs no query while the node is fresh. */
	bool file = !S_ISDIR(node->attr.mode) && node->type != NODE_PLAIN;
	bool row = node->type == NODE_PLACE && node->place->owns_row;
	return entry && (file || row) ? 0 : ttl;
}
