#include "fs/list/listing.h"

#include "db/field.h"
#include "fs/list/ahead.h"
#include "fs/cache/coherence.h"
#include "fs/names/lookup.h"
#include "fs/bytes/plain.h"
#include "fs/list/trail.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

enum { FIRST_PAGE = 100, NAMES_FACTOR = 4, RESUMED_MORE = 100, RESUMED_PAGES = 8 };

enum wish { WISH_UNKNOWN, WISH_NAMES, WISH_ATTRIBUTES };

/* One entry of the present page. */
struct row {
	size_t name; /* in `names` */
	int row;     /* in `res` */
	struct attributes attr;
	bool dots;    /* . or .. */
	bool bare;    /* nothing was asked about it, or it does not fit the database any more */
	uint64_t ino; /* of a name that is no key of a row: its identity; else 0 */
};

struct listing {
	struct trail *trail;
	struct row *rows;
	size_t n, room;
	struct buf names;          /* each with its NUL */
	struct buf name;           /* of the row at hand */
	PGresult *res;             /* what the rows borrow from; NULL for known names */
	const struct place *place; /* of the rows; NULL for known names and those of a kind */
	unsigned long ticket;      /* before `res` was asked for */
	bool bare;                 /* the page has no attributes */
	uint64_t first, at;        /* positions of rows[0] and of the entry that is next */
	int child;                 /* of the next page; KNOWN_NAMES at first */
	char **cursor;             /* behind which it begins; NULL: the child's first */
	enum wish wish;
	struct ahead *ahead;    /* the next page, on its way; NULL if not */
	struct node *bait;      /* of the last row of the first page; holds a reference */
	struct db_error failed; /* why names of a child could not be had: told at the end */
	char *values[PATH_KEYS_MAX];
	struct target file; /* what `entry` borrows from if it is no row */
	struct entry entry;
};

static void clear_page(struct listing *l) {
	PQclear(l->res);
	l->res = NULL;
	l->place = NULL;
	l->bare = false;
	l->n = 0;
	l->names.len = 0;
}

void listing_free(struct fs *fs, struct listing *l) {
	if (l == NULL)
		return;
	clear_page(l);
	ahead_free(l->ahead);
	node_put(fs->nodes, l->bait);
	trail_release(l->trail);
	cursor_free(l->cursor);
	db_error_end(&l->failed);
	target_free(&l->file);
	buf_free(&l->names);
	buf_free(&l->name);
	free(l->rows);
	free(l);
}

static void directory_close(struct fs *fs, struct handle *h) {
	listing_free(fs, directory_of(h)->listing);
}

static const struct state_type directory_state_type = { sizeof(struct open_directory) };

const struct kind directory_kind = {
	.name = "directory",
	.state = &directory_state_type,
	.close = directory_close,
};

static const char *name_at(void *listing, size_t i) {
	const struct listing *l = listing;
	return l->names.data + l->rows[i].name;
}

static struct row *add_row(struct listing *l, const char *name) {
	if (l->n == l->room) {
		size_t room = l->room > 0 ? l->room * 2 : 16;
		struct row *more = reallocarray(l->rows, room, sizeof(*more));
		if (more == NULL)
			return NULL;
		l->rows = more;
		l->room = room;
	}
	struct row *row = &l->rows[l->n];
	memset(row, 0, sizeof(*row));
	row->name = l->names.len;
	buf_add(&l->names, name, strlen(name) + 1);
	if (l->names.failed)
		return NULL;
	l->n++;
	return row;
}

/* -- the known names --------------------------------------------------------------------------- */

/* A name of which nothing is known. */
static int add_bare(struct listing *l, const char *name, mode_t type) {
	struct row *row = add_row(l, name);
	if (row == NULL)
		return -ENOMEM;
	row->bare = true;
	row->attr.mode = type;
	return 0;
}

/* An entry made of a node that a look-up has just found. What cannot be asked about is a name of
 * TYPE all the same: it hides no other, and a stat of it says why. */
