#include "fs/listing.h"

#include "fs/control.h"
#include "fs/ingest.h"
#include "fs/lookup.h"
#include "fs/plain.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

/* Where a page of keys begins. */
struct page_start {
	uint64_t position; /* of its first entry */
	int child;         /* which of the directory's places it lists */
	char **cursor;     /* keys of the entry before it; NULL for the child's first page */
};

struct listing {
	struct entry *entries; /* the known names, or one page */
	size_t n, room;
	uint64_t first;            /* position of entries[0] */
	struct page_start *starts; /* of every page so far, in order */
	size_t nstarts;
	struct page_start next; /* of the page behind `entries` */
};

static void free_strings(char **strings, int n) {
	for (int i = 0; strings != NULL && i < n; i++)
		free(strings[i]);
	free(strings);
}

static void clear_entries(struct listing *l) {
	for (size_t i = 0; i < l->n; i++) {
		struct entry *e = &l->entries[i];
		free(e->name);
		free(e->version);
		free_strings(e->keys, e->found.place != NULL ? e->found.place->nkeys : 0);
	}
	l->n = 0;
}

/* Cursors have as many strings as their child has keys; the longest possible is freed. */
static void free_cursor(char **cursor) {
	for (char **p = cursor; p != NULL && *p != NULL; p++)
		free(*p);
	free(cursor);
}

static char **copy_cursor(char *const *cursor) {
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

void listing_free(struct listing *l) {
	if (l == NULL)
		return;
	clear_entries(l);
	for (size_t i = 0; i < l->nstarts; i++)
		free_cursor(l->starts[i].cursor);
	free_cursor(l->next.cursor);
	free(l->starts);
	free(l->entries);
	free(l);
}

static struct entry *add_entry(struct listing *l, const char *name) {
	if (l->n == l->room) {
		size_t room = l->room > 0 ? l->room * 2 : 16;
		struct entry *more = reallocarray(l->entries, room, sizeof(*more));
		if (more == NULL)
			return NULL;
		l->entries = more;
		l->room = room;
	}
	struct entry *e = &l->entries[l->n];
	memset(e, 0, sizeof(*e));
	e->name = strdup(name);
	if (e->name != NULL)
		l->n++;
	return e->name != NULL ? e : NULL;
}

/* -- the known names --------------------------------------------------------------------------- */

/* An entry made of a node that a look-up has just found. */
static int add_found(struct call *call, struct listing *l, struct node *dir, const char *name) {
	struct node *node = NULL;
	int rc = lookup_child(call, dir, name, false, &node);
	if (rc == -ENOENT)
		return 0; /* a NULL column, or gone meanwhile */
	struct entry *e = rc == 0 ? add_entry(l, name) : NULL;
	if (e != NULL) {
		e->found.type = node->type;
		e->found.attr = node->attr;
	}
	node_put(call->fs->nodes, node);
	return rc == 0 && e == NULL ? -ENOMEM : rc;
}

struct collect {
	struct call *call;
	struct listing *l;
	struct node *dir;
	int rc;
};

static bool has_entry(const struct listing *l, const char *name) {
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->entries[i].name, name) == 0)
			return true;
	return false;
}

static bool collect_control(const char *name, bool directory, void *arg) {
	struct collect *c = arg;
	(void)directory;
	c->rc = add_found(c->call, c->l, c->dir, name);
	return c->rc == 0;
}

/* A name of the plain store, unless the database lists it, too. */
static bool collect_plain(const char *name, const struct stat *st, void *arg) {
	struct collect *c = arg;
	AUTO_TARGET struct target target = { 0 };
	lookup_target(c->dir, name, S_ISDIR(st->st_mode), &target);
	if (target.place != NULL && target.place->nkeys == 0)
		return true; /* a literal place: listed already */
	if (target.place != NULL) {
		struct node *node = NULL;
		c->rc = lookup_child(c->call, c->dir, name, false, &node);
		bool listed = c->rc != 0 || !node->pending;
		node_put(c->call->fs->nodes, node);
		c->rc = c->rc == -ENOENT ? 0 : c->rc;
		if (listed)
			return c->rc == 0;
	}
	c->rc = add_found(c->call, c->l, c->dir, name);
	return c->rc == 0;
}

