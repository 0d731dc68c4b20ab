#include "fs/docs/large.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "fs/bytes/scratch.h"

#include <errno.h>

struct reading {
	const struct where *w;
	struct scratch *file;
	uint64_t len;
	struct buf *version;
};

static int take_piece(struct reading *r, const PGresult *res, int row, struct db_error *err) {
	if ((uint64_t)field_number(res, row, PIECE_OFFSET) != r->len)
		return db_error_set(err, EIO, "the pieces of a document came out of order");
	if (r->len == 0) {
		r->version->len = 0;
		buf_puts(r->version, field_text(res, row, PIECE_VERSION));
	}
	size_t len = field_len(res, row, PIECE_BYTES);
	int rc = scratch_write(r->file, field_text(res, row, PIECE_BYTES), len, r->len, err);
	r->len += len;
	return rc;
}

/* In one transaction, so that all pieces are of one version. */
static int read_pieces(struct db_conn *conn, void *arg, struct db_error *err) {
	struct reading *r = arg;
	struct db_param params[WHERE_PARAMS];
	int n = where_params(r->w, params), rows = 1;
	r->len = 0;
	int rc = scratch_resize(r->file, 0, err);
	if (rc == 0)
		rc = db_query_on(conn, r->w->place->sql.pieces, params, n, NULL, err);
	while (rc == 0 && rows > 0) {
		AUTO_RESULT PGresult *res = NULL;
		rc = db_query_binary_on(conn, SQL_FETCH_PIECES, NULL, 0, &res, err);
		if (rc == 0)
			rc = field_judge(res, ROWS_ANY, "t?nx", err);
		rows = rc == 0 ? PQntuples(res) : 0;
		for (int i = 0; i < rows && rc == 0; i++)
			rc = take_piece(r, res, i, err);
	}
	return rc;
}

int large_read(struct call *call, const struct where *w, struct scratch **out,
	       struct buf *version) {
	struct reading r = { .w = w, .version = version };
	int rc = scratch_new(call->fs, "a large document", &r.file, &call->err);
	if (rc != 0)
		return rc;
	rc = db_transaction(call->fs->pool, read_pieces, &r, DB_REPEATABLE, call_cancel(call),
			    &call->err);
	coherence_own(call->fs, &call->err);
	if (rc == 0 && (r.len == 0 || version->failed))
		rc = r.len == 0 ? -ENOENT : -ENOMEM;
	if (rc != 0) {
		scratch_release(r.file);
		return rc;
	}
	*out = r.file;
	return 0;
}