static int add_found(struct call *call, struct listing *l, struct node *dir, const char *name,
		     mode_t type) {
	struct node *node = NULL;
	int rc = lookup_child(call, dir, name, false, &node);
	if (rc == -ENOENT)
		return 0; /* a NULL column, or gone meanwhile */
	if (rc != 0 && db_error_is_answer(&call->err)) {
		db_error_clear(&call->err);
		return add_bare(l, name, type);
	}
	struct row *row = rc == 0 ? add_row(l, name) : NULL;
	if (row != NULL)
		row->attr = node_attributes(call->fs->nodes, node);
	node_put(call->fs->nodes, node);
	return rc == 0 && row == NULL ? -ENOMEM : rc;
}

struct collect {
	struct call *call;
	struct listing *l;
	struct node *dir;
	int rc;
};

static bool has_entry(struct listing *l, const char *name) {
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(name_at(l, i), name) == 0)
			return true;
	return false;
}

/* A name of a kind's own; where it is a place's, too, that is listed already. */
static bool collect_own(const char *name, void *arg) {
	struct collect *c = arg;
	if (c->dir->type == NODE_PLACE && has_entry(c->l, name))
		return true;
	c->rc = add_found(c->call, c->l, c->dir, name, S_IFREG);
	return c->rc == 0;
}

/* A name of the plain store, unless the database lists it, too. */
static bool collect_plain(const char *name, const struct stat *st, void *arg) {
	struct collect *c = arg;
	AUTO_TARGET struct target target = { 0 };
	lookup_target(c->call->fs, c->dir, name, S_ISDIR(st->st_mode), &target);
	if (target.place != NULL && (target.place->nkeys == 0 || target.place->misfit != NULL))
		return true; /* a literal place: listed already; or it is not known which are */
	if (target.place != NULL) {
		struct node *node = NULL;
		c->rc = lookup_child(c->call, c->dir, name, false, &node);
		bool listed = c->rc != 0 || (node->type == NODE_PLACE && !node->pending);
		node_put(c->call->fs->nodes, node);
		if (c->rc == -ENOENT || db_error_is_answer(&c->call->err)) {
			db_error_clear(&c->call->err);
			c->rc = 0;
		}
		if (listed)
			return c->rc == 0;
	}
	c->rc = add_found(c->call, c->l, c->dir, name, st->st_mode & S_IFMT);
	return c->rc == 0;
}

/* The literal name CHILD of DIR. What is there whenever DIR is need not be asked about: `ls`
 * runs no query, and works out no size. A name that does not fit the database any more is
 * listed, too: a look-up of it says why. */
static int add_literal(struct call *call, struct listing *l, struct node *dir,
		       const struct place *child) {
	mode_t type = child->route == NULL ? S_IFDIR : S_IFREG;
	if (child->misfit != NULL)
		return add_bare(l, child->text, S_IFREG);
	if (!child->always || dir->pending || node_is_gone(call->fs->nodes, dir))
		return add_found(call, l, dir, child->text, type);
	return lookup_is_moved(call, dir, child->text) ? 0 : add_bare(l, child->text, type);
}

/* The literal names of DIR: those of QUERIES, or all others. Queries come last: `rm -r` removes
 * in the order of the listing, and a query's file goes with its row. */
static int add_literals(struct call *call, struct listing *l, struct node *dir, bool queries) {
	int rc = 0;
	for (int i = 0; i < dir->place->nchildren && rc == 0; i++) {
		const struct place *child = dir->place->children[i];
		bool query = child->route != NULL && child->route->kind == KIND_QUERY;
		if (child->nkeys == 0 && query == queries)
			rc = add_literal(call, l, dir, child);
	}
	return rc;
}

