/* Renaming names. What a rename means is a question of what both names are: SEMANTICS 8 has the
 * table. */
#include "fs/inodes/access.h"
#include "fs/kernel/kinds.h"
#include "fs/names/lookup.h"
#include "fs/names/made.h"
#include "fs/names/moved.h"
#include "fs/kernel/ops.h"
#include "fs/bytes/plain.h"
#include "fs/names/removal.h"
#include "fs/kernel/reply.h"
#include "fs/rows/rows_rotate.h"
#include "fs/names/statement.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct renaming {
	struct call *call;
	struct node *node;     /* what is renamed */
	struct node *existing; /* what has the new name; NULL if nothing */
	struct node *from_dir;
	const char *from_name;
	struct node *dir; /* where to */
	const char *name;
	struct target target; /* what the new name means */
	char *from, *to;      /* paths; owned */
};

static int rename_plain(struct renaming *r) {
	struct nodes *nodes = r->call->fs->nodes;
	int rc = plain_rename(r->call->fs->plain, r->from, r->to, 0);
	if (rc != 0)
		return rc;
	if (r->existing != NULL)
		node_unlinked(nodes, r->existing);
	ops_prune(r->call, r->node);
	if (r->node->place == r->target.place)
		node_move(nodes, r->node, r->dir, r->name);
	else
		node_succeed(nodes, r->node, NULL);
	return 0;
}

/* See handle.h. */
static void give(void *arg, struct handle *h) {
	LOCK_SCOPE(&h->lock);
	h->given = true;
}

/* R's new name shows what was renamed onto it, also where it was hidden or just made. */
static void show_anew(struct renaming *r) {
	struct fs *fs = r->call->fs;
	made_forget(fs->made, r->to);
	moved_show(fs->moved, r->to);
	node_changed(fs->nodes, r->dir, r->name);
}

/* A plain file onto a route: its content becomes the file's, as one write of the whole. */
static int rename_onto_route(struct renaming *r) {
	struct fs *fs = r->call->fs;
	AUTO_WHERE struct where w = { 0 };
	AUTO_BUF struct buf content = { 0 };
	uint64_t most = text_most(fs, r->existing);
	int rc =
		node_where_child(fs->nodes, r->dir, r->name, r->target.place, r->target.values, &w);
	if (rc == 0)
		rc = plain_read_all(fs->plain, r->from, most, &content);
	if (rc == -EFBIG)
		return call_error(r->call, EFBIG,
				  "the file is larger than max_document (%llu bytes): mount with a "
				  "larger one",
				  (unsigned long long)fs->opt->max_document);
	buf_puts(&content, "");
	if (rc == 0)
		rc = kind_of_place(r->target.place)
			     ->store(r->call, &w, NULL, content.data, content.len);
	if (rc != 0)
		return rc;
	/* what has made it as a column's file, see orphans.h */
	handles_of_file(fs, node_child_ino(r->from_dir, r->from_name), give, NULL);
	show_anew(r);
	if (plain_unlink(fs->plain, r->from) == 0)
		node_unlinked(fs->nodes, r->node);
	node_succeed(fs->nodes, r->node, NULL);
	ops_prune(r->call, r->node);
	if (r->existing != NULL)
		node_unhash(fs->nodes, r->existing);
	return 0;
}

/* A row's document to a plain file, as an editor makes its backup: see moved.h. */
static int rename_to_plain(struct renaming *r) {
	struct fs *fs = r->call->fs;
	AUTO_BUF struct buf body = { 0 };
	struct handle *h = handle_new(fs, r->node, kind_of_node(r->node), O_RDONLY);
	if (h == NULL)
		return -ENOMEM;
	int rc = h->kind->open(r->call, h);
	if (rc == 0)
		rc = h->kind->read(r->call, h, atomic_load(&h->size), 0, &body);
	h->kpages = KPAGES_NONE;
	handle_free(fs, h);
	if (rc == 0)
		rc = plain_replace(fs->plain, r->to, body.data, body.len);
	if (rc != 0)
		return rc;
	moved_hide(fs->moved, r->from);
	if (r->existing != NULL)
		node_unlinked(fs->nodes, r->existing);
	node_succeed(fs->nodes, r->node, NULL);
	return 0;
}

