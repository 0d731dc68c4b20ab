/* mount.rowfs: what mount(8) runs for `mount -t rowfs CONNINFO DIR` and for lines of fstab.
 * util-linux's contract for external helpers:
 *
 *   mount.rowfs SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]
 *
 * It runs `rowfs mount -o OPTIONS -- SPEC DIR`, without a shell, and exits as mount(8) says. With
 * `remount` among the options the kernel alone is asked, and the daemon goes on. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* Exit codes of mount(8). */
enum { EX_OK = 0, EX_USAGE_ = 1, EX_SYSTEM = 2, EX_MOUNT_FAILED = 32 };

enum { MOST_OPTION_ARGS = 32 };

struct request {
	const char *spec, *dir, *namespace;
	const char *options[MOST_OPTION_ARGS]; /* each as it followed -o */
	int noptions;
	bool sloppy, fake, verbose;
};

static int complain(int status, const char *what, const char *why) {
	fprintf(stderr, "mount.rowfs: %s%s%s\n", what, why[0] != '\0' ? ": " : "", why);
	return status;
}

static int usage(void) {
	return complain(
		EX_USAGE_,
		"usage: mount.rowfs CONNINFO DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]",
		"");
}

static bool is_own_type(const char *type) {
	return strcmp(type, "rowfs") == 0 || strcmp(type, "fuse.rowfs") == 0;
}

/* Returns an exit code; EX_OK to go on. */
static int read_arguments(int argc, char **argv, struct request *r) {
	int c = 0;
	while ((c = getopt(argc, argv, "sfnvN:o:t:")) != -1) {
		if (c == 's') {
			r->sloppy = true;
		} else if (c == 'f') {
			r->fake = true;
		} else if (c == 'v') {
			r->verbose = true;
		} else if (c == 'N') {
			r->namespace = optarg;
		} else if (c == 'o') {
			if (r->noptions == MOST_OPTION_ARGS)
				return complain(EX_USAGE_, "too many -o", "");
			r->options[r->noptions++] = optarg;
		} else if (c == 't') {
			if (!is_own_type(optarg))
				return complain(EX_USAGE_, "not my type of file system", optarg);
		} else if (c != 'n') { /* -n: there is no mtab to leave alone */
			return usage();
		}
	}
	if (argc - optind != 2)
		return usage();
	r->spec = argv[optind];
	r->dir = argv[optind + 1];
	return EX_OK;
}

/* NAME is a process id or the path of a mount namespace. */
static int enter_namespace(const char *name) {
	char path[64];
	if (isdigit((unsigned char)name[0])) {
		snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", name);
		name = path;
	}
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNS) < 0) {
		int status = complain(EX_SYSTEM, name, strerror(errno));
		if (fd >= 0)
			close(fd);
		return status;
	}
	close(fd);
	return EX_OK;
}

/* True if WORD is one of the comma-separated LIST. */
static bool has_word(const char *list, const char *word) {
	size_t len = strlen(word);
	for (const char *p = list;; p++) {
		if (strncmp(p, word, len) == 0 && (p[len] == ',' || p[len] == '\0'))
			return true;
		if ((p = strchr(p, ',')) == NULL)
			return false;
	}
}

static bool is_mounted(const char *dir) {
	char real[PATH_MAX];
	FILE *mounts = realpath(dir, real) != NULL ? setmntent("/proc/self/mounts", "r") : NULL;
	const struct mntent *m = NULL;
	bool own = false;
	while (mounts != NULL && (m = getmntent(mounts)) != NULL)
		if (strcmp(m->mnt_dir, real) == 0)
			own = is_own_type(m->mnt_type); /* the last one covers the others */
	if (mounts != NULL)
		endmntent(mounts);
	return own;
}

/* Makes what is mounted read-only (`ro`) or writable (`rw`). The other words are those of fstab,
 * which the daemon has had: nothing else changes. */
static int remount(const struct request *r) {
	static const unsigned long kept[][2] = {
		{ ST_NOSUID, MS_NOSUID },     { ST_NODEV, MS_NODEV },
		{ ST_NOEXEC, MS_NOEXEC },     { ST_SYNCHRONOUS, MS_SYNCHRONOUS },
		{ ST_NOATIME, MS_NOATIME },   { ST_NODIRATIME, MS_NODIRATIME },
		{ ST_RELATIME, MS_RELATIME },
	};
	struct statvfs now;
	if (!is_mounted(r->dir))
		return complain(EX_MOUNT_FAILED, r->dir, "rowfs is not mounted here");
	if (statvfs(r->dir, &now) != 0)
		return complain(EX_MOUNT_FAILED, r->dir, strerror(errno));
	bool read_only = (now.f_flag & ST_RDONLY) != 0;
	for (int i = 0; i < r->noptions; i++) {
		if (has_word(r->options[i], "ro"))
			read_only = true;
		else if (has_word(r->options[i], "rw"))
			read_only = false;
	}
	unsigned long flags = MS_REMOUNT | (read_only ? MS_RDONLY : 0);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		flags |= (now.f_flag & kept[i][0]) != 0 ? kept[i][1] : 0;
	if (mount("none", r->dir, NULL, flags, NULL) == 0)
		return EX_OK;
	return complain(EX_MOUNT_FAILED, r->dir,
			errno == EBUSY ? "files are open for writing here" : strerror(errno));
}

