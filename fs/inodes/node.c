#include "fs/inodes/node.h"

#include "fs/core/handle.h"
#include "fs/inodes/fresh.h"
#include "fs/inodes/inode.h"
#include "fs/inodes/node_table.h"
#include "util/text/name.h"
#include "util/clock.h"
#include "util/mutex.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* -- names ------------------------------------------------------------------------------------- */

/* The literal names of a directory have numbers in the order of the layout: `cp -r` and others go
 * by them, and a row's document should come before what refers to the row. The numbers stay when a
 * route of the layout does not fit any more, or is there at last. Other names have numbers
 * in about the order in which they are listed: `find`, `du`, `rm -r` and others sort a large
 * directory by them, and what was listed together is then looked at together. */
uint64_t node_place_ino(const struct place *dir, uint64_t above, const char *name) {
	for (int i = 0; i < dir->nchildren; i++) {
		const struct place *child = dir->children[i];
		if (child->nkeys == 0 && strcmp(child->text, name) == 0)
			return inode_of_literal(above, child->first);
	}
	return inode_of_name(above, name);
}

uint64_t node_child_ino(const struct node *parent, const char *name) {
	return parent->type == NODE_PLACE ? node_place_ino(parent->place, parent->ino, name)
					  : inode_of_name(parent->ino, name);
}

static const char *const states[NAME_STATES] = { "none", "held", "unlinked", "succeeded",
						 "replaced" };
static const char *const events[NAME_EVENTS] = { "get", "lose", "unlink", "succeed" };
static const state_next moves[NAME_STATES][NAME_EVENTS] = {
	[NAME_NONE][NAME_ON_GET] = STATE_TO(NAME_HELD),
	[NAME_NONE][NAME_ON_LOSE] = STATE_TO(NAME_NONE),
	[NAME_NONE][NAME_ON_UNLINK] = STATE_TO(NAME_UNLINKED),
	[NAME_NONE][NAME_ON_SUCCEED] = STATE_TO(NAME_SUCCEEDED),

	[NAME_HELD][NAME_ON_LOSE] = STATE_TO(NAME_NONE),
	[NAME_HELD][NAME_ON_UNLINK] = STATE_TO(NAME_UNLINKED),
	[NAME_HELD][NAME_ON_SUCCEED] = STATE_TO(NAME_SUCCEEDED),

	/* what is so is so for good */
	[NAME_UNLINKED][NAME_ON_LOSE] = STATE_TO(NAME_UNLINKED),
	[NAME_UNLINKED][NAME_ON_UNLINK] = STATE_TO(NAME_UNLINKED),
	[NAME_UNLINKED][NAME_ON_SUCCEED] = STATE_TO(NAME_REPLACED),

	[NAME_SUCCEEDED][NAME_ON_LOSE] = STATE_TO(NAME_SUCCEEDED),
	[NAME_SUCCEEDED][NAME_ON_UNLINK] = STATE_TO(NAME_REPLACED),
	[NAME_SUCCEEDED][NAME_ON_SUCCEED] = STATE_TO(NAME_SUCCEEDED),

	[NAME_REPLACED][NAME_ON_LOSE] = STATE_TO(NAME_REPLACED),
	[NAME_REPLACED][NAME_ON_UNLINK] = STATE_TO(NAME_REPLACED),
	[NAME_REPLACED][NAME_ON_SUCCEED] = STATE_TO(NAME_REPLACED),
};
struct state_table name_table = STATE_TABLE("name", states, events, moves);

/* EVENT has happened to the name of NODE, which is in the table. */
static void name_move(struct nodes *nodes, struct node *node, enum name_event event) {
	int before = node_name_state(node), next = state_move(&name_table, before, (int)event);
	bool moves_in_table = (before == NAME_HELD) != (next == NAME_HELD);
	if (moves_in_table)
		table_remove(nodes, node);
	atomic_store(&node->name, (unsigned char)next);
	if (moves_in_table)
		table_add(nodes, node);
}

