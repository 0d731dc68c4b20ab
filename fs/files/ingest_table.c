/* The table of the streams, and the clock that commits what has waited long enough. */
#include "fs/files/ingest.h"
#include "fs/core/part.h"
#include "fs/bytes/scratch.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/ticker.h"

#include <string.h>

enum { KEPT_MOST = 256 }; /* streams without a handle */

struct ingest_streams {
	struct ingest_stream *first; /* with `kept` and `clock` guarded by fs_lists */
	int kept;                    /* of them without a handle */
	struct fs *fs;
	struct ticker *clock; /* begins with the first stream */
};

static bool ingest_open(struct fs *fs) {
	struct ingest_streams *streams = fs->ingest = calloc(1, sizeof(*streams));
	return streams != NULL;
}

static void stream_free(struct ingest_stream *s) {
	ingest_stream_reset(s);
	scratch_release(s->copy);
	snapshot_drop_place(s->w.place);
	where_free(&s->w);
	ingest_record_free(&s->rec);
	buf_free(&s->pending);
	account_give(&s->fs->memory, s->counted);
	id_stock_free(&s->ids);
	mutex_destroy(&s->lock);
	free(s);
}

static void ingest_close(struct fs *fs) {
	struct ingest_streams *streams = fs->ingest;
	ticker_stop(streams->clock);
	for (struct ingest_stream *s = streams->first, *next; s != NULL; s = next) {
		next = s->next;
		stream_free(s);
	}
	free(streams);
}

const struct mount_part ingest_part = { "ingest", ingest_open, ingest_close };

/* S may outlive the nodes of its file: it holds the snapshot of its place by itself. */
static void set_place(struct ingest_stream *s, const struct place *place) {
	const struct place *old = s->w.place;
	snapshot_hold_place(place);
	s->w.place = place;
	s->in = place->ingest;
	if (old != NULL)
		snapshot_drop_place(old);
}

static struct ingest_stream *stream_new(struct fs *fs, const struct place *place, const char *path,
					struct ingest_record *rec) {
	struct ingest_stream *s = calloc(1, sizeof(*s));
	if (s == NULL || (s->w.path = strdup(path)) == NULL) {
		free(s);
		return NULL;
	}
	mutex_init(&s->lock, MUTEX_INGEST);
	s->fs = fs;
	s->id = rec->id;
	set_place(s, place);
	s->gzip = ingest_is_gzip(s->in, path);
	ingest_adopt(s, rec);
	return s;
}

int ingest_streams_failing(struct fs *fs) {
	int n = 0;
	LOCK_SCOPE(&fs_lists);
	for (struct ingest_stream *s = fs->ingest->first; s != NULL; s = s->next)
		n += atomic_load(&s->failing);
	return n;
}

/* -- by the clock ------------------------------------------------------------------------------ */

/* A stream with an id above ID that has a handle, and one more now; NULL: there is none. */
static struct ingest_stream *next_stream(struct ingest_streams *streams, int64_t id) {
	struct ingest_stream *next = NULL;
	LOCK_SCOPE(&fs_lists);
	for (struct ingest_stream *s = streams->first; s != NULL; s = s->next)
		if (s->handles > 0 && s->id > id && (next == NULL || s->id < next->id))
			next = s;
	if (next != NULL)
		next->handles++;
	return next;
}

/* Commits what has waited for flush_interval. Returns how long the next has to wait,
 * microseconds. */
static int64_t tend_all(void *arg) {
	struct ingest_streams *streams = arg;
	int64_t wait = (int64_t)(streams->fs->opt->flush_interval * US_PER_S), id = -1;
	struct ingest_stream *s;
	while ((s = next_stream(streams, id)) != NULL) {
		AUTO_CALL struct call call = CALL_OF(streams->fs);
		id = s->id;
		{
			LOCK_SCOPE(&s->lock);
			int64_t one = ingest_tend(&call, s);
			wait = one < wait ? one : wait;
		}
		ingest_stream_put(&call, s);
	}
	return wait;
}