static int add_known(struct call *call, struct listing *l, struct node *dir) {
	struct collect c = { .call = call, .l = l, .dir = dir };
	for (int i = 0; i < 2; i++) {
		struct row *row = add_row(l, i == 0 ? "." : "..");
		if (row == NULL)
			return -ENOMEM;
		row->dots = true;
		row->attr.mode = S_IFDIR;
	}
	for (int queries = 0; queries < 2; queries++) {
		int rc = dir->type == NODE_PLACE ? add_literals(call, l, dir, queries != 0) : 0;
		if (rc != 0)
			return rc;
	}
	for (const struct kind *const *kind = call->fs->kinds->naming; *kind != NULL && c.rc == 0;
	     kind++)
		(*kind)->names(call, dir, collect_own, &c);
	if (c.rc != 0 || dir->type == NODE_CONTROL)
		return c.rc;
	AUTO_FREE char *path = node_path(call->fs->nodes, dir, NULL);
	int rc = path != NULL ? plain_list(call->fs->plain, path, collect_plain, &c) : -ENOMEM;
	return rc == 0 || rc == -ENOENT ? c.rc : rc;
}

/* -- pages of keys ----------------------------------------------------------------------------- */

static int add_key(struct call *call, struct listing *l, const struct node *dir, int row) {
	const char *values[PATH_KEYS_MAX];
	l->name.len = 0;
	for (int i = 0; i < l->place->nkeys; i++)
		values[i] = field_text(l->res, row, i);
	int id = l->place->nkeys + FIND_ID;
	const char *by_id = field_is_null(l->res, row, id) ? NULL : field_text(l->res, row, id);
	if (!place_name(l->place, values, by_id, &l->name)) {
		log_warning("%s: a key is too long for a file name", l->place->text);
		return 0;
	}
	if (lookup_is_moved(call, dir, l->name.data))
		return 0;
	struct row *entry = add_row(l, l->name.data);
	if (entry == NULL)
		return -ENOMEM;
	entry->row = row;
	return 0;
}

/* The kind of the files at PLACE, if their names come as pages of their own; else NULL. */
static const struct kind *paged(const struct fs *fs, const struct place *place) {
	const struct kind *kind = place != NULL && place->route != NULL && place->nkeys > 0
					  ? fs->kinds->of_place(place)
					  : NULL;
	return kind != NULL && kind->page != NULL ? kind : NULL;
}

/* The kind whose names are listed with the place CHILD of DIR: with the first one of the kind,
 * since one listing serves them all. NULL: none. */
static const struct kind *lists_files(const struct fs *fs, const struct place *dir, int child) {
	const struct kind *kind = paged(fs, dir->children[child]);
	for (int i = 0; i < child && kind != NULL; i++)
		if (paged(fs, dir->children[i]) == kind)
			return NULL;
	return kind;
}

/* One row of a page of KIND's names. Those that no route knows any more are left out. */
static int add_file(struct call *call, struct listing *l, const struct node *dir,
		    const struct kind *kind, int row) {
	AUTO_TARGET struct target target = { 0 };
	struct listed file;
	kind->listed(call->fs, l->res, row, &file);
	lookup_target(call->fs, dir, file.name, false, &target);
	if (paged(call->fs, target.place) != kind)
		return 0;
	struct row *entry = add_row(l, file.name);
	if (entry == NULL)
		return -ENOMEM;
	entry->row = row;
	entry->ino = file.ino;
	entry->attr = (struct attributes){ .mode = file.mode,
					   .size = file.size,
					   .mtime_ns = file.mtime_ns };
	return 0;
}

/* The keys of the last row in RES; the first NKEYS columns. */
static char **last_keys(int nkeys, const PGresult *res) {
	char **cursor = calloc((size_t)nkeys + 1, sizeof(*cursor));
	for (int i = 0; cursor != NULL && i < nkeys; i++)
		cursor[i] = strdup(field_text(res, PQntuples(res) - 1, i));
	return cursor;
}

/* The next page of PLACE as a query, to be freed. */
static int make_query(struct call *call, const struct listing *l, struct node *dir,
		      const struct place *place, bool bare, int limit, struct page_query *q) {
	*q = (struct page_query){ .place = place, .bare = bare, .limit = limit };
	q->cursor = cursor_copy(l->cursor);
	if (l->cursor != NULL && q->cursor == NULL)
		return -ENOMEM;
	return node_where(call->fs->nodes, dir, &q->dir);
}