/* NODE has its name; whoever had it has not. */
static void hash_locked(struct nodes *nodes, struct node *node) {
	struct node *old = nodes_find(nodes, node->parent, node->strings);
	if (old != NULL)
		name_move(nodes, old, NAME_ON_LOSE);
	name_move(nodes, node, NAME_ON_GET);
}

/* -- life and death ---------------------------------------------------------------------------- */

static void free_node(struct nodes *nodes, struct node *node) {
	bodies_count_name(nodes->fs->bodies, -1);
	body_drop(nodes->fs->bodies, node);
	if (node->own_strings)
		free(node->strings);
	if (node->place != NULL)
		snapshot_drop_place(node->place);
	free(node);
}

/* Puts NODE in front of the DEAD if nothing holds it any more. */
static void bury(struct node **dead, struct node *node) {
	if (node == NULL || node->lookups > 0 || node->references > 0)
		return;
	node->next_dead = *dead;
	*dead = node;
}

/* One reference to NODE, which may be NULL, less. */
static void bury_one(struct node **dead, struct node *node) {
	if (node == NULL)
		return;
	node->references--;
	bury(dead, node);
}

/* Frees NODE if nothing holds it any more, and then whatever it alone held. */
static void drop_locked(struct nodes *nodes, struct node *node) {
	struct node *dead = NULL;
	bury(&dead, node);
	while ((node = dead) != NULL) {
		struct node *parent = node->parent, *successor = node->successor;
		dead = node->next_dead;
		table_remove(nodes, node);
		free_node(nodes, node);
		bury_one(&dead, parent);
		bury_one(&dead, successor);
	}
}

/* A new node, not in the table yet, that has the strings NAME, VERSION and KEY, of which the last
 * two may be NULL. */
static struct node *new_locked(struct nodes *nodes, struct node *parent, const char *name,
			       const char *version, const char *key) {
	const char *const strings[] = { name, version, key };
	size_t lengths[3] = { 0 }, all = 0;
	for (int i = 0; i < 3; i++)
		all += lengths[i] = strings[i] != NULL ? strlen(strings[i]) + 1 : 0;
	struct node *node = table_reserve(nodes) ? malloc(sizeof(*node) + all) : NULL;
	if (node == NULL)
		return NULL;
	memset(node, 0, sizeof(*node));
	char *at = node->strings = node->text;
	for (int i = 0; i < 3; i++)
		at = strings[i] != NULL ? mempcpy(at, strings[i], lengths[i]) : at;
	node->has_version = version != NULL;
	node->has_keys = key != NULL;
	node->parent = parent;
	if (parent != NULL)
		parent->references++;
	bodies_count_name(nodes->fs->bodies, 1);
	return node;
}

/* One reference to NODE, which may be NULL, less. */
static void put_locked(struct nodes *nodes, struct node *node) {
	if (node == NULL)
		return;
	node->references--;
	drop_locked(nodes, node);
}

/* Holds NODE a little longer. */
static void hold_shell(struct nodes *nodes, struct node *node) {
	struct node **slot = &nodes->shells[nodes->next_shell++ % SHELLS], *old = *slot;
	node->references++;
	*slot = node;
	put_locked(nodes, old);
}

/* A root at PLACE, with one reference. */
static struct node *make_root(struct nodes *nodes, const struct place *place) {
	struct node *root = new_locked(nodes, NULL, "", NULL, NULL);
	if (root == NULL)
		return NULL;
	root->references = 1;
	root->place = place;
	snapshot_hold_place(place);
	root->attr = (struct attributes){ .mode = S_IFDIR | 0755 };
	root->ino = INODE_ROOT;
	table_add(nodes, root);
	return root;
}

struct nodes *nodes_new(struct fs *fs, const struct place *root) {
	struct nodes *nodes = calloc(1, sizeof(*nodes));
	if (nodes == NULL)
		return NULL;
	nodes->fs = fs;
	mutex_init(&nodes->lock, MUTEX_NODES);
	bodies_guard(fs->bodies, &nodes->lock);
	clock_condition(&nodes->settled);
	nodes->times = calloc(1, sizeof(*nodes->times));
	nodes->root = nodes->times != NULL ? make_root(nodes, root) : NULL;
	if (nodes->root == NULL) {
		nodes_free(nodes);
		return NULL;
	}
	return nodes;
}

