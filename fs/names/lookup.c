#include "fs/names/lookup.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "fs/inodes/inode.h"
#include "fs/names/intent.h"
#include "fs/core/kind.h"
#include "fs/names/moved.h"
#include "fs/bytes/plain.h"
#include "fs/names/removal.h"
#include "fs/names/statement.h"
#include "fs/open/handle.h"
#include "util/text/name.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>

void target_free(struct target *t) {
	for (int i = 0; i < PATH_KEYS_MAX; i++)
		free(t->values[i]);
	memset(t, 0, sizeof(*t));
}

static bool is_directory(const struct place *place) {
	return place->route == NULL;
}

/* True if PLACE's files are plain ones: its names are those of the plain store. */
static bool is_plain_route(const struct fs *fs, const struct place *place) {
	return place->route != NULL && fs->kinds->of_place(place)->stored;
}

/* The kind of the files at PLACE; NULL: they are directories. */
static const struct kind *kind_of(const struct call *call, const struct place *place) {
	return is_directory(place) ? NULL : call->fs->kinds->of_place(place);
}

void lookup_target(const struct fs *fs, const struct node *dir, const char *name, bool directory,
		   struct target *out) {
	memset(out, 0, sizeof(*out));
	if (dir->type != NODE_PLACE)
		return;
	struct place *literal = place_literal(dir->place, name);
	if (literal != NULL) {
		out->place = is_plain_route(fs, literal) ? NULL : literal;
		return;
	}
	for (int i = 0; i < dir->place->nkeyed; i++) {
		const struct place *child = dir->place->keyed[i];
		enum match m = place_match(child, name, out->values);
		bool same_type = is_directory(child) == directory;
		if (m == MATCH_KEYS && !same_type) {
			target_free(out); /* the name is the other's */
			return;
		}
		if (m == MATCH_KEYS) {
			out->place = child;
			out->bad = out->no_value = false;
			return;
		}
		/* a directory is never a temporary name: see SEMANTICS 7.3 */
		bool is_bad = m == MATCH_BAD || m == MATCH_ID || (m == MATCH_NO_VALUE && directory);
		out->bad = out->bad || (same_type && is_bad);
		out->no_value = out->no_value || (same_type && m == MATCH_NO_VALUE);
		for (int k = 0; m == MATCH_ID && k < child->nkeys; k++)
			free(move_ptr(out->values[k]));
	}
}

int lookup_check_target(struct call *call, struct node *dir, const char *name,
			struct target *target) {
	AUTO_WHERE struct where w = { 0 };
	const struct kind *kind = target->place != NULL ? kind_of(call, target->place) : NULL;
	if (target->place == NULL || (kind != NULL && kind->bytes))
		return 0;
	int rc = node_where_child(call->fs->nodes, dir, name, target->place, target->values, &w);
	if (rc == 0)
		rc = statement_check_keys(call, &w);
	/* numeric and datetime values out of range are mistaken keys, no temporary names */
	bool out_of_range = strcmp(call->err.sqlstate, "22003") == 0 ||
			    strcmp(call->err.sqlstate, "22008") == 0;
	if (rc == 0 || is_directory(target->place) || out_of_range || !statement_is_no_value(call))
		return rc;
	db_error_clear(&call->err);
	target_free(target);
	target->no_value = true;
	return 0;
}

/* -- attributes -------------------------------------------------------------------------------- */

/* The attributes of a place: mode by its kind, and what the grants give. */
static struct attributes attributes_of(const struct fs *fs, const struct place *place,
				       uint64_t size, int64_t mtime_us) {
	mode_t mode = S_IFDIR | 0777;
	if (!is_directory(place)) {
		bool writable = fs->kinds->of_place(place)->writable && place->may_write;
		mode = S_IFREG | (place->may_read ? 0444 : 0) | (writable ? 0222 : 0);
	}
	if (place->write == WRITE_NONE)
		mode &= ~(mode_t)0222;
	return (struct attributes){ .mode = mode, .size = size, .mtime_ns = ns_of_us(mtime_us) };
}

struct attributes lookup_plain_attributes(const struct stat *st) {
	return (struct attributes){
		.mode = S_ISREG(st->st_mode) ? st->st_mode & ~(mode_t)PLAIN_MARK : st->st_mode,
		.size = (uint64_t)st->st_size,
		.mtime_ns = ns_of_timespec(st->st_mtim),
	};
}

uint64_t lookup_plain_ino(const struct stat *st) {
	return inode_of_plain(st->st_ino);
}

