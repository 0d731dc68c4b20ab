#include "fs/open/handle.h"

#include "fs/core/call.h"
#include "fs/core/kind.h"
#include "fs/inodes/access.h"
#include "util/mutex.h"

#include <errno.h>
#include <fcntl.h>

struct handles {
	pthread_cond_t left; /* a handle has one user less */
	struct handle ring;  /* with each handle's users guarded by fs_lists */
};

struct handles *handles_new(void) {
	struct handles *handles = calloc(1, sizeof(*handles));
	if (handles == NULL)
		return NULL;
	pthread_cond_init(&handles->left, NULL);
	handles->ring.all_next = handles->ring.all_prev = &handles->ring;
	return handles;
}

void handles_free(struct handles *handles) {
	if (handles == NULL)
		return;
	pthread_cond_destroy(&handles->left);
	free(handles);
}

struct handle *handle_new(struct fs *fs, struct node *node, const struct kind *kind, int flags) {
	struct handle *h = calloc(1, sizeof(*h) + (kind->state != NULL ? kind->state->size : 0));
	if (h == NULL)
		return NULL;
	h->state = h + 1;
	mutex_init(&h->lock, MUTEX_HANDLE);
	h->node = node;
	h->kind = kind;
	h->flags = flags;
	h->lock_ino = node->ino;
	h->size = HANDLE_NO_SIZE;
	if ((flags & O_ACCMODE) != O_RDONLY)
		h->most = text_most(fs, node);
	node_open(fs->nodes, node, h);
	LOCK_SCOPE(&fs_lists);
	h->all_prev = fs->handles->ring.all_prev;
	h->all_next = &fs->handles->ring;
	h->all_prev->all_next = h->all_next->all_prev = h;
	return h;
}

void handle_unsettle(struct fs *fs, struct handle *h, bool unsettled) {
	if (h->unsettled == unsettled)
		return;
	h->unsettled = unsettled;
	node_unsettle(fs->nodes, h->node, unsettled);
}

void handle_free(struct fs *fs, struct handle *h) {
	{
		LOCK_SCOPE(&fs_lists);
		while (h->users > 0)
			mutex_wait(&fs->handles->left, &fs_lists);
		h->all_prev->all_next = h->all_next;
		h->all_next->all_prev = h->all_prev;
	}
	handle_unsettle(fs, h, false);
	node_close(fs->nodes, h->node, h);
	if (h->kind->close != NULL)
		h->kind->close(fs, h);
	account_give(&fs->memory, h->counted);
	mutex_destroy(&h->lock);
	free(h);
}

enum { SPARE_BYTES = 1 << 20 }; /* room for what comes that a buffer may keep */

uint64_t handle_fit(struct buf *data) {
	if (data->cap > SPARE_BYTES && data->len < data->cap / 4)
		buf_fit(data, data->len + 1);
	return data->cap;
}

int handle_no_memory(struct call *call) {
	struct account *memory = &call->fs->memory;
	return call_error(
		call, ENOMEM,
		"open files take %llu of the %llu bytes of memory_max, and this needs more: close "
		"some, or mount with a larger one",
		(unsigned long long)account_used(memory), (unsigned long long)memory->most);
}

int handle_room(struct call *call, struct handle *h, struct buf *data, size_t len) {
	return account_grow(&call->fs->memory, &h->counted, data, len) ? 0 : handle_no_memory(call);
}

int handle_take(struct call *call, struct handle *h, uint64_t bytes) {
	if (!account_take(&call->fs->memory, bytes))
		return handle_no_memory(call);
	h->counted += bytes;
	return 0;
}

void handle_recount(struct fs *fs, struct handle *h) {
	uint64_t held = h->kind->held != NULL ? h->kind->held(h) : 0;
	account_recount(&fs->memory, &h->counted, held);
}

void handle_resized(struct handle *h, uint64_t size) {
	static atomic_ullong changes;
	atomic_store(&h->size, size);
	atomic_store(&h->changed, atomic_fetch_add(&changes, 1) + 1);
}

struct handle *handles_any(struct handles *handles) {
	LOCK_SCOPE(&fs_lists);
	struct handle *h = handles->ring.all_next;
	return h != &handles->ring ? h : NULL;
}

struct handle *handles_claim(struct handles *handles) {
	LOCK_SCOPE(&fs_lists);
	struct handle *h = handles->ring.all_next;
	while (h != &handles->ring && h->claimed)
		h = h->all_next;
	if (h == &handles->ring)
		return NULL;
	h->claimed = true;
	h->users++;
	return h;
}

void handles_unclaim(struct handles *handles, struct handle *h) {
	LOCK_SCOPE(&fs_lists);
	h->users--;
	pthread_cond_broadcast(&handles->left);
}

void handles_tell(struct handles *handles, void (*each)(void *arg, struct handle *h), void *arg) {
	for (struct handle *h = handles->ring.all_next; h != &handles->ring; h = h->all_next)
		each(arg, h);
}

/* The first handle from H on that IS; NULL: there is none. Held: the table's lock. */
static struct handle *find(struct handles *handles, struct handle *h, handle_is_fn is, void *arg) {
	for (; h != &handles->ring; h = h->all_next)
		if (is(arg, h))
			return h;
	return NULL;
}

void handles_each(struct fs *fs, handle_is_fn is, void *is_arg,
		  void (*each)(void *arg, struct handle *h), void *arg) {
	struct handles *handles = fs->handles;
	mutex_lock(&fs_lists);
	struct handle *h = find(handles, handles->ring.all_next, is, is_arg);
	while (h != NULL) {
		/* a handle with a user stays in the ring, so that its next one is known */
		h->users++;
		mutex_unlock(&fs_lists);
		each(arg, h);
		mutex_lock(&fs_lists);
		h->users--;
		pthread_cond_broadcast(&handles->left);
		h = find(handles, h->all_next, is, is_arg);
	}
	mutex_unlock(&fs_lists);
}

static bool is_of_file(void *arg, const struct handle *h) {
	const uint64_t *ino = arg;
	return h->node->ino == *ino;
}

void handles_of_file(struct fs *fs, uint64_t ino, void (*each)(void *arg, struct handle *h),
		     void *arg) {
	handles_each(fs, is_of_file, &ino, each, arg);
}
