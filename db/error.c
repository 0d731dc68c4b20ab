#include "db/error.h"

#include "util/log.h"

#include <errno.h>
#include <string.h>

/* SQLSTATE or its beginning -> errno. The first that fits is taken, so whole codes stand before
 * their class. What is not here is EIO. */
static const struct {
	const char *state;
	int errnum;
} errno_table[] = {
	/* what the writer can put right */
	{ "23505", EEXIST },    /* unique_violation */
	{ "23P01", EEXIST },    /* exclusion_violation */
	{ "23503", ENOENT },    /* foreign_key_violation */
	{ "23001", ENOTEMPTY }, /* restrict_violation */
	{ "2BP01", ENOTEMPTY }, /* dependent_objects_still_exist */
	{ "23514", EINVAL },    /* check_violation */
	{ "23502", EINVAL },    /* not_null_violation */
	{ "44000", EINVAL },    /* with_check_option_violation */
	{ "428C9", EINVAL },    /* generated_always */
	{ "21000", EINVAL },    /* cardinality_violation: one row twice in one document */
	{ "P0001", EINVAL },    /* raise_exception */
	{ "P0002", ENOENT },    /* no_data_found */
	{ "P0003", EINVAL },    /* too_many_rows */
	{ "22001", EFBIG },     /* string_data_right_truncation */
	{ "22", EINVAL },       /* data exceptions: syntax, range, encoding, JSON */
	{ "54", EFBIG },        /* program limits: row too big, nesting too deep */
	/* what he may not do, or not here */
	{ "42501", EACCES }, /* insufficient_privilege */
	{ "28", EACCES },    /* invalid authorization */
	{ "25006", EROFS },  /* read_only_sql_transaction */
	{ "55000", EROFS },  /* object_not_in_prerequisite_state: a view that cannot be written */
	{ "0A000", EOPNOTSUPP }, /* feature_not_supported */
	/* what time may put right */
	{ "53100", ENOSPC },    /* disk_full */
	{ "57014", EINTR },     /* query_canceled; query.c tells the time-out from the cancel */
	{ "25P03", ETIMEDOUT }, /* idle_in_transaction_session_timeout */
	{ "40003", EIO },       /* statement_completion_unknown */
	{ "40", EBUSY },        /* serialization failure, deadlock: after the retries */
	{ "55P03", EBUSY },     /* lock_not_available */
	{ "55006", EBUSY },     /* object_in_use */
};

/* A code that functions of the database's owner raise: the standard leaves classes that begin with
 * 5 to 9 and I to Z to everybody, and of these PostgreSQL itself has 53 to 58, P0 and XX. */
static bool is_of_the_schema(const char *sqlstate) {
	char c = sqlstate[0];
	return ((c >= '6' && c <= '9') || (c >= 'I' && c <= 'Z')) &&
	       strncmp(sqlstate, "P0", 2) != 0 && strncmp(sqlstate, "XX", 2) != 0;
}

int db_errno_of_sqlstate(const char *sqlstate) {
	for (size_t i = 0; i < sizeof(errno_table) / sizeof(errno_table[0]); i++) {
		const char *state = errno_table[i].state;
		if (strncmp(sqlstate, state, strlen(state)) == 0)
			return errno_table[i].errnum;
	}
	return is_of_the_schema(sqlstate) ? EINVAL : EIO;
}

bool db_error_is_answer(const struct db_error *e) {
	/* of a statement that ignored its cancel, nothing but the time limit is known */
	bool limit = e->errnum == ETIMEDOUT;
	return (e->sqlstate[0] != '\0' || limit) && !e->retryable && e->errnum != EINTR &&
	       strncmp(e->sqlstate, "57P", 3) != 0;
}

void db_error_clear(struct db_error *e) {
	free(e->sentence);
	free(e->constraint);
	*e = (struct db_error){ .news = e->news };
}

void db_error_end(struct db_error *e) {
	db_error_clear(e);
	if (e->news.texts.len > 0)
		log_error("BUG: nobody has passed on what a statement has changed: %s",
			  e->news.texts.data);
	buf_free(&e->news.texts);
	e->news.unknown = false;
}

struct db_news db_news_take(struct db_error *e) {
	struct db_news news = e->news;
	e->news = (struct db_news){ 0 };
	return news;
}

/* Appends S with line ends and other control bytes as single blanks, without those at the ends. */
static void add_one_line(struct buf *b, const char *s) {
	bool blank = false;
	size_t start = b->len;
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;
		if (c <= ' ' || c == 0x7f) {
			blank = b->len > start;
			continue;
		}
		if (blank)
			buf_putc(b, ' ');
		blank = false;
		buf_putc(b, (char)c);
	}
}

/* The schema was changed under the layout: the server's words alone would puzzle a person who only
 * wrote a file. */