static int add_known(struct call *call, struct listing *l, struct node *dir) {
	struct collect c = { .call = call, .l = l, .dir = dir };
	for (int i = 0; i < 2; i++) {
		struct entry *e = add_entry(l, i == 0 ? "." : "..");
		if (e == NULL)
			return -ENOMEM;
		e->dots = true;
		e->found.attr.mode = S_IFDIR;
	}
	if (dir->type == NODE_CONTROL) {
		control_list(call, dir, collect_control, &c);
		return c.rc;
	}
	for (int i = 0; dir->type == NODE_PLACE && i < dir->place->nchildren; i++) {
		const struct place *child = dir->place->children[i];
		int rc = child->nkeys == 0 ? add_found(call, l, dir, child->text) : 0;
		if (rc != 0)
			return rc;
	}
	if (dir->parent == NULL && !has_entry(l, CONTROL_DIRECTORY)) {
		int rc = add_found(call, l, dir, CONTROL_DIRECTORY);
		if (rc != 0)
			return rc;
	}
	AUTO_FREE char *path = node_path(call->fs->nodes, dir, NULL);
	int rc = path != NULL ? plain_list(call->fs->plain, path, collect_plain, &c) : -ENOMEM;
	return rc == 0 || rc == -ENOENT ? c.rc : rc;
}

/* -- pages of keys ----------------------------------------------------------------------------- */

static bool add_row(struct call *call, struct listing *l, const struct node *dir,
		    const struct place *place, const PGresult *res, int row, unsigned long epoch) {
	AUTO_BUF struct buf name = { 0 };
	char *values[PATH_KEYS_MAX];
	struct found found = { .epoch = epoch };
	lookup_take_row(place, res, row, values, &found);
	int id = place->nkeys + FIND_ID;
	const char *by_id = PQgetisnull(res, row, id) ? NULL : PQgetvalue(res, row, id);
	if (!place_name(place, (const char *const *)values, by_id, &name)) {
		log_warning("%s: a key is too long for a file name", place->text);
		return true;
	}
	if (lookup_is_moved(call, dir, name.data))
		return true;
	struct entry *e = add_entry(l, name.data);
	if (e == NULL)
		return false;
	e->found = found;
	e->keys = calloc((size_t)place->nkeys, sizeof(*e->keys));
	for (int i = 0; e->keys != NULL && i < place->nkeys; i++)
		e->keys[i] = strdup(values[i]);
	if (found.version != NULL)
		e->version = strdup(found.version);
	e->found.keys = e->keys;
	e->found.version = e->version;
	return e->keys != NULL;
}

static int remember_start(struct listing *l) {
	if (l->nstarts > 0 && l->starts[l->nstarts - 1].position >= l->next.position)
		return 0;
	struct page_start *starts = reallocarray(l->starts, l->nstarts + 1, sizeof(*starts));
	if (starts == NULL)
		return -ENOMEM;
	l->starts = starts;
	starts[l->nstarts] = l->next;
	starts[l->nstarts++].cursor = copy_cursor(l->next.cursor);
	return 0;
}

/* One row of a page of ingest files. Those that no route knows any more are left out. */
static bool add_file(struct call *call, struct listing *l, const struct node *dir,
		     const PGresult *res, int row, unsigned long epoch) {
	AUTO_TARGET struct target target = { 0 };
	const char *name = PQgetvalue(res, row, INGEST_NAME);
	lookup_target(dir, name, false, &target);
	if (!is_ingest(target.place) || target.place->nkeys == 0)
		return true;
	struct entry *e = add_entry(l, name);
	if (e == NULL)
		return false;
	e->found.type = NODE_PLACE;
	e->found.place = target.place;
	e->found.attr = ingest_attributes(call->fs, res, row);
	e->found.epoch = epoch;
	e->keys = calloc((size_t)target.place->nkeys, sizeof(*e->keys));
	for (int i = 0; e->keys != NULL && i < target.place->nkeys; i++)
		e->keys[i] = move_ptr(target.values[i]);
	e->found.keys = e->keys;
	return e->keys != NULL;
}

/* The first of DIR's places with ingest files of any name: one listing serves them all. */
static bool lists_files(const struct place *dir, int child) {
	for (int i = 0; i <= child; i++)
		if (is_ingest(dir->children[i]) && dir->children[i]->nkeys > 0)
			return i == child;
	return false;
}

/* A page of ingest files; the last one ends this place. */
static int file_page(struct call *call, struct listing *l, struct node *dir,
		     const struct place *place) {
	AUTO_RESULT PGresult *res = NULL;
	const char *after = l->next.cursor != NULL ? l->next.cursor[0] : NULL;
	int limit = call->fs->opt->fetch_size;
	unsigned long epoch = atomic_load(&call->fs->epoch);
	int rc = remember_start(l);
	if (rc == 0)
		rc = ingest_file_page(call->fs->pool, place->ingest->dir, after, limit,
				      call_cancel(call), &res, &call->err);
	if (rc != 0)
		return rc;
	int rows = PQntuples(res);
	for (int i = 0; i < rows; i++)
		if (!add_file(call, l, dir, res, i, epoch))
			return -ENOMEM;
	free_cursor(l->next.cursor);
	l->next.cursor = NULL;
	if (rows < limit)
		l->next.child++;
	else if ((l->next.cursor = calloc(2, sizeof(char *))) != NULL)
		l->next.cursor[0] = strdup(PQgetvalue(res, rows - 1, INGEST_NAME));
	l->next.position = l->first + l->n;
	return 0;
}

