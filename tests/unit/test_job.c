/* Jobs: each has a thread at once, however many there are, and threads are used again. */
#include "tests/unit/check.h"
#include "util/job.h"
#include "util/mutex.h"

#include <signal.h>
#include <unistd.h>

enum { MANY = 20, ROUNDS = 200 };

static struct mutex lock = MUTEX_INIT(MUTEX_TOLD);
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int there; /* guarded by the lock */

/* Waits until all of them are there: none waits for the end of another. */
static void meet(void *arg) {
	LOCK_SCOPE(&lock);
	there++;
	pthread_cond_broadcast(&changed);
	while (there < *(int *)arg)
		mutex_wait(&changed, &lock);
}

static void test_at_once(void) {
	struct job *jobs[MANY];
	int all = MANY + 1;
	for (int i = 0; i < MANY; i++)
		CHECK((jobs[i] = job_start(meet, &all)) != NULL);
	CHECK_INT(job_run(meet, &all), 0);
	for (int i = 0; i < MANY; i++)
		job_join(jobs[i]);
	CHECK_INT(there, all);
}

struct seen {
	pid_t tid;
	bool blocked;
};

static void look(void *arg) {
	struct seen *seen = arg;
	sigset_t set;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	seen->tid = gettid();
	seen->blocked = sigismember(&set, SIGTERM) == 1;
}

static void test_again(void) {
	pid_t tids[ROUNDS];
	int n = 0;
	for (int i = 0; i < ROUNDS; i++) {
		struct seen seen = { 0 };
		struct job *job = job_start(look, &seen);
		CHECK(job != NULL);
		job_join(job);
		CHECK(seen.blocked && seen.tid != gettid());
		int k = 0;
		while (k < n && tids[k] != seen.tid)
			k++;
		if (k == n)
			tids[n++] = seen.tid;
	}
	CHECK(n <= MANY + 1);
}

int main(void) {
	test_at_once();
	test_again();
	return check_end();
}