static bool is_catalog_drift(const char *sqlstate) {
	return strlen(sqlstate) == 5 &&
	       strstr("42P01 42703 42883 42704 42804 3F000", sqlstate) != NULL;
}

bool db_error_is_drift(const struct db_error *e) {
	/* what is not supported may be a plan of an older schema; a right may be another one's */
	return is_catalog_drift(e->sqlstate) || strcmp(e->sqlstate, "0A000") == 0 ||
	       strcmp(e->sqlstate, "42809") == 0 || strcmp(e->sqlstate, "42P10") == 0 ||
	       strcmp(e->sqlstate, "42501") == 0;
}

/* "JSON data, line 3: ..." tells where in a document the mistake is; other contexts tell of our
 * SQL. */
static void add_json_context(struct buf *b, const char *context) {
	if (context == NULL)
		return;
	AUTO_FREE char *line = strndup(context, strcspn(context, "\n"));
	if (line == NULL || strstr(line, "JSON") == NULL)
		return;
	buf_puts(b, " (");
	add_one_line(b, line);
	buf_putc(b, ')');
}

static char *sentence_of_result(const char *sqlstate, const PGresult *res) {
	AUTO_BUF struct buf b = { 0 };
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

	/* in a statement of a function of the database it is that function's affair */
	if (is_catalog_drift(sqlstate) && PQresultErrorField(res, PG_DIAG_INTERNAL_QUERY) == NULL)
		buf_puts(&b, "the database has changed under the mount: ");
	add_one_line(&b, message != NULL ? message : PQresultErrorMessage(res));
	if (detail != NULL) {
		buf_puts(&b, ". ");
		add_one_line(&b, detail);
	}
	if (hint != NULL) {
		buf_puts(&b, detail != NULL ? " Hint: " : ". Hint: ");
		add_one_line(&b, hint);
	}
	if (strcmp(sqlstate, "25006") == 0)
		buf_puts(&b, ": the server is a standby, or default_transaction_read_only is on; "
			     "write through a mount of a server that takes changes");
	add_json_context(&b, PQresultErrorField(res, PG_DIAG_CONTEXT));
	return buf_take(&b);
}

static char *sentence_of_conn(const PGconn *conn) {
	AUTO_BUF struct buf b = { 0 };
	const char *message = PQerrorMessage(conn);
	buf_puts(&b, "the connection to the database was lost");
	if (message != NULL && message[0] != '\0') {
		buf_puts(&b, ": ");
		add_one_line(&b, message);
	}
	return buf_take(&b);
}

void db_error_from_result(struct db_error *e, const PGresult *res, const PGconn *conn) {
	const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	const char *constraint =
		res != NULL ? PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME) : NULL;

	db_error_clear(e);
	if (state == NULL) {
		/* Made by libpq itself: the connection broke while we waited. */
		e->errnum = EIO;
		e->sentence = sentence_of_conn(conn);
		return;
	}
	snprintf(e->sqlstate, sizeof(e->sqlstate), "%s", state);
	e->errnum = db_errno_of_sqlstate(state);
	e->sentence = sentence_of_result(state, res);
	if (constraint != NULL)
		e->constraint = strdup(constraint);
}

int db_error_set(struct db_error *e, int errnum, const char *fmt, ...) {
	AUTO_BUF struct buf text = { 0 }, line = { 0 };
	va_list ap;

	/* before E is cleared: an argument may be E's own sentence */
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (!text.failed)
		add_one_line(&line, text.data != NULL ? text.data : "");
	db_error_clear(e);
	e->errnum = errnum;
	e->sentence = buf_take(&line);
	return -errnum;
}

/* The number in REST, what a context says behind the table's name. */
static long long number_behind(const char *rest) {
	size_t to = strcspn(rest, "0123456789\n");
	return rest[to] != '\0' && rest[to] != '\n' ? strtoll(rest + to, NULL, 10) : 0;
}

/* "COPY book, line 3, column ..." in most languages; some put the table first and the word COPY
 * behind it. The server does not quote the name, which may look like anything: so it is compared,
 * and the first line that begins with it counts (a value that imitates one stands behind it). */
long long db_error_copy_line(const char *context, const char *table) {
	static const char word[] = "COPY ";
	size_t len = strlen(table);

	while (context != NULL && *context != '\0') {
		const char *name = context;
		if (strncmp(name, word, strlen(word)) == 0)
			name += strlen(word);
		if (strncmp(name, table, len) == 0) {
			long long n = number_behind(name + len);
			if (n > 0)
				return n;
		}
		const char *end = strchr(context, '\n');
		context = end != NULL ? end + 1 : NULL;
	}
	return 0;
}

void db_error_copy(struct db_error *to, const struct db_error *from) {
	struct db_news news = to->news;
	*to = *from;
	to->news = news;
	to->sentence = from->sentence != NULL ? strdup(from->sentence) : NULL;
	to->constraint = from->constraint != NULL ? strdup(from->constraint) : NULL;
}
