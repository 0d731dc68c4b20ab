/* Names of ingest files: finding, making, removing, renaming. */
#include "fs/ingest.h"
#include "fs/lookup.h"
#include "fs/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

bool is_ingest(const struct place *place) {
	return place != NULL && place->ingest != NULL;
}

static const char *name_of(const char *path) {
	return strrchr(path, '/') + 1;
}

static int find(struct call *call, const struct place *place, const char *name,
		struct ingest_record *rec) {
	return ingest_file_find(call->fs->pool, place->ingest->dir, name, 0, call_cancel(call), rec,
				&call->err);
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
	found->attr = (struct attributes){ .mode = S_IFREG | (rec.mode & 07777),
					   .size = rec.size,
					   .mtime_ns = rec.changed_us * 1000 };
	uint64_t size;
	if (ingest_stream_size(call->fs, rec.id, &size))
		found->attr.size = size;
	ingest_record_free(&rec);
	return 0;
}

struct attributes ingest_attributes(const PGresult *page, int row) {
	return (struct attributes){
		.mode = S_IFREG |
			((mode_t)strtoul(PQgetvalue(page, row, INGEST_MODE), NULL, 10) & 07777),
		.size = strtoull(PQgetvalue(page, row, INGEST_SIZE), NULL, 10),
		.mtime_ns = strtoll(PQgetvalue(page, row, INGEST_CHANGED), NULL, 10) * 1000,
	};
}

int ingest_create(struct call *call, const struct place *place, const char *name, mode_t mode) {
	int rc = ingest_file_create(call->fs->pool, place->ingest->dir, name, mode & 07777,
				    &call->err);
	fs_changed(call->fs);
	return rc;
}

int ingest_set_attr(struct call *call, struct node *node, const struct stat *attr, int to_set) {
	struct ingest_record rec = { 0 };
	int mode = (to_set & FUSE_SET_ATTR_MODE) != 0 ? (int)(attr->st_mode & 07777) : -1;
	int64_t at = -1;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0)
		at = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	else if ((to_set & FUSE_SET_ATTR_MTIME) != 0)
		at = (int64_t)attr->st_mtim.tv_sec * 1000000 + attr->st_mtim.tv_nsec / 1000;
	AUTO_FREE char *path = node_path(call->fs->nodes, node, NULL);
	if (path == NULL || (mode < 0 && at < 0))
		return path == NULL ? -ENOMEM : 0;
	int rc = find(call, node->place, name_of(path), &rec);
	if (rc != 0)
		return rc;
	/* what is written but not committed must not move the time afterwards */
	struct ingest_stream *s = ingest_stream_get(call->fs, node->place, path, &rec);
	if (s == NULL)
		return -ENOMEM;
	struct attributes shown = node->attr;
	{
		LOCK_SCOPE(&s->lock);
		rc = ingest_commit(call, s, false);
		if (rc == 0)
			rc = ingest_file_set(call->fs->pool, s->rec.id, mode, at, &call->err);
		shown.size = ingest_size(s);
	}
	ingest_stream_put(call, s);
	if (mode >= 0)
		shown.mode = S_IFREG | (mode_t)mode;
	if (at >= 0)
		shown.mtime_ns = at * 1000;
	if (rc == 0)
		node_update(call->fs->nodes, node, &shown, atomic_load(&call->fs->epoch));
	return rc;
}

/* -- removing and renaming ------------------------------------------------------------------------- */

/* A change of names, in one transaction. */
struct renaming_files {
	struct fs *fs;
	const struct ingest *in; /* of the file that goes */
	int64_t gone;            /* the file that goes; 0: none */
	bool open;               /* somebody has it open: its bytes stay for him */
	bool with_rows;
	int64_t moved; /* the file that gets a new name; 0: none */
	const char *dir, *name;
};

static int drop(struct db_conn *conn, const struct renaming_files *r, struct db_error *err) {
	AUTO_FREE char *sql = ingest_delete_sql(r->in);
	char id[24];
	snprintf(id, sizeof(id), "%lld", (long long)r->gone);
	struct db_param param = db_text(id);
	int rc = sql != NULL ? 0 : db_error_set(err, ENOMEM, "out of memory");
	if (rc == 0 && r->with_rows)
		rc = db_query_on(conn, sql, &param, 1, NULL, err);
	if (rc != 0)
		return rc;
	return r->open ? ingest_file_rename(conn, r->gone, "", id, err)
		       : ingest_file_delete(conn, r->gone, err);
}

static int rename_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct renaming_files *r = arg;
	int rc = r->gone != 0 ? drop(conn, r, err) : 0;
	if (rc == 0 && r->moved != 0)
		rc = ingest_file_rename(conn, r->moved, r->dir, r->name, err);
	return rc;
}

static int run(struct call *call, struct renaming_files *r) {
	r->fs = call->fs;
	r->open = r->gone != 0 && ingest_stream_unlink(call->fs, r->gone);
	int rc = db_transaction(call->fs->pool, rename_in_tx, r, DB_REPEATABLE, NULL, &call->err);
	fs_changed(call->fs);
	return rc;
}

int ingest_remove(struct call *call, const struct place *place, const char *path) {
	struct ingest_record rec = { 0 };
	int rc = find(call, place, name_of(path), &rec);
	if (rc != 0)
		return rc;
	struct renaming_files r = { .in = place->ingest,
				    .gone = rec.id,
				    .with_rows = place->ingest->remove_rows };
	ingest_record_free(&rec);
	return run(call, &r);
}

