/* Names of ingest files: finding, making, removing, renaming. */
#include "fs/cache/coherence.h"
#include "fs/files/ingest.h"
#include "fs/inodes/inode.h"

#include "db/field.h"
#include "fs/stream/ingest_rows.h"
#include "fs/names/lookup.h"
#include "fs/bytes/plain.h"
#include "fs/bytes/scratch.h"
#include "schema/state/ingest_twin.h"
#include "util/text/utf8.h"
#include "util/clock.h"
#include "util/mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool is_ingest(const struct place *place) {
	return place != NULL && place->ingest != NULL;
}

enum { CREATE_MOST = 3 };

/* 9e9 s: what is later, ingest_file_find() shows as this. */
static const int64_t CHANGED_MOST_US = 9000000000000000;

static const char *name_of(const char *path) {
	return strrchr(path, '/') + 1;
}

static int find(struct call *call, const struct place *place, const char *name,
		struct ingest_record *rec) {
	if (!utf8_valid(name, strlen(name)))
		return -ENOENT; /* no such name can be made */
	return ingest_file_find(call->fs->pool, place->ingest->dir, name, 0, call_cancel(call), rec,
				&call->err);
}

int ingest_stream_open(struct call *call, const struct place *place, const char *path,
		       struct ingest_stream **out) {
	struct ingest_record rec = { 0 };
	int rc = find(call, place, name_of(path), &rec);
	if (rc != 0)
		return rc;
	*out = ingest_stream_get(call->fs, place, path, &rec);
	ingest_record_free(&rec);
	return *out != NULL ? 0 : -ENOMEM;
}

/* What REC says of the file, or this mount if it is ahead. */
static struct attributes attributes_of(struct fs *fs, const struct ingest_record *rec) {
	struct attributes attr = { .mode = S_IFREG | (rec->mode & 07777),
				   .size = rec->size,
				   .mtime_ns = ns_of_us(rec->changed_us) };
	uint64_t size;
	if (ingest_stream_size(fs, rec->id, &size))
		attr.size = size;
	return attr;
}

int ingest_find(struct call *call, const struct place *place, const char *name,
		struct found *found) {
	struct ingest_record rec = { 0 };
	found->epoch = atomic_load(&call->fs->epoch);
	int rc = find(call, place, name, &rec);
	if (rc != 0)
		return rc;
	found->type = NODE_PLACE;
	found->place = place;
	found->ino = inode_of_ingest(rec.id);
	found->attr = attributes_of(call->fs, &rec);
	ingest_record_free(&rec);
	return 0;
}

int ingest_refresh(struct call *call, int64_t id, struct found *found) {
	struct ingest_record rec = { 0 };
	found->epoch = atomic_load(&call->fs->epoch);
	int rc = ingest_file_find(call->fs->pool, NULL, NULL, id, call_cancel(call), &rec,
				  &call->err);
	if (rc != 0)
		return rc;
	found->attr = attributes_of(call->fs, &rec);
	ingest_record_free(&rec);
	return 0;
}

void ingest_listed(struct fs *fs, const PGresult *page, int row, struct listed *out) {
	int64_t id = field_number(page, row, INGEST_ID);
	*out = (struct listed){
		.name = field_text(page, row, INGEST_NAME),
		.ino = inode_of_ingest(id),
		.size = (uint64_t)field_number(page, row, INGEST_SIZE),
		.mtime_ns = ns_of_us(field_number(page, row, INGEST_CHANGED)),
		.mode = S_IFREG | ((mode_t)field_number(page, row, INGEST_MODE) & 07777),
	};
	uint64_t size;
	if (ingest_stream_size(fs, id, &size))
		out->size = size;
}

/* By a file that cannot be seen. */
static int name_is_taken(struct call *call) {
	return call_error(
		call, EACCES,
		"the name is taken by an ingest file of a table that this mount's role has no "
		"right on: choose another name, or ask the owner of the schema rowfs, who sees in "
		"rowfs.file which table it is, and may set another");
}

int ingest_create(struct call *call, const struct place *place, const char *name, mode_t mode) {
	if (!utf8_valid(name, strlen(name)))
		return call_error(call, EINVAL,
				  "the name is no UTF-8: give the file another, or one that no "
				  "route knows");
	struct ingest_record rec = { 0 };
	bool made = false;
	int rc = -ENOENT;
	/* what another mount has made may be gone again before it is found */
	for (int i = 0; rc == -ENOENT && i < CREATE_MOST; i++) {
		rc = ingest_file_create(call->fs->pool, place->ingest->dir, name, mode & 07777,
					place->ingest->of_table, &made, &call->err);
		if (rc == 0 && !made)
			rc = find(call, place, name, &rec);
	}
	if (rc == -ENOENT)
		rc = name_is_taken(call);
	ingest_record_free(&rec);
	coherence_changed(call->fs, &call->err);
	return rc;
}

