#include "fs/open/author.h"

#include "util/process.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of /proc/TID/stat; see proc(5). */
enum { FIELD_STATE = 3, FIELD_FLAGS = 9, FIELD_EXIT_CODE = 52 };
enum { FLAG_EXITING = 0x4, FLAG_SIGNALED = 0x400, SIGNAL_BITS = 0x7f };

/* May this daemon see THREAD's exit code? To others it is shown as 0. */
static bool sees_code(pid_t thread) {
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { { 0 } };
	struct stat st;
	char path[40];
	snprintf(path, sizeof(path), "/proc/%d", (int)thread);
	if (stat(path, &st) == 0 && st.st_uid == geteuid())
		return true;
	return syscall(SYS_capget, &head, caps) == 0 &&
	       (caps[0].effective & 1u << CAP_SYS_PTRACE) != 0;
}

/* Pages of memory that THREAD has; -1: it is not told. */
static long pages_of(pid_t thread) {
	char text[128];
	return process_read(thread, "statm", text, sizeof(text)) > 0 ? strtol(text, NULL, 10) : -1;
}

/* How THREAD, which closes a descriptor just now, does it. exec() closes descriptors while it holds
 * a lock (exec_update_lock) that a read of /proc/TID/stat waits for on some kernels: the read would
 * wait for exec, and exec for the reply to its flush, for ever. statm takes no such lock, and tells
 * the two apart: a thread in exec() has the old or the new memory, one in exit() has given its own
 * up before it closes its files. So stat is read only of a thread that has none. */
static enum author_state how(pid_t thread) {
	long pages = pages_of(thread);
	if (pages != 0)
		return pages < 0 ? AUTHOR_UNKNOWN : AUTHOR_CLOSED; /* close, dup2, exec */
	char line[1024];
	(void)process_read(thread, "stat", line, sizeof(line));
	char *p = strrchr(line, ')'); /* behind the name, which may have anything in it */
	unsigned long flags = 0, code = 0;
	int field = FIELD_STATE;
	if (p == NULL)
		return AUTHOR_UNKNOWN;
	for (p += 2; *p != '\0' && field <= FIELD_EXIT_CODE; field++) {
		if (field == FIELD_FLAGS)
			flags = strtoul(p, NULL, 10);
		if (field == FIELD_EXIT_CODE)
			code = strtoul(p, NULL, 10);
		p += strcspn(p, " ");
		p += *p == ' ';
	}
	if (field <= FIELD_EXIT_CODE)
		return AUTHOR_UNKNOWN;
	if ((flags & FLAG_EXITING) == 0)
		return AUTHOR_CLOSED; /* a thread of the kernel: it never has memory */
	if (code != 0)
		return (code & SIGNAL_BITS) != 0 ? AUTHOR_KILLED : AUTHOR_CLOSED;
	/* a thread of a process that exits is ended by a signal, too */
	if ((flags & FLAG_SIGNALED) == 0 || sees_code(thread))
		return AUTHOR_CLOSED;
	return AUTHOR_UNKNOWN;
}

/* Is THREAD one of PROCESS? Signal 0 is none: only whether there is such a thread is asked. */
static bool is_in(pid_t thread, pid_t process) {
	return syscall(SYS_tgkill, process, thread, 0) == 0 || errno == EPERM;
}

void author_wrote(struct author *a, pid_t thread, bool piece) {
	if (!piece) {
		a->state = AUTHOR_NONE;
		return;
	}
	bool same = a->process != 0 && (a->thread == thread || is_in(thread, a->process));
	if (!same)
		a->process = process_of(thread);
	a->thread = thread;
	a->state = a->process != 0 ? AUTHOR_WRITES : AUTHOR_UNKNOWN;
}

bool author_flushes(struct author *a, pid_t thread) {
	if (a->state == AUTHOR_NONE || a->state == AUTHOR_UNKNOWN)
		return true;
	if (thread != a->thread && !is_in(thread, a->process))
		return false;
	if (a->state != AUTHOR_KILLED)
		a->state = how(thread);
	return true;
}

bool author_accepts(const struct author *a, bool ending, bool option, bool *unknown) {
	*unknown = a->state == AUTHOR_UNKNOWN || (a->state == AUTHOR_WRITES && !ending);
	if (*unknown)
		return option;
	return a->state == AUTHOR_NONE || a->state == AUTHOR_CLOSED;
}
