#include "fs/node.h"

#include "fs/handle.h"
#include "fs/kind.h"
#include "util/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { BODIES_MOST = 16 << 20, SETTLE_US = 100 * US_PER_MS };

struct nodes {
	pthread_mutex_t lock; /* guards everything below, and all nodes */
	pthread_cond_t settled;
	unsigned unsettled;      /* handles whose fate close() left open: see handle.h */
	int64_t unsettled_until; /* clock_us(): how long a look-up waits for the last of them */
	struct fs *fs;
	struct node *root;
	struct node all; /* ring of all nodes */
	struct node **buckets;
	size_t nbuckets; /* a power of two */
	size_t count;
	struct node body_list; /* ring: nodes with a body, oldest next */
	size_t body_bytes;
};

/* -- hashing ----------------------------------------------------------------------------------- */

/* FNV-1a, 64 bit (Fowler, Noll, Vo). */
static uint64_t fnv(uint64_t hash, const void *data, size_t len) {
	const unsigned char *p = data;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash;
}

static size_t bucket_of(const struct nodes *nodes, const struct node *parent, const char *name) {
	uint64_t hash = fnv(0xcbf29ce484222325u, &parent, sizeof(const struct node *));
	hash = fnv(hash, name, strlen(name));
	return (size_t)(hash ^ (hash >> 32)) & (nodes->nbuckets - 1);
}

/* An inode number that is the same for the same path at every mount. The literal names of a directory have numbers in the
 * order of the layout: `cp -r` and others go by them, and a row's document should come before what refers to the row. */
static uint64_t path_ino(const struct node *parent, const char *name) {
	uint64_t basis = 0xcbf29ce484222325u ^ parent->ino, hash;
	for (int i = 0; parent->type == NODE_PLACE && i < parent->place->nchildren; i++) {
		const struct place *child = parent->place->children[i];
		if (child->nkeys == 0 && strcmp(child->text, name) == 0)
			return (fnv(basis, "/", 1) & ~(uint64_t)0xffff) + 2 + (uint64_t)i;
	}
	hash = fnv(basis, name, strlen(name));
	return hash > 1 ? hash : hash + 2;
}

uint64_t node_child_ino(const struct node *dir, const char *name) {
	return path_ino(dir, name);
}

static struct node *find_locked(const struct nodes *nodes, const struct node *parent,
				const char *name) {
	struct node *node = nodes->buckets[bucket_of(nodes, parent, name)];
	while (node != NULL && (node->parent != parent || strcmp(node->name, name) != 0))
		node = node->next;
	return node;
}

static void unhash_locked(struct nodes *nodes, struct node *node) {
	if (!node->hashed)
		return;
	struct node **p = &nodes->buckets[bucket_of(nodes, node->parent, node->name)];
	while (*p != node)
		p = &(*p)->next;
	*p = node->next;
	node->next = NULL;
	node->hashed = false;
}

static void hash_locked(struct nodes *nodes, struct node *node) {
	struct node *old = find_locked(nodes, node->parent, node->name);
	if (old != NULL)
		unhash_locked(nodes, old);
	size_t i = bucket_of(nodes, node->parent, node->name);
	node->next = nodes->buckets[i];
	nodes->buckets[i] = node;
	node->hashed = true;
}

/* Doubles the buckets when there are more nodes than buckets. */
static void grow_locked(struct nodes *nodes) {
	size_t old_n = nodes->nbuckets;
	if (nodes->count <= old_n)
		return;
	struct node **old = nodes->buckets;
	struct node **fresh = calloc(old_n * 2, sizeof(*fresh));
	if (fresh == NULL)
		return; /* longer chains do no harm */
	nodes->buckets = fresh;
	nodes->nbuckets = old_n * 2;
	for (size_t i = 0; i < old_n; i++) {
		for (struct node *node = old[i], *next; node != NULL; node = next) {
			next = node->next;
			size_t b = bucket_of(nodes, node->parent, node->name);
			node->next = fresh[b];
			fresh[b] = node;
		}
	}
	free(old);
}

/* -- bodies that look-ups brought along ------------------------------------------------------------ */

