#include "fs/admin/control.h"

#include "fs/names/lookup.h"
#include "fs/core/report.h"
#include "fs/admin/health.h"
#include "fs/admin/status.h"
#include "util/text/name.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct control_file {
	struct own_name own; /* the first member */
	const char *name;
	void (*render)(struct call *call,
		       struct buf *out);  /* NULL for directories and rejected files */
	void (*reset)(struct call *call); /* what a write does; NULL: read-only */
	bool directory;
	bool secret; /* may hold what was in rows: for the mount's owner and root alone */
};

#define OWN .own = { &control_kind }

static const struct control_file files[] = {
	{ OWN, .name = "status.json", .render = status_json, .reset = status_reset },
	{ OWN, .name = "health", .render = health_text },
	{ OWN, .name = "config.json", .render = status_config, .secret = true },
	{ OWN, .name = "layout.json", .render = status_layout },
	{ OWN, .name = "metrics", .render = status_metrics, .reset = status_reset },
	{ OWN, .name = "errors.jsonl", .render = status_errors, .reset = status_reset_errors,
	  .secret = true },
};
enum { NFILES = sizeof(files) / sizeof(files[0]) };

static const struct control_file top = { OWN, .name = NAME_CONTROL, .directory = true };
static const struct control_file rejected = { OWN, .name = "rejected", .directory = true,
					      .secret = true };
static const struct control_file rejected_file = { OWN, .name = NULL, .secret = true };

/* The file that NODE is, which is of this kind. Never NULL. */
static const struct control_file *file_of(const struct node *node) {
	return (const struct control_file *)node->control;
}

/* The same of any node: NULL if it is not in /.rowfs. */
static const struct control_file *file_or_null(const struct node *node) {
	return node->type == NODE_CONTROL && node->control->kind == &control_kind ? file_of(node)
										  : NULL;
}

/* The kernel asks the modes first, if the mount has default_permissions. This holds whatever it
 * has. */
static bool may_see(const struct fs *fs, fuse_req_t req, const struct control_file *file) {
	if (!file->secret || req == NULL)
		return true;
	uid_t uid = fuse_req_ctx(req)->uid;
	return uid == 0 || uid == fs->opt->uid || uid == geteuid();
}

static bool control_may_list(const struct fs *fs, fuse_req_t req, const struct node *dir) {
	return may_see(fs, req, file_of(dir));
}

static bool control_owns(const struct node *dir, const char *name) {
	return file_or_null(dir) != NULL ||
	       (dir->parent == NULL && strcmp(name, NAME_CONTROL) == 0);
}

static bool control_quick(const struct node *dir, const char *name) {
	return file_or_null(dir) != NULL || (name != NULL && control_owns(dir, name));
}

/* Permissions of FILE: the bits of MODE that go to the owner, or to all. */
static mode_t permissions(const struct control_file *file, mode_t mode) {
	return file->secret ? mode & 0700 : mode;
}

static const struct control_file *find_file(const struct node *dir, const char *name) {
	const struct control_file *in = file_or_null(dir);
	if (in == NULL)
		return &top;
	if (in == &rejected)
		return &rejected_file;
	if (strcmp(name, rejected.name) == 0)
		return &rejected;
	for (int i = 0; i < NFILES; i++)
		if (strcmp(files[i].name, name) == 0)
			return &files[i];
	return NULL;
}

static int control_look_up(struct call *call, struct node *dir, const char *name, bool lookup,
			   struct node **out) {
	const struct control_file *file = find_file(dir, name);
	AUTO_BUF struct buf body = { 0 };
	struct stat st;
	if (file == NULL)
		return -ENOENT;
	struct found found = { .type = NODE_CONTROL, .control = &file->own };
	if (file->directory) {
		found.attr.mode = S_IFDIR | permissions(file, 0755);
	} else if (file == &rejected_file) {
		if (!may_see(call->fs, call->req, file))
			return -EACCES;
		if (fstatat(report_rejected_dir(call->fs->report), name, &st,
			    AT_SYMLINK_NOFOLLOW) != 0)
			return -errno;
		found.attr = lookup_plain_attributes(&st);
		found.ino = lookup_plain_ino(&st);
		found.attr.mode = S_IFREG | permissions(file, 0444);
	} else {
		buf_puts(&body, "");
		file->render(call, &body);
		found.attr.mode = S_IFREG | permissions(file, file->reset != NULL ? 0644 : 0444);
		found.attr.size = body.len;
		found.body = body.data;
		found.body_len = body.len;
		/* every look-up is a version of its own: it keeps the text that it told the size
		 * of */
		found.version = body.data;
	}
	*out = node_found(call->fs->nodes, dir, name, &found, lookup);
	return *out != NULL ? 0 : -ENOMEM;
}