void lookup_take_row(const struct fs *fs, const struct place *place, const PGresult *res, int row,
		     char **values, struct found *found) {
	int at = place->nkeys;
	for (int i = 0; i < at; i++)
		values[i] = (char *)(uintptr_t)field_text(res, row, i);
	int64_t size = field_number(res, row, at + FIND_SIZE);
	int64_t mtime = field_number(res, row, at + FIND_MTIME);
	found->type = NODE_PLACE;
	found->place = place;
	found->keys = values;
	found->attr = attributes_of(fs, place, size > 0 ? (uint64_t)size : 0, mtime);
	found->attr.unsized = place->route != NULL && field_is_null(res, row, at + FIND_SIZE);
	if (!field_is_null(res, row, at + FIND_VERSION))
		found->version = field_text(res, row, at + FIND_VERSION);
	if (!field_is_null(res, row, at + FIND_BODY)) {
		found->body = field_text(res, row, at + FIND_BODY);
		found->body_len = field_len(res, row, at + FIND_BODY);
	}
}

/* -- rows -------------------------------------------------------------------------------------- */

enum search { SEARCH_GLANCE, SEARCH_FULL, SEARCH_BY_ID };

static struct db_statement *statement_of(const struct place *place, enum search search) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&place->sql;
	if (search == SEARCH_BY_ID)
		return &sql->find_by_id;
	return search == SEARCH_GLANCE && sql->glance.sql != NULL ? &sql->glance : &sql->find;
}

/* Runs ST, of PLACE's, with W's keys. On success *RES holds the row that FOUND and VALUES borrow
 * from. */
static int find_by(struct call *call, const struct where *w, struct db_statement *st, char **values,
		   PGresult **res, struct found *found) {
	struct db_param params[WHERE_PARAMS];
	found->epoch = atomic_load(&call->fs->epoch);
	call->asked = true;
	if (st->sql == NULL)
		return -ENOENT;
	int n = where_params(w, params);
	int rc = db_query(call->fs->pool, st, params, n, DB_REPEATABLE | DB_BINARY,
			  call_cancel(call), res, &call->err);
	coherence_own(call->fs, &call->err);
	if (rc == 0)
		rc = field_judge(*res, ROWS_ANY, FOUND_FORM, &call->err);
	if (rc != 0)
		return rc;
	if (PQntuples(*res) == 0)
		return -ENOENT;
	lookup_take_row(call->fs, w->place, *res, 0, values, found);
	return 0;
}

/* True if CALL's error says that what was found cannot be rendered: a limit of the server, a text
 * that is no UTF-8, or, of one row, that it takes too long. */
static bool is_not_rendered(const struct call *call, const struct place *place) {
	static const char states[] = "53200 XX000 22021 22P05";
	const char *state = call->err.sqlstate;
	bool limit = strncmp(state, "54", 2) == 0 ||
		     (strlen(state) == 5 && strstr(states, state) != NULL);
	/* many rows take their time: a file that is slow must not look empty */
	return limit || (call->err.errnum == ETIMEDOUT && !call->fs->kinds->of_place(place)->lines);
}

/* The find of W has failed: what is there, and cannot be rendered, is found all the same, without
 * its size. So it can be removed and replaced. */
static int find_bare(struct call *call, const struct where *w, struct db_statement *bare,
		     char **values, PGresult **res, struct found *found) {
	struct db_error why = call->err;
	call->err = (struct db_error){ 0 };
	*found = (struct found){ 0 };
	int rc = find_by(call, w, bare, values, res, found);
	bool failed = rc < 0 && call->err.errnum != 0, no_value = statement_is_no_value(call);
	db_error_end(&call->err);
	if (failed && !no_value) { /* the first sentence says more */
		call->err = why;
		return -why.errnum;
	}
	db_error_end(&why);
	return no_value ? -ENOENT : rc;
}

/* CALL's error is one of those that a key raises which is no value: true if a key of W has raised
 * it, and not the query. */
static bool is_keys_error(struct call *call, const struct where *w) {
	struct db_statement *arguments = (struct db_statement *)(uintptr_t)&w->place->sql.arguments;
	AUTO_RESULT PGresult *res = NULL;
	struct db_error why = call->err;
	if (arguments->sql == NULL)
		return true;
	call->err = (struct db_error){ 0 };
	int rc = statement_query(call, arguments, w, DB_REPEATABLE, &res);
	db_error_end(&call->err);
	call->err = why;
	return rc != 0;
}