static int run_page(struct call *call, struct listing *l, struct node *dir,
		    const struct place *place, bool bare, int limit) {
	struct page_query q;
	l->bare = bare;
	int rc = make_query(call, l, dir, place, bare, limit, &q);
	bool have = rc == 0 && l->ahead != NULL &&
		    ahead_take(move_ptr(l->ahead), &q, &l->res, &l->ticket);
	if (rc == 0 && !have)
		rc = page_query_run(call->fs, &q, call_cancel(call), &l->res, &call->err);
	page_query_free(&q);
	return rc;
}

/* True if the reader who has had the first page wants attributes, too. */
static bool wants_attributes(struct call *call, struct listing *l) {
	if (l->wish == WISH_UNKNOWN && l->bait != NULL) {
		l->wish = node_is_known(call->fs->nodes, l->bait) ? WISH_ATTRIBUTES : WISH_NAMES;
		node_put(call->fs->nodes, move_ptr(l->bait));
	}
	return l->wish != WISH_NAMES;
}

/* How many rows the next page has at most. */
static int page_limit(const struct call *call, const struct listing *l, bool bare) {
	int most = call->fs->opt->fetch_size;
	if (bare)
		return most * NAMES_FACTOR;
	return l->wish == WISH_UNKNOWN && FIRST_PAGE < most ? FIRST_PAGE : most;
}

/* The page behind this one, BARE or not, is asked for while the kernel takes it. */
static void look_ahead(struct call *call, struct listing *l, struct node *dir,
		       const struct place *child, bool bare) {
	struct page_query q;
	if (make_query(call, l, dir, child, bare, page_limit(call, l, bare), &q) == 0)
		l->ahead = ahead_start(call->fs, &q);
	else
		page_query_free(&q);
}

/* A page of CHILD. If what is in one of its rows keeps the others from being shown, it is a page of
 * names, and each is asked about by itself. */
static int row_page(struct call *call, struct listing *l, struct node *dir,
		    const struct place *child, bool bare, int limit) {
	int rc = run_page(call, l, dir, child, bare, limit);
	if (rc == 0 || bare || child->sql.names_first.sql == NULL ||
	    !db_error_is_answer(&call->err))
		return rc;
	if (rc == -ETIMEDOUT) /* so would the others */
		l->wish = WISH_NAMES;
	db_error_clear(&call->err);
	clear_page(l);
	l->ticket = coherence_ticket(call->fs);
	return run_page(call, l, dir, child, true, limit);
}

/* The names of a child cannot be had: that is told behind all others. */
static void give_up_child(struct call *call, struct listing *l) {
	if (l->failed.errnum == 0)
		db_error_copy(&l->failed, &call->err);
	db_error_clear(&call->err);
	clear_page(l);
	cursor_free(l->cursor);
	l->cursor = NULL;
	l->child++;
}

/* True if the next page of CHILD is to be of names alone. */
static bool wants_names(struct call *call, struct listing *l, const struct place *child) {
	if (child->sql.names_first.sql == NULL)
		return false;
	if (l->wish == WISH_UNKNOWN && child->sql.list_dear)
		l->wish = WISH_NAMES;
	return !wants_attributes(call, l);
}

/* Asks for the next page of CHILD, of at most LIMIT rows; 0: as many as are usual. The last one
 * ends this child. */
