/* A file system with nothing behind it: N files of one size in one directory, in memory. What it
 * takes is what the kernel and libfuse take; rowfs is measured against it, mounted with the same
 * time-outs and the same open flags.
 *
 * Usage: nullfs MOUNTPOINT FILES SIZE TIMEOUT. Files are 00000.json and so on; as many again may be
 * created. Stays in the foreground; prints one line when it answers; ends when it is unmounted. */
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_FILE = 2, NAME_ROOM = 32, THREADS = 16 /* as rowfs has by default */ };

static int capacity;        /* files there may be; file I is inode I + FIRST_FILE */
static double keep_s;       /* entries and attributes stay good for this long, seconds */
static atomic_llong *sizes; /* bytes of each file; -1 where there is none */
static char *body;          /* what every file reads as */
static size_t longest;      /* bytes of BODY */

static bool file_exists(int i) {
	return i >= 0 && i < capacity && sizes[i] >= 0;
}

static struct stat attributes(fuse_ino_t ino) {
	struct stat st = { .st_ino = ino, .st_nlink = 1, .st_uid = getuid(), .st_gid = getgid() };
	if (ino == FUSE_ROOT_ID) {
		st.st_mode = S_IFDIR | 0755;
		st.st_nlink = 2;
	} else {
		st.st_mode = S_IFREG | 0644;
		st.st_size = sizes[ino - FIRST_FILE];
	}
	return st;
}

/* Returns the number in NAME, -1 if it is no name of ours. */
static int number_of(const char *name) {
	char *end;
	long i = strtol(name, &end, 10);
	if (end == name || strcmp(end, ".json") != 0 || i < 0 || i >= capacity)
		return -1;
	return (int)i;
}

static struct fuse_entry_param entry_of(int i) {
	struct fuse_entry_param e = { .ino = (fuse_ino_t)(i + FIRST_FILE),
				      .attr_timeout = keep_s,
				      .entry_timeout = keep_s };
	e.attr = attributes(e.ino);
	return e;
}

static void null_init(void *userdata, struct fuse_conn_info *conn) {
	conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	puts("ready");
	fflush(stdout);
}

static void null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
	int i = number_of(name);
	if (!file_exists(i)) {
		struct fuse_entry_param none = { .entry_timeout = keep_s };
		fuse_reply_entry(req, &none);
		return;
	}
	struct fuse_entry_param e = entry_of(i);
	fuse_reply_entry(req, &e);
}

static void null_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	struct stat st = attributes(ino);
	fuse_reply_attr(req, &st, keep_s);
}

static void null_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
			 struct fuse_file_info *fi) {
	if ((to_set & FUSE_SET_ATTR_SIZE) && ino >= FIRST_FILE)
		sizes[ino - FIRST_FILE] = attr->st_size;
	null_getattr(req, ino, fi);
}

static void null_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	if (fi->flags & O_TRUNC)
		sizes[ino - FIRST_FILE] = 0;
	fi->keep_cache = 1;
	fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
	fuse_reply_open(req, fi);
}

static void null_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			struct fuse_file_info *fi) {
	int i = number_of(name);
	if (i < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	sizes[i] = 0;
	struct fuse_entry_param e = entry_of(i);
	fuse_reply_create(req, &e, fi);
}

static void null_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi) {
	size_t have = (size_t)sizes[ino - FIRST_FILE];
	if (have > longest)
		have = longest;
	size_t at = (size_t)off < have ? (size_t)off : have;
	fuse_reply_buf(req, body + at, have - at < size ? have - at : size);
}

static void null_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		       struct fuse_file_info *fi) {
	if (sizes[ino - FIRST_FILE] < off + (off_t)size)
		sizes[ino - FIRST_FILE] = off + (off_t)size;
	fuse_reply_write(req, size);
}

static void null_ok(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	fuse_reply_err(req, 0);
}

static void null_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	fi->cache_readdir = fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void list(fuse_req_t req, size_t size, off_t off, bool plus) {
	char *page = malloc(size);
	size_t used = 0;
	if (page == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (int i = (int)off; i < capacity; i++) {
		char name[NAME_ROOM];
		size_t need;
		if (!file_exists(i))
			continue;
		snprintf(name, sizeof(name), "%05d.json", i);
		struct fuse_entry_param e = entry_of(i);
		if (plus)
			need = fuse_add_direntry_plus(req, page + used, size - used, name, &e,
						      i + 1);
		else
			need = fuse_add_direntry(req, page + used, size - used, name, &e.attr,
						 i + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, page, used);
	free(page);
}

static void null_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			 struct fuse_file_info *fi) {
	list(req, size, off, false);
}

static void null_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			     struct fuse_file_info *fi) {
	list(req, size, off, true);
}

static void null_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
	int i = number_of(name);
	if (file_exists(i))
		sizes[i] = -1;
	fuse_reply_err(req, i >= 0 ? 0 : ENOENT);
}

static void null_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops operations = {
	.init = null_init,
	.lookup = null_lookup,
	.getattr = null_getattr,
	.setattr = null_setattr,
	.open = null_open,
	.create = null_create,
	.read = null_read,
	.write = null_write,
	.flush = null_ok,
	.fsync = null_fsync,
	.release = null_ok,
	.opendir = null_opendir,
	.readdir = null_readdir,
	.readdirplus = null_readdirplus,
	.unlink = null_unlink,
};

static bool fill(int files, size_t size) {
	capacity = 2 * files;
	longest = size;
	sizes = malloc(sizeof(*sizes) * (size_t)capacity);
	body = malloc(size + 1);
	if (sizes == NULL || body == NULL)
		return false;
	for (int i = 0; i < capacity; i++)
		atomic_init(&sizes[i], i < files ? (long long)size : -1);
	memset(body, 'x', size);
	return true;
}

static int serve(const char *mountpoint) {
	static char name[] = "nullfs", option[] = "-ofsname=nullfs";
	char *argv[] = { name, option, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *session =
		fuse_session_new(&args, &operations, sizeof(operations), NULL);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int status = 1;

	if (session != NULL && config != NULL && fuse_set_signal_handlers(session) == 0) {
		fuse_loop_cfg_set_max_threads(config, THREADS);
		fuse_loop_cfg_set_idle_threads(config, THREADS);
		if (fuse_session_mount(session, mountpoint) == 0) {
			status = fuse_session_loop_mt(session, config) == 0 ? 0 : 1;
			fuse_session_unmount(session);
		}
		fuse_remove_signal_handlers(session);
	}
	if (session != NULL)
		fuse_session_destroy(session);
	fuse_loop_cfg_destroy(config);
	fuse_opt_free_args(&args);
	return status;
}

int main(int argc, char **argv) {
	if (argc != 5) {
		fprintf(stderr, "usage: nullfs MOUNTPOINT FILES SIZE TIMEOUT\n");
		return 2;
	}
	int files = (int)strtol(argv[2], NULL, 10);
	keep_s = strtod(argv[4], NULL);
	if (files <= 0 || !fill(files, (size_t)strtoul(argv[3], NULL, 10))) {
		fprintf(stderr, "nullfs: bad number or out of memory\n");
		return 2;
	}
	return serve(argv[1]);
}