/* Runs PLACE's find, or what SEARCH says. */
static int find_row(struct call *call, const struct where *w, enum search search, char **values,
		    PGresult **res, struct found *found) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	struct db_statement *bare = search == SEARCH_BY_ID ? &sql->bare_by_id : &sql->bare;
	int rc = find_by(call, w, statement_of(w->place, search), values, res, found);
	if (rc >= 0 || call->err.errnum == 0)
		return rc;
	bool no_value = w->place->nparams > 0 && statement_is_no_value(call);
	if (bare->sql != NULL && (is_not_rendered(call, w->place) || (no_value && sql->list_dear)))
		return find_bare(call, w, bare, values, res, found);
	if (!no_value || !is_keys_error(call, w))
		return rc;
	db_error_clear(&call->err);
	return -ENOENT;
}

/* True if the row that was found as NAME has this name: types may call values equal whose texts
 * differ, and a key that is found by its id may be short enough for a name. */
static bool is_its_name(const struct place *place, char *const *values, const char *id,
			const char *name) {
	AUTO_BUF struct buf its = { 0 };
	if (place->nkeys == 0 || place->row_table < 0)
		return true;
	return place_name(place, (const char *const *)values, id, &its) &&
	       strcmp(its.data, name) == 0;
}

/* True if a look-up of the file PLACE runs nothing: a query, whose name is always there. */
static bool is_unasked(const struct place *place) {
	return place->always && place->route->kind == KIND_QUERY;
}

static void take_size(void *arg, struct handle *h) {
	struct attributes *attr = arg;
	unsigned long long size = atomic_load(&h->size);
	if (size != HANDLE_NO_SIZE)
		attr->size = size;
}

/* Nobody knows the size of the file INO but those who have read it: ATTR shows that of the newest
 * open file. */
static void show_open(struct fs *fs, uint64_t ino, struct attributes *attr) {
	attr->unsized = true;
	handles_of_file(fs, ino, take_size, attr);
}

/* NAME in DIR as PLACE, with the keys that its name gave. */
static int find_in_place(struct call *call, struct node *dir, const char *name,
			 const struct place *place, char *const *keys, bool by_id, bool lookup,
			 struct node **out) {
	AUTO_WHERE struct where w = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	struct found found = { 0 };
	char *values[PATH_KEYS_MAX];
	const struct kind *kind = kind_of(call, place);
	if (kind != NULL && kind->find != NULL) {
		found.keys = keys;
		int rc = kind->find(call, place, name, &found);
		if (rc != 0)
			return rc;
	} else if (is_directory(place) ? place->row_table < 0 : is_unasked(place)) {
		/* literal, or a query's parameter: there is nothing to ask */
		if (!is_directory(place) && (dir->pending || node_is_gone(call->fs->nodes, dir)))
			return -ENOENT;
		found = (struct found){ .type = NODE_PLACE, .place = place, .keys = keys };
		found.attr = attributes_of(call->fs, place, 0, 0);
		if (!is_directory(place))
			show_open(call->fs, node_child_ino(dir, name), &found.attr);
		found.epoch = atomic_load(&call->fs->epoch);
	} else {
		int rc = node_where_child(call->fs->nodes, dir, name, place, keys, &w);
		if (rc == 0)
			rc = find_row(call, &w, by_id ? SEARCH_BY_ID : SEARCH_GLANCE, values, &res,
				      &found);
		if (rc == 0 && !is_its_name(place, values, by_id ? keys[0] : NULL, name))
			rc = -ENOENT;
		if (rc != 0)
			return rc;
	}
	*out = node_found(call->fs->nodes, dir, name, &found, lookup);
	return *out != NULL ? 0 : -ENOMEM;
}

/* NAME among DIR's places. */
static int find_route(struct call *call, struct node *dir, const char *name, bool lookup,
		      struct node **out) {
	struct place *literal = place_literal(dir->place, name);
	if (literal != NULL && is_plain_route(call->fs, literal))
		return -ENOENT;
	if (literal != NULL)
		return find_in_place(call, dir, name, literal, NULL, false, lookup, out);
	for (int i = 0; i < dir->place->nkeyed; i++) {
		const struct place *child = dir->place->keyed[i];
		char *values[PATH_KEYS_MAX] = { NULL };
		enum match m = place_match(child, name, values);
		int rc = -ENOENT;
		if (m == MATCH_KEYS || m == MATCH_ID)
			rc = find_in_place(call, dir, name, child, values, m == MATCH_ID, lookup,
					   out);
		for (int k = 0; k < child->nkeys; k++)
			free(values[k]);
		if (rc != -ENOENT || m == MATCH_KEYS)
			return rc;
	}
	return -ENOENT;
}

/* -- the plain store --------------------------------------------------------------------------- */

