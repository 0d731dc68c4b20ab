#include "fs/list/ahead.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "fs/list/trail.h"
#include "util/job.h"
#include "util/mutex.h"

#include <pthread.h>
#include <string.h>

struct ahead {
	struct fs *fs;
	struct page_query q;
	struct job *job;
	struct db_cancel cancel;
	unsigned long ticket;
	PGresult *res; /* the job's until it is joined; NULL: it failed */
};

void page_query_free(struct page_query *q) {
	where_free(&q->dir);
	cursor_free(q->cursor);
	memset(q, 0, sizeof(*q));
}

int page_query_run(struct fs *fs, const struct page_query *q, struct db_cancel *cancel,
		   PGresult **res, struct db_error *err) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&q->place->sql;
	struct db_param params[WHERE_PARAMS];
	bool next = q->cursor != NULL;
	char limit[NUMBER_TEXT];
	int n = where_params(&q->dir, params);
	for (char **c = q->cursor; c != NULL && *c != NULL; c++)
		params[n++] = db_text(*c);
	params[n++] = db_number(limit, q->limit);
	struct db_statement *st = q->bare ? (next ? &sql->names_next : &sql->names_first)
					  : (next ? &sql->list_next : &sql->list_first);
	int rc = db_query(fs->pool, st, params, n, DB_REPEATABLE | DB_BINARY, cancel, res, err);
	coherence_own(fs, err);
	return rc == 0 ? field_judge(*res, ROWS_ANY, FOUND_FORM, err) : rc;
}

static void run(void *arg) {
	struct ahead *a = arg;
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct sched_param param = { 0 };
	int policy = SCHED_OTHER;
	(void)pthread_getschedparam(pthread_self(), &policy, &param);
	/* it need not interrupt who takes the present page for each piece of the next one */
	pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){ 0 });
	if (page_query_run(a->fs, &a->q, &a->cancel, &a->res, &err) != 0)
		a->res = NULL; /* who needs the page asks again, and is told why */
	pthread_setschedparam(pthread_self(), policy, &param);
}

static void end(struct ahead *a) {
	mutex_destroy(&a->cancel.lock);
	page_query_free(&a->q);
	PQclear(a->res);
	free(a);
}

struct ahead *ahead_start(struct fs *fs, struct page_query *q) {
	struct ahead *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		page_query_free(q);
		return NULL;
	}
	a->fs = fs;
	a->q = *q;
	memset(q, 0, sizeof(*q));
	mutex_init(&a->cancel.lock, MUTEX_CANCEL);
	a->ticket = coherence_ticket(fs);
	a->job = job_start(run, a);
	if (a->job != NULL)
		return a;
	end(a);
	return NULL;
}

static bool same_cursor(char *const *a, char *const *b) {
	if (a == NULL || b == NULL)
		return a == b;
	while (*a != NULL && *b != NULL && strcmp(*a, *b) == 0)
		a++, b++;
	return *a == NULL && *b == NULL;
}

bool ahead_take(struct ahead *a, const struct page_query *q, PGresult **res,
		unsigned long *ticket) {
	if (a->q.place != q->place || a->q.bare != q->bare || a->q.limit != q->limit ||
	    !same_cursor(a->q.cursor, q->cursor)) {
		ahead_free(a);
		return false;
	}
	job_join(a->job);
	*res = move_ptr(a->res);
	*ticket = a->ticket;
	end(a);
	return *res != NULL;
}

void ahead_free(struct ahead *a) {
	if (a == NULL)
		return;
	db_cancel_fire(&a->cancel);
	job_join(a->job);
	end(a);
}