static void drop_body_locked(struct nodes *nodes, struct node *node) {
	if (node->body == NULL)
		return;
	node->body_prev->body_next = node->body_next;
	node->body_next->body_prev = node->body_prev;
	nodes->body_bytes -= node->body_len;
	free(node->body);
	node->body = NULL;
}

static void set_body_locked(struct nodes *nodes, struct node *node, const char *body, size_t len) {
	drop_body_locked(nodes, node);
	if (body == NULL || (node->body = malloc(len + 1)) == NULL)
		return;
	memcpy(node->body, body, len);
	node->body_len = len;
	node->body_prev = nodes->body_list.body_prev;
	node->body_next = &nodes->body_list;
	node->body_prev->body_next = node->body_next->body_prev = node;
	nodes->body_bytes += len;
	while (nodes->body_bytes > BODIES_MOST)
		drop_body_locked(nodes, nodes->body_list.body_next);
}

bool node_body(struct nodes *nodes, const struct node *node, struct buf *out) {
	LOCK_SCOPE(&nodes->lock);
	if (node->body != NULL)
		buf_add(out, node->body, node->body_len);
	return node->body != NULL;
}

/* -- life and death ---------------------------------------------------------------------------- */

static void free_keys(struct node *node) {
	for (int i = 0; node->keys != NULL && i < node->place->nkeys; i++)
		free(node->keys[i]);
	free(node->keys);
	node->keys = NULL;
}

static void free_locked(struct nodes *nodes, struct node *node) {
	unhash_locked(nodes, node);
	drop_body_locked(nodes, node);
	free_keys(node);
	node->all_prev->all_next = node->all_next;
	node->all_next->all_prev = node->all_prev;
	free(node->name);
	free(node->version);
	free(node);
	nodes->count--;
}

/* Frees NODE if nothing holds it any more, and then whatever it alone held. */
static void drop_locked(struct nodes *nodes, struct node *node) {
	while (node != NULL && node->lookups == 0 && node->references == 0) {
		struct node *parent = node->parent;
		free_locked(nodes, node);
		if (parent != NULL)
			parent->references--;
		node = parent;
	}
}

static struct node *new_locked(struct nodes *nodes, struct node *parent, const char *name) {
	struct node *node = calloc(1, sizeof(*node));
	if (node == NULL || (node->name = strdup(name)) == NULL) {
		free(node);
		return NULL;
	}
	node->parent = parent;
	if (parent != NULL)
		parent->references++;
	node->all_prev = nodes->all.all_prev;
	node->all_next = &nodes->all;
	node->all_prev->all_next = node->all_next->all_prev = node;
	nodes->count++;
	grow_locked(nodes);
	return node;
}

/* A condition whose deadlines are clock_us()'s. */
static void init_condition(pthread_cond_t *condition) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attr);
	pthread_condattr_destroy(&attr);
}

struct nodes *nodes_new(struct fs *fs) {
	struct nodes *nodes = calloc(1, sizeof(*nodes));
	if (nodes == NULL)
		return NULL;
	nodes->fs = fs;
	nodes->nbuckets = 1024;
	nodes->buckets = calloc(nodes->nbuckets, sizeof(*nodes->buckets));
	nodes->body_list.body_next = nodes->body_list.body_prev = &nodes->body_list;
	pthread_mutex_init(&nodes->lock, NULL);
	init_condition(&nodes->settled);
	nodes->all.all_next = nodes->all.all_prev = &nodes->all;
	if (nodes->buckets != NULL)
		nodes->root = new_locked(nodes, NULL, "");
	if (nodes->root == NULL) {
		nodes_free(nodes);
		return NULL;
	}
	nodes->root->references = 1;
	nodes->root->place = fs->tree->root;
	nodes->root->attr = (struct attributes){ .mode = S_IFDIR | 0755 };
	nodes->root->ino = 1;
	return nodes;
}

void nodes_free(struct nodes *nodes) {
	if (nodes == NULL)
		return;
	/* the kernel does not forget what it holds at unmount */
	while (nodes->all.all_next != &nodes->all)
		free_locked(nodes, nodes->all.all_next);
	pthread_mutex_destroy(&nodes->lock);
	pthread_cond_destroy(&nodes->settled);
	free(nodes->buckets);
	free(nodes);
}

