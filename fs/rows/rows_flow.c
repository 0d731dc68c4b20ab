#include "fs/rows/rows_flow.h"

#include "fs/cache/coherence.h"
#include "db/copy.h"
#include "fs/core/fs.h"
#include "util/clock.h"
#include "util/mutex.h"
#include "util/ticker.h"

#include <errno.h>
#include <string.h>

enum { IDLE_MS = 1000 };

struct rows_flow {
	struct rows_flow *next;  /* in the list of all; guarded by fs_lists */
	struct rows_flow **slot; /* its reader's */
	struct mutex *owner;     /* guards what follows */
	struct db_copy_out *copy;
	bool csv;        /* what COPY writes; else its text format */
	int extra;       /* fields before the line */
	int64_t used_us; /* clock_us() */
	struct buf line; /* an unescaped line */
};

/* All flows that are open, and the thread that ends the idle ones. It is started with the first
 * flow, and waits for ever where there are none: a process serves one mount. */
static struct {
	/* guarded by fs_lists: who holds that only tries a handle's lock */
	pthread_cond_t quiet; /* no idle flow is being ended */
	bool ending;          /* one is */
	struct rows_flow *all;
	int n; /* that have a connection, or are about to */
	struct ticker *clock;
} flows = { .quiet = PTHREAD_COND_INITIALIZER };

static void flow_free(struct rows_flow *flow) {
	db_copy_out_end(flow->copy);
	buf_free(&flow->line);
	free(flow);
	LOCK_SCOPE(&fs_lists);
	flows.n--;
}

/* Takes the idle flows out of the list, as a list of their own. Held: fs_lists. */
static struct rows_flow *take_idle(void) {
	struct rows_flow *idle = NULL, **at = &flows.all;
	int64_t before = clock_us() - (int64_t)IDLE_MS * US_PER_MS;
	while (*at != NULL) {
		struct rows_flow *flow = *at;
		struct mutex *owner = flow->owner;
		bool taken = mutex_trylock(owner); /* else it is being read */
		if (taken && flow->used_us <= before) {
			*at = flow->next;
			flow->next = idle;
			idle = flow;
			*flow->slot = NULL;
		} else {
			at = &flow->next;
		}
		if (taken)
			mutex_unlock(owner);
	}
	return idle;
}

static int64_t end_idle(void *arg) {
	struct rows_flow *idle;
	bool any;
	{
		LOCK_SCOPE(&fs_lists);
		idle = take_idle();
		flows.ending = idle != NULL;
		any = flows.all != NULL;
	}
	while (idle != NULL) {
		struct rows_flow *flow = idle;
		idle = flow->next;
		flow_free(flow);
	}
	LOCK_SCOPE(&fs_lists);
	flows.ending = false;
	pthread_cond_broadcast(&flows.quiet);
	return any ? (int64_t)IDLE_MS * US_PER_MS / 4 : TICKER_REST;
}

/* Counts one flow more. Returns false if there are enough, or nobody would end it. */
static bool reserve(int most) {
	LOCK_SCOPE(&fs_lists);
	if (flows.n >= most)
		return false;
	if (flows.clock == NULL)
		flows.clock = ticker_start(end_idle, NULL);
	flows.n += flows.clock != NULL;
	return flows.clock != NULL;
}

/* Runs the COPY behind SQL with the texts of W's keys and of CURSOR. */
static int begin_copy(struct call *call, const struct where *w, const char *sql,
		      char *const *cursor, struct db_copy_out **out) {
	const struct place_sql *place = &w->place->sql;
	size_t room = (size_t)w->place->nparams + (size_t)place->cursor, most = 0;
	AUTO_FREE struct db_param *params = calloc(room + 1, sizeof(*params));
	AUTO_BUF struct buf letters = { 0 };
	for (int i = 0; cursor != NULL && i < place->cursor; i++)
		most += cursor[i] != NULL ? strlen(cursor[i]) + 1 : 0;
	buf_reserve(&letters, most + 1); /* so that what was put there stays where it is */
	if (params == NULL || letters.failed)
		return -ENOMEM;
	int n = where_params(w, params);
	for (int i = 0; cursor != NULL && i < place->cursor; i++) {
		struct db_param text = db_text(cursor[i] != NULL ? cursor[i] : "");
		if (cursor[i] != NULL && place->cursor_nullable[i]) {
			size_t from = letters.len;
			buf_putc(&letters, 'v');
			buf_add(&letters, text.data, text.len);
			text.data = letters.data + from;
			text.len++;
		}
		params[n++] = text;
	}
	return db_copy_out_begin(call->fs->pool, params, n, sql, call_cancel(call), out,
				 &call->err);
}

static void publish(struct rows_flow *flow) {
	LOCK_SCOPE(&fs_lists);
	flow->next = flows.all;
	flows.all = *flow->slot = flow;
	ticker_call(flows.clock);
}