int ingest_set_attr(struct call *call, struct node *node, const struct stat *attr, int to_set) {
	struct ingest_stream *s = NULL;
	int mode = (to_set & FUSE_SET_ATTR_MODE) != 0 ? (int)(attr->st_mode & 07777) : -1;
	int64_t at = -1;
	if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0)
		at = clock_now_ns() / 1000;
	else if ((to_set & FUSE_SET_ATTR_MTIME) != 0)
		at = ns_of_timespec(attr->st_mtim) / 1000;
	if (at > CHANGED_MOST_US)
		at = CHANGED_MOST_US;
	AUTO_FREE char *path = node_path(call->fs->nodes, node, NULL);
	if (path == NULL || (mode < 0 && at < 0))
		return path == NULL ? -ENOMEM : 0;
	int rc = ingest_stream_open(call, node->place, path, &s);
	if (rc != 0)
		return rc;
	struct attributes shown = node_attributes(call->fs->nodes, node);
	{
		LOCK_SCOPE(&s->lock);
		/* what is written but not committed must not move the time afterwards */
		rc = ingest_commit(call, s, TAIL_WAITS);
		if (rc == 0)
			rc = ingest_file_set(call->fs->pool, s->rec.id, mode, at, s->in->of_table,
					     &call->err);
		shown.size = ingest_size(s);
	}
	ingest_stream_put(call, s);
	if (mode >= 0)
		shown.mode = S_IFREG | (mode_t)mode;
	if (at >= 0)
		shown.mtime_ns = ns_of_us(at);
	if (rc == 0)
		node_update(call->fs->nodes, node, &shown, atomic_load(&call->fs->epoch));
	return rc;
}

/* -- removing and renaming --------------------------------------------------------------------- */

/* A change of names, in one transaction. */
struct renaming_files {
	struct fs *fs;
	const struct ingest *in; /* of the file that goes */
	int64_t gone;            /* the file that goes; 0: none */
	bool with_rows;
	int64_t moved; /* the file that gets a new name; 0: none */
	const char *dir, *name;
	const char *path; /* of the file that goes */
	struct buf kept;  /* what is to be told of rows that stay */
};

enum { REMOVED_NAME = 320, REMOVED_DAYS = 7, DAY_S = 24 * 3600 };

/* The name of a file that has none any more, in the directory "": "ID PID SECONDS HOST". It says
 * whose it is: when that mount is dead, nobody can have it open, and ingest_sweep() removes it. */
static void removed_name(int64_t id, char out[REMOVED_NAME]) {
	char host[256] = "";
	(void)!gethostname(host, sizeof(host) - 1);
	snprintf(out, REMOVED_NAME, "%lld %ld %lld %s", (long long)id, (long)getpid(),
		 (long long)time(NULL), host);
}

/* The file loses its name. Its bytes stay for those who have it open. */
static int drop(struct db_conn *conn, struct renaming_files *r, struct db_error *err) {
	char name[REMOVED_NAME];
	removed_name(r->gone, name);
	int rc = ingest_twin_give_back(conn, r->gone, err);
	if (rc == 0 && r->with_rows)
		rc = ingest_rows_delete(conn, r->fs->stream, r->in, r->gone, 0, NULL, &r->kept,
					err);
	return rc == 0 ? ingest_file_rename(conn, r->gone, "", name, r->in->of_table, err) : rc;
}

static int rename_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct renaming_files *r = arg;
	int rc = r->gone != 0 ? drop(conn, r, err) : 0;
	if (rc == 0 && r->moved != 0)
		rc = ingest_file_rename(conn, r->moved, r->dir, r->name, r->in->of_table, err);
	return rc;
}

static int run(struct call *call, struct renaming_files *r) {
	r->fs = call->fs;
	int rc = db_transaction(call->fs->pool, rename_in_tx, r, DB_REPEATABLE, NULL, &call->err);
	coherence_changed(call->fs, &call->err);
	if (rc == 0)
		ingest_rows_tell(call->fs->stream, r->path, &r->kept);
	buf_free(&r->kept);
	/* only now: a removal that failed must not take the bytes along at the last close */
	if (rc == 0 && r->gone != 0 && !ingest_stream_unlink(call->fs, r->gone, r->with_rows))
		ingest_delete(call->fs, r->gone, r->with_rows ? r->in : NULL, r->path);
	return rc;
}