/* NAME in the plain store: a plain file, or the mark of what has no row yet. */
static int find_plain(struct call *call, struct node *dir, const char *name, bool lookup,
		      struct node **out) {
	struct nodes *nodes = call->fs->nodes;
	AUTO_FREE char *path = node_path(nodes, dir, name);
	AUTO_TARGET struct target target = { 0 };
	struct found found = { .epoch = atomic_load(&call->fs->epoch) };
	struct stat st;
	if (path == NULL)
		return -ENOMEM;
	unsigned long asked = plain_ask(call->fs->plain);
	int rc = plain_stat(call->fs->plain, path, &st);
	if (rc != 0)
		return rc == -ENOTDIR ? -ENOENT : rc;
	/* a file that is no mark has a name that is no key's, whatever its shape */
	bool mark = S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && (st.st_mode & PLAIN_MARK) != 0);
	if (mark)
		lookup_target(call->fs, dir, name, S_ISDIR(st.st_mode), &target);
	if (target.place != NULL && is_directory(target.place) == S_ISDIR(st.st_mode)) {
		found.type = NODE_PLACE;
		found.place = target.place;
		found.keys = target.values;
		found.pending = true;
		const char *header = target.place->sql.header;
		found.attr = attributes_of(call->fs, target.place,
					   header != NULL ? strlen(header) : 0, 0);
	} else if (target.place != NULL) {
		return -ENOENT; /* a directory of the store that only leads to plain files */
	} else {
		found.type = NODE_PLAIN;
		found.epoch = asked;
		found.attr = lookup_plain_attributes(&st);
		found.ino = lookup_plain_ino(&st);
	}
	*out = node_found(nodes, dir, name, &found, lookup);
	return *out != NULL ? 0 : -ENOMEM;
}

/* -- all --------------------------------------------------------------------------------------- */

/* NAME among DIR's places, else in the plain store. A name that leaves the store in between,
 * because its row is there now, is neither there yet nor there any more; so such a look-up is done
 * again. */
static int find_anywhere(struct call *call, struct node *dir, const char *name, bool lookup,
			 struct node **out) {
	struct plain *plain = call->fs->plain;
	unsigned left;
	int rc;
	do {
		left = plain_left(plain, name);
		rc = dir->type == NODE_PLACE ? find_route(call, dir, name, lookup, out) : -ENOENT;
		if (rc == -ENOENT)
			rc = find_plain(call, dir, name, lookup, out);
	} while (rc == -ENOENT && plain_left(plain, name) != left);
	return rc;
}

static int hand_out(struct nodes *nodes, struct node *node, bool lookup, struct node **out) {
	*out = node;
	if (lookup) {
		node_add_lookup(nodes, node);
		node_put(nodes, node);
	}
	return 0;
}

bool lookup_is_moved(struct call *call, const struct node *dir, const char *name) {
	if (!moved_any(call->fs->moved))
		return false;
	AUTO_FREE char *path = node_path(call->fs->nodes, dir, name);
	return path != NULL && moved_has(call->fs->moved, path);
}

/* True if NAME in DIR, whose row is gone, is still there for the caller, who is removing it: see
 * intent.h. KNOWN is its node, NULL if the kernel has forgotten it meanwhile. */
static bool is_being_removed(struct call *call, const struct node *dir, const struct node *known,
			     const char *name) {
	if (call->req == NULL || (known != NULL && known->type != NODE_PLACE))
		return false;
	if (known != NULL ? !node_has_name(call->fs->nodes, known)
			  : !node_is_gone(call->fs->nodes, dir))
		return false;
	enum intent intent = intent_of(call_thread(call), name);
	return intent == INTENT_REMOVE ||
	       (intent == INTENT_UNKNOWN && known != NULL && node_is_gone(call->fs->nodes, known));
}

/* An empty shell for NAME in DIR, which is gone. */
static int find_shell(struct call *call, struct node *dir, const char *name, bool lookup,
		      struct node **out) {
	AUTO_TARGET struct target target = { 0 };
	lookup_target(call->fs, dir, name, false, &target);
	if (target.place == NULL) {
		target_free(&target);
		lookup_target(call->fs, dir, name, true, &target);
	}
	if (target.place == NULL)
		return -ENOENT;
	struct found found = { .type = NODE_PLACE, .place = target.place, .keys = target.values };
	found.attr = attributes_of(call->fs, target.place, 0, 0);
	*out = node_found(call->fs->nodes, dir, name, &found, lookup);
	return *out != NULL ? 0 : -ENOMEM;
}

