#include "fs/files/ingest_twin.h"

#include "fs/core/report.h"
#include "schema/state/ingest_twin.h"

#include <errno.h>
#include <string.h>

enum { AGAIN_MOST = 3 };

/* Text that comes in pieces, inflated if it is compressed. */
struct text {
	bool gzip, damaged;
	struct gunzip gz;
	struct buf data;
	size_t at; /* in data: what was not compared yet */
};

struct ingest_twin {
	struct ingest_record rec; /* the other file's */
	char *tail;    /* id of the row of its unfinished last line; owned, may be NULL */
	char *name;    /* owned */
	uint64_t read; /* bytes of it that were read */
	struct text theirs, ours;
	uint64_t fed;      /* our bytes that were compared */
	uint64_t compared; /* bytes of text that agree */
	bool differs;
};

static void text_free(struct text *t) {
	gunzip_free(&t->gz);
	buf_free(&t->data);
}

void ingest_twin_free(struct ingest_twin *twin) {
	if (twin == NULL)
		return;
	ingest_record_free(&twin->rec);
	text_free(&twin->theirs);
	text_free(&twin->ours);
	free(twin->tail);
	free(twin->name);
	free(twin);
}

/* -- the other file ---------------------------------------------------------------------------- */

/* The place of NAME beside PLACE, if a line means the same row there. */
static const struct place *place_beside(const struct place *place, const char *name) {
	const struct place *found = place_of_ingest(place->parent, name);
	return found != NULL && ingest_same_rows(place->ingest, found->ingest) ? found : NULL;
}

/* The string NAME of the JSON object STATE, malloc'd; or NULL. */
static char *state_string(const char *state, const char *name) {
	AUTO_JSON cJSON *json = state != NULL ? cJSON_Parse(state) : NULL;
	const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
	return value != NULL ? strdup(value) : NULL;
}

static struct ingest_twin *twin_new(const struct ingest_stream *s, const char *name,
				    const struct place *place, struct ingest_record *rec) {
	struct ingest_twin *twin = calloc(1, sizeof(*twin));
	if (twin == NULL)
		return NULL;
	twin->rec = *rec;
	memset(rec, 0, sizeof(*rec));
	twin->name = strdup(name);
	twin->tail = state_string(twin->rec.state, "tail");
	twin->theirs.gzip = ingest_is_gzip(place->ingest, name);
	twin->ours.gzip = s->gzip;
	return twin;
}

/* Finds the other file. ANEW: the text begins; else the stream may follow it since an earlier time.
 * *TWIN NULL: there is none to follow. */
static int find_twin(struct call *call, const struct ingest_stream *s, bool anew,
		     struct ingest_twin **twin) {
	AUTO_FREE char *name = ingest_twin_name(strrchr(s->w.path, '/') + 1);
	AUTO_FREE char *followed = anew ? NULL : state_string(s->rec.state, "twin");
	struct ingest_record rec = { 0 };
	bool has_rows = false;
	const struct place *place = name != NULL ? place_beside(s->w.place, name) : NULL;
	*twin = NULL;
	if (place == NULL || (!anew && followed == NULL))
		return name == NULL ? -ENOMEM : 0;
	int rc = ingest_twin_find(s->fs->pool, anew ? s->in->dir : NULL, anew ? name : NULL,
				  anew ? 0 : strtoll(followed, NULL, 10), &s->rec, &rec, &has_rows,
				  &call->err);
	AUTO_FREE char *whole = anew ? NULL : state_string(s->rec.state, "whole");
	/* both texts were equal, and the other is as it was: what comes now comes behind it */
	bool goes_on = whole != NULL && strcmp(whole, rec.op) == 0;
	if (rc == 0 && has_rows && !goes_on) {
		*twin = twin_new(s, name, place, &rec);
		rc = *twin != NULL ? 0 : -ENOMEM;
	}
	ingest_record_free(&rec);
	return rc == -ENOENT ? 0 : rc;
}

