#include "fs/rows/rows_rotate.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "fs/inodes/access.h"
#include "fs/stream/once.h"
#include "fs/names/intent.h"
#include "fs/names/lookup.h"
#include "fs/bytes/plain.h"
#include "fs/rows/rotations.h"
#include "fs/rows/rows_cut.h"
#include "fs/rows/rows_reader.h"
#include "util/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PAGE_BYTES = 1024 * 1024 };

/* -- what is a rotation, and may it be --------------------------------------------------------- */

/* True if the name TO makes a rotation of the file at PATH: its own name, a dot or a dash, and a
 * digit. */
static bool is_rotation(const char *path, const char *to) {
	const char *name = strrchr(path, '/') + 1;
	size_t len = strlen(name);
	return strncmp(name, to, len) == 0 && (to[len] == '.' || to[len] == '-') &&
	       isdigit((unsigned char)to[len + 1]);
}

/* The lines of a file at PLACE may be moved, as far as the layout says. */
static int may_rotate(struct call *call, const struct place *place) {
	int rc = access_check(call, place, CHANGE_ANEW);
	if (rc == 0)
		rc = access_check(call, place, CHANGE_REMOVE);
	if (rc == 0 && place->sql.remove.sql == NULL)
		rc = call_error(call, EPERM, "these rows cannot be removed through their file");
	return rc;
}

static int check_log(struct call *call, struct node *dir, const char *name) {
	AUTO_TARGET struct target target = { 0 };
	struct node *log = NULL;
	lookup_target(call->fs, dir, name, false, &target);
	if (target.place == NULL || target.place->route == NULL ||
	    target.place->route->kind != KIND_ROWS)
		return 0;
	int rc = may_rotate(call, target.place);
	if (rc != 0 || lookup_child(call, dir, name, false, &log) != 0) {
		if (rc == 0) /* there is no such log now: nothing is going to be moved */
			db_error_clear(&call->err);
		return rc;
	}
	struct stat st;
	node_stat(call->fs->nodes, log, &st);
	if ((uint64_t)st.st_size > plain_room(call->fs->plain))
		rc = call_error(
			call, ENOSPC,
			"a rotation moves the lines of %s to a plain file, and plain_max (or disk_max) leaves no "
			"room for them: nothing is moved",
			name);
	node_put(call->fs->nodes, log);
	return rc;
}

int rows_rotation_check(struct call *call, struct node *dir, const char *from, const char *to) {
	int rc = 0;
	for (const char *dot = strchr(from, '.'); rc == 0 && dot != NULL;
	     dot = strchr(dot + 1, '.')) {
		size_t len = (size_t)(dot - from);
		bool numbered = isdigit((unsigned char)dot[1]) && strncmp(from, to, len + 1) == 0 &&
				isdigit((unsigned char)to[len + 1]);
		if (!numbered || dir->type != NODE_PLACE)
			continue;
		AUTO_FREE char *log = strndup(from, len);
		rc = log != NULL ? check_log(call, dir, log) : -ENOMEM;
	}
	return rc;
}

/* -- moving the lines -------------------------------------------------------------------------- */

struct rotation {
	struct call *call;
	const struct where *w;
	struct rotation_note note; /* with the plain file's paths; its xid is of the last attempt */
	int fd;
	bool placed; /* it has its name note.to */
	uint64_t size;
	char **cursor; /* of the last line that was read; NULL at the start */
};

static void set_cursor(struct rotation *r, char **cursor) {
	rows_cursor_free(r->cursor, r->w->place->sql.cursor);
	r->cursor = cursor;
}

static int put(struct rotation *r, const char *data, size_t len, struct db_error *err) {
	while (len > 0) {
		ssize_t n = plain_write(r->call->fs->plain, r->fd, data, len, r->size, false);
		if (n <= 0)
			return db_error_set(
				err, n < 0 ? (int)-n : EIO,
				"the lines find no room in a plain file: nothing is moved");
		data += n;
		len -= (size_t)n;
		r->size += (uint64_t)n;
	}
	return 0;
}

