#include "util/job.h"

#include "util/mutex.h"
#include "util/thread.h"

#include <errno.h>
#include <stdlib.h>

enum { FREE_MOST = 8 }; /* threads that are kept */

/* A thread, and what it does; its own while it works. */
struct worker {
	struct worker *next; /* of those that are free */
	pthread_cond_t wake; /* `fn` was set */
	job_fn fn;           /* NULL: it is free */
	void *arg;
};

struct job {
	job_fn fn;
	void *arg;
	pthread_cond_t ended;
	bool done; /* guarded by the lock */
};

static struct mutex lock = MUTEX_INIT(MUTEX_JOB); /* guards the workers that are free */
static struct worker *first_free;
static int nfree;

/* Waits for the next job. Returns false if W is to end. */
static bool rest(struct worker *w) {
	LOCK_SCOPE(&lock);
	if (nfree == FREE_MOST)
		return false;
	w->fn = NULL;
	w->next = first_free;
	first_free = w;
	nfree++;
	while (w->fn == NULL)
		mutex_wait(&w->wake, &lock);
	return true;
}

static void *worker_main(void *arg) {
	struct worker *w = arg;
	do
		w->fn(w->arg);
	while (rest(w));
	pthread_cond_destroy(&w->wake);
	free(w);
	return NULL;
}

/* Gives the job to a worker that is free. Returns false if there is none. */
static bool give(job_fn fn, void *arg) {
	LOCK_SCOPE(&lock);
	struct worker *w = first_free;
	if (w == NULL)
		return false;
	first_free = w->next;
	nfree--;
	w->fn = fn;
	w->arg = arg;
	pthread_cond_signal(&w->wake);
	return true;
}

int job_run(job_fn fn, void *arg) {
	if (give(fn, arg))
		return 0;
	struct worker *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	pthread_cond_init(&w->wake, NULL);
	w->fn = fn;
	w->arg = arg;
	int rc = thread_start(NULL, worker_main, w);
	if (rc != 0) {
		pthread_cond_destroy(&w->wake);
		free(w);
	}
	return rc;
}

static void run_job(void *arg) {
	struct job *job = arg;
	job->fn(job->arg);
	LOCK_SCOPE(&lock);
	job->done = true;
	pthread_cond_signal(&job->ended);
}

struct job *job_start(job_fn fn, void *arg) {
	struct job *job = calloc(1, sizeof(*job));
	if (job == NULL)
		return NULL;
	job->fn = fn;
	job->arg = arg;
	pthread_cond_init(&job->ended, NULL);
	if (job_run(run_job, job) == 0)
		return job;
	pthread_cond_destroy(&job->ended);
	free(job);
	return NULL;
}

void job_join(struct job *job) {
	mutex_lock(&lock);
	while (!job->done)
		mutex_wait(&job->ended, &lock);
	mutex_unlock(&lock);
	pthread_cond_destroy(&job->ended);
	free(job);
}
