#include "fs/open/handle.h"

#include "fs/inodes/body.h"
#include "fs/core/call.h"
#include "fs/open/kind.h"
#include "fs/files/plain_kind.h"
#include "fs/list/listing.h"
#include "fs/bytes/plain.h"
#include "fs/rows/rows.h"
#include "fs/rows/rows_read.h"
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_whole.h"
#include "fs/bytes/scratch.h"
#include "fs/rows/transcript.h"

#include <errno.h>
#include <fcntl.h>

struct handles {
	pthread_mutex_t lock; /* guards the ring, and each handle's users */
	pthread_cond_t left;  /* a handle has one user less */
	struct handle ring;
};

struct handles *handles_new(void) {
	struct handles *handles = calloc(1, sizeof(*handles));
	if (handles == NULL)
		return NULL;
	pthread_mutex_init(&handles->lock, NULL);
	pthread_cond_init(&handles->left, NULL);
	handles->ring.all_next = handles->ring.all_prev = &handles->ring;
	return handles;
}

void handles_free(struct handles *handles) {
	if (handles == NULL)
		return;
	pthread_cond_destroy(&handles->left);
	pthread_mutex_destroy(&handles->lock);
	free(handles);
}

struct handle *handle_new(struct fs *fs, struct node *node, const struct kind *kind, int flags) {
	struct handle *h = calloc(1, sizeof(*h));
	if (h == NULL)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	h->node = node;
	h->kind = kind;
	h->flags = flags;
	h->fd = -1;
	h->size = HANDLE_NO_SIZE;
	node_open(fs->nodes, node, h);
	LOCK_SCOPE(&fs->handles->lock);
	h->all_prev = fs->handles->ring.all_prev;
	h->all_next = &fs->handles->ring;
	h->all_prev->all_next = h->all_next->all_prev = h;
	return h;
}

