/* Directories: opening, listing, closing; and statfs. */
#include "fs/cache/coherence.h"
#include "fs/cache/invalidate.h"
#include "fs/inodes/inode.h"
#include "fs/open/handle.h"
#include "fs/kernel/kinds.h"
#include "fs/list/listing.h"
#include "fs/list/prefetch.h"
#include "fs/names/lookup.h"
#include "fs/kernel/ops.h"
#include "fs/bytes/plain.h"
#include "fs/names/removal.h"
#include "fs/kernel/reply.h"
#include "fs/core/report.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	call_begin(&call, req, 0);
	struct fs *fs = call.fs;
	struct node *node = node_of(fs, ino);
	const struct kind *kind = kind_of_node(node);
	if (kind->may_list != NULL && !kind->may_list(fs, req, node)) {
		fuse_reply_err(req, EACCES);
		return;
	}
	bool stale = node_is_succeeded(node);
	struct node *renewed = NULL;
	int rc = stale ? 0 : lookup_renewed(&call, node, &renewed);
	if (rc != 0) {
		reply_status(&call, node, NULL, rc);
		return;
	}
	if (renewed != NULL)
		node = renewed;
	bool removing = !stale && removal_lists(&call, node);
	struct handle *h =
		stale ? NULL : handle_new(fs, node, &directory_kind, fi->flags & O_NOFOLLOW);
	node_put(fs->nodes, renewed); /* the handle holds it */
	if (h == NULL) {
		fuse_reply_err(req, stale ? ESTALE : ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)h;
	/* the kernel keeps the listing while it would be told of a change; but one that hides names
	 * is this process's alone */
	struct open_directory *d = directory_of(h);
	d->node = node;
	d->walks = (fi->flags & O_NOFOLLOW) != 0;
	d->since = coherence_ticket(fs);
	d->renewed = renewed != NULL;
	d->kept = !removing && !d->renewed && coherence_may_cache(fs, d->since, node, NULL);
	fi->cache_readdir = fi->keep_cache = d->kept;
	if (fuse_reply_open(req, fi) != 0)
		handle_free(fs, h);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	struct fs *fs = fuse_req_userdata(req);
	struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	const struct open_directory *d = directory_of(h);
	/* a change that was told between a page's query and its reply found nothing to forget: it
	 * does now */
	if (d->kept && !coherence_may_cache(fs, d->since, h->node, NULL))
		coherence_forget(fs, h->node);
	handle_free(fs, h);
	fuse_reply_err(req, 0);
}

/* One reply under way. */
struct dir_reply {
	struct call *call;
	struct open_directory *d;
	char *data;
	size_t size, len; /* bytes there are, bytes used */
	bool plus;
};

/* The node of an entry, with a look-up; -ENOENT if it has gone meanwhile. */
static int entry_node(const struct dir_reply *p, const struct entry *entry, struct node **out) {
	struct nodes *nodes = p->call->fs->nodes;
	if (entry->found.place == NULL) /* a known name: it was looked up a moment ago */
		return lookup_child(p->call, p->d->node, entry->name, true, out);
	/* the file may have grown since the page was read */
	struct node *known = kind_of_place(entry->found.place)->ahead
				     ? node_get(nodes, p->d->node, entry->name)
				     : NULL;
	bool fresh = known != NULL && node_fresh(nodes, known);
	node_put(nodes, known);
	if (fresh)
		return lookup_child(p->call, p->d->node, entry->name, true, out);
	*out = node_found(nodes, p->d->node, entry->name, &entry->found, true);
	return *out != NULL ? 0 : -ENOMEM;
}

/* st_ino of an entry whose node is not made. */
static uint64_t listed_ino(const struct dir_reply *p, const struct entry *entry) {
	uint64_t ino = entry->found.ino;
	if (entry->dots)
		ino = p->d->node->ino;
	else if (ino == 0)
		ino = node_child_ino(p->d->node, entry->name);
	return inode_number(ino);
}

