/* Truncation of rows files: what was written before it, through any open file, is not to come back
 * behind it. */
#include "fs/inodes/access.h"
#include "fs/rows/rows_cut.h"

#include "fs/names/lookup.h"
#include "fs/rows/rows_lines.h"
#include "fs/rows/rows_write.h"
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_file.h"
#include "fs/rows/rows_whole.h"
#include "util/mutex.h"

#include <fcntl.h>

static bool appends(const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	return rows_is_open(h) && (h->flags & O_ACCMODE) != O_RDONLY && !rows_is_whole(h) &&
	       f->refused == 0;
}

struct settling {
	struct call *call;
	bool any;
};

static void settle_lines(void *arg, struct handle *h) {
	struct rows_file *f = rows_of(h);
	struct settling *s = arg;
	LOCK_SCOPE(&h->lock);
	if (!appends(h) || (!f->dirty && f->append == NULL))
		return;
	s->any = true;
	if (rows_commit_lines(s->call, h) != 0)
		db_error_clear(&s->call->err);
}

struct cut {
	const struct handle *
		/* which settles its own; NULL: the file is cut by path, or by one that is being
		 * opened */
		by;
	bool all; /* the file is cut to nothing */
};

/* What H has, and is not a line yet; and if the file is cut to nothing, a whole text that H has and
 * has not committed. */
static void drop_rest(void *arg, struct handle *h) {
	struct rows_file *f = rows_of(h);
	const struct cut *cut = arg;
	if (h == cut->by)
		return;
	LOCK_SCOPE(&h->lock);
	if (cut->all && rows_is_open(h) && rows_is_whole(h)) {
		rows_whole_end(h, f->data.len);
		line_reader_restart(&f->lines);
	}
	if (!appends(h))
		return;
	rows_drop_rest(h);
	f->dirty = false;
	h->waiting_us = 0;
}

bool rows_cut_commit(struct call *call, const struct node *node) {
	struct settling s = { .call = call };
	handles_of_file(call->fs, node->ino, settle_lines, &s);
	return s.any;
}

void rows_cut_rest(struct call *call, const struct node *node, bool all) {
	struct cut cut = { .all = all };
	handles_of_file(call->fs, node->ino, drop_rest, &cut);
}

/* What H itself says of a truncation to SIZE: 1: it is none; 0: it is one of H's own text only;
 * -1: the file is to be asked. A file that H has emptied may have lines of others again, whether
 * that is committed or not. */
static int ask_handle(struct handle *h, uint64_t size) {
	struct rows_file *f = rows_of(h);
	LOCK_SCOPE(&h->lock);
	bool own_end = size > 0 && f->has_begun && size == f->next_offset;
	if (rows_is_whole(h))
		return size > 0 && (size == f->data.len || (own_end && (h->flags & O_APPEND) != 0));
	return own_end ? 1 : -1;
}

int rows_before_truncate(struct call *call, struct node *node, struct handle *h, uint64_t size) {
	struct stat st;
	int known = h != NULL ? ask_handle(h, size) : -1;
	if (known >= 0 && size > 0)
		return known;
	(void)rows_cut_commit(call, node);
	if (known >= 0) { /* what others have appended meanwhile goes when H's text is committed */
		struct cut cut = { .by = h, .all = true };
		handles_of_file(call->fs, node->ino, drop_rest, &cut);
		return known;
	}
	int rc = lookup_refresh(call, node, true);
	if (rc != 0)
		return rc;
	node_stat(call->fs->nodes, node, &st);
	if (size != 0 && size == (uint64_t)st.st_size)
		return 1;
	rc = access_check(call, node->place, CHANGE_ANEW);
	if (rc != 0)
		return rc;
	if (size < (uint64_t)st.st_size)
		rows_cut_rest(call, node, size == 0);
	return 0;
}

struct meeting {
	struct call *call;
	const struct handle *writer;
	const struct relation *table;
	int rc;
};

static bool replaces(void *arg, const struct handle *h) {
	const struct meeting *m = arg;
	return rows_is_open(h) && atomic_load(&rows_of(h)->anew_of) == m->table;
}

static void meet(void *arg, struct handle *h) {
	struct meeting *m = arg;
	if (h == m->writer || m->rc != 0)
		return;
	LOCK_SCOPE(&h->lock);
	m->rc = rows_whole_meet(m->call, h);
}

int rows_before_write(struct call *call, struct handle *h) {
	const struct place *place = h->node->place;
	struct meeting m = { .call = call,
			     .writer = h,
			     .table = place->scope.tables[place->target].rel };
	if (rows_whole_any(h))
		handles_each(call->fs, replaces, &m, meet, &m);
	return m.rc;
}

int rows_truncate(struct call *call, struct handle *h, uint64_t size) {
	struct rows_file *f = rows_of(h);
	int rc = rows_is_whole(h) || size == 0 ? 0 : rows_whole_load(call, h);
	if (rc != 0)
		return rc;
	if (size == 0) {
		/* what follows is another text: it may have another header, and its refused lines
		 * are the only ones that count */
		rows_append_end(f);
		line_reader_restart(&f->lines);
		f->bad_line = 0;
		f->has_begun = false;
	}
	return rows_whole_truncate(call, h, size);
}

/* -- renaming ---------------------------------------------------------------------------------- */

struct giving {
	struct call *call;
	bool waits; /* something cannot be committed as it is */
};

static void give(void *arg, struct handle *h) {
	struct rows_file *f = rows_of(h);
	struct giving *g = arg;
	LOCK_SCOPE(&h->lock);
	if (!rows_is_open(h) || (h->flags & O_ACCMODE) == O_RDONLY)
		return;
	if (appends(h) && (f->dirty || f->append != NULL) && rows_commit_lines(g->call, h) != 0)
		g->waits = true;
	g->waits = g->waits || f->dirty || f->refused != 0;
	h->given = true;
}

static void take_back(void *arg, struct handle *h) {
	LOCK_SCOPE(&h->lock);
	h->given = false;
}

bool rows_give(struct call *call, const struct node *node) {
	struct giving g = { .call = call };
	handles_of_file(call->fs, node->ino, give, &g);
	if (g.waits)
		rows_give_not(call, node);
	return !g.waits;
}

void rows_give_not(struct call *call, const struct node *node) {
	handles_of_file(call->fs, node->ino, take_back, NULL);
}