/* The stream of the file at PATH, with everything committed; to be given back. */
static int settled_stream(struct call *call, const struct place *place, const char *path,
			  struct ingest_stream **out) {
	struct ingest_record rec = { 0 };
	int rc = find(call, place, name_of(path), &rec);
	if (rc != 0)
		return rc;
	*out = ingest_stream_get(call->fs, place, path, &rec);
	if (*out == NULL) {
		ingest_record_free(&rec);
		return -ENOMEM;
	}
	LOCK_SCOPE(&(*out)->lock);
	return ingest_commit(call, *out, false);
}

static bool same_meaning(const struct ingest *a, const struct ingest *b) {
	return a->rel == b->rel && a->csv == b->csv && a->gzip == b->gzip;
}

/* Copies all bytes into FD. The stream's lock is held. */
static int copy_bytes(struct call *call, struct ingest_stream *s, int fd, bool plain) {
	uint64_t size = ingest_size(s);
	for (uint64_t at = 0; at < size;) {
		AUTO_BUF struct buf bytes = { 0 };
		int rc = ingest_read(call, s, at, 256 << 10, &bytes);
		if (rc != 0)
			return rc;
		ssize_t n =
			plain ? plain_write(call->fs->plain, fd, bytes.data, bytes.len, at, false)
			      : pwrite(fd, bytes.data, bytes.len, (off_t)at);
		if (bytes.len == 0 || n != (ssize_t)bytes.len)
			return call_error(call, ENOSPC, "no room for a copy of the file");
		at += bytes.len;
	}
	return 0;
}

/* To a name of another meaning: its lines are taken anew there. */
static int take_anew(struct call *call, struct ingest_stream *s, const struct place *to,
		     const char *to_path) {
	AUTO_FD int fd = open(call->fs->opt->state_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return call_error(call, errno, "no copy can be made in %s",
				  call->fs->opt->state_dir);
	int rc;
	{
		LOCK_SCOPE(&s->lock);
		rc = copy_bytes(call, s, fd, false);
	}
	struct ingest_stream *target = NULL;
	if (rc == 0)
		rc = ingest_create(call, to, name_of(to_path), s->rec.mode);
	if (rc == 0)
		rc = settled_stream(call, to, to_path, &target);
	if (rc == 0) {
		LOCK_SCOPE(&target->lock);
		rc = ingest_replace(call, target, fd);
	}
	if (target != NULL)
		ingest_stream_put(call, target);
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
	bool anew = rc == 0 && !same_meaning(from->place->ingest, to->ingest);
	struct renaming_files r = { .in = from->place->ingest,
				    .dir = to->ingest->dir,
				    .name = to_name };
	if (rc == 0 && anew) {
		rc = take_anew(call, s, to, to_path.data);
		r.gone = s->rec.id;
		r.with_rows = true;
	} else if (rc == 0) {
		rc = find(call, to, to_name, &target);
		r.in = to->ingest;
		r.with_rows = !to->ingest->keep_replaced;
		r.gone = rc == 0 ? target.id : 0;
		r.moved = s->rec.id;
		rc = rc == -ENOENT ? 0 : rc;
		if (r.gone == r.moved)
			r.gone = r.moved = 0;
	}
	if (s != NULL)
		ingest_stream_put(call, s);
	ingest_record_free(&target);
	return rc == 0 ? run(call, &r) : rc;
}

int ingest_to_plain(struct call *call, const struct node *from, const char *to_path) {
	AUTO_FREE char *path = node_path(call->fs->nodes, from, NULL);
	struct ingest_stream *s = NULL;
	int rc = path != NULL ? settled_stream(call, from->place, path, &s) : -ENOMEM;
	AUTO_FD int fd =
		rc == 0 ? plain_open(call->fs->plain, to_path, O_RDWR | O_CREAT, 0644) : rc;
	if (rc == 0)
		rc = fd < 0 ? fd : plain_truncate(call->fs->plain, fd, 0);
	if (rc == 0) {
		LOCK_SCOPE(&s->lock);
		rc = copy_bytes(call, s, fd, true);
	}
	mode_t mode = s != NULL ? s->rec.mode & 07777 : 0644;
	if (s != NULL)
		ingest_stream_put(call, s);
	if (rc == 0)
		rc = plain_chmod(call->fs->plain, to_path, mode);
	return rc == 0 ? ingest_remove(call, from->place, path) : rc;
}

int ingest_from_plain(struct call *call, const char *from_path, const struct place *to,
		      const char *to_path) {
	struct ingest_stream *s = NULL;
	struct stat st;
	AUTO_FD int fd = plain_open(call->fs->plain, from_path, O_RDONLY, 0);
	if (fd < 0 || fstat(fd, &st) != 0)
		return fd < 0 ? fd : -errno;
	int rc = ingest_create(call, to, name_of(to_path), st.st_mode);
	if (rc == 0)
		rc = settled_stream(call, to, to_path, &s);
	if (rc == 0) {
		LOCK_SCOPE(&s->lock);
		rc = ingest_replace(call, s, fd);
		/* bad lines are told in errors.jsonl: the rename itself took place */
		s->deferred = 0;
	}
	if (s != NULL)
		ingest_stream_put(call, s);
	return rc;
}