static void begin_clock_locked(struct ingest_streams *streams, struct fs *fs) {
	if (streams->clock != NULL)
		return;
	streams->fs = fs;
	streams->clock = ticker_start(tend_all, streams);
	if (streams->clock == NULL)
		log_warning("what is written to ingest files waits for fsync or close");
}

/* -- getting and giving back ------------------------------------------------------------------- */

struct ingest_stream *ingest_stream_get(struct fs *fs, const struct place *place, const char *path,
					struct ingest_record *rec) {
	struct ingest_streams *streams = fs->ingest;
	struct ingest_stream *s;
	{
		LOCK_SCOPE(&fs_lists);
		for (s = streams->first; s != NULL && s->id != rec->id;)
			s = s->next;
		if (s == NULL && (s = stream_new(fs, place, path, rec)) != NULL) {
			s->next = streams->first;
			streams->first = s;
			s->handles = 1;
			begin_clock_locked(streams, fs);
			return s;
		}
		if (s == NULL)
			return NULL;
		streams->kept -= s->handles == 0;
		s->handles++;
	}
	LOCK_SCOPE(&s->lock);
	if (ingest_is_clean(s)) {
		char *copy = strdup(path);
		if (copy != NULL) {
			free(s->w.path);
			s->w.path = copy;
			set_place(s, place);
			s->gzip = ingest_is_gzip(s->in, path);
		}
		ingest_adopt(s, rec);
	}
	ingest_record_free(rec);
	return s;
}

/* Takes S out of the list. */
static void unlink_locked(struct ingest_streams *streams, struct ingest_stream *s) {
	struct ingest_stream **p = &streams->first;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
}

/* The stream without a handle that was used longest ago. */
static struct ingest_stream *oldest_locked(const struct ingest_streams *streams) {
	struct ingest_stream *oldest = NULL;
	for (struct ingest_stream *s = streams->first; s != NULL; s = s->next)
		if (s->handles == 0 && (oldest == NULL || s->used_us < oldest->used_us))
			oldest = s;
	return oldest;
}

void ingest_stream_put(struct call *call, struct ingest_stream *s) {
	struct ingest_streams *streams = s->fs->ingest;
	struct ingest_stream *done = NULL;
	{
		LOCK_SCOPE(&fs_lists);
		s->used_us = clock_us();
		if (--s->handles > 0)
			return;
		streams->kept++;
		if (s->pending.len == 0)
			buf_free(&s->pending);
		ingest_show(s);
		buf_free(&s->chunk);
		id_stock_free(&s->ids);
		done = s->unlinked || !ingest_is_clean(s) ? s
		       : streams->kept > KEPT_MOST        ? oldest_locked(streams)
							  : NULL;
		if (done != NULL) {
			streams->kept--;
			unlink_locked(streams, done);
		}
	}
	if (done == NULL)
		return;
	if (done->unlinked)
		ingest_delete(done->fs, done->id, done->without_rows ? done->in : NULL,
			      done->w.path);
	stream_free(done);
}

bool ingest_stream_size(struct fs *fs, int64_t id, uint64_t *size) {
	const struct ingest_streams *streams = fs->ingest;
	const struct ingest_stream *s;
	LOCK_SCOPE(&fs_lists);
	for (s = streams->first; s != NULL && s->id != id;)
		s = s->next;
	long long ahead = s != NULL && s->handles > 0 ? atomic_load(&s->ahead) : -1;
	if (ahead >= 0)
		*size = (uint64_t)ahead;
	return ahead >= 0;
}

bool ingest_stream_unlink(struct fs *fs, int64_t id, bool with_rows) {
	struct ingest_streams *streams = fs->ingest;
	struct ingest_stream *s;
	{
		LOCK_SCOPE(&fs_lists);
		for (s = streams->first; s != NULL && s->id != id;)
			s = s->next;
		if (s == NULL)
			return false;
		s->unlinked = s->handles > 0;
		s->without_rows = with_rows;
		if (s->handles > 0)
			return true;
		streams->kept--;
		unlink_locked(streams, s);
	}
	stream_free(s);
	return false;
}