/* The next page of lines goes to the file. Returns how many they are, or -errno. */
static int copy_page(struct db_conn *conn, struct rotation *r, struct db_error *err) {
	const struct place_sql *sql = &r->w->place->sql;
	AUTO_RESULT PGresult *page = NULL;
	char texts[2][24];
	int n;
	AUTO_FREE struct db_param *params = rows_page_params(
		r->w, r->cursor, (uint64_t)r->call->fs->opt->fetch_size, PAGE_BYTES, texts, &n);
	if (params == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	const char *text = r->cursor != NULL ? sql->page_next.sql : sql->page_first.sql;
	int rc = db_ask_on(conn, text, params, n, ROWS_ANY, "t?t*", &page, err);
	int lines = rc == 0 ? PQntuples(page) : 0;
	for (int i = 0; rc == 0 && i < lines; i++)
		rc = put(r, field_text(page, i, 0), field_len(page, i, 0), err);
	if (rc == 0 && lines > 0) {
		set_cursor(r, rows_page_cursor(r->w->place, page, lines - 1, 1));
		if (r->cursor == NULL)
			rc = db_error_set(err, ENOMEM, "out of memory");
	}
	return rc != 0 ? rc : lines;
}

static int copy_lines(struct db_conn *conn, struct rotation *r, struct db_error *err) {
	const char *header = r->w->place->sql.header;
	int lines = 1;
	set_cursor(r, NULL);
	r->size = 0;
	int rc = plain_truncate(r->call->fs->plain, r->fd, 0);
	if (rc == 0 && header != NULL)
		rc = put(r, header, strlen(header), err);
	while (rc == 0 && lines > 0) {
		lines = copy_page(conn, r, err);
		rc = lines < 0 ? lines : 0;
	}
	return rc == 0 && fdatasync(r->fd) != 0
		       ? db_error_set(err, errno, "a plain file: %s", strerror(errno))
		       : rc;
}

/* Makes the plain file, and notes what it is for first: if rowfs is killed, the next mount
 * removes it unless this transaction was committed. */
static int make_draft(struct db_conn *conn, struct rotation *r, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct fs *fs = r->call->fs;
	struct stat st;
	int rc = db_ask_on(conn, ledger_xid_sql, NULL, 0, ROWS_ONE, "t", &res, err);
	if (rc != 0)
		return rc;
	r->note.xid = field_text(res, 0, 0);
	rc = rotations_note(fs, &r->note);
	if (rc == 0 && r->fd < 0) {
		r->fd = plain_open(fs->plain, r->note.draft, O_RDWR | O_CREAT | O_TRUNC, 0644);
		rc = r->fd < 0 ? r->fd : plain_fstat(r->fd, &st);
		r->note.ino = rc == 0 ? st.st_ino : 0;
		if (rc == 0)
			rc = rotations_note(fs, &r->note);
	}
	r->note.xid = NULL;
	return rc == 0 ? 0
		       : db_error_set(err, -rc, "the rotation cannot be noted in state_dir: %s",
				      strerror(-rc));
}

/* One snapshot for reading and deleting: what others insert meanwhile is in neither, and what they
 * change fails the DELETE, which is repeated. The file has its name before the commit, so that the
 * lines are somewhere at any time. */
static int rotate_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct rotation *r = arg;
	struct db_param params[WHERE_PARAMS];
	int rc = make_draft(conn, r, err);
	if (rc == 0)
		rc = copy_lines(conn, r, err);
	if (rc == 0)
		rc = db_query_on(conn, r->w->place->sql.remove.sql, params,
				 where_params(r->w, params), NULL, err);
	if (rc == 0 && !r->placed) {
		rc = plain_rename(r->call->fs->plain, r->note.draft, r->note.to, RENAME_NOREPLACE);
		r->placed = rc == 0;
	}
	return rc;
}

int rows_rotate(struct call *call, struct node *node, const char *name, const char *to) {
	static atomic_uint number;
	AUTO_WHERE struct where w = { 0 };
	AUTO_BUF struct buf draft = { 0 };
	struct plain *plain = call->fs->plain;
	int rc = node_where(call->fs->nodes, node, &w);
	if (rc == 0 && !is_rotation(w.path, name))
		return 1;
	if (rc == 0)
		rc = may_rotate(call, node->place);
	if (rc != 0)
		return rc;
	rows_cut_commit(call, node);
	buf_add(&draft, to, (size_t)(strrchr(to, '/') + 1 - to));
	unsigned mine = atomic_fetch_add(&number, 1);
	buf_printf(&draft, ".rowfs-rotated-%u", mine);
	if (draft.failed)
		return -ENOMEM;
	struct rotation r = { .call = call,
			      .w = &w,
			      .note = { .number = mine, .draft = draft.data, .to = to },
			      .fd = -1 };
	rc = once_run(call->fs->stream, ONCE_ONE_SNAPSHOT, rotate_in_tx, &r, NULL, &call->err);
	coherence_changed(call->fs, &call->err);
	set_cursor(&r, NULL);
	/* in doubt, the rows may be gone: the lines stay where they are, and the next mount asks
	 * again */
	if (rc != 0 && !call->err.in_doubt && r.fd >= 0)
		(void)!plain_unlink(plain, r.placed ? to : draft.data);
	if (rc == 0 || !call->err.in_doubt)
		rotations_forget(call->fs, mine);
	if (r.fd >= 0)
		close(r.fd);
	if (rc == -ENOENT && strcmp(call->err.sqlstate, "23503") == 0)
		return call_error(call, ENOTEMPTY,
				  "rows of another table refer to these lines: they are not moved");
	/* the name may be there for ever: the thread that has moved the log can make it anew
	 * exclusively, see intent.h */
	if (rc == 0)
		intent_note_removed(call->fs->intents, call_thread(call), node->ino);
	return rc;
}