/* The renamed file is now what the target says. */
static void become(struct renaming *r) {
	struct nodes *nodes = r->call->fs->nodes;
	struct node *successor = NULL;
	if (r->existing != NULL && r->existing->type == NODE_PLAIN)
		node_unlinked(nodes, r->existing);
	else if (r->existing != NULL)
		node_unhash(nodes, r->existing);
	if (r->node->place == r->target.place) {
		node_move(nodes, r->node, r->dir, r->name);
		return;
	}
	/* a failure is no failure of the rename: the next look-up finds it */
	if (lookup_child(r->call, r->dir, r->name, false, &successor) != 0)
		db_error_clear(&r->call->err);
	node_succeed(nodes, r->node, successor);
	node_put(nodes, successor);
}

/* A plain file onto a name of a kind that takes its bytes as they are. */
static int rename_adopted(struct renaming *r) {
	struct fs *fs = r->call->fs;
	int rc = kind_of_place(r->target.place)->adopt(r->call, r->from, r->target.place, r->to);
	if (rc == 0) {
		rc = plain_unlink(fs->plain, r->from);
		node_unlinked(fs->nodes, r->node);
	}
	if (rc == 0)
		become(r);
	return rc;
}

/* A file whose kind sees to its names, to another one of the kind or to a plain file's. */
static int rename_by_kind(struct renaming *r) {
	int rc = kind_of_node(r->node)->rename(r->call, r->node, r->target.place, r->name, r->to);
	if (rc == 0)
		become(r);
	return rc;
}

/* Whether the rows of FROM may go with what its file said: they do if the process that renames
 * has made them itself. Of another process it is only likely that they are temporary; rows that
 * others have put below them say that they are not. */
static bool may_go(struct renaming *r, const struct where *from, enum made_by by) {
	return by == MADE_BY_PROCESS || !statement_is_referred(r->call, from);
}

/* What this process, or another one of its session, has just made, onto another name of the same
 * place: as a save by a temporary file. The other file gets the text, and the rows of the
 * temporary one go. -EXDEV if it is none. */
static int rename_made(struct renaming *r) {
	struct fs *fs = r->call->fs;
	const struct place *place = r->node->place;
	AUTO_WHERE struct where from = { 0 }, to = { 0 };
	AUTO_BUF struct buf text = { 0 };
	enum made_by by = made_by(fs->made, call_thread(r->call), r->from);
	if (place->route == NULL || place->sql.remove.sql == NULL || by == MADE_NOT)
		return -EXDEV;
	int rc = node_where(fs->nodes, r->node, &from);
	if (rc != 0)
		return rc;
	if (!may_go(r, &from, by))
		return -EXDEV;
	const struct kind *kind = kind_of_place(place);
	if (kind->give != NULL && !kind->give(r->call, r->node))
		return -EXDEV;
	bool made = made_take(fs->made, call_thread(r->call), r->from, &text);
	rc = made ? access_check(r->call, place, CHANGE_REMOVE) : -EXDEV;
	if (rc == 0)
		rc = node_where_child(fs->nodes, r->dir, r->name, place, r->target.values, &to);
	buf_puts(&text, "");
	if (rc == 0)
		rc = kind->store(r->call, &to, &from, text.data, text.len);
	if (rc != 0) {
		if (kind->give_not != NULL)
			kind->give_not(r->call, r->node);
		return rc;
	}
	if (kind->give == NULL)
		handles_of_file(fs, r->node->ino, give, NULL);
	show_anew(r);
	(void)!plain_unlink(fs->plain, r->from);
	if (r->existing != NULL)
		node_unhash(fs->nodes, r->existing);
	node_succeed(fs->nodes, r->node, NULL);
	return 0;
}

/* A document, column or table that is open and not committed yet, onto one that has rows: it
 * goes there when it is committed. Until then readers find what is there. */
static int rename_unwritten(struct renaming *r) {
	struct fs *fs = r->call->fs;
	node_unhash(fs->nodes, r->existing);
	node_move(fs->nodes, r->node, r->dir, r->name);
	node_succeed(fs->nodes, r->node, NULL);
	made_forget(fs->made, r->to);
	moved_show(fs->moved, r->to);
	(void)!plain_unlink(fs->plain, r->from);
	return 0;
}