/* A SPEC that names no database: the environment, the options and libpq's defaults say which. */
static bool names_nothing(const char *spec) {
	return spec[0] == '\0' || strcmp(spec, "none") == 0 || strcmp(spec, "rowfs") == 0;
}

/* Fills ARGV, which has room. FSNAME: so that mount -a recognises the line of fstab as mounted. */
static void make_command(const struct request *r, const char **argv) {
	int n = 0;
	argv[n++] = "rowfs";
	argv[n++] = "mount";
	if (r->sloppy)
		argv[n++] = "-s";
	if (names_nothing(r->spec)) {
		argv[n++] = "-o";
		argv[n++] = strcmp(r->spec, "none") == 0 ? "fsname=none" : "fsname=rowfs";
	}
	for (int i = 0; i < r->noptions; i++) {
		argv[n++] = "-o";
		argv[n++] = r->options[i];
	}
	argv[n++] = "--";
	if (!names_nothing(r->spec))
		argv[n++] = r->spec;
	argv[n++] = r->dir;
	argv[n] = NULL;
}

/* Finds rowfs: in the build directory that this helper stands in, where it was to be installed,
 * beside this helper, or on the PATH, of which mount(8) leaves nothing. ROOM has PATH_MAX bytes for
 * the answer. */
static const char *find_program(char *room) {
	static const char *const places[] = { "../fs/rowfs", "../bin/rowfs" };
	char own[PATH_MAX] = "";
	ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash = len > 0 ? strrchr(own, '/') : NULL;
	if (slash != NULL)
		*slash = '\0';
	for (int i = 0; i < 2; i++) {
		int n = snprintf(room, PATH_MAX, "%s/%s", own, places[i]);
		if (slash != NULL && n < PATH_MAX && access(room, X_OK) == 0)
			return room;
		if (access(ROWFS_PROGRAM, X_OK) == 0)
			return ROWFS_PROGRAM;
	}
	return "rowfs";
}

/* This process waits until the mount is there, and ps shows it to everybody meanwhile. rowfs,
 * which has its own copies now, hides its own in the same way. */
static void hide_arguments(int argc, char **argv) {
	for (int i = 1; i < argc; i++)
		if (strpbrk(argv[i], "=:") != NULL)
			memset(argv[i], 'x', strlen(argv[i]));
}

/* The arguments of this process are ARGC and OWN. */
static int run(const char **argv, int argc, char **own) {
	char room[PATH_MAX];
	const char *program = find_program(room);
	pid_t pid = 0;
	int status = 0;
	int rc = posix_spawnp(&pid, program, NULL, NULL, (char *const *)argv, environ);
	if (rc != 0)
		return complain(EX_SYSTEM, program, strerror(rc));
	hide_arguments(argc, own);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return complain(EX_SYSTEM, program, strerror(errno));
	if (!WIFEXITED(status))
		return complain(EX_SYSTEM, program, "it was killed");
	switch (WEXITSTATUS(status)) {
	case 0:
		return EX_OK;
	case 2:
		return EX_USAGE_;
	default:
		return EX_MOUNT_FAILED;
	}
}

int main(int argc, char **argv) {
	struct request r = { .spec = NULL };
	const char *command[2 * MOST_OPTION_ARGS + 12];
	int status = read_arguments(argc, argv, &r);

	if (status != EX_OK)
		return status;
	if (r.verbose) /* SPEC may hold a password */
		printf("mount.rowfs: rowfs mount %s%s\n", r.dir, r.fake ? " (not really)" : "");
	fflush(stdout);
	if (r.fake)
		return EX_OK;
	if (r.namespace != NULL && (status = enter_namespace(r.namespace)) != EX_OK)
		return status;
	for (int i = 0; i < r.noptions; i++)
		if (has_word(r.options[i], "remount"))
			return remount(&r);
	make_command(&r, command);
	return run(command, argc, argv);
}