/* Whether a mount may still have the file open that is called NAME in the directory "". */
static bool may_be_open(const char *name) {
	char host[256] = "";
	long long id, removed;
	long pid;
	int at = 0;
	if (sscanf(name, "%lld %ld %lld %n", &id, &pid, &removed, &at) != 3 || at == 0)
		return false;
	if (time(NULL) - removed > (long long)REMOVED_DAYS * DAY_S)
		return false;
	(void)!gethostname(host, sizeof(host) - 1);
	if (strcmp(name + at, host) != 0)
		return true; /* nobody here knows */
	return pid != (long)getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

void ingest_sweep(struct fs *fs) {
	AUTO_FREE char *after = NULL;
	for (bool more = true; more;) {
		AUTO_DB_ERROR struct db_error err = { 0 };
		AUTO_RESULT PGresult *page = NULL;
		if (ingest_file_page(fs->pool, "", after, (int)fs->opt->fetch_size, NULL, &page,
				     &err) != 0)
			return; /* no schema, or nothing can be asked: the next mount will */
		int n = PQntuples(page);
		for (int i = 0; i < n; i++) {
			const char *name = field_text(page, i, INGEST_NAME);
			if (!may_be_open(name))
				ingest_delete(fs, field_number(page, i, INGEST_ID), NULL, NULL);
		}
		free(after);
		after = n > 0 ? strdup(field_text(page, n - 1, INGEST_NAME)) : NULL;
		more = after != NULL;
	}
}

int ingest_remove(struct call *call, const struct place *place, const char *path) {
	struct ingest_record rec = { 0 };
	int rc = find(call, place, name_of(path), &rec);
	if (rc != 0)
		return rc;
	struct renaming_files r = { .in = place->ingest,
				    .gone = rec.id,
				    .with_rows = place->route->remove_rows,
				    .path = path };
	ingest_record_free(&rec);
	return run(call, &r);
}

/* The stream of the file at PATH, with everything committed; to be given back. */
static int settled_stream(struct call *call, const struct place *place, const char *path,
			  struct ingest_stream **out) {
	int rc = ingest_stream_open(call, place, path, out);
	if (rc != 0)
		return rc;
	LOCK_SCOPE(&(*out)->lock);
	return ingest_commit(call, *out, TAIL_WAITS);
}

/* Copies all bytes to the plain file FD. The stream's lock is held. */
static int copy_bytes(struct call *call, struct ingest_stream *s, int fd) {
	struct plain *plain = call->fs->plain;
	uint64_t size = ingest_size(s);
	int rc = 0;
	for (uint64_t at = 0; rc == 0 && at < size;) {
		AUTO_BUF struct buf bytes = { 0 };
		rc = ingest_read(call, s, at, 256 << 10, &bytes);
		if (rc == 0 && bytes.len == 0)
			rc = call_error(call, EIO, "the bytes from %llu on are missing",
					(unsigned long long)at);
		ssize_t n = rc == 0 ? plain_write(plain, fd, bytes.data, bytes.len, at, false) : 0;
		if (rc == 0 && n != (ssize_t)bytes.len)
			rc = n < 0 && n != -ENOSPC ? (int)n
						   : plain_no_room(plain, bytes.len, &call->err);
		at += bytes.len;
	}
	return rc;
}

/* To a name of another meaning: its lines are taken anew there. */
static int take_anew(struct call *call, struct ingest_stream *s, const struct place *to,
		     const char *to_path) {
	struct scratch *copy = NULL;
	struct ingest_stream *target = NULL;
	int rc;
	{
		LOCK_SCOPE(&s->lock);
		rc = ingest_copy(call, s, &copy);
	}
	if (rc == 0)
		rc = ingest_create(call, to, name_of(to_path), s->rec.mode);
	if (rc == 0)
		rc = settled_stream(call, to, to_path, &target);
	if (rc == 0) {
		LOCK_SCOPE(&target->lock);
		rc = ingest_replace(call, target, scratch_fd(copy), true);
	}
	if (target != NULL)
		ingest_stream_put(call, target);
	scratch_release(copy);
	return rc;
}

int ingest_rename(struct call *call, const struct node *from, const struct place *to,
		  const char *to_name) {
	AUTO_FREE char *path = node_path(call->fs->nodes, from, NULL);
	AUTO_BUF struct buf to_path = { 0 };
	struct ingest_stream *s = NULL;
	struct ingest_record target = { 0 };
	buf_printf(&to_path, "%s/%s", to->ingest->dir[1] != '\0' ? to->ingest->dir : "", to_name);
	int rc = path == NULL || to_path.failed ? -ENOMEM
						: settled_stream(call, from->place, path, &s);
	bool anew = rc == 0 && (!ingest_same_rows(from->place->ingest, to->ingest) ||
				s->gzip != ingest_is_gzip(to->ingest, to_name));
	struct renaming_files r = { .in = from->place->ingest,
				    .dir = to->ingest->dir,
				    .name = to_name,
				    .path = to_path.data };
	if (rc == 0 && anew) {
		rc = take_anew(call, s, to, to_path.data);
		r.gone = s->rec.id;
		r.with_rows = true;
	} else if (rc == 0) {
		rc = find(call, to, to_name, &target);
		r.in = to->ingest;
		r.with_rows = !to->route->keep_replaced;
		r.gone = rc == 0 ? target.id : 0;
		r.moved = s->rec.id;
		rc = rc == -ENOENT ? 0 : rc;
		if (r.gone == r.moved)
			r.gone = r.moved = 0;
	}
	if (s != NULL)
		ingest_stream_put(call, s);
	if (rc == 0)
		rc = run(call, &r);
	if (rc == -EEXIST && r.moved != 0 && find(call, to, to_name, &target) == -ENOENT)
		rc = name_is_taken(call);
	ingest_record_free(&target);
	return rc;
}

/* Where the bytes for the plain file TO_PATH are gathered: beside it, so that they can replace it
 * at once. */
static char *gathering_path(const char *to_path, int64_t id) {
	AUTO_BUF struct buf out = { 0 };
	buf_add(&out, to_path, (size_t)(name_of(to_path) - to_path));
	buf_printf(&out, ".rowfs-moving-%lld", (long long)id);
	return buf_take(&out);
}

/* Makes plain file PATH of the stream's bytes, lastingly. */
static int write_plain(struct call *call, struct ingest_stream *s, const char *path) {
	struct plain *plain = call->fs->plain;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { 0 } };
	AUTO_FD int fd = plain_open(plain, path, O_RDWR | O_CREAT, 0644);
	int rc = fd < 0 ? fd : plain_truncate(plain, fd, 0);
	if (rc != 0)
		return rc;
	LOCK_SCOPE(&s->lock);
	rc = copy_bytes(call, s, fd);
	if (rc == 0 && fsync(fd) != 0)
		rc = -errno;
	if (rc == 0)
		rc = plain_chmod(plain, path, s->rec.mode & 07777);
	times[1] = timespec_of_us(s->rec.changed_us);
	return rc == 0 ? plain_utimens(plain, path, times) : rc;
}