void nodes_free(struct nodes *nodes) {
	if (nodes == NULL)
		return;
	/* the kernel does not forget what it holds at unmount */
	for (size_t i = 0; i < nodes->nslots; i++)
		if (nodes->slots[i].node != NULL)
			free_node(nodes, nodes->slots[i].node);
	mutex_destroy(&nodes->lock);
	pthread_cond_destroy(&nodes->settled);
	nodes_settle_free(nodes);
	free(nodes->slots);
	free(nodes->times);
	free(nodes);
}

struct node *nodes_root(struct nodes *nodes) {
	return atomic_load(&nodes->root);
}

struct node *nodes_replace_root(struct nodes *nodes, const struct place *place) {
	LOCK_SCOPE(&nodes->lock);
	struct node *root = make_root(nodes, place);
	if (root == NULL)
		return NULL;
	for (int i = 0; i < SHELLS; i++)
		put_locked(nodes, move_ptr(nodes->shells[i])); /* nobody will look for them */
	return atomic_exchange(&nodes->root, root);
}

size_t nodes_count(struct nodes *nodes) {
	LOCK_SCOPE(&nodes->lock);
	return nodes->count;
}

void node_forget(struct nodes *nodes, struct node *node, uint64_t nlookup) {
	LOCK_SCOPE(&nodes->lock);
	if (node->lookups != UINT32_MAX)
		node->lookups -= nlookup < node->lookups ? (uint32_t)nlookup : node->lookups;
	if (node->lookups == 0 && node_is_named(node) &&
	    (node->maker != 0 || node->fresh == FRESH_GONE))
		hold_shell(nodes, node);
	drop_locked(nodes, node);
}

void node_hold(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	node->references++;
}

void node_put(struct nodes *nodes, struct node *node) {
	if (node == NULL)
		return;
	LOCK_SCOPE(&nodes->lock);
	put_locked(nodes, node);
}

bool node_is_known(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node->lookups > 0;
}

bool node_first_given(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	bool first = !node->given;
	node->given = true;
	return first;
}

void node_add_lookup(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	node->lookups += node->lookups != UINT32_MAX;
}

/* -- finding ----------------------------------------------------------------------------------- */