static int fetch_child(struct call *call, struct listing *l, struct node *dir, int limit) {
	const struct place *child = dir->place->children[l->child];
	const struct kind *files = lists_files(call->fs, dir->place, l->child);
	if (files == NULL && child->sql.list_first.sql == NULL) {
		l->child++;
		return 0;
	}
	bool bare = files == NULL && wants_names(call, l, child), resumed = limit > 0;
	if (!resumed)
		limit = files != NULL ? call->fs->opt->fetch_size : page_limit(call, l, bare);
	clear_page(l);
	l->ticket = coherence_ticket(call->fs);
	int rc = files != NULL ? files->page(call, child, l->cursor != NULL ? l->cursor[0] : NULL,
					     limit, &l->res)
			       : row_page(call, l, dir, child, bare, limit);
	if (rc != 0 && db_error_is_answer(&call->err)) {
		give_up_child(call, l);
		return 0;
	}
	l->place = files != NULL ? NULL : child;
	int n = rc == 0 ? PQntuples(l->res) : 0;
	for (int i = 0; i < n && rc == 0; i++)
		rc = files != NULL ? add_file(call, l, dir, files, i) : add_key(call, l, dir, i);
	if (rc != 0)
		return rc;
	cursor_free(l->cursor);
	l->cursor = NULL;
	if (n < limit) {
		l->child++;
		return 0;
	}
	l->cursor = last_keys(files != NULL ? 1 : child->nkeys, l->res);
	if (l->cursor != NULL && files == NULL && !resumed && l->wish != WISH_UNKNOWN)
		look_ahead(call, l, dir, child, bare);
	return 0;
}

/* Replaces the entries by the next page that has any; none at the end. RESUMED: of at most so many
 * rows, of a page that the trail has already; 0 otherwise. */
static int next_page(struct call *call, struct listing *l, struct node *dir, int resumed) {
	l->first += l->n;
	clear_page(l);
	if (l->child == KNOWN_NAMES) {
		if (resumed == 0)
			trail_add_page(l->trail, KNOWN_NAMES, NULL);
		l->child = 0;
		return add_known(call, l, dir);
	}
	while (l->n == 0 && dir->type == NODE_PLACE && l->child < dir->place->nchildren) {
		if (resumed == 0)
			trail_add_page(l->trail, l->child, l->cursor);
		int rc = fetch_child(call, l, dir, resumed);
		if (rc != 0)
			return rc;
	}
	/* all that fits comes first, and then that it is not all */
	const char *why;
	if (l->n == 0 && dir->type == NODE_PLACE && tree_misses_names(dir->place, &why))
		return call_error(call, EIO, "%s", why);
	return 0;
}

/* What an entry of DIR tells of a file that is no row beside its attributes. */
static void show_file(const struct fs *fs, struct listing *l, const struct node *dir,
		      const struct row *row, struct entry *e) {
	target_free(&l->file);
	lookup_target(fs, dir, e->name, false, &l->file);
	e->found.type = NODE_PLACE;
	e->found.place = l->file.place;
	e->found.keys = l->file.values;
	e->found.ino = row->ino;
}

/* Fills l->entry with row ROW of the page of DIR. */
static void show(const struct fs *fs, struct listing *l, const struct node *dir,
		 const struct row *row) {
	struct entry *e = &l->entry;
	memset(e, 0, sizeof(*e));
	e->name = l->names.data + row->name;
	e->dots = row->dots;
	e->bare = l->bare || row->bare;
	e->found.epoch = l->ticket;
	if (l->place != NULL)
		lookup_take_row(fs, l->place, l->res, row->row, l->values, &e->found);
	else
		e->found.attr = row->attr;
	if (row->ino != 0)
		show_file(fs, l, dir, row, e);
}

/* Makes the last entry of the first page the bait, if there are more to come. */
static void lay_bait(struct call *call, struct listing *l, struct node *dir) {
	if (l->wish != WISH_UNKNOWN || l->bait != NULL || l->bare || l->place == NULL ||
	    l->cursor == NULL || l->n == 0 || l->place->sql.names_first.sql == NULL)
		return;
	show(call->fs, l, dir, &l->rows[l->n - 1]);
	l->bait = node_found(call->fs->nodes, dir, l->entry.name, &l->entry.found, false);
}

static int forward(struct call *call, struct listing *l, struct node *dir) {
	int rc = next_page(call, l, dir, 0);
	if (rc == 0)
		trail_add(l->trail, l->n, name_at, l);
	if (rc == 0)
		lay_bait(call, l, dir);
	return rc;
}

