/* Sending a batch's lines around those that the server refuses, in the transaction that is open:
 * part by part, each with a savepoint.
 *
 * A part that is refused is sent again without the line that the server means; where the server
 * names none, in halves. That costs a few round trips for each bad line. If no line could ever be
 * taken (a privilege is missing, the table is gone), it would cost that for each line of the batch:
 * so the same statement is run without any line before the first halving, and before a line is
 * refused for a cause that mostly is that of all (it would be told as a bad line, which
 * `bad_lines=report` takes for no error); and after many lines that were refused for one such
 * cause, lines from all over the rest are tried. */
#include "fs/stream/batch.h"

#include <errno.h>
#include <string.h>

enum {
	STEP_AFTER_BAD = 16, /* lines that are sent together behind a bad one */
	MANY = 256,          /* lines refused in a row: does the cause leave any out? */
	SAMPLES = 16,        /* that are tried then */
};

/* Lines LOW .. HIGH, which begin at byte AT. */
struct range {
	const struct batch *b;
	const struct batch_target *to;
	int low, high;
	size_t at;
	bool try; /* it is undone, even if it is taken */
};

struct around {
	struct db_conn *conn;
	struct batch *b;
	const struct batch_target *to;
	int low, step; /* the next line, and how many go together */
	size_t at;     /* where it begins */
	bool probed;   /* the statement is taken without lines */
	int refused;   /* lines in a row that were refused for one cause: */
	char sqlstate[6];
};

/* Keeps what is to be told of line INDEX, which begins at byte AT. */
static int refuse_line(struct batch *b, int index, size_t at, const struct db_error *err) {
	struct batch_line *line = &b->lines[index];
	const char *why = err->sentence != NULL ? err->sentence : strerror(err->errnum);
	struct refusal one = { .number = line->number, .index = index, .errnum = err->errnum };
	memcpy(one.sqlstate, err->sqlstate, sizeof(one.sqlstate));
	line->refused = refusals_add(&b->refused, one, b->data.data + at + line->id_len,
				     line->len - line->id_len - 1, why);
	return line->refused ? 0 : -ENOMEM;
}

/* The line of LOW .. HIGH that the server means by line COPY_LINE of its input; -1 if it cannot be
 * known. A record counts as many lines as it has, but the first one is a single line: COPY knows a
 * line end inside quotes only when it has seen one outside. */