static void control_names(struct call *call, const struct node *dir, name_each_fn each, void *arg) {
	const struct control_file *in = file_or_null(dir);
	if (in == NULL) {
		if (dir->parent == NULL)
			each(NAME_CONTROL, arg);
		return;
	}
	if (in != &rejected) {
		for (int i = 0; i < NFILES; i++)
			if (!each(files[i].name, arg))
				return;
		each(rejected.name, arg);
		return;
	}
	int fd = openat(report_rejected_dir(call->fs->report), ".",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    !each(e->d_name, arg))
			break;
	if (d != NULL)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

static int control_unlink(struct call *call, const struct node *dir, const char *name) {
	if (file_of(dir) != &rejected)
		return -EPERM;
	if (!may_see(call->fs, call->req, &rejected))
		return -EACCES;
	return report_remove_rejected(call->fs->report, name);
}

/* -- as a kind --------------------------------------------------------------------------------- */

struct open_control {
	bool on_disk; /* a file of rejected/: FD; else TEXT */
	int fd;
	struct buf text;
	bool resets; /* it was written to, and its close resets what it shows */
};

static const struct state_type control_state_type = { sizeof(struct open_control) };

static struct open_control *control_of(const struct handle *h) {
	return h->state;
}

static int control_open(struct call *call, struct handle *h) {
	struct open_control *c = control_of(h);
	const struct control_file *file = file_of(h->node);
	if (!may_see(call->fs, call->req, file) ||
	    ((h->flags & O_ACCMODE) != O_RDONLY && file->reset == NULL))
		return -EACCES;
	if (file == &rejected_file) {
		AUTO_FREE char *path = node_path(call->fs->nodes, h->node, NULL);
		if (path == NULL)
			return -ENOMEM;
		c->fd = openat(report_rejected_dir(call->fs->report), strrchr(path, '/') + 1,
			       O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		c->on_disk = c->fd >= 0;
		return c->on_disk ? 0 : -errno;
	}
	AUTO_BODY struct body *body = body_take(call->fs, h->node);
	if (body != NULL)
		buf_add(&c->text, body->data, body->len);
	else
		file->render(call, &c->text);
	c->resets = (h->flags & O_TRUNC) != 0;
	atomic_store(&h->size, c->text.len);
	return c->text.failed ? -ENOMEM : 0;
}

static int control_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
			struct buf *out) {
	const struct open_control *c = control_of(h);
	return c->on_disk ? buf_pread(out, c->fd, size, offset)
			  : buf_add_part(out, c->text.data, c->text.len, size, offset);
}

static void control_close(struct fs *fs, struct handle *h) {
	struct open_control *c = control_of(h);
	if (c->on_disk)
		close(c->fd);
	buf_free(&c->text);
}

static int control_write(struct call *call, struct handle *h, const char *data, size_t size,
			 uint64_t offset) {
	struct open_control *c = control_of(h);
	c->resets = true;
	return 0;
}

static int control_truncate(struct call *call, struct handle *h, uint64_t size) {
	struct open_control *c = control_of(h);
	c->resets = true;
	return 0;
}

static int control_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	struct open_control *c = control_of(h);
	if (c->resets)
		file_of(h->node)->reset(call);
	c->resets = false;
	return 0;
}

const struct kind control_kind = {
	.name = "control",
	.writable = true,
	.state = &control_state_type,
	.open = control_open,
	.read = control_read,
	.write = control_write,
	.truncate = control_truncate,
	.sync = control_sync,
	.close = control_close,
	.owns = control_owns,
	.look_up = control_look_up,
	.names = control_names,
	.may_list = control_may_list,
	.quick = control_quick,
	.unlink = control_unlink,
};