/* -- offsets ----------------------------------------------------------------------------------- */

static struct listing *new_listing(struct call *call, struct open_directory *d, bool plus) {
	struct listing *l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->child = KNOWN_NAMES;
	l->wish = !plus ? WISH_NAMES : d->walks ? WISH_ATTRIBUTES : WISH_UNKNOWN;
	if (d->listing != NULL && d->listing->wish != WISH_UNKNOWN && plus)
		l->wish = d->listing->wish;
	listing_free(call->fs, d->listing);
	d->listing = l;
	return l;
}

/* Fetches the page that L begins with anew, and drops what stands before POSITION, where its trail
 * ends. */
static int resume(struct call *call, struct listing *l, struct node *dir, uint64_t position) {
	int limit = call->fs->opt->fetch_size * 2 + RESUMED_MORE;
	uint64_t start = l->first;
	size_t before = 0;
	bool sure = false;
	/* the entry before it may be further on, if others were added in between */
	for (int i = 0; i < RESUMED_PAGES && !sure && before == l->n; i++) {
		int rc = next_page(call, l, dir, limit);
		if (rc != 0)
			return rc;
		before = trail_find(l->trail, start, l->n, name_at, l, &sure);
		if (l->n == 0)
			break;
	}
	memmove(l->rows, l->rows + before, (l->n - before) * sizeof(*l->rows));
	l->n -= before;
	l->first = l->at = position;
	trail_add(l->trail, l->n, name_at, l);
	return 0;
}

/* An offset whose trail is not known any more: counted from the start. */
static int count_forward(struct call *call, struct open_directory *d, uint64_t position,
			 bool plus) {
	struct listing *l = new_listing(call, d, plus);
	if (l == NULL || (l->trail = trail_new(call->fs->trails, d->node->ino)) == NULL)
		return -ENOMEM;
	l->at = position;
	return 0;
}

int listing_seek(struct call *call, struct open_directory *d, uint64_t offset, bool plus) {
	struct listing *l = d->listing;
	struct page_start start;
	uint64_t position = trail_position(offset);
	if (offset == 0)
		return count_forward(call, d, 0, plus);
	if (l != NULL && l->trail != NULL && trail_has(l->trail, offset) && position >= l->first &&
	    position <= l->first + l->n) {
		l->at = position;
		return 0;
	}
	struct trail *trail = trail_fork(call->fs->trails, d->node->ino, offset, &start);
	if (trail == NULL)
		return count_forward(call, d, position, plus);
	l = new_listing(call, d, plus);
	if (l == NULL) {
		trail_release(trail);
		cursor_free(start.cursor);
		return -ENOMEM;
	}
	l->trail = trail;
	l->first = start.position;
	l->child = start.child;
	l->cursor = start.cursor;
	return resume(call, l, d->node, position);
}

uint64_t listing_named(const struct open_directory *d) {
	return d->listing->wish == WISH_NAMES ? d->listing->at : 0;
}

/* At the end: whether names are missing. */
static int tell_failed(struct call *call, const struct listing *l) {
	if (l->failed.errnum != 0)
		db_error_copy(&call->err, &l->failed);
	return -l->failed.errnum;
}

int listing_entry(struct call *call, struct open_directory *d, const struct entry **out) {
	struct listing *l = d->listing;
	*out = NULL;
	while (l->at >= l->first + l->n) {
		int rc = forward(call, l, d->node);
		if (rc != 0)
			return rc;
		if (l->n == 0)
			return tell_failed(call, l);
	}
	size_t i = (size_t)(l->at - l->first);
	show(call->fs, l, d->node, &l->rows[i]);
	l->entry.next = trail_offset(l->trail, l->at + 1);
	l->entry.bare |= l->bait != NULL && i == l->n - 1;
	*out = &l->entry;
	return 0;
}

void listing_advance(struct open_directory *d) {
	d->listing->at++;
}

bool listing_pauses(const struct open_directory *d) {
	const struct listing *l = d->listing;
	return l->bait != NULL && l->at == l->first + l->n;
}
