#include "fs/rows/transcript.h"

#include "fs/core/part.h"
#include "fs/cache/coherence.h"
#include "fs/inodes/node.h"
#include "fs/rows/rows_reader.h"
#include "util/clock.h"
#include "util/list.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/ticker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>

enum {
	MEMORY_BYTES = 64 << 10, /* a longer one becomes a file */
	GATHER_BYTES =
		1 << 20, /* in memory until it is written: many readers only look at the start */
	GATHERED_BYTES = 16 << 20, /* the same, of all */
	MOST = 256,                /* transcripts, and so file descriptors */
	STEP_BYTES = 256 << 10,    /* that are asked for at once behind the end */
	LOOK_MS = 20,              /* between two looks at whether anything was told */
	DEAF_US = US_PER_S / 2,    /* between two at the rows while nothing is told */
	FREE_PART = 16,            /* of the disk, that transcripts leave alone */
};

/* What older headers do not have. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

struct transcript {
	struct transcripts *all;
	/* guarded by fs_lists */
	struct transcript *older, *newer; /* in the order of use; those that are not being made */
	int references;    /* its handles, its maker, and one while it is to be found */
	int passing;       /* handles that the kernel serves */
	int maps;          /* handles whose maps show it */
	bool found;        /* by who opens the file */
	uint64_t counted;  /* bytes of it that `all` counts */
	uint64_t gathered; /* those of them that are in memory, while it is being made */
	int backing;       /* the kernel's number for fd; 0: none; -1: it will not */

	struct node *node; /* held */
	struct where where;
	unsigned long made; /* the ticket before it was begun */

	atomic_int fd; /* -1: in memory */

	struct mutex lock;       /* guards all below */
	struct buf data;         /* its end, which is in memory; all of it if there is no file */
	uint64_t size;           /* bytes */
	uint64_t asked;          /* its size when it was asked last how full the disk is */
	struct rows_reader *end; /* reads on behind them */
	unsigned long seen;      /* the ticket of the last look at what may be there */
	int64_t seen_us;
	bool failed;   /* so did that look */
	bool nameless; /* no notice can tell of it */
	bool warned;   /* that there is no room for what comes */
};

struct transcripts {
	struct fs *fs;
	/* guarded by fs_lists */
	struct transcript *oldest, *newest;
	int n;
	uint64_t bytes, gathered;
	int passing;     /* of all */
	atomic_int maps; /* the same; changed under the lock */
	int session;     /* -1: none yet */
	bool stop;
	struct ticker *clock; /* follows them; NULL: not started, or ended */
	struct call asks;     /* the clock's own, not locked, as is: */
	unsigned long done;   /* the ticket up to which all is followed */
};

/* -- life -------------------------------------------------------------------------------------- */

/* Nobody has it any more. */
static void transcript_free(struct transcript *t) {
	struct transcripts *all = t->all;
	uint32_t backing = (uint32_t)t->backing;
	if (t->backing > 0 && all->session >= 0)
		(void)ioctl(all->session, BACKING_CLOSE, &backing);
	rows_reader_free(t->end);
	node_put(all->fs->nodes, t->node);
	where_free(&t->where);
	buf_free(&t->data);
	if (t->fd >= 0)
		close(t->fd);
	mutex_destroy(&t->lock);
	free(t);
}

static bool is_listed(const struct transcripts *all, const struct transcript *t) {
	return t->older != NULL || t->newer != NULL || all->oldest == t;
}

/* One reference less. Returns T if it is to be freed, when the lock is not held. */
static struct transcript *drop_locked(struct transcripts *all, struct transcript *t) {
	if (--t->references > 0)
		return NULL;
	if (is_listed(all, t))
		list_remove(all, t);
	all->bytes -= t->counted;
	all->gathered -= t->gathered;
	all->n--;
	return t;
}

void transcript_release(struct transcript *t) {
	if (t == NULL)
		return;
	struct transcript *last;
	{
		LOCK_SCOPE(&fs_lists);
		last = drop_locked(t->all, t);
	}
	if (last != NULL)
		transcript_free(last);
}

/* Nobody finds it any more. Returns as drop_locked(). */
static struct transcript *hide_locked(struct transcripts *all, struct transcript *t) {
	if (!t->found)
		return NULL;
	t->found = false;
	return drop_locked(all, t);
}