struct node *nodes_root(struct nodes *nodes) {
	return nodes->root;
}

size_t nodes_count(struct nodes *nodes) {
	LOCK_SCOPE(&nodes->lock);
	return nodes->count;
}

void node_forget(struct nodes *nodes, struct node *node, uint64_t nlookup) {
	LOCK_SCOPE(&nodes->lock);
	node->lookups -= nlookup < node->lookups ? nlookup : node->lookups;
	drop_locked(nodes, node);
}

void node_put(struct nodes *nodes, struct node *node) {
	if (node == NULL)
		return;
	LOCK_SCOPE(&nodes->lock);
	node->references--;
	drop_locked(nodes, node);
}

void node_add_lookup(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	node->lookups++;
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
	if (node->type == NODE_PLAIN && node->ino != found->attr.ino)
		return false;
	if (node->writer != NULL && node->pending && found->pending)
		return true;
	return same_string(node->version, found->version);
}

static bool copy_keys(struct node *node, const struct found *found) {
	int n = found->place != NULL ? found->place->nkeys : 0;
	if (n == 0)
		return true;
	node->keys = calloc((size_t)n, sizeof(*node->keys));
	for (int i = 0; node->keys != NULL && i < n; i++)
		if ((node->keys[i] = strdup(found->keys[i])) == NULL)
			return false;
	return node->keys != NULL;
}

/* A new node for what was found; hashed under its name in place of any older version. */
static struct node *make_locked(struct nodes *nodes, struct node *parent, const char *name,
				const struct found *found) {
	struct node *node = new_locked(nodes, parent, name);
	if (node == NULL)
		return NULL;
	node->type = found->type;
	node->ino = found->attr.ino != 0 ? found->attr.ino : path_ino(parent, name);
	node->place = found->place;
	node->control = found->control;
	if (found->version != NULL)
		node->version = strdup(found->version);
	if (!copy_keys(node, found) || (found->version != NULL && node->version == NULL)) {
		parent->references--;
		free_locked(nodes, node);
		return NULL;
	}
	hash_locked(nodes, node);
	return node;
}

static int64_t ttl_us(const struct nodes *nodes) {
	const struct options *opt = nodes->fs->opt;
	return opt->coherence == COHERENCE_TTL ? (int64_t)(opt->ttl * US_PER_S) : 0;
}

static int64_t now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void refresh_locked(struct nodes *nodes, struct node *node, const struct attributes *attr,
			   unsigned long epoch) {
	int64_t mtime = node->attr.mtime_ns;
	bool same_size = node->attr.size == attr->size;
	node->attr = *attr;
	/* without a column for it, the time of a file moves only when this mount sees it change */
	if (attr->mtime_ns == 0 && mtime != 0)
		node->attr.mtime_ns = same_size ? mtime : now_ns();
	node->epoch = epoch;
	node->fresh_until = clock_us() + ttl_us(nodes);
}

struct node *node_found(struct nodes *nodes, struct node *parent, const char *name,
			const struct found *found, bool lookup) {
	LOCK_SCOPE(&nodes->lock);
	struct node *node = find_locked(nodes, parent, name), *old = node;
	if (node == NULL || !same_thing(node, found)) {
		node = make_locked(nodes, parent, name, found);
		if (node == NULL)
			return NULL;
		/* another version of a file whose time no column tells: it changed just now */
		if (old != NULL && found->attr.mtime_ns == 0 && found->type == NODE_PLACE)
			node->attr.mtime_ns = now_ns();
		node->attr.size = found->attr.size;
	}
	refresh_locked(nodes, node, &found->attr, found->epoch);
	node->pending = found->pending;
	if (!found->pending)
		node->gone = false;
	set_body_locked(nodes, node, found->body, found->body_len);
	if (lookup)
		node->lookups++;
	else
		node->references++;
	return node;
}