int ingest_to_plain(struct call *call, const struct node *from, const char *to_path) {
	struct plain *plain = call->fs->plain;
	AUTO_FREE char *path = node_path(call->fs->nodes, from, NULL);
	AUTO_FREE char *gathering = NULL;
	struct ingest_stream *s = NULL;
	int rc = path != NULL ? settled_stream(call, from->place, path, &s) : -ENOMEM;
	if (rc == 0 && (gathering = gathering_path(to_path, s->rec.id)) == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = write_plain(call, s, gathering);
	if (s != NULL)
		ingest_stream_put(call, s);
	if (rc == 0)
		rc = plain_rename(plain, gathering, to_path, 0);
	if (rc != 0 && gathering != NULL)
		(void)!plain_unlink(plain, gathering);
	if (rc != 0)
		return rc;
	/* until this is committed both names are there */
	return ingest_remove(call, from->place, path);
}

int ingest_from_plain(struct call *call, const char *from_path, const struct place *to,
		      const char *to_path) {
	struct ingest_stream *s = NULL;
	struct ingest_record rec = { 0 };
	struct stat st;
	AUTO_FD int fd = plain_open(call->fs->plain, from_path, O_RDONLY, 0);
	if (fd < 0 || fstat(fd, &st) != 0)
		return fd < 0 ? fd : -errno;
	int rc = find(call, to, name_of(to_path), &rec);
	bool is_new = rc == -ENOENT;
	ingest_record_free(&rec);
	if (is_new)
		rc = ingest_create(call, to, name_of(to_path), st.st_mode);
	if (rc == 0)
		rc = settled_stream(call, to, to_path, &s);
	if (rc == 0) {
		LOCK_SCOPE(&s->lock);
		rc = ingest_replace(call, s, fd, true);
		/* bad lines are told in errors.jsonl: the rename itself took place */
		s->deferred = 0;
	}
	if (s != NULL)
		ingest_stream_put(call, s);
	/* the name was only made for what did not come; if that may have come after all, the rename
	 * can be tried again */
	if (rc != 0 && is_new && !call->err.in_doubt) {
		struct call undo = { .fs = call->fs };
		(void)!ingest_remove(&undo, to, to_path);
		db_error_end(&undo.err);
	}
	return rc;
}
