#include "db/cancel_request.h"

#include "util/clock.h"
#include "util/log.h"

#include <signal.h>
#include <stdatomic.h>

enum {
	MOST_REQUESTS = 16
}; /* threads that may hang on a frozen server; further cancels are not sent */

static atomic_int requests_open;

struct cancel_request {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	PGcancel *handle; /* the thread's */
	bool done;        /* guarded by lock */
	int owners;       /* guarded by lock: the thread and the caller */
};

static void request_free(struct cancel_request *r) {
	PQfreeCancel(r->handle);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void request_drop(struct cancel_request *r) {
	pthread_mutex_lock(&r->lock);
	int left = --r->owners;
	pthread_mutex_unlock(&r->lock);
	if (left == 0)
		request_free(r);
}

static void *request_thread(void *arg) {
	struct cancel_request *r = arg;
	char text[256];

	if (!PQcancel(r->handle, text, sizeof(text)))
		log_debug("cancel request failed: %s", text);
	atomic_fetch_sub(&requests_open, 1);
	pthread_mutex_lock(&r->lock);
	r->done = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	request_drop(r);
	return NULL;
}

static struct cancel_request *request_new(PGconn *pg) {
	struct cancel_request *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	pthread_mutex_init(&r->lock, NULL);
	clock_condition(&r->changed);
	r->owners = 2;
	r->handle = PQgetCancel(pg);
	if (r->handle == NULL) {
		request_free(r);
		return NULL;
	}
	return r;
}

/* The thread gets no signals: they are for the threads that handle them. */
static int start_detached(struct cancel_request *r) {
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int rc = pthread_create(&thread, &attr, request_thread, r);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

struct cancel_request *cancel_request_send(PGconn *pg) {
	if (atomic_fetch_add(&requests_open, 1) >= MOST_REQUESTS) {
		atomic_fetch_sub(&requests_open, 1);
		return NULL;
	}
	struct cancel_request *r = request_new(pg);
	if (r != NULL && start_detached(r) == 0)
		return r;
	atomic_fetch_sub(&requests_open, 1);
	if (r != NULL)
		request_free(r);
	return NULL;
}

bool cancel_request_end(struct cancel_request *r, int64_t deadline_us) {
	if (r == NULL)
		return true;
	struct timespec until = timespec_of_us(deadline_us);
	pthread_mutex_lock(&r->lock);
	while (!r->done && pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
		;
	bool done = r->done;
	pthread_mutex_unlock(&r->lock);
	request_drop(r);
	return done;
}