void handle_free(struct fs *fs, struct handle *h) {
	{
		LOCK_SCOPE(&fs->handles->lock);
		while (h->users > 0)
			pthread_cond_wait(&fs->handles->left, &fs->handles->lock);
		h->all_prev->all_next = h->all_next;
		h->all_next->all_prev = h->all_prev;
	}
	if (h->unsettled)
		node_unsettle(fs->nodes, h->node, false);
	rows_whole_free(h);
	node_close(fs->nodes, h->node, h);
	if (h->fd >= 0 && h->kind == &plain_kind)
		plain_close(fs->plain, h->fd);
	else if (h->fd >= 0)
		close(h->fd);
	scratch_release(h->large);
	rows_reader_free(h->reader);
	if (h->passing != NULL)
		transcript_pass_end(h->passing);
	transcript_release(h->transcript);
	transcript_release(h->writing);
	rows_append_free(h->append);
	lines_reader_free(h);
	listing_free(fs, h->listing);
	buf_free(&h->data);
	buf_free(&h->was);
	account_give(&fs->memory, h->counted);
	body_close(fs, h->body);
	body_release(h->body);
	free(h->columns);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

enum { SPARE_BYTES = 1 << 20 }; /* room for what comes that a buffer may keep */

static int no_memory(struct call *call) {
	struct account *memory = &call->fs->memory;
	return call_error(
		call, ENOMEM,
		"open files take %llu of the %llu bytes of memory_max, and this needs more: close "
		"some, or mount with a larger one",
		(unsigned long long)account_used(memory), (unsigned long long)memory->most);
}

int handle_room(struct call *call, struct handle *h, size_t len) {
	return account_grow(&call->fs->memory, &h->counted, &h->data, len) ? 0 : no_memory(call);
}

int handle_take(struct call *call, struct handle *h, uint64_t bytes) {
	if (!account_take(&call->fs->memory, bytes))
		return no_memory(call);
	h->counted += bytes;
	return 0;
}

void handle_settle(struct fs *fs, struct handle *h) {
	if (h->data.cap > SPARE_BYTES && h->data.len < h->data.cap / 4)
		buf_fit(&h->data, h->data.len + 1);
	account_settle(&fs->memory, &h->counted, h->data.cap + h->was.cap);
}

int handle_set_body(struct call *call, struct handle *h, struct body *body) {
	if (!body_open(call->fs, body)) {
		body_release(body);
		return no_memory(call);
	}
	body_close(call->fs, h->body);
	body_release(h->body);
	h->body = body;
	return 0;
}

bool handle_has_size(const struct handle *h) {
	return (h->flags & O_ACCMODE) != O_RDONLY && h->kind->own_size &&
	       atomic_load(&h->size) != HANDLE_NO_SIZE;
}

void handle_resized(struct handle *h, uint64_t size) {
	static atomic_ullong changes;
	atomic_store(&h->size, size);
	atomic_store(&h->changed, atomic_fetch_add(&changes, 1) + 1);
}

struct handle *handles_any(struct handles *handles) {
	LOCK_SCOPE(&handles->lock);
	struct handle *h = handles->ring.all_next;
	return h != &handles->ring ? h : NULL;
}

struct handle *handles_claim(struct handles *handles) {
	LOCK_SCOPE(&handles->lock);
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
	LOCK_SCOPE(&handles->lock);
	h->users--;
	pthread_cond_broadcast(&handles->left);
}

void handles_tell(struct handles *handles, void (*each)(void *arg, struct handle *h), void *arg) {
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	if (pthread_mutex_timedlock(&handles->lock, &until) != 0)
		return;
	for (struct handle *h = handles->ring.all_next; h != &handles->ring; h = h->all_next)
		each(arg, h);
	pthread_mutex_unlock(&handles->lock);
}

/* Those of one file, or, where TABLE is not NULL, those whose anew_of that is. */
struct which {
	uint64_t ino;
	const struct relation *table;
};

/* The first handle from H on that is one of WHICH; NULL: there is none. Held: the table's lock. */
static struct handle *find(struct handles *handles, struct handle *h, struct which which) {
	for (; h != &handles->ring; h = h->all_next)
		if (which.table != NULL ? atomic_load(&h->anew_of) == which.table
					: h->node->ino == which.ino)
			return h;
	return NULL;
}

static void handles_each(struct handles *handles, struct which which,
			 void (*each)(void *arg, struct handle *h), void *arg) {
	pthread_mutex_lock(&handles->lock);
	struct handle *h = find(handles, handles->ring.all_next, which);
	while (h != NULL) {
		/* a handle with a user stays in the ring, so that its next one is known */
		h->users++;
		pthread_mutex_unlock(&handles->lock);
		each(arg, h);
		pthread_mutex_lock(&handles->lock);
		h->users--;
		pthread_cond_broadcast(&handles->left);
		h = find(handles, h->all_next, which);
	}
	pthread_mutex_unlock(&handles->lock);
}

void handles_of_file(struct fs *fs, uint64_t ino, void (*each)(void *arg, struct handle *h),
		     void *arg) {
	handles_each(fs->handles, (struct which){ .ino = ino }, each, arg);
}

void handles_anew(struct fs *fs, const struct relation *table,
		  void (*each)(void *arg, struct handle *h), void *arg) {
	handles_each(fs->handles, (struct which){ .table = table }, each, arg);
}

void handles_flush(struct fs *fs, int64_t before_us,
		   void (*flush)(struct fs *fs, struct handle *h)) {
	struct handles *handles = fs->handles;
	pthread_mutex_lock(&handles->lock);
	/* a handle with a user stays in the ring, so that its next one is known */
	for (struct handle *h = handles->ring.all_next; h != &handles->ring; h = h->all_next) {
		int64_t since = h->waiting_us;
		if (since == 0 || since > before_us)
			continue;
		h->users++;
		pthread_mutex_unlock(&handles->lock);
		flush(fs, h);
		pthread_mutex_lock(&handles->lock);
		h->users--;
		pthread_cond_broadcast(&handles->left);
	}
	pthread_mutex_unlock(&handles->lock);
}