/* A row to another key, in the same parent. */
static int rename_row(struct renaming *r) {
	struct nodes *nodes = r->call->fs->nodes;
	const struct place *place = r->node->place;
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&place->sql;
	AUTO_WHERE struct where from = { 0 }, to = { 0 };
	struct db_param keys[PATH_KEYS_MAX];
	int changed;
	if (r->existing != NULL) {
		int made = rename_made(r);
		return made != -EXDEV ? made
				      : call_error(r->call, EEXIST,
						   "there is a row with the new key already");
	}
	int rc = node_where(nodes, r->node, &from);
	if (rc == 0)
		rc = node_where_child(nodes, r->dir, r->name, place, r->target.values, &to);
	for (int i = 0; i < place->nkeys; i++)
		keys[i] = db_text(r->target.values[i]);
	if (rc == 0)
		rc = statement_run(r->call, &sql->rename, &from, keys, place->nkeys, &changed);
	rc = statement_other_key(r->call, rc, NULL);
	if (rc != 0)
		return rc == -EFBIG ? -ENAMETOOLONG : rc;
	bool exists = false;
	if (changed == 0)
		rc = statement_exists(r->call, &from, &exists);
	if (exists)
		return statement_skipped(r->call, place, "the change of the key");
	if (changed == 0)
		return rc != 0 ? rc : -ENOENT;
	made_forget(r->call->fs->made, r->from);
	moved_show_below(r->call->fs->moved, r->from);
	/* plain files in the row's directory go with it */
	rc = plain_rename(r->call->fs->plain, r->from, r->to, 0);
	if (rc != 0 && rc != -ENOENT)
		log_warning("%s: its plain files stay under the old name: %s", r->to,
			    strerror(-rc));
	node_changed(nodes, r->dir, r->name);
	node_move(nodes, r->node, r->dir, r->name);
	return 0;
}

static int rename_place(struct renaming *r) {
	const struct node *node = r->node;
	const struct kind *kind = kind_of_node(node);
	bool is_beside =
		r->target.place == node->place && node_is_in(r->call->fs->nodes, node, r->dir);
	if (node->place->nkeys == 0 && node->place->route == NULL)
		return call_error(r->call, EBUSY,
				  "this directory is part of the layout: it is always there");
	/* a program that has it open means the row of its first name */
	if (node->pending && r->target.place != node->place && node->place->route != NULL &&
	    node_is_open(r->call->fs->nodes, node))
		return -EXDEV;
	bool replaces = r->existing != NULL && !r->existing->pending;
	if (node->pending && replaces && kind->document && is_beside &&
	    node_is_open(r->call->fs->nodes, node))
		return rename_unwritten(r);
	if (kind->lines && is_beside) {
		int rc = rename_made(r);
		if (rc != -EXDEV || replaces || !node->pending)
			return rc;
	}
	if (node->pending) /* only a mark: it moves like a plain file, and a row never was */
		return replaces ? -EEXIST : rename_plain(r);
	if (r->target.place == NULL && r->existing == NULL && kind->rotate != NULL &&
	    node_is_in(r->call->fs->nodes, node, r->dir)) {
		int rc = kind->rotate(r->call, r->node, r->name, r->to);
		if (rc == 0)
			node_succeed(r->call->fs->nodes, r->node, NULL);
		if (rc <= 0)
			return rc;
	}
	/* an editor's backup stands beside its file; to another directory the row itself is
	 * meant, and `mv` copies and removes it then */
	if (r->target.place == NULL)
		return kind->document && node_is_in(r->call->fs->nodes, node, r->dir)
			       ? rename_to_plain(r)
			       : -EXDEV;
	if (is_beside && node->place->sql.rename.sql != NULL)
		return rename_row(r);
	return -EXDEV;
}

/* What is replaced: one row by a document, or as much as the file holds. */
static enum change change_of_rename(const struct renaming *r) {
	if (r->target.place == NULL)
		return CHANGE_ANY;
	const struct kind *kind = kind_of_place(r->target.place);
	return r->existing != NULL ? kind->to_replace : kind->to_place;
}

static int rename_allowed(const struct renaming *r) {
	const struct place *to = r->target.place != NULL ? r->target.place : access_place(r->dir);
	int rc = access_check(r->call, access_place(r->node), CHANGE_ANY);
	return rc != 0 ? rc : access_check(r->call, to, change_of_rename(r));
}