struct node *node_get(struct nodes *nodes, struct node *parent, const char *name) {
	LOCK_SCOPE(&nodes->lock);
	struct timespec until = timespec_of_us(nodes->unsettled_until);
	int rc = nodes->unsettled > 0 ? 0 : ETIMEDOUT;
	while (nodes->unsettled > 0 && rc == 0)
		rc = pthread_cond_timedwait(&nodes->settled, &nodes->lock, &until);
	struct node *node = find_locked(nodes, parent, name);
	if (node != NULL)
		node->references++;
	return node;
}

bool node_fresh(struct nodes *nodes, const struct node *node) {
	unsigned long epoch = atomic_load(&nodes->fs->epoch);
	LOCK_SCOPE(&nodes->lock);
	return node->hashed && node->epoch == epoch && !node->gone &&
	       clock_us() < node->fresh_until;
}

void node_update(struct nodes *nodes, struct node *node, const struct attributes *attr,
		 unsigned long epoch) {
	LOCK_SCOPE(&nodes->lock);
	refresh_locked(nodes, node, attr, epoch);
}

void node_unhash(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	unhash_locked(nodes, node);
}

void node_unlinked(struct nodes *nodes, struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	unhash_locked(nodes, node);
	node->unlinked = true;
}

void node_move(struct nodes *nodes, struct node *node, struct node *parent, const char *name,
	       const struct place *place, char **keys) {
	LOCK_SCOPE(&nodes->lock);
	char *copy = strdup(name);
	if (keys != NULL || place != node->place) {
		free_keys(node);
		node->keys = keys;
		node->place = place;
		node->type = place != NULL ? NODE_PLACE : NODE_PLAIN;
		node->fresh_until = 0;
	}
	unhash_locked(nodes, node);
	if (copy == NULL)
		return; /* the next look-up makes a new node */
	struct node *old = node->parent;
	free(node->name);
	node->name = copy;
	node->parent = parent;
	parent->references++;
	old->references--;
	drop_locked(nodes, old);
	hash_locked(nodes, node);
}

/* -- where ------------------------------------------------------------------------------------- */

/* Puts "/PART" in front of AT. */
static char *put_before(char *at, const char *part) {
	for (size_t n = strlen(part); n > 0; n--)
		*--at = part[n - 1];
	*--at = '/';
	return at;
}

static char *path_locked(const struct node *node, const char *name) {
	size_t len = name != NULL ? strlen(name) + 1 : 0;
	for (const struct node *n = node; n->parent != NULL; n = n->parent)
		len += strlen(n->name) + 1;
	if (len == 0)
		return strdup("/");
	char *path = malloc(len + 1);
	if (path == NULL)
		return NULL;
	char *at = path + len;
	*at = '\0';
	if (name != NULL)
		at = put_before(at, name);
	for (; node->parent != NULL; node = node->parent)
		at = put_before(at, node->name);
	return path;
}

char *node_path(struct nodes *nodes, const struct node *node, const char *name) {
	LOCK_SCOPE(&nodes->lock);
	return path_locked(node, name);
}

/* Keys of NODE and of the directories above it. */
static bool keys_locked(const struct node *node, struct where *out) {
	for (; node != NULL; node = node->parent) {
		for (int i = 0; node->place != NULL && i < node->place->nkeys; i++) {
			int param = node->place->keys[i].param;
			if (node->keys == NULL ||
			    (out->keys[param] = strdup(node->keys[i])) == NULL)
				return false;
		}
	}
	return true;
}

int node_where(struct nodes *nodes, const struct node *node, struct where *out) {
	LOCK_SCOPE(&nodes->lock);
	out->place = node->place;
	out->path = path_locked(node, NULL);
	return keys_locked(node, out) && out->path != NULL ? 0 : -ENOMEM;
}

int node_where_child(struct nodes *nodes, const struct node *dir, const char *name,
		     const struct place *place, char *const *keys, struct where *out) {
	LOCK_SCOPE(&nodes->lock);
	out->place = place;
	out->path = path_locked(dir, name);
	for (int i = 0; i < place->nkeys; i++)
		if ((out->keys[place->keys[i].param] = strdup(keys[i])) == NULL)
			return -ENOMEM;
	return keys_locked(dir, out) && out->path != NULL ? 0 : -ENOMEM;
}

