#include "schema/state/ledger.h"

#include "db/field.h"

#include <errno.h>
#include <string.h>
#include <uuid/uuid.h>

const char ledger_trim[] = "SELECT rowfs.forget_applied('1 day')";

void ledger_new_op(char op[37]) {
	uuid_t id;
	uuid_generate(id);
	uuid_unparse_lower(id, op);
}

/* Nothing was entered: was it done before, or is the stream gone? */
static int why_not(struct db_conn *conn, const struct ledger_op *op, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param param = db_text(op->id);
	int rc = db_query_on(conn, "SELECT 1 FROM rowfs.applied WHERE op = $1::uuid", &param, 1,
			     &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) > 0)
		return LEDGER_DONE;
	return db_error_set(err, EIO,
			    "the stream of this mount is gone from rowfs.stream: another mount "
			    "serves the place now, or the database was restored; write it again");
}

int ledger_enter(struct db_conn *conn, const struct tree *tree, const struct ledger_op *op,
		 struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	bool holds = op->stream[0] != '\0';
	struct db_param params[] = { db_text(op->id), db_text(op->stream) };
	if (!tree->has_ledger)
		return 0;
	/* the unique index makes this wait for a first attempt that is still committing */
	int rc = db_query_on(
		conn,
		holds ? "INSERT INTO rowfs.applied (op) SELECT $1::uuid FROM rowfs.stream "
			"WHERE stream = $2::uuid FOR KEY SHARE ON CONFLICT DO NOTHING"
		      : "INSERT INTO rowfs.applied (op) VALUES ($1::uuid) ON CONFLICT DO NOTHING",
		params, holds ? 2 : 1, &res, err);
	if (rc != 0 || field_changed(res) != 0)
		return rc;
	return holds ? why_not(conn, op, err) : LEDGER_DONE;
}
