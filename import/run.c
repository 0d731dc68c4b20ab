#include "import/run.h"

#include "import/copy.h"
#include "import/progress.h"
#include "import/verify.h"
#include "util/below.h"
#include "util/job.h"

#include <errno.h>
#include <string.h>

/* -- several at once --------------------------------------------------------------------------- */

struct crew {
	struct import *im;
	void (*work)(struct import *im, struct item *item, atomic_ullong *count);
	size_t end;
	atomic_size_t next;
	atomic_ullong count; /* the work's own */
};

static void crew_work(void *arg) {
	struct crew *crew = arg;
	while (!atomic_load(&crew->im->stop)) {
		size_t i = atomic_fetch_add(&crew->next, 1);
		if (i >= crew->end)
			break;
		crew->work(crew->im, &crew->im->plan.items[i], &crew->count);
	}
}

/* Hands the items from BEGIN to END to the workers and waits for them. Returns the work's count. */
static uint64_t run_crew(struct import *im, size_t begin, size_t end,
			 void (*work)(struct import *, struct item *, atomic_ullong *)) {
	struct crew crew = { .im = im, .work = work, .end = end, .next = begin };
	AUTO_FREE struct job **jobs = calloc((size_t)im->jobs, sizeof(struct job *));
	int n = 0;
	while (jobs != NULL && n < im->jobs && (size_t)n < end - begin &&
	       (jobs[n] = job_start(crew_work, &crew)) != NULL)
		n++;
	if (n == 0)
		crew_work(&crew);
	for (int i = 0; i < n; i++)
		job_join(jobs[i]);
	return atomic_load(&crew.count);
}

/* -- copying ----------------------------------------------------------------------------------- */

/* The mount's own sentence; else the errno's. */
static void refuse(struct import *im, struct item *item, int errnum, struct buf *why) {
	if (why->len == 0)
		import_sentence(im, item, why);
	if (why->len == 0)
		buf_puts(why, strerror(errnum));
	item_end(item, ITEM_REFUSED, errnum, why->failed ? "out of memory" : why->data);
}

static void copy_one(struct import *im, struct item *item, atomic_ullong *count) {
	AUTO_BUF struct buf why = { 0 };
	if (item->state != ITEM_WAITING)
		return;
	int rc = copy_item(im, item, &why);
	if (rc == -ECANCELED)
		return;
	if (rc == -ENOTCONN || rc == -ECONNABORTED || rc == -ENODEV) {
		atomic_store(&im->lost, true);
		atomic_store(&im->stop, true);
		return;
	}
	atomic_fetch_add(&im->files, 1);
	if (rc != 0) {
		refuse(im, item, -rc, &why);
		return;
	}
	import_count(im, item, item->size, 0);
	item_end(item, ITEM_DONE, 0, NULL);
	atomic_fetch_add(count, 1);
}

/* Two files of one route are two things; two routes may show one row, and two writers of one row
 * would be in each other's way. */
static bool at_once(const struct item *a, const struct item *b) {
	return a->what == b->what && (a->what >= CLASS_INGEST || a->route == b->route);
}

/* One pass over all files that wait: those of one route at once, the next when they are done.
 * Returns how many came in. */
static uint64_t copy_pass(struct import *im) {
	struct plan *plan = &im->plan;
	uint64_t done = 0;
	size_t begin = 0;
	while (begin < plan->n && !atomic_load(&im->stop)) {
		size_t end = begin + 1;
		while (end < plan->n && at_once(&plan->items[begin], &plan->items[end]))
			end++;
		done += run_crew(im, begin, end, copy_one);
		begin = end;
	}
	return done;
}

/* What may have come before a row that it refers to. Returns how many wait again. */
static uint64_t wait_again(struct import *im) {
	struct plan *plan = &im->plan;
	uint64_t n = 0;
	for (size_t i = 0; i < plan->n; i++) {
		struct item *item = &plan->items[i];
		/* an ingest file's bytes are in: written again, its bad lines would not be told */
		if (item->state != ITEM_REFUSED || item->what >= CLASS_INGEST ||
		    (item->errnum != ENOENT && item->errnum != EINVAL))
			continue;
		item->state = ITEM_WAITING;
		import_uncount(im, item);
		n++;
	}
	return n;
}

/* Items that wait and were not tried again stay refused, with the sentence that they have. */
static void give_back(struct plan *plan) {
	for (size_t i = 0; i < plan->n; i++)
		if (plan->items[i].state == ITEM_WAITING && plan->items[i].why != NULL)
			plan->items[i].state = ITEM_REFUSED;
}

void run_copies(struct import *im) {
	struct progress *progress = progress_begin(im, "copied");
	uint64_t done = copy_pass(im);
	while (done > 0 && !atomic_load(&im->stop)) {
		uint64_t again = wait_again(im);
		if (again == 0)
			break;
		atomic_fetch_sub(&im->files, again);
		done = copy_pass(im);
	}
	give_back(&im->plan);
	progress_end(progress);
}

uint64_t run_directories(struct import *im) {
	uint64_t failed = 0;
	for (size_t i = 0; i < im->plan.ndirectories && !atomic_load(&im->stop); i++) {
		AUTO_BUF struct buf name = { 0 };
		const char *path = im->plan.directories[i];
		int rc = below_make(im->new_dir, path, strlen(path));
		if (rc == 0)
			continue;
		import_put_name(&name, path);
		failed++;
		fprintf(stderr, "rowfs import: refused: %s/: the empty directory: %s\n",
			name.failed ? "?" : name.data, strerror(-rc));
	}
	return failed;
}

/* -- comparing --------------------------------------------------------------------------------- */

static void verify_one(struct import *im, struct item *item, atomic_ullong *count) {
	if (item->state == ITEM_LEFT_OUT)
		return;
	if (verify_item(im, item) > 0)
		atomic_fetch_add(count, 1);
	atomic_fetch_add(&im->files, 1);
	atomic_fetch_add(&im->bytes, item->size);
}

uint64_t run_verify(struct import *im) {
	atomic_store(&im->files, 0);
	atomic_store(&im->bytes, 0);
	atomic_store(&im->rows, 0);
	struct progress *progress = progress_begin(im, "compared");
	uint64_t differ = run_crew(im, 0, im->plan.n, verify_one);
	progress_end(progress);
	fflush(stdout);
	return differ;
}
