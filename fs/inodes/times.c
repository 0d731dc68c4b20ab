#include "fs/inodes/times.h"

#include "util/hash.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

/* Never 0. */
static uint64_t hash_of(const char *version) {
	return hash_add(HASH_BEGIN, version, strlen(version)) | 1;
}

/* Where INO stands, or the place of the document of its set that changed the longest time ago. */
static struct document_time *find(struct times *times, uint64_t ino) {
	uint64_t hash = (ino ^ (ino >> 32)) * 0x9e3779b97f4a7c15u;
	struct document_time *set = times->sets[(hash >> 32) % TIMES_SETS], *oldest = &set[0];
	for (int i = 0; i < TIMES_WAYS; i++) {
		if (set[i].ino == ino)
			return &set[i];
		if (set[i].mtime_ns < oldest->mtime_ns)
			oldest = &set[i];
	}
	return oldest;
}

int64_t times_found(struct times *times, uint64_t ino, const char *version, bool changed,
		    int64_t now_ns) {
	struct document_time *t = find(times, ino);
	uint64_t hash = version != NULL ? hash_of(version) : 0;
	bool known = t->ino == ino;
	if (known && (t->version == 0 || hash == 0 || t->version == hash)) {
		t->version = hash;
		return t->mtime_ns;
	}
	*t = (struct document_time){ .ino = ino,
				     .version = hash,
				     .mtime_ns = known || changed ? now_ns : 0,
				     .epoch = known ? t->epoch : 0 };
	return t->mtime_ns;
}

int64_t times_since(struct times *times, uint64_t ino, unsigned long epoch) {
	const struct document_time *t = find(times, ino);
	if (t->ino != ino)
		return 0;
	return epoch >= t->epoch ? t->mtime_ns : -1;
}

void times_written(struct times *times, uint64_t ino, int64_t now_ns, unsigned long epoch) {
	*find(times, ino) =
		(struct document_time){ .ino = ino, .mtime_ns = now_ns, .epoch = epoch };
}

void times_named(struct times *times, uint64_t ino, int64_t now_ns) {
	int64_t before = times_since(times, ino, ULONG_MAX);
	times_written(times, ino, now_ns > before ? now_ns : before + 1, 0);
}
