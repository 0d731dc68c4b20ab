#include "fs/list/prefetch.h"

#include "fs/core/part.h"
#include "fs/cache/coherence.h"
#include "fs/list/listing.h"
#include "util/clock.h"
#include "util/mutex.h"

enum {
	DIRECTORIES = 4,
	STORM = 16, /* look-ups within STORM_US that make a storm */
	STORM_US = US_PER_S,
	NODES_MOST = 131072, /* that wait for look-ups, where that is all of the directory */
	AHEAD_MOST = 16384,  /* otherwise: they come in about the order of the listing */
	SWEEP_SHARE = 64,    /* nodes that may be looked at for each look-up that missed */
};

struct directory {
	struct node *dir; /* holds a reference; NULL: unused */
	uint64_t count;
	int64_t used;  /* clock_us() */
	int64_t since; /* of the first of `misses` */
	unsigned misses;
	struct open_directory open; /* lists it a second time; without a node: it does not yet */
	bool ended;
	struct node **nodes;  /* with a reference each */
	size_t n, room, last; /* from `last` on: of the last page */
	size_t rest;          /* so many look-ups may miss before they are looked at again */
};

struct prefetch {
	struct mutex lock; /* guards everything below; held while a page is fetched */
	struct directory all[DIRECTORIES];
};

static bool prefetch_open(struct fs *fs) {
	struct prefetch *p = fs->prefetch = calloc(1, sizeof(*p));
	if (p != NULL)
		mutex_init(&p->lock, MUTEX_PREFETCH);
	return p != NULL;
}

/* Gives back the nodes that the kernel has asked for, and the FIRST ones in any case. Returns how
 * many of the last page it had asked for. */
static size_t sweep(struct fs *fs, struct directory *d, size_t first) {
	size_t kept = 0, asked = 0, last = 0;
	for (size_t i = 0; i < d->n; i++) {
		bool known = node_is_known(fs->nodes, d->nodes[i]);
		bool stays = !known && i >= first;
		asked += known && i >= d->last;
		last += stays && i < d->last;
		if (stays)
			d->nodes[kept++] = d->nodes[i];
		else
			node_put(fs->nodes, d->nodes[i]);
	}
	d->n = kept;
	d->last = last;
	return asked;
}

static void clear(struct fs *fs, struct directory *d) {
	(void)sweep(fs, d, d->n);
	free(d->nodes);
	listing_free(fs, d->open.listing);
	node_put(fs->nodes, d->dir);
	*d = (struct directory){ 0 };
}

static void prefetch_close(struct fs *fs) {
	for (int i = 0; i < DIRECTORIES; i++)
		clear(fs, &fs->prefetch->all[i]);
	mutex_destroy(&fs->prefetch->lock);
	free(fs->prefetch);
}

const struct mount_part prefetch_part = { "prefetch", prefetch_open, prefetch_close };

static struct directory *find(struct prefetch *p, const struct node *dir) {
	for (int i = 0; i < DIRECTORIES; i++)
		if (p->all[i].dir == dir)
			return &p->all[i];
	return NULL;
}

void prefetch_listed(struct fs *fs, struct node *dir, uint64_t count) {
	struct prefetch *p = fs->prefetch;
	LOCK_SCOPE(&p->lock);
	struct directory *d = find(p, dir);
	for (int i = 0; d == NULL && i < DIRECTORIES; i++)
		if (p->all[i].dir == NULL)
			d = &p->all[i];
	if (d == NULL) {
		d = &p->all[0];
		for (int i = 1; i < DIRECTORIES; i++)
			d = p->all[i].used < d->used ? &p->all[i] : d;
	}
	clear(fs, d);
	d->dir = dir;
	node_hold(fs->nodes, dir);
	d->count = count;
	d->used = clock_us();
}

static bool add_node(struct directory *d, struct node *node) {
	if (d->n == d->room) {
		size_t room = d->room * 2 + 1024;
		struct node **more = reallocarray(d->nodes, room, sizeof(struct node *));
		if (more == NULL)
			return false;
		d->nodes = more;
		d->room = room;
	}
	d->nodes[d->n++] = node;
	return true;
}

/* One page more. A failure ends it: the look-ups will ask for themselves. */
static void fetch(struct call *call, struct directory *d) {
	struct fs *fs = call->fs;
	if (d->open.node == NULL) {
		d->open = (struct open_directory){ .node = d->dir, .walks = true };
		d->ended = listing_seek(call, &d->open, 0, true) != 0;
	}
	d->last = d->n;
	for (int i = 0; !d->ended && i < fs->opt->fetch_size; i++) {
		const struct entry *e = NULL;
		int rc = listing_entry(call, &d->open, &e);
		struct node *node = NULL;
		if (rc == 0 && e != NULL && e->found.place != NULL && !e->bare)
			node = node_found(fs->nodes, d->dir, e->name, &e->found, false);
		if (node != NULL && !add_node(d, node))
			node_put(fs->nodes, node);
		d->ended = rc != 0 || e == NULL;
		if (!d->ended)
			listing_advance(&d->open);
	}
	db_error_clear(&call->err);
}

/* True if what is found now stays good for a while. Removals that are open change nothing about
 * that: their names are told of again when they are committed. */
static bool lasts(struct fs *fs, const struct node *dir) {
	return node_is_good(fs->nodes, dir, "", coherence_ticket(fs)) ||
	       (fs->opt->coherence != COHERENCE_NONE && fs->opt->ttl >= 1);
}

/* Makes room for one page more. Returns false if there is none: what waits is not asked for. */
static bool make_room(struct fs *fs, struct directory *d) {
	size_t most = d->count <= NODES_MOST ? NODES_MOST : AHEAD_MOST;
	size_t asked = sweep(fs, d, 0);
	if (d->n < most)
		return true;
	/* who asks for the last page will not come back to the first */
	if (asked > 0)
		(void)sweep(fs, d, (size_t)fs->opt->fetch_size);
	else
		d->rest = d->n / SWEEP_SHARE;
	return asked > 0;
}

void prefetch_missed(struct call *call, struct node *dir) {
	struct prefetch *p = call->fs->prefetch;
	if (!mutex_trylock(&p->lock))
		return; /* somebody fetches a page just now */
	struct directory *d = find(p, dir);
	int64_t now = clock_us();
	if (d != NULL && now - d->since > STORM_US) {
		d->since = now;
		d->misses = 0;
	}
	if (d != NULL && d->rest > 0) {
		d->rest--;
	} else if (d != NULL && ++d->misses >= STORM && !d->ended && lasts(call->fs, dir)) {
		d->used = now;
		if (make_room(call->fs, d))
			fetch(call, d);
		if (d->ended && d->n == 0)
			clear(call->fs, d);
	}
	mutex_unlock(&p->lock);
}