/* The one that nobody has used for the longest time, hidden; NULL if all are in use. */
static struct transcript *take_oldest(struct transcripts *all) {
	for (struct transcript *t = all->oldest; t != NULL; t = t->newer)
		if (t->found && t->references == 1)
			return hide_locked(all, t);
	return NULL;
}

/* Makes room for N transcripts and BYTES more, which are counted for T. GROWS: they are counted
 * even if there is none. */
static bool reserve(struct transcripts *all, struct transcript *t, int n, uint64_t bytes,
		    bool grows) {
	for (;;) {
		struct transcript *old = NULL;
		{
			LOCK_SCOPE(&fs_lists);
			bool fits = all->n + n <= MOST &&
				    all->bytes + bytes <= all->fs->opt->read_cache;
			if (!fits)
				old = take_oldest(all);
			if (fits || (grows && old == NULL)) {
				all->n += n;
				all->bytes += bytes;
				if (t != NULL)
					t->counted += bytes;
				return true;
			}
		}
		if (old == NULL)
			return false;
		transcript_free(old);
	}
}

static bool transcripts_open(struct fs *fs) {
	struct transcripts *all = fs->transcripts = calloc(1, sizeof(*all));
	if (all == NULL)
		return false;
	all->fs = fs;
	all->session = -1;
	/* it is interrupted by us alone, at the end */
	all->asks = (struct call){ .fs = fs, .interruptible = true };
	mutex_init(&all->asks.cancel.lock, MUTEX_CANCEL);
	return true;
}

/* Ends the clock. It must not wait for a server that does not answer. */
static void end_clock(struct transcripts *all) {
	struct ticker *clock;
	{
		LOCK_SCOPE(&fs_lists);
		all->stop = true;
		clock = move_ptr(all->clock);
	}
	db_cancel_fire(&all->asks.cancel);
	ticker_stop(clock);
}

void transcripts_serve(struct transcripts *all, int session) {
	if (session < 0)
		end_clock(all); /* it may be the last that has one, which the kernel is told */
	LOCK_SCOPE(&fs_lists);
	all->session = session;
}

/* No handle has one any more. */
static void transcripts_close(struct fs *fs) {
	struct transcripts *all = fs->transcripts;
	end_clock(all);
	while (all->oldest != NULL) {
		struct transcript *t = all->oldest;
		t->found = false;
		t->references = 1;
		transcript_release(t);
	}
	mutex_destroy(&all->asks.cancel.lock);
	free(all);
}

const struct mount_part transcripts_part = { "transcripts", transcripts_open, transcripts_close };

/* -- making ------------------------------------------------------------------------------------ */

/* True if no notice has come since TICKET that concerns NODE, and one would have. */
static bool is_unchanged(struct fs *fs, const struct node *node, unsigned long ticket) {
	return coherence_listens(fs) && node_is_unchanged(fs->nodes, node, ticket);
}

struct transcript *transcript_begin(struct fs *fs, struct node *node, const struct where *w,
				    bool always) {
	struct transcripts *all = fs->transcripts;
	unsigned long ticket = coherence_ticket(fs);
	struct stat st;
	node_stat(fs->nodes, node, &st);
	if ((uint64_t)st.st_size >= fs->opt->read_cache ||
	    !(always || is_unchanged(fs, node, ticket)) || !reserve(all, NULL, 1, 0, false))
		return NULL;
	struct transcript *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		LOCK_SCOPE(&fs_lists);
		all->n--;
		return NULL;
	}
	t->all = all;
	t->references = 1;
	t->made = t->seen = ticket;
	t->fd = -1;
	t->node = node;
	node_hold(fs->nodes, node);
	mutex_init(&t->lock, MUTEX_TRANSCRIPT);
	if (where_copy(&t->where, w))
		return t;
	transcript_release(t);
	return NULL;
}

static bool write_all(int fd, const char *data, size_t len, uint64_t offset) {
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, data + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno != EINTR)
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* True if the disk of FD has room enough. */
static bool has_room(int fd) {
	struct statvfs st;
	return fstatvfs(fd, &st) == 0 && st.f_bavail >= st.f_blocks / FREE_PART;
}

