/* What the server answers: rows of any shape are judged, and whatever reads them looks at nothing
 * that is not there. */
#include "db/field.h"
#include "schema/state/ingest_file.h"
#include "schema/notice/peers.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

static const char *const forms[] = { "t",    "nubx", "nniutt", "tniun", "t*t?i?i?t?t?",
				     "t?t*", "b?",   "" };

struct input {
	const uint8_t *data;
	size_t left;
};

static unsigned next(struct input *in) {
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->data++;
}

static const PGresult *answer; /* what the server answers to the next statement */

int __wrap_db_query(struct db_pool *pool, struct db_statement *st, const struct db_param *params,
		    int n, unsigned flags, struct db_cancel *cancel, PGresult **out,
		    struct db_error *err);
/* In the place of the server: see tests/fuzz/run. */
int __wrap_db_query(struct db_pool *pool, struct db_statement *st, const struct db_param *params,
		    int n, unsigned flags, struct db_cancel *cancel, PGresult **out,
		    struct db_error *err) {
	if (out != NULL)
		*out = PQcopyResult(answer, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
	return out == NULL || *out != NULL ? 0 : db_error_set(err, ENOMEM, "out of memory");
}

/* The record of an ingest file. */
static void read_record(const PGresult *res) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct ingest_record record = { 0 };
	answer = res;
	int rc = ingest_file_find(NULL, "dir", "name", 0, NULL, &record, &err);
	HOLDS(rc == 0 || rc == -ENOENT || err.sentence != NULL);
	HOLDS(rc != 0 || (record.size <= INT64_MAX && strlen(record.op) < sizeof(record.op)));
	HOLDS(rc != 0 || record.state != NULL);
	ingest_record_free(&record);
}

/* A value: NULL, a number, a truth value, or bytes. */
static void set_value(struct input *in, PGresult *res, int row, int column) {
	static char *const known[] = { (char *)"0",
				       (char *)"-1",
				       (char *)"t",
				       (char *)"f",
				       (char *)"2147483647",
				       (char *)"9223372036854775807",
				       (char *)"-9223372036854775808",
				       (char *)"5",
				       (char *)"" };
	unsigned what = next(in);
	if (what % 16 == 15) {
		PQsetvalue(res, row, column, NULL, -1);
	} else if (what % 16 > 8) {
		size_t len = what / 16 < in->left ? what / 16 : in->left;
		PQsetvalue(res, row, column, (char *)(uintptr_t)in->data, (int)len);
		in->data += len;
		in->left -= len;
	} else {
		char *text = known[what % 16];
		PQsetvalue(res, row, column, text, (int)strlen(text));
	}
}

static PGresult *result_of(struct input *in) {
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc columns[8] = { 0 };
	int ncolumns = (int)(next(in) % 8), nrows = (int)(next(in) % 6);
	for (int i = 0; i < 8; i++)
		columns[i] = (PGresAttDesc){ .name = (char *)(uintptr_t) "c", .typlen = -1 };
	if (res == NULL || (ncolumns > 0 && !PQsetResultAttrs(res, ncolumns, columns)))
		return res;
	for (int row = 0; row < nrows && ncolumns > 0; row++)
		for (int column = 0; column < ncolumns; column++)
			set_value(in, res, row, column);
	return res;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct input in = { .data = data, .left = size };
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf out = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	const char *form = forms[next(&in) % (sizeof(forms) / sizeof(forms[0]))];
	enum field_rows rows = next(&in) % 3;
	uint64_t at = 0, offset = next(&in);
	res = result_of(&in);
	if (res == NULL)
		return 0;
	int rc = field_judge(res, rows, form, &err);
	HOLDS((rc == 0) == (err.sentence == NULL));
	for (int row = -1; row <= PQntuples(res); row++)
		for (int column = -1; column <= PQnfields(res); column++) {
			HOLDS(strlen(field_text(res, row, column)) <= field_len(res, row, column));
			HOLDS(!field_is_true(res, row, column) || !field_is_null(res, row, column));
			(void)field_number(res, row, column);
		}
	db_error_clear(&err);
	read_record(res);
	rc = ingest_chunks_take(res, offset, &out, &at, &err);
	HOLDS(rc != 0 || out.len == 0 || at <= offset);
	struct peers *peers = peers_new("00000000-0000-4000-8000-000000000001");
	if (peers == NULL)
		return 0;
	peers_survey(peers, res);
	(void)peers_answer(peers, res);
	peers_free(peers);
	return 0;
}