/* The keys of the last row in RES. */
static char **last_keys(const struct place *place, const PGresult *res) {
	char **cursor = calloc((size_t)place->nkeys + 1, sizeof(*cursor));
	for (int i = 0; cursor != NULL && i < place->nkeys; i++)
		cursor[i] = strdup(PQgetvalue(res, PQntuples(res) - 1, i));
	return cursor;
}

static int run_page(struct call *call, struct listing *l, struct node *dir,
		    const struct place *place, PGresult **res) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&place->sql;
	struct db_param params[WHERE_PARAMS];
	AUTO_WHERE struct where w = { 0 };
	char limit[16];
	int rc = node_where(call->fs->nodes, dir, &w);
	if (rc != 0)
		return rc;
	int n = where_params(&w, params);
	for (char **c = l->next.cursor; c != NULL && *c != NULL; c++)
		params[n++] = db_text(*c);
	snprintf(limit, sizeof(limit), "%d", call->fs->opt->fetch_size);
	params[n++] = db_text(limit);
	return db_query(call->fs->pool, l->next.cursor != NULL ? &sql->list_next : &sql->list_first,
			params, n, DB_REPEATABLE | DB_BINARY, call_cancel(call), res, &call->err);
}

/* Replaces the entries by the next page that has any; none at the end. */
static int next_page(struct call *call, struct listing *l, struct node *dir) {
	clear_entries(l);
	l->first = l->next.position;
	while (l->n == 0 && dir->type == NODE_PLACE && l->next.child < dir->place->nchildren) {
		const struct place *child = dir->place->children[l->next.child];
		if (lists_files(dir->place, l->next.child)) {
			int failed = file_page(call, l, dir, child);
			if (failed != 0)
				return failed;
			continue;
		}
		AUTO_RESULT PGresult *res = NULL;
		int rc = child->sql.list_first.sql != NULL ? remember_start(l) : 0;
		unsigned long epoch = atomic_load(&call->fs->epoch);
		if (rc == 0 && child->sql.list_first.sql != NULL)
			rc = run_page(call, l, dir, child, &res);
		if (rc != 0)
			return rc;
		int rows = res != NULL ? PQntuples(res) : 0;
		for (int i = 0; i < rows; i++)
			if (!add_row(call, l, dir, child, res, i, epoch))
				return -ENOMEM;
		free_cursor(l->next.cursor);
		l->next.cursor = rows > 0 ? last_keys(child, res) : NULL;
		if (rows < call->fs->opt->fetch_size) { /* this place has no more */
			free_cursor(l->next.cursor);
			l->next.cursor = NULL;
			l->next.child++;
		}
		l->next.position = l->first + l->n;
	}
	return 0;
}

/* Back to the last page that begins at or before POSITION, or to the known names. */
static int go_back(struct call *call, struct listing *l, struct node *dir, uint64_t position) {
	size_t i = l->nstarts;
	while (i > 0 && l->starts[i - 1].position > position)
		i--;
	clear_entries(l);
	free_cursor(l->next.cursor);
	memset(&l->next, 0, sizeof(l->next));
	if (i > 0) {
		l->next = l->starts[i - 1];
		l->next.cursor = copy_cursor(l->starts[i - 1].cursor);
		return next_page(call, l, dir);
	}
	l->first = 0;
	int rc = add_known(call, l, dir);
	l->next.position = l->n;
	return rc;
}

int listing_entry(struct call *call, struct handle *h, uint64_t position,
		  const struct entry **out) {
	int rc = 0;
	if (position == 0) { /* a fresh start sees what is there now */
		listing_free(h->listing);
		h->listing = NULL;
	}
	if (h->listing == NULL) {
		h->listing = calloc(1, sizeof(*h->listing));
		if (h->listing == NULL)
			return -ENOMEM;
		rc = go_back(call, h->listing, h->node, 0);
	}
	struct listing *l = h->listing;
	if (rc == 0 && position < l->first)
		rc = go_back(call, l, h->node, position);
	while (rc == 0 && position >= l->first + l->n) {
		rc = next_page(call, l, h->node);
		if (rc == 0 && l->n == 0) {
			*out = NULL;
			return 0;
		}
	}
	if (rc == 0)
		*out = &l->entries[position - l->first];
	return rc;
}