static bool open_file(struct transcript *t) {
	AUTO_FD int fd = openat(t->all->fs->state, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || !has_room(fd))
		return false;
	t->asked = t->size;
	atomic_store(&t->fd, fd);
	fd = -1;
	return true;
}

/* BYTES of T are in memory, while it is made. Returns false if that is too much of all. */
static bool gather(struct transcript *t, uint64_t bytes) {
	struct transcripts *all = t->all;
	LOCK_SCOPE(&fs_lists);
	all->gathered += bytes - t->gathered;
	t->gathered = bytes;
	return all->gathered <= GATHERED_BYTES;
}

/* What is in memory goes to the file: many bytes at once, since the kernel reads large pieces
 * fastest if they were written as such. */
static bool flush(struct transcript *t) {
	if (t->fd < 0 && !open_file(t))
		return false;
	if (t->size - t->asked >= GATHER_BYTES) {
		if (!has_room(t->fd))
			return false;
		t->asked = t->size;
	}
	if (!write_all(t->fd, t->data.data, t->data.len, t->size - t->data.len))
		return false;
	buf_free(&t->data);
	(void)gather(t, 0);
	return true;
}

/* GROWS: who has T open waits for it, so that it is not refused for read_cache. */
static bool append(struct transcript *t, const char *data, size_t len, bool grows) {
	if (!reserve(t->all, t, 0, len, grows))
		return false;
	buf_add(&t->data, data, len);
	if (t->data.failed) {
		t->data.failed = false; /* what was there still is */
		return false;
	}
	t->size += len;
	return true;
}

bool transcript_add(struct transcript *t, uint64_t offset, const char *data, size_t len) {
	LOCK_SCOPE(&t->lock);
	if (offset != t->size || (len > 0 && !append(t, data, len, false)))
		return false;
	bool few = gather(t, t->data.len) && t->data.len <= GATHER_BYTES;
	return few || t->data.len == 0 || flush(t);
}

struct mutex *transcript_lock(struct transcript *t) {
	return &t->lock;
}

bool transcript_finish(struct transcript *t, struct rows_reader *end) {
	struct transcripts *all = t->all;
	struct transcript *earlier = NULL;
	bool small = t->fd < 0 && t->size <= MEMORY_BYTES;
	bool whole = end != NULL && (small || flush(t));
	(void)gather(t, 0);
	t->end = end;
	if (whole && is_unchanged(all->fs, t->node, t->made)) {
		LOCK_SCOPE(&fs_lists);
		for (struct transcript *o = all->oldest; o != NULL; o = o->newer)
			if (o->node == t->node && o->found) {
				earlier = hide_locked(all, o);
				break;
			}
		list_append(all, t);
		t->found = true;
		t->references++;
	}
	if (earlier != NULL)
		transcript_free(earlier);
	return whole;
}

struct transcript *transcript_find(struct fs *fs, struct node *node) {
	struct transcripts *all = fs->transcripts;
	struct transcript *t, *old = NULL;
	{
		LOCK_SCOPE(&fs_lists);
		for (t = all->newest; t != NULL && (t->node != node || !t->found); t = t->older)
			;
		if (t == NULL)
			return NULL;
		t->references++;
	}
	bool good = is_unchanged(fs, node, t->made);
	{
		LOCK_SCOPE(&fs_lists);
		if (good) {
			list_remove(all, t);
			list_append(all, t);
		} else {
			old = hide_locked(all, t);
		}
	}
	if (good)
		return t;
	if (old != NULL)
		transcript_free(old);
	transcript_release(t);
	return NULL;
}

/* -- reading ----------------------------------------------------------------------------------- */

/* True if a notice would have told of what has come behind T's end, and none did. If the name has
 * another node by now (see rows_pass()), the notices for that one are T's as well. */
static bool has_all(struct fs *fs, struct transcript *t) {
	t->nameless = false;
	if (node_has_name(fs->nodes, t->node))
		return is_unchanged(fs, t->node, t->seen);
	struct node *now = node_get_namesake(fs->nodes, t->node);
	t->nameless = now == NULL;
	bool all = now != NULL && is_unchanged(fs, now, t->seen);
	node_put(fs->nodes, now);
	return all;
}

