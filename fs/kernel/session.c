#include "fs/kernel/session.h"

#include "fs/core/call.h"
#include "fs/kernel/ending.h"
#include "fs/cache/invalidate.h"
#include "fs/core/intake.h"
#include "fs/core/part.h"
#include "fs/kernel/ops.h"
#include "fs/kernel/ops_lock.h"
#include "fs/kernel/reply.h"
#include "fs/rows/transcript.h"
#include "util/log.h"
#include "util/mutex.h"

#include <linux/fuse.h>
#include <mntent.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

/* -- what libfuse does not ask the kernel for -----------------------------------------------------
 *
 * libfuse 3.14 offers FUSE_CAP_PARALLEL_DIROPS, but never tells the kernel that it was wanted:
 * look-ups in one directory would go one at a time, each waiting for the query of the one before
 * it. So the reply to INIT, the first that is sent, gets the flag here. Newer libfuse sets it
 * itself, and setting it twice does no harm. FUSE_PASSTHROUGH (see transcript.h) and
 * FUSE_DIRECT_IO_ALLOW_MMAP (shared maps of files that are opened with direct I/O) it does not know
 * at all; a kernel that does not know them either ignores them. */

/* Of flags2; older headers do not have them, nor: */
enum { INIT_DIRECT_MMAP = 1 << 4, INIT_PASSTHROUGH = 1 << 5 };

/* How many file systems may be below: those of state_dir, which have none below them. */
static uint32_t *stack_depth(struct fuse_init_out *init) {
	return (uint32_t *)(void *)((char *)init + offsetof(struct fuse_init_out, flags2) +
				    sizeof(init->flags2));
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata) {
	const struct fuse_out_header *header = iov[0].iov_base;
	static atomic_bool init_answered;
	if (!atomic_load(&init_answered) && count >= 2 && header->unique != 0 &&
	    header->error == 0 && iov[1].iov_len >= FUSE_COMPAT_22_INIT_OUT_SIZE &&
	    !atomic_exchange(&init_answered, true)) {
		struct fuse_init_out *init = iov[1].iov_base;
		init->flags |= FUSE_PARALLEL_DIROPS;
		if (iov[1].iov_len >= sizeof(*init)) {
			init->flags |= FUSE_INIT_EXT;
			init->flags2 |= INIT_DIRECT_MMAP | INIT_PASSTHROUGH;
			*stack_depth(init) = 1;
		}
	}
	return writev(fd, iov, count);
}

/* Of a debug build: how many locks a request took, for the test that counts them. */
static void tell_locks(const struct fuse_in_header *next) {
	static _Thread_local uint64_t before;
	static _Thread_local uint32_t opcode;
	if (next != NULL) {
		opcode = next->opcode;
	} else if (mutex_taken() != before) {
		log_debug("request %u: %llu locks", opcode,
			  (unsigned long long)(mutex_taken() - before));
		before = mutex_taken();
	}
}

static ssize_t read_request(int fd, void *buf, size_t len, void *userdata) {
	const struct fs *fs = userdata;
	tell_locks(NULL);
	ssize_t n = intake_read(fs->intake, fd, buf, len);
	if (n >= (ssize_t)sizeof(struct fuse_in_header))
		tell_locks(buf);
	return n;
}

enum { OPCODE_STATX = 52 }; /* FUSE_STATX, which older headers do not have */

static bool kind_is_quick(struct fs *fs, fuse_ino_t ino, const char *name) {
	const struct node *node = node_of(fs, ino);
	for (const struct kind *const *kind = fs->kinds->naming; *kind != NULL; kind++)
		if ((*kind)->quick != NULL && (*kind)->quick(node, name))
			return true;
	return false;
}

/* For intake.h: true if a request never waits. */
static bool is_quick(void *arg, const void *request, size_t size) {
	struct fs *fs = arg;
	const struct fuse_in_header *header = request;
	if (size < sizeof(*header))
		return true; /* it is none */
	const char *name = (const char *)(header + 1);
	bool named = size > sizeof(*header) && ((const char *)request)[size - 1] == '\0';
	switch (header->opcode) {
	case FUSE_INIT:
	case FUSE_DESTROY:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_GETXATTR: /* this and the next are not there: ENOSYS */
	case FUSE_LISTXATTR:
	case OPCODE_STATX:
		return true;
	case FUSE_LOOKUP:
		return named && kind_is_quick(fs, header->nodeid, name);
	case FUSE_GETATTR:
	case FUSE_ACCESS:
		return header->nodeid == FUSE_ROOT_ID || kind_is_quick(fs, header->nodeid, NULL);
	case FUSE_OPEN:
	case FUSE_READ:
	case FUSE_OPENDIR:
		return kind_is_quick(fs, header->nodeid, NULL);
	/* among them RELEASE, whose lock may be somebody else's now, which asks the database */
	default:
		return false;
	}
}

