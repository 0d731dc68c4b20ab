#include "fs/intent.h"

#include "util/cleanup.h"

#include <fcntl.h>
#include <sys/syscall.h>

/* Both bits, and nothing else of interest. */
static bool exclusive(unsigned long flags) {
	return (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0;
}

bool intent_is_exclusive(pid_t tid) {
	char path[64];
	long number;
	unsigned long args[3];
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
	AUTO_FILE FILE *f = fopen(path, "re");
	if (f == NULL || fscanf(f, "%ld %lx %lx %lx", &number, &args[0], &args[1], &args[2]) != 4)
		return false;
#ifdef SYS_mkdir /* not on newer architectures */
	if (number == SYS_mkdir)
		return true;
	if (number == SYS_open)
		return exclusive(args[1]);
#endif
	return number == SYS_mkdirat || (number == SYS_openat && exclusive(args[2]));
}