/* What has come goes to the file, if there is one or memory is too little for it. */
static int keep(struct call *call, struct transcript *t) {
	if (t->data.len == 0 || (t->fd < 0 && t->data.len <= MEMORY_BYTES) || flush(t))
		return 0;
	(void)call_error(call, ENOSPC,
			 "no room below state_dir (%s) for what comes to an open rows file: its "
			 "readers wait for it, or open it anew",
			 call->fs->opt->state_dir);
	/* readers whom only the kernel serves are not told */
	if (!t->warned)
		log_warning("%s: %s", t->where.path, call->err.sentence);
	t->warned = true;
	return -ENOSPC;
}

/* Appends what has come behind the end. T's lock is held. */
static int follow(struct call *call, struct transcript *t) {
	unsigned long ticket = coherence_ticket(call->fs);
	if (has_all(call->fs, t))
		return 0;
	AUTO_BUF struct buf more = { 0 };
	int rc = keep(call, t); /* what found no room before */
	bool all = false;
	while (rc == 0 && !all) {
		buf_resize(&more, 0);
		rc = rows_reader_on(call, t->end, &t->where, t->node, t->size, STEP_BYTES, &more);
		all = more.len < STEP_BYTES;
		if (rc == 0 && more.len > 0 && !append(t, more.data, more.len, true))
			rc = -ENOMEM;
		if (rc == 0)
			rc = keep(call, t);
	}
	t->seen_us = clock_us();
	t->failed = rc != 0;
	if (rc == 0)
		t->seen = ticket;
	return rc;
}

