#include "fs/list/trail.h"

#include "fs/core/part.h"
#include "fs/core/fs.h"
#include "util/hash.h"
#include "util/list.h"
#include "util/mutex.h"

#include <stdlib.h>
#include <string.h>

enum { POSITION_BITS = 40, NUMBER_BITS = 22, TRAILS_KEPT = 64 };

/* Names in all trails together, beyond which the oldest are forgotten. */
enum { NAMES_KEPT = 4 << 20 };

struct trail {
	struct trails *trails;
	struct trail *older, *newer;
	unsigned references; /* the table's and the handle's */
	bool kept;
	uint64_t ino, number;
	struct page_start *pages;
	size_t npages;
	uint32_t *names; /* a hash of each */
	size_t nnames, names_room;
};

struct trails {
	/* guarded by fs_lists, as are all trails */
	struct trail *oldest, *newest;
	size_t kept, names;
	uint64_t last_number;
};

/* -- cursors ----------------------------------------------------------------------------------- */

void cursor_free(char **cursor) {
	for (char **p = cursor; p != NULL && *p != NULL; p++)
		free(*p);
	free(cursor);
}

char **cursor_copy(char *const *cursor) {
	int n = 0;
	if (cursor == NULL)
		return NULL;
	while (cursor[n] != NULL)
		n++;
	char **copy = calloc((size_t)n + 1, sizeof(*copy));
	for (int i = 0; copy != NULL && i < n; i++)
		copy[i] = strdup(cursor[i]);
	return copy;
}

/* -- the table --------------------------------------------------------------------------------- */

static bool trails_open(struct fs *fs) {
	fs->trails = calloc(1, sizeof(*fs->trails));
	return fs->trails != NULL;
}

static void release_locked(struct trail *trail) {
	if (--trail->references > 0)
		return;
	for (size_t i = 0; i < trail->npages; i++)
		cursor_free(trail->pages[i].cursor);
	free(trail->pages);
	free(trail->names);
	free(trail);
}

static void forget_oldest_locked(struct trails *trails) {
	struct trail *trail = trails->oldest;
	list_remove(trails, trail);
	trails->kept--;
	trails->names -= trail->nnames;
	trail->kept = false;
	release_locked(trail);
}

static void trails_close(struct fs *fs) {
	struct trails *trails = fs->trails;
	while (trails->oldest != NULL)
		forget_oldest_locked(trails);
	free(trails);
}

const struct mount_part trails_part = { "trails", trails_open, trails_close };

static struct trail *new_locked(struct trails *trails, uint64_t ino) {
	struct trail *trail = calloc(1, sizeof(*trail));
	if (trail == NULL)
		return NULL;
	trail->trails = trails;
	trail->references = 2;
	trail->ino = ino;
	trails->last_number = trails->last_number % ((1u << NUMBER_BITS) - 1) + 1;
	trail->number = trails->last_number;
	list_append(trails, trail);
	trails->kept++;
	trail->kept = true;
	while (trails->kept > TRAILS_KEPT ||
	       (trails->names > NAMES_KEPT && trails->oldest != trail))
		forget_oldest_locked(trails);
	return trail;
}

struct trail *trail_new(struct trails *trails, uint64_t ino) {
	LOCK_SCOPE(&fs_lists);
	return new_locked(trails, ino);
}

void trail_release(struct trail *trail) {
	if (trail == NULL)
		return;
	LOCK_SCOPE(&fs_lists);
	release_locked(trail);
}

/* -- growing ----------------------------------------------------------------------------------- */

static bool add_page_locked(struct trail *trail, const struct page_start *start) {
	if (!list_room(trail->pages, trail->npages))
		return false;
	trail->pages[trail->npages] = *start;
	trail->pages[trail->npages++].cursor = cursor_copy(start->cursor);
	return true;
}

void trail_add_page(struct trail *trail, int child, char *const *cursor) {
	LOCK_SCOPE(&fs_lists);
	struct page_start start = { .position = trail->nnames,
				    .child = child,
				    .cursor = (char **)(uintptr_t)cursor };
	(void)add_page_locked(trail, &start); /* out of memory: the page before it is longer */
}

static uint32_t hash_of(const char *name) {
	return (uint32_t)hash_add(HASH_BEGIN, name, strlen(name));
}

static bool reserve_locked(struct trail *trail, size_t n) {
	if (n <= trail->names_room)
		return true;
	size_t room = trail->names_room + trail->names_room / 2 + 64;
	room = room > n ? room : n;
	uint32_t *more = reallocarray(trail->names, room, sizeof(*more));
	if (more == NULL)
		return false;
	trail->names = more;
	trail->names_room = room;
	return true;
}

void trail_add(struct trail *trail, size_t n, const char *(*name)(void *, size_t), void *arg) {
	LOCK_SCOPE(&fs_lists);
	if (!reserve_locked(trail, trail->nnames + n))
		return;
	for (size_t i = 0; i < n; i++)
		trail->names[trail->nnames + i] = hash_of(name(arg, i));
	trail->nnames += n;
	trail->trails->names += trail->kept ? n : 0;
}

/* -- offsets ----------------------------------------------------------------------------------- */

uint64_t trail_offset(const struct trail *trail, uint64_t position) {
	return trail->number << POSITION_BITS | position;
}

uint64_t trail_position(uint64_t offset) {
	return offset & (((uint64_t)1 << POSITION_BITS) - 1);
}

bool trail_has(const struct trail *trail, uint64_t offset) {
	return trail->number == offset >> POSITION_BITS;
}

static struct trail *find_locked(const struct trails *trails, uint64_t ino, uint64_t offset) {
	struct trail *trail = trails->newest;
	while (trail != NULL && (trail->ino != ino || !trail_has(trail, offset)))
		trail = trail->older;
	return trail;
}

/* Copies what OLD is up to position N. */
static bool copy_locked(struct trail *to, const struct trail *old, size_t n) {
	if (!reserve_locked(to, n))
		return false;
	if (n > 0)
		memcpy(to->names, old->names, n * sizeof(*old->names));
	to->nnames = n;
	to->trails->names += n;
	for (size_t i = 0; i < old->npages && old->pages[i].position <= n; i++)
		if (!add_page_locked(to, &old->pages[i]))
			return false;
	return true;
}

struct trail *trail_fork(struct trails *trails, uint64_t ino, uint64_t offset,
			 struct page_start *start) {
	uint64_t n = trail_position(offset);
	LOCK_SCOPE(&fs_lists);
	struct trail *old = find_locked(trails, ino, offset);
	if (old == NULL || n > old->nnames || old->npages == 0)
		return NULL;
	list_remove(trails, old); /* those are kept that were used last */
	list_append(trails, old);
	old->references++;
	struct trail *trail = new_locked(trails, ino);
	if (trail != NULL && !copy_locked(trail, old, (size_t)n)) {
		release_locked(trail); /* the table still has it, and will forget it */
		trail = NULL;
	}
	release_locked(old);
	if (trail == NULL)
		return NULL;
	*start = trail->pages[trail->npages - 1];
	start->cursor = cursor_copy(start->cursor);
	return trail;
}

size_t trail_find(struct trail *trail, uint64_t start, size_t n,
		  const char *(*name)(void *, size_t), void *arg, bool *sure) {
	LOCK_SCOPE(&fs_lists);
	for (size_t p = trail->nnames; p > start; p--) {
		*sure = p == trail->nnames;
		for (size_t i = n; i > 0; i--)
			if (hash_of(name(arg, i - 1)) == trail->names[p - 1])
				return i;
	}
	*sure = trail->nnames == start;
	return 0;
}
