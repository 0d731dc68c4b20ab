#include "fs/names/intent.h"

#include "fs/core/part.h"
#include "fs/core/fs.h"
#include "util/clock.h"
#include "util/job.h"
#include "util/mutex.h"
#include "util/process.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>

struct intents {
	/* a ring: the names that were removed last */
	struct {
		atomic_int tid; /* changed under the lock */
		uint64_t ino;
	} removed[INTENT_REMOVED];
	unsigned next_removed;
};

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
	char text[256];
	(void)process_read(tid, "syscall", text, sizeof(text));
	return sscanf(text, "%ld %lx %lx %lx", number, &args[0], &args[1], &args[2]) == 4;
}

static enum intent read_intent(pid_t tid, const char *name) {
	long number;
	unsigned long args[3];
	if (!system_call_of(tid, &number, args))
		return INTENT_UNKNOWN;
	if (is_removal(number))
		return INTENT_REMOVE;
	unsigned long made = made_path(number, args);
	return made != 0 && path_ends_in(tid, made, name) ? INTENT_MAKE : INTENT_OTHER;
}

/* -- asking ------------------------------------------------------------------------------------ */

/* What is being read; guarded by fs_lists. */
struct question {
	pthread_cond_t answered;
	enum intent answer;
	bool done;
	bool given_up; /* nobody waits for it: the job frees it */
	pid_t tid;
	char name[];
};

/* Questions that were given up and are still being read, perhaps for ever; guarded by fs_lists. */
static int held;

static void question_free(struct question *q) {
	pthread_cond_destroy(&q->answered);
	free(q);
}

static void answer(void *arg) {
	struct question *q = arg;
	enum intent intent = read_intent(q->tid, q->name);
	LOCK_SCOPE(&fs_lists);
	q->answer = intent;
	q->done = true;
	pthread_cond_signal(&q->answered);
	if (!q->given_up)
		return;
	held--;
	question_free(q);
}

/* Asks Q, which has its thread and name, and frees it. The lock is held. */
static enum intent ask(struct question *q) {
	int64_t until = clock_us() + INTENT_MS * US_PER_MS;
	enum intent intent = INTENT_UNKNOWN;
	if (held == 0 && job_run(answer, q) == 0) {
		for (int rc = 0; rc == 0 && !q->done;)
			rc = mutex_wait_until(&q->answered, &fs_lists, until);
		if (!q->done) {
			q->given_up = true;
			held++;
			return INTENT_UNKNOWN;
		}
		intent = q->answer;
	}
	question_free(q);
	return intent;
}

enum intent intent_of(pid_t tid, const char *name) {
	size_t len = strlen(name);
	struct question *q = calloc(1, sizeof(*q) + len + 1);
	if (q == NULL)
		return INTENT_UNKNOWN;
	clock_condition(&q->answered);
	q->tid = tid;
	memcpy(q->name, name, len + 1);
	LOCK_SCOPE(&fs_lists);
	return ask(q);
}

/* -- what was removed -------------------------------------------------------------------------- */

static bool intents_open(struct fs *fs) {
	fs->intents = calloc(1, sizeof(*fs->intents));
	return fs->intents != NULL;
}

static void intents_close(struct fs *fs) {
	free(fs->intents);
}

const struct mount_part intents_part = { "intents", intents_open, intents_close };

void intent_note_removed(struct intents *all, pid_t tid, uint64_t ino) {
	LOCK_SCOPE(&fs_lists);
	unsigned i = all->next_removed++ % INTENT_REMOVED;
	all->removed[i].tid = tid;
	all->removed[i].ino = ino;
}

void intent_note_made(struct intents *all, uint64_t ino) {
	LOCK_SCOPE(&fs_lists);
	for (unsigned i = 0; i < INTENT_REMOVED; i++)
		if (all->removed[i].ino == ino)
			all->removed[i].tid = 0;
}

bool intent_was_removed(struct intents *all, pid_t tid, uint64_t ino) {
	bool removes = false;
	for (unsigned i = 0; i < INTENT_REMOVED && !removes; i++)
		removes = atomic_load(&all->removed[i].tid) == tid;
	if (!removes) /* as almost every look-up: no lock for it */
		return false;
	LOCK_SCOPE(&fs_lists);
	for (unsigned i = 0; i < INTENT_REMOVED; i++)
		if (all->removed[i].tid == tid && all->removed[i].ino == ino)
			return true;
	return false;
}
