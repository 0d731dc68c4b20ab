#include "db/cancel_request.h"

#include "db/wait.h"
#include "util/job.h"
#include "util/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	MOST_REQUESTS = 16
}; /* jobs that may hang on a frozen server; further cancels are not sent */

static atomic_int requests_open;

struct cancel_request {
	PGcancel *handle;  /* the job's */
	int done_fd;       /* eventfd, readable once the server has taken it */
	atomic_int owners; /* the job and the caller: the last one frees it */
};

static void request_free(struct cancel_request *r) {
	PQfreeCancel(r->handle);
	if (r->done_fd >= 0)
		close(r->done_fd);
	free(r);
}

static void request_drop(struct cancel_request *r) {
	if (atomic_fetch_sub(&r->owners, 1) == 1)
		request_free(r);
}

static void run(void *arg) {
	struct cancel_request *r = arg;
	char text[256];

	if (!PQcancel(r->handle, text, sizeof(text)))
		log_debug("cancel request failed: %s", text);
	atomic_fetch_sub(&requests_open, 1);
	if (eventfd_write(r->done_fd, 1) != 0)
		log_error("BUG: eventfd: %s", strerror(errno));
	request_drop(r);
}

static struct cancel_request *request_new(PGconn *pg) {
	struct cancel_request *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	atomic_init(&r->owners, 2);
	r->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->handle = PQgetCancel(pg);
	if (r->handle != NULL && r->done_fd >= 0)
		return r;
	request_free(r);
	return NULL;
}

struct cancel_request *cancel_request_send(PGconn *pg) {
	struct cancel_request *r = NULL;
	if (atomic_fetch_add(&requests_open, 1) < MOST_REQUESTS)
		r = request_new(pg);
	if (r != NULL && job_run(run, r) == 0)
		return r;
	atomic_fetch_sub(&requests_open, 1);
	if (r != NULL)
		request_free(r);
	return NULL;
}

bool cancel_request_end(struct cancel_request *r, int64_t deadline_us) {
	short revents;
	if (r == NULL)
		return true;
	bool done = wait_for(r->done_fd, POLLIN, -1, -1, deadline_us, &revents) == WAIT_READY;
	request_drop(r);
	return done;
}
