#include "fs/inodes/body.h"

#include "fs/core/fs.h"
#include "fs/inodes/node_struct.h"
#include "util/list.h"
#include "util/mutex.h"

#include <stdlib.h>
#include <string.h>

struct bodies {
	struct mutex *lock; /* the nodes', which guards `body` of them and all below */
	struct body *oldest, *newest;
	uint64_t bytes, most;
	atomic_llong names; /* nodes; not under the lock */
};

enum { MALLOC_HEADER = 16, LARGEST_PART = 4, NAME_COST = 192 };

static uint64_t cost(const struct body *body) {
	return sizeof(*body) + body->len + MALLOC_HEADER;
}

struct bodies *bodies_new(uint64_t most) {
	struct bodies *bodies = calloc(1, sizeof(*bodies));
	if (bodies == NULL)
		return NULL;
	bodies->most = most;
	return bodies;
}

void bodies_guard(struct bodies *bodies, struct mutex *lock) {
	bodies->lock = lock;
}

void bodies_count_name(struct bodies *bodies, int added) {
	atomic_fetch_add_explicit(&bodies->names, added, memory_order_relaxed);
}

/* What bodies may take beside the names. */
static uint64_t limit(struct bodies *bodies) {
	uint64_t names =
		(uint64_t)atomic_load_explicit(&bodies->names, memory_order_relaxed) * NAME_COST;
	uint64_t given_up = bodies->most / 4 * 3;
	return bodies->most - (names < given_up ? names : given_up);
}

/* -- the list, in order of use ----------------------------------------------------------------- */

static void drop_locked(struct bodies *bodies, struct body *body) {
	list_remove(bodies, body);
	bodies->bytes -= cost(body);
	body->node->body = NULL;
	body->node = NULL;
	body_release(body);
}

void bodies_free(struct bodies *bodies) {
	free(bodies);
}

/* -- bodies ------------------------------------------------------------------------------------ */

struct body *body_new(const char *data, size_t len) {
	struct body *body = malloc(sizeof(*body) + len + 1);
	if (body == NULL)
		return NULL;
	memset(body, 0, sizeof(*body));
	atomic_init(&body->references, 1);
	body->len = len;
	if (len > 0)
		memcpy(body->data, data, len);
	body->data[len] = '\0';
	return body;
}

void body_release(struct body *body) {
	if (body != NULL && atomic_fetch_sub(&body->references, 1) == 1)
		free(body);
}

void body_keep(struct bodies *bodies, struct node *node, struct body *body) {
	if (body->node != NULL)
		return; /* it is kept already */
	if (node->body != NULL)
		drop_locked(bodies, node->body);
	if (cost(body) > bodies->most / LARGEST_PART)
		return;
	atomic_fetch_add(&body->references, 1);
	body->node = node;
	node->body = body;
	list_append(bodies, body);
	bodies->bytes += cost(body);
	while (bodies->bytes > limit(bodies))
		drop_locked(bodies, bodies->oldest);
}

struct body *body_take(struct fs *fs, struct node *node) {
	LOCK_SCOPE(fs->bodies->lock);
	struct body *body = node->body;
	if (body == NULL)
		return NULL;
	atomic_fetch_add(&body->references, 1);
	list_remove(fs->bodies, body);
	list_append(fs->bodies, body);
	return body;
}

bool body_open(struct fs *fs, struct body *body) {
	LOCK_SCOPE(fs->bodies->lock);
	if (body->opened == 0 && !account_take(&fs->memory, cost(body)))
		return false;
	body->opened++;
	return true;
}

void body_close(struct fs *fs, struct body *body) {
	if (body == NULL)
		return;
	{
		LOCK_SCOPE(fs->bodies->lock);
		if (--body->opened == 0)
			account_give(&fs->memory, cost(body));
	}
	body_release(body);
}

void body_drop(struct bodies *bodies, struct node *node) {
	if (node->body != NULL)
		drop_locked(bodies, node->body);
}