static void op_init(void *userdata, struct fuse_conn_info *conn) {
	((struct fs *)userdata)->expires = (conn->capable & FUSE_CAP_EXPIRE_ONLY) != 0;
	/* always with attributes: `find` and `du` list a whole directory before they ask for the
	 * first file */
	conn->want |= conn->capable &
		      (FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	conn->time_gran = 1000; /* PostgreSQL's timestamps are microseconds */
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.statfs = op_statfs,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.getlk = op_getlk,
	.setlk = op_setlk,
	.flock = op_flock,
	.ioctl = op_ioctl,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.fsyncdir = op_fsyncdir,
	.releasedir = op_releasedir,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
};

static const struct fuse_custom_io io = { .writev = write_reply, .read = read_request };

/* -- mounting ---------------------------------------------------------------------------------- */

bool session_is_mounted(const char *path) {
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	const struct mntent *m;
	bool found = false;
	while (mounts != NULL && !found && (m = getmntent(mounts)) != NULL)
		found = strcmp(m->mnt_dir, path) == 0 && strcmp(m->mnt_type, "fuse.rowfs") == 0;
	if (mounts != NULL)
		endmntent(mounts);
	return found;
}

/* A value of libfuse's -o: commas and backslashes escaped. */
static void put_escaped(struct buf *out, const char *value) {
	for (; *value != '\0'; value++) {
		if (*value == ',' || *value == '\\')
			buf_putc(out, '\\');
		buf_putc(out, *value);
	}
}

static void put_options(const struct options *opt, struct buf *out) {
	buf_puts(out, "subtype=rowfs,fsname=");
	put_escaped(out, opt->fsname);
	/* whoever else may come in is held to the modes that are shown */
	if (opt->default_permissions || opt->allow_other)
		buf_puts(out, ",default_permissions");
	if (opt->allow_other)
		buf_puts(out, ",allow_other");
	if (opt->read_only)
		buf_puts(out, ",ro");
	if (opt->mount_flags != NULL)
		buf_printf(out, ",%s", opt->mount_flags);
}

static bool session_open(struct fs *fs) {
	const struct options *opt = fs->opt;
	AUTO_BUF struct buf options = { 0 };
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	put_options(opt, &options);
	struct fuse_session *se = NULL;
	ending_mounts(fs->ending);
	if (!options.failed && fuse_opt_add_arg(&args, "rowfs") == 0 &&
	    fuse_opt_add_arg(&args, "-o") == 0 && fuse_opt_add_arg(&args, options.data) == 0 &&
	    (!opt->debug || fuse_opt_add_arg(&args, "-d") == 0))
		se = fuse_session_new(&args, &ops, sizeof(ops), fs);
	fuse_opt_free_args(&args);
	if (se == NULL)
		return false;
	if (fuse_session_mount(se, opt->mountpoint) != 0) {
		fuse_session_destroy(se);
		return false;
	}
	if (fuse_session_custom_io(se, &io, fuse_session_fd(se)) != 0)
		log_warning("look-ups in one directory will not run in parallel");
	fs->session = se;
	return true;
}

/* What is mounted here, session_serve() unmounts. */
const struct mount_part session_part = { "session", session_open, NULL };

/* -- serving ----------------------------------------------------------------------------------- */

static void requests_close(struct fs *fs) {
	free(fs->calls);
	intake_free(fs->intake);
}

static bool requests_open(struct fs *fs) {
	fs->calls = calls_new();
	fs->intake = intake_new((unsigned)fs->opt->threads, is_quick, fs);
	if (fs->calls != NULL && fs->intake != NULL)
		return true;
	requests_close(fs);
	return false;
}

const struct mount_part requests_part = { "requests", requests_open, requests_close };

void session_serve(struct fs *fs) {
	struct fuse_session *se = fs->session;
	invalidator_serve(fs->invalidator, se);
	transcripts_serve(fs->transcripts, fuse_session_fd(se));
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	if (config != NULL) {
		unsigned threads = (unsigned)fs->opt->threads + INTAKE_SPARE;
		fuse_loop_cfg_set_max_threads(config, threads);
		fuse_loop_cfg_set_idle_threads(config, threads);
		ending_serves(fs->ending, se);
		int rc = fuse_session_loop_mt(se, config);
		ending_has_served(fs->ending);
		if (rc < 0)
			log_error("serving ended: %s", strerror(-rc));
		fuse_loop_cfg_destroy(config);
	}
	transcripts_serve(fs->transcripts, -1);
	invalidator_stop(fs->invalidator);
	ops_lock_answer(fs, true);
	ending_unmounts(fs->ending);
	fuse_session_unmount(se);
	fuse_session_destroy(se);
}
