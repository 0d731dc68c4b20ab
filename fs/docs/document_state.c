#include "fs/docs/document_state.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "util/states.h"

#include <errno.h>

static const char *const document_states[DOCUMENT_STATES] = {
	"opening", "reads", "clean", "emptied", "changed", "refused", "failed",
};
static const char *const document_events[DOCUMENT_EVENTS] = {
	"opened-to-read", "opened",    "opened-empty",  "written",   "cut-to-nothing", "cut",
	"not-written",    "committed", "not-committed", "gives-way", "set-aside",      "loaded",
};

#define CHANGES                                                                                    \
	[DOCUMENT_WRITTEN] = STATE_TO(DOCUMENT_CHANGED),                                           \
	[DOCUMENT_CUT_TO_NOTHING] = STATE_TO(DOCUMENT_EMPTIED),                                    \
	[DOCUMENT_CUT] = STATE_TO(DOCUMENT_CHANGED),                                               \
	[DOCUMENT_NOT_WRITTEN] = STATE_TO(DOCUMENT_REFUSED)
#define COMMITS                                                                                    \
	[DOCUMENT_COMMITTED] = STATE_TO(DOCUMENT_CLEAN),                                           \
	[DOCUMENT_NOT_COMMITTED] = STATE_TO(DOCUMENT_FAILED),                                      \
	[DOCUMENT_SET_ASIDE] = STATE_TO(DOCUMENT_CLEAN)

static const state_next document_moves[DOCUMENT_STATES][DOCUMENT_EVENTS] = {
	[DOCUMENT_OPENING] = { [DOCUMENT_OPENED_TO_READ] = STATE_TO(DOCUMENT_READS),
			       [DOCUMENT_OPENED] = STATE_TO(DOCUMENT_CLEAN),
			       [DOCUMENT_OPENED_EMPTY] = STATE_TO(DOCUMENT_EMPTIED) },
	[DOCUMENT_CLEAN] = { CHANGES, [DOCUMENT_LOADED] = STATE_TO(DOCUMENT_CLEAN) },
	[DOCUMENT_EMPTIED] = { [DOCUMENT_WRITTEN] = STATE_TO(DOCUMENT_CHANGED),
			       [DOCUMENT_CUT] = STATE_TO(DOCUMENT_CHANGED),
			       [DOCUMENT_NOT_WRITTEN] = STATE_TO(DOCUMENT_REFUSED),
			       COMMITS,
			       [DOCUMENT_GIVES_WAY] = STATE_TO(DOCUMENT_CLEAN) },
	[DOCUMENT_CHANGED] = { CHANGES, COMMITS },
	/* half a text must not be committed, whatever is written behind it */
	[DOCUMENT_REFUSED] = { [DOCUMENT_WRITTEN] = STATE_TO(DOCUMENT_REFUSED),
			       [DOCUMENT_CUT_TO_NOTHING] = STATE_TO(DOCUMENT_REFUSED),
			       [DOCUMENT_CUT] = STATE_TO(DOCUMENT_REFUSED),
			       [DOCUMENT_NOT_WRITTEN] = STATE_TO(DOCUMENT_REFUSED),
			       [DOCUMENT_NOT_COMMITTED] = STATE_TO(DOCUMENT_FAILED) },
	[DOCUMENT_FAILED] = { CHANGES, [DOCUMENT_LOADED] = STATE_TO(DOCUMENT_CLEAN) },
};

static struct state_table document_table =
	STATE_TABLE("document", document_states, document_events, document_moves);

const struct state_type document_state_type = { sizeof(struct open_document) };

void document_move(struct open_document *d, enum document_event event) {
	d->state = state_move(&document_table, d->state, event);
}

int document_query(struct call *call, const struct where *w, PGresult **res) {
	struct db_param params[WHERE_PARAMS];
	struct db_statement *st = (struct db_statement *)(uintptr_t)&w->place->sql.body;
	int n = where_params(w, params);
	int rc = db_query(call->fs->pool, st, params, n, DB_REPEATABLE | DB_BINARY,
			  call_cancel(call), res, &call->err);
	coherence_own(call->fs, &call->err);
	if (rc == 0)
		rc = field_judge(*res, ROWS_ANY, "t?t?", &call->err);
	if (rc != 0)
		return rc;
	return PQntuples(*res) == 0 || field_is_null(*res, 0, BODY_BYTES) ? -ENOENT : 0;
}

int document_take(struct call *call, struct handle *h, const char *data, size_t len) {
	struct open_document *d = document_of(h);
	int rc = handle_room(call, h, &d->data, len);
	if (rc != 0)
		return rc;
	buf_resize(&d->data, 0);
	buf_add(&d->data, data, len);
	return d->data.failed ? -ENOMEM : 0;
}

int document_fetch(struct call *call, struct handle *h) {
	AUTO_WHERE struct where w = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = document_query(call, &w, &res);
	return rc != 0 ? rc
		       : document_take(call, h, field_text(res, 0, BODY_BYTES),
				       field_len(res, 0, BODY_BYTES));
}

void document_begin(struct handle *h) {
	struct open_document *d = document_of(h);
	d->base = d->data.len;
	d->document = 0;
	edits_begin(&d->edits, &d->data);
}

bool document_is_present(struct call *call, const struct handle *h, bool by_anybody, int64_t *at,
			 unsigned long *ticket) {
	const struct open_document *d = document_of(h);
	struct nodes *nodes = call->fs->nodes;
	*ticket = coherence_ticket(call->fs);
	*at = node_changed_at(nodes, h->node);
	return *at == d->seen_at &&
	       (!by_anybody || node_is_good(nodes, h->node, NULL, d->seen_ticket));
}

int document_load_again(struct call *call, struct handle *h, bool locked) {
	struct open_document *d = document_of(h);
	int64_t changed_at;
	unsigned long ticket;
	if ((d->state != DOCUMENT_CLEAN && d->state != DOCUMENT_FAILED) ||
	    document_is_present(call, h, locked, &changed_at, &ticket))
		return 0;
	int rc = document_fetch(call, h);
	if (rc != 0) /* it is gone: what was read before is the last of it */
		return rc == -ENOENT ? 0 : rc;
	d->seen_at = changed_at;
	d->seen_ticket = ticket;
	document_begin(h);
	document_move(d, DOCUMENT_LOADED);
	handle_resized(h, d->data.len);
	return 0;
}

int document_too_large(struct call *call) {
	return call_error(call, EFBIG,
			  "the document would be larger than max_document (%llu bytes)",
			  (unsigned long long)call->fs->opt->max_document);
}

void document_note_under_way(struct handle *h) {
	struct open_document *d = document_of(h);
	int none = UNDER_WAY_NONE;
	if (d->state == DOCUMENT_CHANGED || d->state == DOCUMENT_REFUSED)
		(void)atomic_compare_exchange_strong(&d->under_way, &none, UNDER_WAY_TEXT);
	else if (atomic_exchange(&d->under_way, UNDER_WAY_NONE) == UNDER_WAY_MADE)
		d->made = d->state == DOCUMENT_FAILED || d->state == DOCUMENT_EMPTIED;
}