static int rename_any(struct renaming *r) {
	bool directory = S_ISDIR(node_attributes(r->call->fs->nodes, r->node).mode);
	if (r->node->type == NODE_CONTROL || r->dir->type == NODE_CONTROL)
		return -EPERM;
	lookup_target(r->call->fs, r->dir, r->name, directory, &r->target);
	int rc = lookup_check_target(r->call, r->dir, r->name, &r->target);
	if (rc != 0)
		return rc;
	/* a temporary file may have any name; who renames a row means a key */
	if (r->target.bad || (r->target.no_value && r->node->type == NODE_PLACE))
		return call_error(
			r->call, EINVAL,
			"no key can have this name: it is no value of the key's type, or not as "
			"the database writes it (a uuid in lower case, a number without leading "
			"zeros; %%XX stands only for what needs it, and all is valid "
			"UTF-8)");
	rc = rename_allowed(r);
	if (rc != 0)
		return rc;
	const struct kind *kind = kind_of_node(r->node);
	if (kind->rename != NULL &&
	    (r->target.place == NULL || kind_of_place(r->target.place) == kind))
		return rename_by_kind(r);
	if (r->node->type != NODE_PLAIN)
		return rename_place(r);
	if (r->target.place == NULL && !directory &&
	    node_is_in(r->call->fs->nodes, r->node, r->dir))
		rc = rows_rotation_check(r->call, r->dir, r->from_name, r->name);
	if (rc != 0)
		return rc;
	if (r->target.place == NULL)
		return r->existing == NULL || r->existing->type == NODE_PLAIN ? rename_plain(r)
									      : -EEXIST;
	if (directory || r->target.place->route == NULL)
		return -EXDEV;
	if (kind_of_place(r->target.place)->adopt != NULL)
		return rename_adopted(r);
	return rename_onto_route(r);
}

/* What the process has just unlinked, and renames NODE onto, is to be replaced. A row that gets
 * another key replaces none. */
static bool take_back(struct call *call, const struct node *node, const char *path,
		      struct node *dir, const char *name) {
	bool plain = node->type == NODE_PLAIN || node_is_pending(call->fs->nodes, node);
	bool made = plain || made_by(call->fs->made, call_thread(call), path) != MADE_NOT;
	if (made && removal_take_back(call, node_child_ino(dir, name)))
		return true;
	if (!plain)
		(void)removal_commit(call);
	return false;
}

static int rename_names(struct call *call, struct node *parent, const char *name,
			struct node *newparent, const char *newname, unsigned flags) {
	struct nodes *nodes = call->fs->nodes;
	struct renaming r = { .call = call,
			      .from_dir = parent,
			      .from_name = name,
			      .dir = newparent,
			      .name = newname };
	if ((flags & ~(unsigned)RENAME_NOREPLACE) != 0)
		return -EINVAL;
	if (strlen(newname) > 255)
		return -ENAMETOOLONG;
	r.from = node_path(nodes, parent, name);
	r.to = node_path(nodes, newparent, newname);
	int rc = r.from != NULL && r.to != NULL ? lookup_child(call, parent, name, false, &r.node)
						: -ENOMEM;
	bool replaces = rc == 0 && take_back(call, r.node, r.from, newparent, newname);
	if (rc == 0) {
		rc = lookup_child(call, newparent, newname, false, &r.existing);
		rc = rc == -ENOENT ? 0 : rc;
	}
	if (rc == 0 && r.existing != NULL && !replaces && (flags & RENAME_NOREPLACE) != 0)
		rc = -EEXIST;
	if (rc == 0)
		rc = rename_any(&r);
	if (rc == 0) {
		node_names_changed(nodes, parent);
		node_names_changed(nodes, newparent);
	}
	fs_changed(call->fs);
	node_put(nodes, r.node);
	node_put(nodes, r.existing);
	target_free(&r.target);
	free(r.from);
	free(r.to);
	return rc;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned flags) {
	AUTO_CALL struct call call;
	call_begin(&call, req, CALL_SEEKS);
	struct node *from = node_of(call.fs, parent), *to = node_of(call.fs, newparent);
	int rc = rename_names(&call, from, name, to, newname, flags);
	reply_status(&call, to, newname, rc);
}