/* -- text -------------------------------------------------------------------------------------- */

/* Adds the next LEN bytes of the file. */
static int text_add(struct text *t, const char *bytes, size_t len) {
	const char *why = NULL;
	enum gunzip_event event = GUNZIP_MORE;
	buf_consume(&t->data, t->at);
	t->at = 0;
	if (!t->gzip)
		buf_add(&t->data, bytes, len);
	while (t->gzip && !t->damaged && !t->data.failed) {
		event = gunzip_feed(&t->gz, &bytes, &len, &t->data, &why);
		t->damaged = event == GUNZIP_DAMAGED;
		if (event == GUNZIP_MORE)
			break;
	}
	return t->data.failed ? -ENOMEM : 0;
}

static size_t text_left(const struct text *t) {
	return t->data.len - t->at;
}

/* Reads on in the other file until there is text. *END: there is no more. */
static int read_theirs(struct call *call, struct ingest_twin *twin, bool *end) {
	int rc = 0;
	while (rc == 0 && text_left(&twin->theirs) == 0 && twin->read < twin->rec.size &&
	       !twin->theirs.damaged) {
		AUTO_BUF struct buf bytes = { 0 };
		uint64_t from = 0;
		rc = ingest_file_chunks(call->fs->pool, NULL, twin->rec.id, twin->read,
					call_cancel(call), &bytes, &from, &call->err);
		if (rc != 0 || bytes.len == 0)
			break;
		size_t skip = (size_t)(twin->read - from);
		rc = text_add(&twin->theirs, bytes.data + skip, bytes.len - skip);
		twin->read += bytes.len - skip;
	}
	*end = text_left(&twin->theirs) == 0;
	return rc;
}

/* Compares the next LEN bytes of our file. */
static int compare(struct call *call, struct ingest_twin *twin, const char *bytes, size_t len) {
	struct text *ours = &twin->ours, *theirs = &twin->theirs;
	int rc = text_add(ours, bytes, len);
	twin->fed += len;
	while (rc == 0 && !twin->differs && text_left(ours) > 0) {
		bool end = false;
		rc = read_theirs(call, twin, &end);
		size_t n =
			text_left(ours) < text_left(theirs) ? text_left(ours) : text_left(theirs);
		if (rc != 0)
			return rc;
		twin->differs = end || memcmp(ours->data.data + ours->at,
					      theirs->data.data + theirs->at, n) != 0;
		ours->at += n;
		theirs->at += n;
		twin->compared += n;
	}
	twin->differs = twin->differs || ours->damaged || theirs->damaged;
	return rc;
}

/* Whether all of the other file's text was there, and ours may end here. */
static int is_whole(struct call *call, struct ingest_twin *twin, bool *whole) {
	bool end = false;
	int rc = read_theirs(call, twin, &end);
	*whole = end && (!twin->ours.gzip || twin->ours.gz.mode == GUNZIP_BETWEEN);
	return rc;
}

static void tell(const struct ingest_stream *s, const struct ingest_twin *twin) {
	AUTO_BUF struct buf why = { 0 };
	buf_printf(
		&why,
		"%s is in the same directory and has another text, from about byte %llu of the text on: the lines "
		"of both are rows. If one is an older copy of the other, remove it and the rows that came from it",
		twin->name, (unsigned long long)twin->compared);
	report_error(s->fs->report, s->w.path, EEXIST, "", why.failed ? "" : why.data);
}

/* -- both -------------------------------------------------------------------------------------- */

/* True if the other file is not as it was when the comparison began. */
static bool was_changed(struct call *call, const struct ingest_stream *s,
			const struct ingest_twin *twin) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct ingest_record now = { 0 };
	bool has_rows;
	int rc = ingest_twin_find(call->fs->pool, NULL, NULL, twin->rec.id, &s->rec, &now,
				  &has_rows, &err);
	bool changed = rc == 0 && strcmp(now.op, twin->rec.op) != 0;
	ingest_record_free(&now);
	return changed;
}