int rows_flow_begin(struct call *call, const struct where *w, const char *sql, char *const *cursor,
		    struct mutex *owner, struct rows_flow **slot) {
	if (!reserve(call->fs->opt->max_connections / 2))
		return -EAGAIN;
	struct rows_flow *flow = calloc(1, sizeof(*flow));
	int rc = flow != NULL ? begin_copy(call, w, sql, cursor, &flow->copy) : -ENOMEM;
	if (rc != 0) {
		free(flow);
		LOCK_SCOPE(&fs_lists);
		flows.n--;
		return rc;
	}
	flow->slot = slot;
	flow->owner = owner;
	flow->csv = w->place->format->by_copy;
	flow->extra = w->place->sql.copy_extra;
	flow->used_us = clock_us();
	publish(flow);
	return 0;
}

void rows_flow_attach(struct rows_flow *flow, struct call *call) {
	if (flow == NULL)
		return;
	flow->used_us = clock_us();
	db_copy_out_attach(flow->copy, call != NULL ? call_cancel(call) : NULL);
}

void rows_flow_end(struct rows_flow **slot) {
	struct rows_flow *flow;
	{
		LOCK_SCOPE(&fs_lists);
		flow = move_ptr(*slot);
		struct rows_flow **at = &flows.all;
		while (flow != NULL && *at != flow)
			at = &(*at)->next;
		if (flow != NULL)
			*at = flow->next;
		/* it may just be ended as an idle one: the pool must not go before that is over */
		while (flow == NULL && flows.ending)
			mutex_wait(&flows.quiet, &fs_lists);
	}
	if (flow != NULL)
		flow_free(flow);
}

/* -- what COPY writes -------------------------------------------------------------------------- */

/* Where the field at P ends: at the delimiter. */
static const char *field_end(const char *p, const char *end, bool csv) {
	if (!csv || p == end || *p != '"') {
		const char *at = memchr(p, csv ? ',' : '\t', (size_t)(end - p));
		return at != NULL ? at : end;
	}
	for (p++; p < end; p++)
		if (*p == '"' && (++p == end || *p != '"'))
			return p;
	return end;
}

/* What a letter behind a backslash stands for in COPY's text format. */
static char unescaped(char c) {
	static const char letters[] = "bfnrtv", bytes[] = "\b\f\n\r\t\v";
	const char *at = c != '\0' ? strchr(letters, c) : NULL;
	return at != NULL ? bytes[at - letters] : c;
}

static void add_unescaped(struct buf *out, const char *p, const char *end) {
	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		buf_add(out, p, (size_t)((slash != NULL ? slash : end) - p));
		if (slash == NULL || slash + 1 >= end)
			return;
		buf_putc(out, unescaped(slash[1]));
		p = slash + 2;
	}
}

int rows_flow_next(struct call *call, struct rows_flow *flow, struct flow_line *out) {
	const char *data;
	size_t len;
	int rc = db_copy_out_next(flow->copy, &data, &len, &call->err);
	coherence_own(call->fs, &call->err);
	if (rc <= 0)
		return rc;
	const char *p = data, *end = data + len;
	for (int i = 0; i < flow->extra; i++) {
		p = field_end(p, end, flow->csv);
		p += p < end;
	}
	*out = (struct flow_line){
		.text = p, .len = (size_t)(end - p), .cursor = data, .cursor_len = len
	};
	if (!flow->csv && memchr(p, '\\', out->len) != NULL) {
		buf_resize(&flow->line, 0);
		add_unescaped(&flow->line, p, end);
		if (flow->line.failed)
			return -ENOMEM;
		out->text = flow->line.data;
		out->len = flow->line.len;
	}
	return 1;
}

static void add_unquoted(struct buf *out, const char *p, const char *end) {
	for (; p < end; p++) {
		p += *p == '"'; /* the first of two; the outer ones are off */
		if (p < end)
			buf_putc(out, *p);
	}
}

/* The text of the field from P to STOP, malloc'd; NULL for SQL NULL or, with *FAILED, if out of
 * memory. */
static char *field_text(const char *p, const char *stop, bool csv, bool *failed) {
	AUTO_BUF struct buf text = { 0 };
	if (csv ? stop == p : stop - p == 2 && memcmp(p, "\\N", 2) == 0)
		return NULL;
	if (csv && *p == '"' && stop - p >= 2)
		add_unquoted(&text, p + 1, stop - 1);
	else if (csv)
		buf_add(&text, p, (size_t)(stop - p));
	else
		add_unescaped(&text, p, stop);
	char *out = buf_take(&text);
	*failed = *failed || out == NULL;
	return out;
}

int rows_flow_cursor(const struct place *place, const char *cursor, size_t len, char **out) {
	bool csv = place->format->by_copy, failed = false;
	const char *end = cursor + len;
	end -= len > 0 && end[-1] == '\n';
	for (int i = 0; i < place->sql.cursor; i++) {
		const char *p = cursor, *stop = field_end(p, end, csv);
		for (int k = place->sql.cursor_field[i]; k > 0; k--) {
			p = stop + (stop < end);
			stop = field_end(p, end, csv);
		}
		out[i] = field_text(p, stop, csv, &failed);
	}
	return failed ? -ENOMEM : 0;
}