/* Adds an entry. Returns 1 if it does not fit any more, 0, or -errno. */
static int add_entry(struct dir_reply *p, const struct entry *entry) {
	char *at = p->data + p->len;
	size_t left = p->size - p->len, need;
	off_t next = (off_t)entry->next;
	struct fuse_entry_param e = { .attr = { .st_mode = entry->found.attr.mode } };
	struct node *node = NULL;
	/* what the kernel keeps is for all */
	if (!p->d->kept && !entry->dots && removal_hides(p->call, p->d->node, entry->name))
		return 0;
	if (!p->plus) {
		e.attr.st_ino = listed_ino(p, entry);
		need = fuse_add_direntry(p->call->req, at, left, entry->name, &e.attr, next);
	} else {
		/* without a nodeid, the kernel takes only the name */
		int rc = entry->dots || entry->bare ? 0 : entry_node(p, entry, &node);
		if (rc != 0)
			return rc == -ENOENT ? 0 : rc;
		if (node != NULL)
			e = reply_entry_param(p->call->fs, node);
		else
			e.attr.st_ino = listed_ino(p, entry);
		if (p->d->renewed || p->call->renewed)
			e.entry_timeout = 0;
		need = fuse_add_direntry_plus(p->call->req, at, left, entry->name, &e, next);
	}
	if (need > left) {
		if (node != NULL)
			node_forget(p->call->fs->nodes, node, 1);
		return 1;
	}
	p->len += need;
	return 0;
}

/* Who was given names alone may come back for the rest of them. */
static void note_end(struct fs *fs, const struct open_directory *d) {
	uint64_t n = listing_named(d);
	if (n > (uint64_t)fs->opt->fetch_size / 10)
		prefetch_listed(fs, d->node, n);
}

static int fill(struct dir_reply *p, off_t off) {
	const struct entry *entry;
	int rc = listing_seek(p->call, p->d, (uint64_t)off, p->plus);
	while (rc == 0) {
		rc = listing_entry(p->call, p->d, &entry);
		if (rc == 0 && entry == NULL) {
			note_end(p->call->fs, p->d);
			return 0;
		}
		if (rc == 0)
			rc = add_entry(p, entry);
		if (rc == 0)
			listing_advance(p->d);
		if (rc == 0 && p->len > 0 && listing_pauses(p->d))
			return 0;
	}
	/* what was gathered so far is sent first, an error with the next call */
	return rc < 0 && p->len == 0 ? rc : 0;
}

static void list(fuse_req_t req, size_t size, off_t off, const struct fuse_file_info *fi,
		 bool plus) {
	AUTO_CALL struct call call;
	call_begin(&call, req, CALL_READS);
	struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	AUTO_FREE char *data = malloc(size);
	struct dir_reply p = {
		.call = &call, .d = directory_of(h), .data = data, .size = size, .plus = plus
	};
	int rc = -ENOMEM;
	atomic_fetch_add(&call.fs->count.listings, 1);
	invalidate_serves(call.fs->invalidator, h->node, true);
	if (plus)
		invalidate_lists(call.fs->invalidator, h->node);
	if (data != NULL) {
		LOCK_SCOPE(&h->lock);
		rc = fill(&p, off);
	}
	const struct node *dir = h->node;
	if (rc != 0) {
		reply_status(&call, dir, NULL, rc);
	} else {
		reply_begin(&call);
		fuse_reply_buf(req, p.data, p.len);
	}
	invalidate_serves(call.fs->invalidator, dir, false);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
	list(req, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi) {
	list(req, size, off, fi, true);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	call_begin(&call, req, 0);
	reply_status(&call, node_of(call.fs, ino), NULL, removal_commit(&call));
}

void op_statfs(fuse_req_t req, fuse_ino_t ino) {
	struct fs *fs = fuse_req_userdata(req);
	uint64_t room = plain_room(fs->plain), most = plain_used(fs->plain) + room;
	struct statvfs st = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = most / 4096,
		.f_bfree = room / 4096,
		.f_namemax = 255,
	};
	struct statvfs disk;
	/* what is free is not more than the disk of state_dir has */
	if (fstatvfs(report_rejected_dir(fs->report), &disk) == 0 &&
	    disk.f_bavail * disk.f_frsize / st.f_frsize < st.f_bfree)
		st.f_bfree = disk.f_bavail * disk.f_frsize / st.f_frsize;
	st.f_bavail = st.f_bfree;
	fuse_reply_statfs(req, &st);
}
