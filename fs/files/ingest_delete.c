/* The end of an ingest file that nobody has open any more. */
#include "fs/cache/coherence.h"
#include "fs/files/ingest.h"

#include "fs/stream/ingest_rows.h"
#include "util/log.h"

/* A file that goes, and whose rows go with it: IN, or NULL. */
struct deletion {
	struct fs *fs;
	int64_t id;
	const struct ingest *in;
	struct buf kept;
};

static int delete_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct deletion *d = arg;
	int rc = d->in != NULL ? ingest_rows_delete(conn, d->fs->stream, d->in, d->id, 0, NULL,
						    &d->kept, err)
			       : 0;
	return rc == 0 ? ingest_file_delete(conn, d->id, err) : rc;
}

void ingest_delete(struct fs *fs, int64_t id, const struct ingest *in, const char *path) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct deletion d = { .fs = fs, .id = id, .in = in };
	int rc = db_transaction(fs->pool, delete_in_tx, &d, DB_REPEATABLE, NULL, &err);
	coherence_own(fs, &err);
	if (rc == 0 && path != NULL)
		ingest_rows_tell(fs->stream, path, &d.kept);
	buf_free(&d.kept);
	if (rc == 0)
		return;
	log_warning("the bytes of removed file %lld stay in rowfs.chunk till the next mount%s: %s",
		    (long long)id,
		    in != NULL ? ", and the rows that came when it was removed stay" : "",
		    db_error_text(&err));
}