/* Compares what our file has behind what was compared. */
static int compare_rest(struct call *call, twin_read *read, void *arg, struct ingest_twin *twin) {
	int rc = 0;
	for (bool more = true; rc == 0 && more && !twin->differs;) {
		AUTO_BUF struct buf bytes = { 0 };
		rc = read(call, arg, twin->fed, &bytes);
		more = bytes.len > 0;
		if (rc == 0 && more)
			rc = compare(call, twin, bytes.data, bytes.len);
	}
	return rc;
}

/* The same of all that our file has by now. */
static int compare_all(struct call *call, twin_read *read, void *arg, struct ingest_twin *twin,
		       enum twin_text *text) {
	bool whole = false;
	int rc = compare_rest(call, read, arg, twin);
	if (rc == 0 && !twin->differs)
		rc = is_whole(call, twin, &whole);
	if (rc == 0)
		*text = twin->differs ? TWIN_OTHER : whole ? TWIN_WHOLE : TWIN_BEGINS;
	return rc;
}

int ingest_twin_compare(struct call *call, struct ingest_stream *s, twin_read *read, void *arg,
			enum twin_text *text) {
	bool anew = s->replacing || s->rec.size == 0;
	for (int i = 0; i < AGAIN_MOST; i++) {
		*text = TWIN_NONE;
		int rc = s->twin_asked ? 0 : find_twin(call, s, anew, &s->twin);
		s->twin_asked = rc == 0;
		if (rc == 0 && s->twin != NULL)
			rc = compare_all(call, read, arg, s->twin, text);
		if (*text != TWIN_OTHER)
			return rc;
		bool again = i + 1 < AGAIN_MOST && was_changed(call, s, s->twin);
		if (!again && anew) /* else it is compared once more, as a whole */
			tell(s, s->twin);
		ingest_twin_free(move_ptr(s->twin));
		if (!again)
			break;
		s->twin_asked = false;
	}
	return 0;
}

int ingest_twin_compare_file(struct call *call, const struct ingest_stream *s, twin_read *read,
			     void *arg, struct ingest_twin **out, enum twin_text *text) {
	struct ingest_twin *twin = NULL;
	*out = NULL;
	*text = TWIN_NONE;
	int rc = find_twin(call, s, true, &twin);
	if (rc == 0 && twin != NULL)
		rc = compare_all(call, read, arg, twin, text);
	if (*text == TWIN_OTHER)
		tell(s, twin);
	if (*text == TWIN_BEGINS || *text == TWIN_WHOLE)
		*out = twin;
	else
		ingest_twin_free(twin);
	return rc;
}

int64_t ingest_twin_owner(const struct ingest_stream *s) {
	AUTO_FREE char *followed = state_string(s->rec.state, "twin");
	return followed != NULL ? strtoll(followed, NULL, 10) : s->rec.id;
}

const char *ingest_twin_tail(const struct ingest_twin *twin) {
	return twin->tail;
}

void ingest_twin_put_state(const struct ingest_twin *twin, bool takes, struct buf *state) {
	if (state->failed || state->len == 0)
		return;
	state->len--; /* the brace */
	buf_printf(state, ",\"%s\":\"%lld\"}", takes ? "took" : "twin", (long long)twin->rec.id);
}

int ingest_twin_lock(struct db_conn *conn, const struct ingest_twin *twin, const char *op,
		     const char *of_table, struct db_error *err) {
	int rc = ingest_file_lock(conn, twin->rec.id, twin->rec.op, op, of_table, err);
	if (rc == -ENOENT) {
		db_error_clear(err);
		return INGEST_MOVED;
	}
	return rc;
}

int ingest_twin_take_rows(struct db_conn *conn, const struct ingest_twin *twin, int64_t me,
			  const char *op, struct db_error *err) {
	return ingest_twin_take(conn, twin->rec.id, me, op, err);
}