bool node_is_gone(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	while (node != NULL && !node->gone)
		node = node->parent;
	return node != NULL;
}

void node_set_maker(struct nodes *nodes, struct node *node, pid_t tid) {
	LOCK_SCOPE(&nodes->lock);
	node->maker = tid;
}

pid_t node_maker(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node->maker;
}

void node_set_gone_above(struct nodes *nodes, struct node *node, const struct relation *rel) {
	LOCK_SCOPE(&nodes->lock);
	for (struct node *dir = node->parent; dir != NULL && dir->type == NODE_PLACE;
	     dir = dir->parent)
		if (dir->place->owns_row &&
		    dir->place->scope.tables[dir->place->row_table].rel == rel)
			dir->gone = true;
}

bool node_has_name(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node->hashed;
}

bool node_is_in(struct nodes *nodes, const struct node *node, const struct node *dir) {
	LOCK_SCOPE(&nodes->lock);
	return node->parent == dir;
}

bool node_is_unlinked(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	return node->unlinked;
}

bool node_is_pending(struct nodes *nodes, const struct node *node) {
	LOCK_SCOPE(&nodes->lock);
	while (node != NULL && !node->pending)
		node = node->parent;
	return node != NULL;
}

char *node_layout_path(struct nodes *nodes, const struct node *node, int *levels) {
	LOCK_SCOPE(&nodes->lock);
	const struct node *dir = node->parent;
	char *path = path_locked(dir, NULL);
	for (*levels = 0; dir->parent != NULL && dir->type == NODE_PLACE && !dir->pending;
	     dir = dir->parent)
		(*levels)++;
	return path;
}

void node_stat(struct nodes *nodes, const struct node *node, struct stat *st) {
	const struct options *opt = nodes->fs->opt;
	LOCK_SCOPE(&nodes->lock);
	uint64_t size = node->attr.size;
	bool own = node->place != NULL ? node->place->ingest != NULL : node->type == NODE_PLAIN;
	int64_t mtime =
		node->attr.mtime_ns != 0 ? node->attr.mtime_ns : nodes->fs->started * 1000000000;
	/* a writer sees what it has written, unless somebody else reads the old version here */
	if (node->writer != NULL && node->readers == 0 && node->writer->kind->own_size)
		size = atomic_load(&node->writer->size);
	*st = (struct stat){
		.st_ino = node->ino,
		.st_mode = own ? node->attr.mode : node->attr.mode & ~(opt->umask & 0777),
		.st_nlink = S_ISDIR(node->attr.mode) ? 2 : 1,
		.st_uid = opt->uid,
		.st_gid = opt->gid,
		.st_size = (off_t)size,
		.st_blksize = 4096, /* as a disk says: programs make their buffers by it */
		.st_blocks = (blkcnt_t)((size + 511) / 512),
		.st_mtim = { .tv_sec = mtime / 1000000000, .tv_nsec = mtime % 1000000000 },
	};
	st->st_ctim = st->st_atim = st->st_mtim;
}

void node_open(struct nodes *nodes, struct node *node, struct handle *writer) {
	LOCK_SCOPE(&nodes->lock);
	node->references++;
	node->writer = writer != NULL ? writer : node->writer;
	node->readers += writer == NULL;
}

void node_close(struct nodes *nodes, struct node *node, struct handle *handle) {
	LOCK_SCOPE(&nodes->lock);
	if (node->writer == handle)
		node->writer = NULL;
	else if ((handle->flags & O_ACCMODE) == O_RDONLY && node->readers > 0)
		node->readers--;
	node->references--;
	drop_locked(nodes, node);
}

void nodes_unsettle(struct nodes *nodes, bool unsettled) {
	LOCK_SCOPE(&nodes->lock);
	if (unsettled) {
		nodes->unsettled++;
		nodes->unsettled_until = clock_us() + SETTLE_US;
		return;
	}
	nodes->unsettled--;
	pthread_cond_broadcast(&nodes->settled);
}
