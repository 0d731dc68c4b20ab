#include "fs/names/intent.h"

#include "fs/core/part.h"
#include "fs/core/fs.h"
#include "util/clock.h"
#include "util/mutex.h"
#include "util/thread.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>

/*   state     who leaves it, for what
 *   IDLE      one who asks: ASKED
 *   ASKED     the thread: READING
 *   READING   the thread: ANSWERED; or, since nobody waits any more, IDLE
 *   ANSWERED  who has asked: IDLE
 *
 * Who has asked and waits no longer makes ASKED IDLE, and READING given up. */
enum state { IDLE, ASKED, READING, ANSWERED };

struct intents {
	pthread_cond_t changed; /* the rest is guarded by fs_lists */
	enum state state;
	bool given_up; /* nobody waits for what is being read */
	bool started, ending;
	int users; /* who frees it last: the owner, or the thread, which may never come back */
	pid_t tid;
	char name[NAME_MAX + 1];
	enum intent answer;

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
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
	FILE *f = fopen(path, "re");
	int n = f != NULL ? fscanf(f, "%ld %lx %lx %lx", number, &args[0], &args[1], &args[2]) : 0;
	if (f != NULL)
		fclose(f);
	return n == 4;
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

/* One user less; the last one frees it. Called with the lock, which is given back. */
static void release(struct intents *all) {
	bool last = --all->users == 0;
	mutex_unlock(&fs_lists);
	if (!last)
		return;
	pthread_cond_destroy(&all->changed);
	free(all);
}

static void *reader_main(void *arg) {
	struct intents *all = arg;
	mutex_lock(&fs_lists);
	while (!all->ending) {
		if (all->state != ASKED) {
			mutex_wait(&all->changed, &fs_lists);
			continue;
		}
		char name[NAME_MAX + 1];
		pid_t tid = all->tid;
		memcpy(name, all->name, sizeof(name));
		all->state = READING;
		mutex_unlock(&fs_lists);
		enum intent answer = read_intent(tid, name);
		mutex_lock(&fs_lists);
		all->answer = answer;
		all->state = all->given_up ? IDLE : ANSWERED;
		all->given_up = false;
		pthread_cond_broadcast(&all->changed);
	}
	release(all);
	return NULL;
}

/* The thread begins with the first question. */
static bool intents_open(struct fs *fs) {
	struct intents *all = fs->intents = calloc(1, sizeof(*all));
	if (all == NULL)
		return false;
	clock_condition(&all->changed);
	all->users = 1;
	return true;
}

static void intents_close(struct fs *fs) {
	struct intents *all = fs->intents;
	mutex_lock(&fs_lists);
	all->ending = true;
	pthread_cond_broadcast(&all->changed);
	release(all);
}

const struct mount_part intents_part = { "intents", intents_open, intents_close };

/* Held: the lock. */
static bool start(struct intents *all) {
	if (all->started)
		return true;
	if (thread_start(NULL, reader_main, all) != 0)
		return false;
	all->users++;
	return all->started = true;
}

enum intent intent_of(struct intents *all, pid_t tid, const char *name) {
	int64_t until = clock_us() + INTENT_MS * US_PER_MS;
	size_t len = strlen(name);
	int rc = 0;
	if (len > NAME_MAX)
		return INTENT_UNKNOWN;
	LOCK_SCOPE(&fs_lists);
	if (all->given_up || !start(all))
		return INTENT_UNKNOWN; /* it may be held for ever */
	while (rc == 0 && all->state != IDLE)
		rc = mutex_wait_until(&all->changed, &fs_lists, until);
	if (all->state != IDLE)
		return INTENT_UNKNOWN;
	all->state = ASKED;
	all->tid = tid;
	memcpy(all->name, name, len + 1);
	pthread_cond_broadcast(&all->changed);
	while (rc == 0 && all->state != ANSWERED)
		rc = mutex_wait_until(&all->changed, &fs_lists, until);
	bool answered = all->state == ANSWERED;
	all->given_up = all->state == READING;
	if (!all->given_up)
		all->state = IDLE;
	pthread_cond_broadcast(&all->changed);
	return answered ? all->answer : INTENT_UNKNOWN;
}

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
