#include "at_once.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the processes share. */
struct meeting {
	pthread_barrier_t ready; /* all have prepared */
	struct {
		double begin, end;
		bool good;
		pid_t pid;
	} each[];
};

double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Who cannot prepare comes to the meeting all the same: the others wait for him. */
static void run(const struct crew *crew, struct meeting *m, int i) {
	bool good = crew->prepare == NULL || crew->prepare(crew->context, i);
	pthread_barrier_wait(&m->ready);
	m->each[i].begin = now();
	good = good && crew->work(crew->context, i);
	m->each[i].end = now();
	m->each[i].good = good;
}

static struct meeting *meeting_new(int processes) {
	size_t size = sizeof(struct meeting) +
		      (size_t)processes * sizeof(((struct meeting *)NULL)->each[0]);
	struct meeting *m =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_barrierattr_t shared;
	if (m == MAP_FAILED)
		return NULL;
	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&m->ready, &shared, (unsigned)processes);
	pthread_barrierattr_destroy(&shared);
	return m;
}

/* Forks all but the first. Returns false, and ends those that there are, if there cannot be as
 * many. */
static bool gather(const struct crew *crew, struct meeting *m) {
	fflush(NULL);
	for (int i = 1; i < crew->processes; i++) {
		pid_t pid = m->each[i].pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run(crew, m, i);
			_exit(0);
		}
		if (pid < 0) {
			perror("fork");
			while (--i > 0)
				kill(m->each[i].pid, SIGKILL);
			return false;
		}
	}
	return true;
}

double at_once(const struct crew *crew) {
	struct meeting *m = meeting_new(crew->processes);
	if (m == NULL || !gather(crew, m))
		return -1;
	run(crew, m, 0);
	while (wait(NULL) > 0)
		;
	double begin = m->each[0].begin, end = m->each[0].end;
	for (int i = 0; i < crew->processes; i++) {
		if (!m->each[i].good)
			return -1;
		begin = m->each[i].begin < begin ? m->each[i].begin : begin;
		end = m->each[i].end > end ? m->each[i].end : end;
	}
	return end - begin;
}