static int blamed_line(const struct batch *b, int low, int high, size_t at, long long copy_line) {
	long long number = 0;
	if (copy_line <= 0)
		return high - low == 1 ? low : -1;
	for (int i = low; i < high; i++) {
		const char *p = b->data.data + at, *end = p + b->lines[i].len;
		for (; i > low && (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
			number++;
		number += i == low;
		if (number >= copy_line)
			return i;
		at += b->lines[i].len;
	}
	return -1;
}

static int send_range(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct range *r = arg;
	struct batch_owner *owner = r->to->owner;
	size_t len = 0;
	int rc;
	for (int i = r->low; i < r->high; i++)
		len += r->b->lines[i].len;
	if (owner != NULL && owner->send != NULL)
		rc = owner->send(conn, owner, r->b, r->low, r->high, r->at, err);
	else
		rc = db_copy_on(conn, r->to->copy, len > 0 ? r->b->data.data + r->at : "", len,
				NULL, err);
	return rc == 0 && r->try ? -ECANCELED : rc;
}

/* Sends R, all or none of it. */
static enum sent send_part(struct db_conn *conn, struct range *r, struct db_error *err) {
	int rc = db_part_on(conn, send_range, r, err);
	return rc == -ECANCELED && r->try ? SENT : sent_of(rc, err);
}

/* Whether the server takes lines LOW .. HIGH, which begin at byte AT: they are not sent. */
static enum sent try_part(struct around *a, int low, int high, size_t at, struct db_error *err) {
	struct range r = {
		.b = a->b, .to = a->to, .low = low, .high = high, .at = at, .try = true
	};
	return send_part(a->conn, &r, err);
}

/* The end of the lines from LOW on that can go together: not more than MOST, of one group, none
 * refused. */
static int end_of_range(const struct batch *b, int low, int most) {
	int high = low;
	while (high < b->n && high - low < most && !b->lines[high].refused &&
	       b->lines[high].group == b->lines[low].group)
		high++;
	return high;
}

static void pass(struct around *a, int high) {
	for (; a->low < high; a->low++)
		a->at += a->b->lines[a->low].len;
}

/* Looks whether some line of the rest is taken, or fails for another cause. Returns true if none
 * is. */
static bool none_is_taken(struct around *a) {
	int rest = a->b->n - a->low, every = rest / SAMPLES + 1;
	size_t at = a->at;
	for (int i = 0; i < rest; at += a->b->lines[a->low + i++].len) {
		AUTO_DB_ERROR struct db_error err = { 0 };
		int line = a->low + i;
		if ((i % every != 0 && i != rest - 1) || a->b->lines[line].refused)
			continue;
		if (try_part(a, line, line + 1, at, &err) != LINE_REFUSED ||
		    strcmp(err.sqlstate, a->sqlstate) != 0)
			return false;
	}
	return true;
}

/* The next line is bad for the reason ERR. */
static int refuse_next(struct around *a, const struct db_error *err) {
	bool same = a->refused > 0 && strcmp(a->sqlstate, err->sqlstate) == 0;
	if (refuse_line(a->b, a->low, a->at, err) != 0)
		return -ENOMEM;
	pass(a, a->low + 1);
	a->step = STEP_AFTER_BAD;
	a->refused = same ? a->refused + 1 : 1;
	memcpy(a->sqlstate, err->sqlstate, sizeof(a->sqlstate));
	if (a->refused % MANY != 0 || !sent_is_common(err) || !none_is_taken(a))
		return 0;
	while (a->low < a->b->n) {
		if (!a->b->lines[a->low].refused && refuse_line(a->b, a->low, a->at, err) != 0)
			return -ENOMEM;
		pass(a, a->low + 1);
	}
	return 0;
}

/* Lines up to HIGH were refused, because of ERR. Returns 0, or -errno if it is not one of them that
 * is to blame. */
static int come_closer(struct around *a, int high, struct db_error *err) {
	int bad = blamed_line(a->b, a->low, high, a->at, err->copy_line);
	if ((bad < 0 || sent_is_common(err)) && !a->probed) {
		AUTO_DB_ERROR struct db_error without = { 0 };
		enum sent end = try_part(a, a->low, a->low, a->at, &without);
		a->probed = true;
		if (end != SENT) {
			db_error_clear(err);
			db_error_copy(err, &without);
			return err->errnum != 0 ? -err->errnum : -EIO;
		}
	}
	int rc = 0;
	if (bad == a->low)
		rc = refuse_next(a, err);
	else
		a->step = bad > a->low ? bad - a->low : (high - a->low) / 2;
	if (rc != 0)
		return db_error_set(err, ENOMEM, "out of memory");
	db_error_clear(err);
	return 0;
}

int batch_send(struct db_conn *conn, struct batch *b, const struct batch_target *to,
	       struct db_error *err) {
	struct around a = { .conn = conn, .b = b, .to = to, .step = b->n };
	while (a.low < b->n) {
		int high = end_of_range(b, a.low, a.step);
		if (high == a.low) { /* refused */
			pass(&a, a.low + 1);
			continue;
		}
		struct range r = { .b = b, .to = to, .low = a.low, .high = high, .at = a.at };
		enum sent end = send_part(conn, &r, err);
		if (end == SENT) {
			pass(&a, high);
			a.refused = 0;
			/* the next attempt is longer: many bad lines must not send all that is
			 * behind them again and again */
			a.step = a.step < b->n ? a.step * 2 : b->n;
			continue;
		}
		int rc = end == LINE_REFUSED ? come_closer(&a, high, err) : -1;
		if (rc != 0)
			return err->errnum != 0 ? -err->errnum : -EIO;
	}
	return 0;
}