static bool same_string(const char *a, const char *b) {
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* True if NODE, which has the name, is what was found, in the same version. */
static bool same_thing(const struct node *node, const struct found *found) {
	if (node->type != found->type || node->place != found->place ||
	    node->control != found->control ||
	    S_ISDIR(node->attr.mode) != S_ISDIR(found->attr.mode))
		return false;
	if (found->ino != 0 && node->ino != found->ino)
		return false;
	if (node->fresh == FRESH_EXPELLED)
		return false;
	if (node->writers > 0 && node->pending && found->pending)
		return true;
	return same_string(version_of(node), found->version);
}

bool node_is_version(struct nodes *nodes, const struct node *node, const char *version) {
	LOCK_SCOPE(&nodes->lock);
	return same_string(version_of(node), version);
}

/* The keys of most names are in the name. */
static bool needs_keys(const struct found *found, const char *name) {
	return found->place != NULL && found->place->nkeys == 1 && strstr(name, NAME_BY_ID) != NULL;
}

/* A new node for what was found; it has its name in place of OLD, any older version. */
static struct node *make_locked(struct nodes *nodes, struct node *parent, const char *name,
				const struct found *found, struct node *old) {
	const char *key = needs_keys(found, name) ? found->keys[0] : NULL;
	struct node *node = new_locked(nodes, parent, name, found->version, key);
	if (node == NULL)
		return NULL;
	node->type = (uint8_t)found->type;
	node->ino = found->ino != 0 ? found->ino : node_child_ino(parent, name);
	node->place = found->place;
	if (node->place != NULL)
		snapshot_hold_place(node->place);
	node->control = found->control;
	if (old != NULL)
		name_move(nodes, old, NAME_ON_LOSE);
	atomic_init(&node->name, NAME_HELD); /* it is made with it */
	table_add(nodes, node);
	return node;
}

/* True if the file at PLACE is one of rows: it shows its last known size while it has no other. */
static bool is_followed(const struct nodes *nodes, const struct place *place) {
	return nodes->fs->kinds->of_place(place)->followed;
}

static void refresh_locked(struct nodes *nodes, struct node *node, const struct attributes *attr,
			   unsigned long epoch) {
	if (node->type == NODE_PLAIN && epoch < node->epoch)
		return; /* the answer to an older question */
	int64_t mtime = node->attr.mtime_ns;
	uint64_t size = node->attr.size;
	bool same_size = attr->unsized || size == attr->size;
	node->attr = *attr;
	if (attr->unsized && is_followed(nodes, node->place))
		node->attr.size = size;
	/* without a column for it, the time of a file moves only when this mount sees it change */
	if (attr->mtime_ns == 0 && node->type == NODE_PLACE)
		node->attr.mtime_ns = same_size ? mtime : clock_now_ns();
	fresh_found(nodes->fs, node, epoch);
}

static void keep_body(struct fs *fs, struct node *node, const struct found *found) {
	if (found->body == NULL)
		return;
	AUTO_BODY struct body *body = body_new(found->body, found->body_len);
	if (body != NULL)
		body_keep(fs->bodies, node, body);
}

/* True if it is a document, or a file of rows, whose time no column tells. */
static bool has_own_time(const struct found *found) {
	return found->type == NODE_PLACE && !found->pending && found->attr.mtime_ns == 0 &&
	       !S_ISDIR(found->attr.mode);
}

void node_keep_body(struct nodes *nodes, struct node *node, struct body *body) {
	LOCK_SCOPE(&nodes->lock);
	body_keep(nodes->fs->bodies, node, body);
}

/* When NODE, which was just found, changed last. CHANGED: it is known that its name meant something
 * else before. */
static int64_t time_of(struct nodes *nodes, const struct node *node, const struct found *found,
		       bool changed) {
	uint64_t ino = node_child_ino(node->parent, node->strings);
	/* what has not been read may be the version that is remembered, or another one */
	if (found->version == NULL && found->attr.unsized && !is_followed(nodes, found->place))
		return times_since(nodes->times, ino, ULONG_MAX);
	return times_found(nodes->times, ino, found->version, changed, clock_now_ns());
}

struct node *node_found(struct nodes *nodes, struct node *parent, const char *name,
			const struct found *found, bool lookup) {
	LOCK_SCOPE(&nodes->lock);
	struct node *node = nodes_find(nodes, parent, name), *old = node;
	if (node == NULL || !same_thing(node, found)) {
		node = make_locked(nodes, parent, name, found, old);
		if (node == NULL)
			return NULL;
		if (has_own_time(found))
			node->attr.mtime_ns = time_of(nodes, node, found, old != NULL);
		node->attr.size = found->attr.size;
	}
	if (!found->pending && node->fresh == FRESH_GONE)
		fresh_move(node, FRESH_ON_BACK);
	refresh_locked(nodes, node, &found->attr, found->epoch);
	node->pending = found->pending;
	keep_body(nodes->fs, node, found);
	if (lookup)
		node->lookups += node->lookups != UINT32_MAX;
	else
		node->references++;
	return node;
}

/* Gives NODE, which has none, VERSION. False if out of memory. */
static bool set_version(struct node *node, const char *version) {
	AUTO_BUF struct buf strings = { 0 };
	const char *key = node->has_keys ? node->strings + strlen(node->strings) + 1 : NULL;
	const char *const all[] = { node->strings, version, key };
	for (int i = 0; i < 3; i++)
		if (all[i] != NULL)
			buf_add(&strings, all[i], strlen(all[i]) + 1);
	if (strings.failed)
		return false;
	if (node->own_strings)
		free(node->strings);
	node->strings = buf_take(&strings);
	node->own_strings = node->has_version = true;
	return true;
}

bool node_read(struct nodes *nodes, struct node *node, const struct found *found) {
	LOCK_SCOPE(&nodes->lock);
	bool first = !node->has_version && node->attr.unsized;
	if (first ? !set_version(node, found->version)
		  : !same_string(version_of(node), found->version))
		return false;
	if (first && has_own_time(found))
		node->attr.mtime_ns = time_of(nodes, node, found, false);
	node->attr.size = found->attr.size;
	node->attr.unsized = false;
	return true;
}

struct node *node_get(struct nodes *nodes, struct node *parent, const char *name) {
	LOCK_SCOPE(&nodes->lock);
	nodes_settle(nodes, parent, name);
	struct node *node = nodes_find(nodes, parent, name);
	if (node != NULL)
		node->references++;
	return node;
}

struct node *node_get_namesake(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	struct node *now = nodes_find(nodes, node->parent, node->strings);
	if (now != NULL)
		now->references++;
	return now;
}

static bool fresh_locked(struct nodes *nodes, const struct node *node) {
	return node_is_named(node) && fresh_is_found(nodes->fs, node);
}

struct node *node_get_fresh(struct nodes *nodes, struct node *parent, const char *name, bool lookup,
			    bool *fresh) {
	LOCK_SCOPE(&nodes->lock);
	nodes_settle(nodes, parent, name);
	struct node *node = nodes_find(nodes, parent, name);
	*fresh = node != NULL && node->type != NODE_PLAIN && fresh_locked(nodes, node);
	if (*fresh && lookup)
		node->lookups += node->lookups != UINT32_MAX;
	else if (node != NULL)
		node->references++;
	return node;
}

bool node_fresh(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return fresh_locked(nodes, node);
}

bool node_is_unsized(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node->attr.unsized;
}

void node_unkeep(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	node->kept = false;
}

bool node_is_good(struct nodes *nodes, const struct node *node, const char *name,
		  unsigned long ticket) {
	LOCK_SCOPE(&nodes->lock);
	return fresh_is_good(nodes->fs->fresh, node, name, ticket);
}

static bool unchanged_locked(const struct nodes *nodes, const struct node *node,
			     unsigned long ticket) {
	return node_is_named(node) && node->fresh != FRESH_GONE &&
	       fresh_is_good(nodes->fs->fresh, node, NULL, ticket);
}

bool node_is_unchanged(struct nodes *nodes, const struct node *node, unsigned long ticket) {
	LOCK_SCOPE(&nodes->lock);
	return unchanged_locked(nodes, node, ticket);
}

void node_update(struct nodes *nodes, struct node *node, const struct attributes *attr,
		 unsigned long epoch) {
	LOCK_SCOPE(&nodes->lock);
	refresh_locked(nodes, node, attr, epoch);
}

void node_moved_on(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	body_drop(nodes->fs->bodies, node);
	name_move(nodes, node, NAME_ON_LOSE);
	atomic_store(&node->written, true);
}

void node_resized(struct nodes *nodes, struct node *node, uint64_t size) {
	LOCK_SCOPE(&nodes->lock);
	node->attr.size = size;
}

void node_unhash(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	name_move(nodes, node, NAME_ON_LOSE);
}

void node_changed(struct nodes *nodes, const struct node *dir, const char *name) {
	LOCK_SCOPE(&nodes->lock);
	times_written(nodes->times, node_child_ino(dir, name), clock_now_ns(),
		      atomic_load(&nodes->fs->epoch));
}

void node_names_changed(struct nodes *nodes, const struct node *dir) {
	LOCK_SCOPE(&nodes->lock);
	times_named(nodes->times, dir->ino, clock_now_ns());
}

int64_t node_changed_at(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return times_since(nodes->times, node_child_ino(node->parent, node->strings), ULONG_MAX);
}

int64_t node_found_at(struct nodes *nodes, const struct node *node, unsigned long *ticket) {
	LOCK_SCOPE(&nodes->lock);
	*ticket = node->epoch;
	return times_since(nodes->times, node_child_ino(node->parent, node->strings), node->epoch);
}

void node_written(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	times_written(nodes->times, node_child_ino(node->parent, node->strings), clock_now_ns(),
		      atomic_load(&nodes->fs->epoch));
	name_move(nodes, node, NAME_ON_LOSE);
}

void node_unlinked(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	name_move(nodes, node, NAME_ON_UNLINK);
}

void node_move(struct nodes *nodes, struct node *node, struct node *parent, const char *name) {
	LOCK_SCOPE(&nodes->lock);
	AUTO_BUF struct buf strings = { 0 };
	const char *version = version_of(node);
	if (node->place != NULL && node->place->nkeys > 0)
		fresh_lose(node);
	buf_add(&strings, name, strlen(name) + 1);
	if (version != NULL)
		buf_add(&strings, version, strlen(version) + 1);
	name_move(nodes, node, NAME_ON_LOSE);
	if (strings.failed)
		return; /* the next look-up makes a new node */
	struct node *old = node->parent;
	if (node->own_strings)
		free(node->strings);
	node->strings = buf_take(&strings);
	node->own_strings = true;
	node->has_keys = false;
	node->parent = parent;
	parent->references++;
	put_locked(nodes, old);
	hash_locked(nodes, node);
}

void node_succeed(struct nodes *nodes, struct node *node, struct node *successor) {
	LOCK_SCOPE(&nodes->lock);
	name_move(nodes, node, NAME_ON_SUCCEED);
	if (successor == NULL || successor == node || node->successor != NULL)
		return;
	successor->references++;
	node->successor = successor;
}

struct node *node_successor(struct nodes *nodes, struct node *node) {
	if (!node_is_succeeded(node))
		return NULL;
	LOCK_SCOPE(&nodes->lock);
	struct node *last = node->successor;
	while (last != NULL && last->successor != NULL)
		last = last->successor;
	if (last != NULL)
		last->references++;
	return last;
}

/* -- handles and attributes -------------------------------------------------------------------- */

static bool is_writer(const struct handle *h) {
	return (h->flags & O_ACCMODE) != O_RDONLY;
}

/* Of those who have bytes of their own of NODE, the one that changed them last; NULL if there is
 * none. */
static const struct handle *last_writer(const struct node *node) {
	const struct handle *last = NULL;
	for (const struct handle *h = node->opened; h != NULL; h = h->node_next)
		if (handle_has_size(h) &&
		    (last == NULL || atomic_load(&h->changed) > atomic_load(&last->changed)))
			last = h;
	return last;
}

bool node_fstat(struct nodes *nodes, const struct node *node, struct stat *st) {
	LOCK_SCOPE(&nodes->lock);
	for (struct handle *h = node->opened; h != NULL && node->type == NODE_PLAIN;
	     h = h->node_next)
		if (h->kind->fstat != NULL && h->kind->fstat(h, st))
			return true;
	return false;
}

struct attributes node_attributes(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node->attr;
}

/* When a name in the directory DIR came or went, as far as this mount has heard; 0: never. */
static int64_t names_changed_at(const struct nodes *nodes, const struct node *dir) {
	int64_t last = times_since(nodes->times, dir->ino, ULONG_MAX);
	for (int i = 0; i < dir->place->nkeyed; i++) {
		int64_t whole = fresh_place_changed_at(nodes->fs->fresh, dir->place->keyed[i]);
		last = whole > last ? whole : last;
	}
	return last;
}

static void stat_locked(const struct nodes *nodes, const struct node *node, struct stat *st) {
	const struct options *opt = nodes->fs->opt;
	uint64_t size = node->attr.size;
	bool own = node->place != NULL ? node->place->ingest != NULL : node->type == NODE_PLAIN;
	int64_t mtime =
		node->attr.mtime_ns != 0 ? node->attr.mtime_ns : nodes->fs->started * NS_PER_S;
	int64_t named = S_ISDIR(node->attr.mode) && node->type == NODE_PLACE
				? names_changed_at(nodes, node)
				: 0;
	if (named > mtime)
		mtime = named;
	/* a writer sees what it has written, unless somebody else reads the old version here */
	const struct handle *writer = node->readers == 0 ? last_writer(node) : NULL;
	if (writer != NULL)
		size = atomic_load(&writer->size);
	*st = (struct stat){
		.st_ino = inode_number(node->ino),
		.st_mode = own ? node->attr.mode : node->attr.mode & ~(opt->umask & 0777),
		.st_nlink = S_ISDIR(node->attr.mode) ? 2 : 1,
		.st_uid = opt->uid,
		.st_gid = opt->gid,
		.st_size = (off_t)size,
		.st_blksize = 4096, /* as a disk says: programs make their buffers by it */
		.st_blocks = (blkcnt_t)((size + 511) / 512),
		.st_mtim = timespec_of_ns(mtime),
	};
	st->st_ctim = st->st_atim = st->st_mtim;
	/* tar does not open a file of size 0 that everybody may read, and would keep it as empty.
	 * Where others than who mounted can come here, the modes stay. */
	if (node->attr.unsized && size == 0 && !opt->default_permissions && !opt->allow_other)
		st->st_mode &= ~(mode_t)S_IROTH;
}

void node_stat(struct nodes *nodes, const struct node *node, struct stat *st) {
	LOCK_SCOPE(&nodes->lock);
	stat_locked(nodes, node, st);
}

void node_reply(struct nodes *nodes, struct node *node, unsigned long certain_from, bool may_keep,
		struct node_reply *out) {
	LOCK_SCOPE(&nodes->lock);
	bool whole = S_ISDIR(node->attr.mode) || node->type == NODE_PLAIN;
	stat_locked(nodes, node, &out->st);
	out->certain = certain_from == ULONG_MAX || node->type != NODE_PLACE ||
		       unchanged_locked(nodes, node, certain_from);
	/* each writer has a size of its own, and the kernel has room for one: it asks each time.
	 * One that is not known is asked for when the file is opened. */
	out->has_size = whole || (!node->attr.unsized && node->writers == 0);
	out->keeps = node->writers == 0 && fresh_locked(nodes, node);
	node->sized = !node->attr.unsized;
	node->kept |= may_keep && out->certain && out->has_size && out->keeps;
}

void node_open(struct nodes *nodes, struct node *node, struct handle *handle) {
	LOCK_SCOPE(&nodes->lock);
	node->references++;
	handle->node_next = node->opened;
	node->opened = handle;
	if (is_writer(handle))
		node->writers++;
	else
		node->readers++;
}

void node_close(struct nodes *nodes, struct node *node, struct handle *handle) {
	LOCK_SCOPE(&nodes->lock);
	struct handle **at = &node->opened;
	while (*at != handle)
		at = &(*at)->node_next;
	*at = handle->node_next;
	if (is_writer(handle))
		node->writers--;
	else
		node->readers--;
	node->cached -= handle->kpages == KPAGES_VERSION;
	node->written |= handle->wrote;
	put_locked(nodes, node);
}

bool node_open_cached(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	bool may = node->writers == 0 && !node->written && node->sized &&
		   !reopen_is_wanted(&nodes->reopens, node->ino, clock_us());
	node->cached += may;
	return may;
}

bool node_may_retry(struct nodes *nodes, struct node *node, pid_t tid) {
	LOCK_SCOPE(&nodes->lock);
	uint64_t ino =
		node->parent != NULL ? node_child_ino(node->parent, node->strings) : node->ino;
	if (!reopen_may_tell(&nodes->reopens, tid, ino, clock_us()))
		return false;
	/* its next look-up must not answer what it has just turned out not to be */
	fresh_lose(node);
	return true;
}

void nodes_retry_over(struct nodes *nodes, pid_t tid) {
	LOCK_SCOPE(&nodes->lock);
	reopen_over(&nodes->reopens, tid);
}

bool node_expel_cached(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	if (node->cached == 0)
		return false;
	fresh_move(node, FRESH_ON_EXPEL);
	reopen_expel(&nodes->reopens, node->ino, clock_us());
	return true;
}

void node_expel(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	fresh_move(node, FRESH_ON_EXPEL);
}

bool node_is_open_once(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node->readers + node->writers == 1;
}
