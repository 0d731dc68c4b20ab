#include "schema/ledger.h"

#include <string.h>
#include <uuid/uuid.h>

const char ledger_trim[] = "SELECT rowfs.forget_applied('1 day')";

void ledger_new_op(char op[37]) {
	uuid_t id;
	uuid_generate(id);
	uuid_unparse_lower(id, op);
}

unsigned ledger_flags(const struct tree *tree) {
	return tree->has_ledger ? DB_REPEATABLE : 0;
}

int ledger_enter(struct db_conn *conn, const struct tree *tree, const char *op,
		 struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	if (!tree->has_ledger)
		return 0;
	/* the unique index makes this wait for a first attempt that is still committing */
	struct db_param param = db_text(op);
	int rc = db_query_on(
		conn, "INSERT INTO rowfs.applied (op) VALUES ($1::uuid) ON CONFLICT DO NOTHING",
		&param, 1, &res, err);
	if (rc != 0)
		return rc;
	return strcmp(PQcmdTuples(res), "0") == 0 ? LEDGER_DONE : 0;
}
