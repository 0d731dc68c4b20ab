/* What a database call says beside its result: why it failed (an errno for the program, a sentence
 * for the person), and what its statements have changed. */
#pragma once

#include "util/buf.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdbool.h>

/* What statements of a marked session (db_pool_mark()) have changed. */
struct db_news {
	struct buf texts; /* what triggers said (SQLSTATE RF001), each with its NUL */
	bool unknown;     /* something may have been committed, and its news were lost */
};

struct db_error {
	int errnum;       /* positive errno; 0 if there was no error */
	char sqlstate[6]; /* "" where the server said none (lost connection, time-out of ours) */
	/* the connection was lost after the work was sent: it may have been committed */
	bool in_doubt;
	/* there is no connection, or it was lost, or the server asks for a repetition (class 40):
	 * the same may succeed later. Not set by a time-out, a cancel or an unmount */
	bool retryable;
	/* the line of a COPY's input that the server refused, from 1; 0: not known */
	long long copy_line;
	char *sentence;   /* message, detail and hint, one line, for people; owned, may be NULL */
	char *constraint; /* constraint name as the server gave it; owned, may be NULL */
	/* Of all calls that got this struct, whether they failed or not, until db_news_take(). */
	struct db_news news;
};

#define AUTO_DB_ERROR __attribute__((cleanup(db_error_end)))

/* The sentence, or what has kept it from being made. Borrowed. */
static inline const char *db_error_text(const struct db_error *e) {
	return e->sentence != NULL ? e->sentence : "out of memory";
}

/* There was no error: frees what says so and zeroes it. The news stay. Safe on a zeroed struct. */
void db_error_clear(struct db_error *e);
/* The same at the end of E's life: the news go, too. */
void db_error_end(struct db_error *e);

/* True if E has news. */
static inline bool db_error_has_news(const struct db_error *e) {
	return e->news.texts.len > 0 || e->news.unknown;
}
/* The news of E, which has none from then on. The caller frees the texts. */
struct db_news db_news_take(struct db_error *e);

/* Fills E from a failed result or, where RES is NULL, from the connection. */
void db_error_from_result(struct db_error *e, const PGresult *res, const PGconn *conn);

/* The line that CONTEXT (as PG_DIAG_CONTEXT has it, in any language of the server; may be NULL)
 * names for a COPY into TABLE (unquoted, without its schema), from 1; 0 if it names none. */
long long db_error_copy_line(const char *context, const char *table);

/* Makes TO, which must have no error, a copy of the error in FROM. */
void db_error_copy(struct db_error *to, const struct db_error *from);

/* Fills E with ERRNUM and a printf sentence. Returns -ERRNUM, for `return db_error_set(...)`. */
int db_error_set(struct db_error *e, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same of a fixed SENTENCE, with EIO, for what another attempt can mend. */
static inline int db_error_again(struct db_error *e, const char *sentence) {
	int rc = db_error_set(e, EIO, "%s", sentence);
	e->retryable = true;
	return rc;
}

/* True if E says that the schema may be another one than the statement was made for. */
bool db_error_is_drift(const struct db_error *e);

/* True if the server has refused just this statement, by an error or its time limit, and answers
 * others. */
bool db_error_is_answer(const struct db_error *e);

/* The one table SQLSTATE -> positive errno. Unknown states are EIO. */
int db_errno_of_sqlstate(const char *sqlstate);
