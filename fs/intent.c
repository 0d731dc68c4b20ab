#include "fs/intent.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>

/* True if the path at ADDRESS in TID's memory ends in NAME. */
static bool path_ends_in(pid_t tid, unsigned long address, const char *name) {
	char path[64], text[PATH_MAX];
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)tid);
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, (off_t)address) : -1;
	if (n <= 0)
		return false;
	text[n] = '\0';
	size_t len = strlen(text), want = strlen(name);
	while (len > 0 && text[len - 1] == '/') /* mkdir "a/" */
		len--;
	return len >= want && memcmp(text + len - want, name, want) == 0 &&
	       (len == want || text[len - want - 1] == '/');
}

static bool is_removal(long number) {
#ifdef SYS_unlink /* not on newer architectures */
	if (number == SYS_unlink || number == SYS_rmdir)
		return true;
#endif
	return number == SYS_unlinkat;
}

/* The address of the path that the call makes exclusively; 0 if it is no such call. */
static unsigned long made_path(long number, const unsigned long *args) {
	const unsigned long both = O_CREAT | O_EXCL;
#ifdef SYS_mkdir /* not on newer architectures */
	if (number == SYS_mkdir || (number == SYS_open && (args[1] & both) == both))
		return args[0];
#endif
	if (number == SYS_mkdirat || (number == SYS_openat && (args[2] & both) == both))
		return args[1];
	return 0;
}

/* The system call that thread TID waits in. False if it waits in none, or that cannot be known. */
static bool system_call_of(pid_t tid, long *number, unsigned long args[3]) {
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
	FILE *f = fopen(path, "re");
	int n = f != NULL ? fscanf(f, "%ld %lx %lx %lx", number, &args[0], &args[1], &args[2]) : 0;
	if (f != NULL)
		fclose(f);
	return n == 4;
}

enum intent intent_of(pid_t tid, const char *name) {
	long number;
	unsigned long args[3];
	if (!system_call_of(tid, &number, args))
		return INTENT_UNKNOWN;
	if (is_removal(number))
		return INTENT_REMOVE;
	unsigned long made = made_path(number, args);
	return made != 0 && path_ends_in(tid, made, name) ? INTENT_MAKE : INTENT_OTHER;
}

void intent_note_removed(struct removed_names *names, pid_t tid, uint64_t ino) {
	LOCK_SCOPE(&names->lock);
	unsigned i = names->next++ % INTENT_REMOVED;
	names->last[i].tid = tid;
	names->last[i].ino = ino;
}

void intent_note_made(struct removed_names *names, uint64_t ino) {
	LOCK_SCOPE(&names->lock);
	for (unsigned i = 0; i < INTENT_REMOVED; i++)
		if (names->last[i].ino == ino)
			names->last[i].tid = 0;
}

bool intent_was_removed(struct removed_names *names, pid_t tid, uint64_t ino) {
	LOCK_SCOPE(&names->lock);
	for (unsigned i = 0; i < INTENT_REMOVED; i++)
		if (names->last[i].tid == tid && names->last[i].ino == ino)
			return true;
	return false;
}