/* Follows PATH from the root that is served now. */
static int walk(struct call *call, char *path, struct node **out) {
	struct nodes *nodes = call->fs->nodes;
	struct node *at = nodes_root(nodes);
	node_hold(nodes, at);
	int rc = 0;
	for (char *name; rc == 0 && (name = strsep(&path, "/")) != NULL;) {
		struct node *next = NULL;
		if (name[0] == '\0')
			continue;
		rc = lookup_child(call, at, name, false, &next);
		node_put(nodes, at);
		at = next;
	}
	*out = at;
	return rc;
}

int lookup_renewed(struct call *call, struct node *dir, struct node **out) {
	*out = NULL;
	if (dir->type != NODE_PLACE || call->req == NULL ||
	    dir->place->tree == nodes_root(call->fs->nodes)->place->tree)
		return 0;
	AUTO_FREE char *path = node_path(call->fs->nodes, dir, NULL);
	int rc = path != NULL ? walk(call, path, out) : -ENOMEM;
	call->renewed = call->renewed || *out != NULL;
	return rc == -ENOENT ? 0 : rc;
}

/* The same as lookup_child() in a DIR that needs not be renewed. */
static int find_child(struct call *call, struct node *dir, const char *name, bool lookup,
		      struct node **out) {
	struct nodes *nodes = call->fs->nodes;
	call->hidden = lookup_is_moved(call, dir, name) || removal_hides(call, dir, name);
	if (call->hidden)
		return -ENOENT;
	bool fresh;
	struct node *known = node_get_fresh(nodes, dir, name, lookup, &fresh);
	if (fresh) {
		*out = known;
		return 0;
	}
	int rc = find_anywhere(call, dir, name, lookup, out);
	if (rc == -ENOENT) /* it may have gone just now: then it is known when the commit is over */
		removal_wait(call);
	if (rc == -ENOENT && is_being_removed(call, dir, known, name))
		return known != NULL ? hand_out(nodes, known, lookup, out)
				     : find_shell(call, dir, name, lookup, out);
	if (rc == -ENOENT && known != NULL) {
		node_unhash(nodes, known);
		node_names_changed(nodes, dir);
	}
	node_put(nodes, known);
	return rc;
}

int lookup_child(struct call *call, struct node *dir, const char *name, bool lookup,
		 struct node **out) {
	struct node *renewed;
	if (strlen(name) > NAME_LONGEST)
		return -ENAMETOOLONG;
	for (const struct kind *const *kind = call->fs->kinds->naming; *kind != NULL; kind++)
		if ((*kind)->owns(dir, name))
			return (*kind)->look_up(call, dir, name, lookup, out);
	if (node_is_succeeded(dir))
		return -ESTALE;
	int rc = lookup_renewed(call, dir, &renewed);
	if (rc != 0)
		return rc;
	rc = find_child(call, renewed != NULL ? renewed : dir, name, lookup, out);
	node_put(call->fs->nodes, renewed);
	return rc;
}

bool lookup_is_there(struct call *call, struct node *dir, const char *name) {
	struct node *node = NULL;
	int rc = find_anywhere(call, dir, name, false, &node);
	node_put(call->fs->nodes, node);
	return rc != -ENOENT;
}

int lookup_document(struct call *call, const struct where *w, PGresult **res, struct found *found) {
	char *values[PATH_KEYS_MAX];
	return find_row(call, w, SEARCH_FULL, values, res, found);
}

int lookup_refresh_row(struct call *call, struct node *node, bool force, bool glance) {
	struct nodes *nodes = call->fs->nodes;
	AUTO_WHERE struct where w = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	struct found found = { 0 };
	char *values[PATH_KEYS_MAX];
	bool known = glance || !node_is_unsized(nodes, node);
	if (!force && known && node_fresh(nodes, node))
		return 0;
	int rc = node_where(nodes, node, &w);
	if (rc == 0)
		rc = find_row(call, &w, glance ? SEARCH_GLANCE : SEARCH_FULL, values, &res, &found);
	if (rc == 0)
		node_update(nodes, node, &found.attr, found.epoch);
	return rc == -ENOENT ? 0 : rc;
}

static int refresh(struct call *call, struct node *node, bool force, bool glance) {
	const struct kind *kind = call->fs->kinds->of_node(node);
	return kind->refresh != NULL ? kind->refresh(call, node, force, glance) : 0;
}

int lookup_refresh(struct call *call, struct node *node, bool force) {
	return refresh(call, node, force, false);
}

int lookup_glance(struct call *call, struct node *node) {
	return refresh(call, node, false, !node_is_open(call->fs->nodes, node));
}