static int read_file(int fd, size_t size, uint64_t offset, struct buf *out) {
	size_t had = out->len;
	buf_resize(out, had + size);
	if (out->failed)
		return -ENOMEM;
	for (size_t done = 0; done < size;) {
		ssize_t n = pread(fd, out->data + had + done, size - done, (off_t)(offset + done));
		if (n == 0 || (n < 0 && errno != EINTR))
			return n == 0 ? -EIO : -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int take(const struct transcript *t, size_t size, uint64_t offset, struct buf *out) {
	uint64_t filed = t->size - t->data.len;
	if (offset >= t->size)
		return 0;
	if (size > t->size - offset)
		size = (size_t)(t->size - offset);
	if (offset < filed) {
		size_t n = size < filed - offset ? size : (size_t)(filed - offset);
		int rc = read_file(t->fd, n, offset, out);
		if (rc != 0)
			return rc;
		offset += n;
		size -= n;
	}
	if (size > 0)
		buf_add(out, t->data.data + (offset - filed), size);
	return out->failed ? -ENOMEM : 0;
}

int transcript_read(struct call *call, struct transcript *t, size_t size, uint64_t offset,
		    struct buf *out) {
	LOCK_SCOPE(&t->lock);
	int rc = 0;
	if (offset + size > t->size)
		rc = follow(call, t);
	return rc == 0 ? take(t, size, offset, out) : rc;
}

/* -- the kernel reads by itself ---------------------------------------------------------------- */

/* Those that the kernel serves (NODE: of that file), each with a reference. Returns how many. */
static int take_passing(struct transcripts *all, const struct node *node,
			struct transcript *some[MOST]) {
	int n = 0;
	LOCK_SCOPE(&fs_lists);
	for (struct transcript *t = all->oldest; all->passing > 0 && t != NULL; t = t->newer) {
		if (t->passing == 0 || (node != NULL && t->node->ino != node->ino))
			continue;
		t->references++;
		some[n++] = t;
	}
	return n;
}

/* PATIENT: where notices do not say when to look, or the last look failed, not at every notice. */
static bool follow_quietly(struct call *call, struct transcript *t, bool patient) {
	LOCK_SCOPE(&t->lock);
	bool deaf = !coherence_listens(call->fs);
	bool waits = deaf || (patient && (t->failed || t->nameless));
	if (waits && clock_us() - t->seen_us < DEAF_US)
		return false;
	if (follow(call, t) == 0)
		return true;
	log_debug("%s: %s", t->where.path,
		  call->err.sentence != NULL ? call->err.sentence : "not followed");
	db_error_clear(&call->err);
	return false;
}

/* Returns false if it is to be tried again. */
static bool follow_all(struct call *call, const struct node *node) {
	struct transcript *some[MOST];
	bool done = true;
	int n = take_passing(call->fs->transcripts, node, some);
	for (int i = 0; i < n; i++) {
		if (!atomic_load(&call->cancel.fired))
			done &= follow_quietly(call, some[i], node == NULL);
		transcript_release(some[i]);
	}
	return done;
}

void transcripts_follow(struct fs *fs, const struct node *node) {
	AUTO_CALL struct call call = CALL_OF(fs);
	(void)follow_all(&call, node);
}

static int64_t follow_passing(void *arg) {
	struct transcripts *all = arg;
	{
		LOCK_SCOPE(&fs_lists);
		if (all->passing == 0)
			return TICKER_REST;
	}
	unsigned long now = coherence_ticket(all->fs);
	if ((now != all->done || !coherence_listens(all->fs)) && follow_all(&all->asks, NULL))
		all->done = now;
	return (int64_t)LOOK_MS * US_PER_MS;
}

/* Makes T's file known to the kernel. */
static bool has_backing(struct transcripts *all, struct transcript *t) {
	if (all->session < 0 || t->fd < 0)
		return false;
	if (t->backing == 0) {
		const struct backing_map map = { .fd = t->fd };
		t->backing = ioctl(all->session, BACKING_OPEN, &map);
		if (t->backing < 0)
			log_debug("the kernel does not read by itself: %s", strerror(errno));
	}
	if (t->backing > 0 && all->clock == NULL && !all->stop)
		all->clock = ticker_start(follow_passing, all);
	return t->backing > 0 && all->clock != NULL;
}

struct transcript *transcript_pass(struct fs *fs, struct node *node, struct transcript *t,
				   struct passing *out) {
	struct transcripts *all = fs->transcripts;
	LOCK_SCOPE(&fs_lists);
	struct transcript *now = all->passing > 0 ? all->newest : NULL;
	while (now != NULL && (now->node != node || now->passing == 0))
		now = now->older;
	if (now == NULL && t != NULL && node_is_open_once(fs->nodes, node) && has_backing(all, t))
		now = t;
	if (now == NULL)
		return NULL;
	now->references++;
	now->passing++;
	if (all->passing++ == 0)
		ticker_call(all->clock);
	*out = (struct passing){ .backing = now->backing, .direct = now != t };
	return now;
}

void transcript_pass_end(struct transcript *t) {
	{
		LOCK_SCOPE(&fs_lists);
		t->passing--;
		t->all->passing--;
	}
	transcript_release(t);
}

/* -- maps -------------------------------------------------------------------------------------- */

/* What maps of NODE show; NULL: nothing. The lock is held. */
static struct transcript *mapped_locked(const struct transcripts *all, const struct node *node) {
	struct transcript *t = atomic_load(&all->maps) > 0 ? all->newest : NULL;
	while (t != NULL && (t->node != node || t->maps == 0))
		t = t->older;
	return t;
}

struct transcript *transcript_map(struct fs *fs, const struct node *node,
				  struct transcript *offer) {
	struct transcripts *all = fs->transcripts;
	LOCK_SCOPE(&fs_lists);
	struct transcript *t = mapped_locked(all, node);
	if (t == NULL && (t = offer) == NULL)
		return NULL;
	if (!is_listed(all, t)) /* it was old when it was made */
		list_append(all, t);
	t->references++;
	t->maps++;
	atomic_fetch_add(&all->maps, 1);
	return t;
}

void transcript_map_end(struct transcript *t) {
	{
		LOCK_SCOPE(&fs_lists);
		t->maps--;
		atomic_fetch_sub(&t->all->maps, 1);
	}
	transcript_release(t);
}

bool transcript_map_is_old(struct fs *fs, const struct node *node) {
	struct transcripts *all = fs->transcripts;
	unsigned long made;
	if (atomic_load(&all->maps) == 0) /* as almost always: no lock for it */
		return false;
	{
		LOCK_SCOPE(&fs_lists);
		const struct transcript *t = mapped_locked(all, node);
		if (t == NULL)
			return false;
		made = t->made;
	}
	return !is_unchanged(fs, node, made);
}
