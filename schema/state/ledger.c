#include "schema/state/ledger.h"

#include "db/field.h"

#include <errno.h>
#include <uuid/uuid.h>

const char ledger_open_sql[] =
	"INSERT INTO rowfs.stream (stream) VALUES ($1::uuid) ON CONFLICT DO NOTHING";
const char ledger_move_sql[] =
	"UPDATE rowfs.stream SET off = $2::bigint, touched = pg_catalog.now() WHERE stream = $1::uuid AND off = $3::bigint";
const char ledger_fence_sql[] = "DELETE FROM rowfs.stream WHERE stream = ANY ($1::text::uuid[])";
const char ledger_one_snapshot_sql[] = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
const char ledger_xid_sql[] = "SELECT pg_catalog.pg_current_xact_id()::text";
const char ledger_xid_status_sql[] = "SELECT pg_catalog.pg_xact_status($1::text::xid8)";
const char ledger_trim_named_sql[] = "SELECT rowfs.forget_applied('1 day')";
const char ledger_trim_streams_sql[] =
	"DELETE FROM rowfs.stream WHERE touched < pg_catalog.now() - interval '1 day'";

void ledger_new_uuid(char uuid[37]) {
	uuid_t id;
	uuid_generate(id);
	uuid_unparse_lower(id, uuid);
}

/* -- named ------------------------------------------------------------------------------------- */

/* Nothing was noted: was it done before, or is the stream gone? */
static int why_not(struct db_conn *conn, const struct once *once, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param param = db_text(once->id);
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

static int note(struct db_conn *conn, struct once *once, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	bool holds = once->stream[0] != '\0';
	struct db_param params[] = { db_text(once->id), db_text(once->stream) };
	/* the unique index makes this wait for a first attempt that is still committing */
	int rc = db_query_on(
		conn,
		holds ? "INSERT INTO rowfs.applied (op) SELECT $1::uuid FROM rowfs.stream "
			"WHERE stream = $2::uuid FOR KEY SHARE ON CONFLICT DO NOTHING"
		      : "INSERT INTO rowfs.applied (op) VALUES ($1::uuid) ON CONFLICT DO NOTHING",
		params, holds ? 2 : 1, &res, err);
	once->entered = rc == 0 && field_changed(res) != 0;
	if (rc != 0 || once->entered)
		return rc;
	return holds ? why_not(conn, once, err) : LEDGER_DONE;
}

/* -- numbered ---------------------------------------------------------------------------------- */

int ledger_move_params(const struct once *once, char numbers[2][24], struct db_param *params) {
	params[0] = db_text(once->stream);
	params[1] = db_number(numbers[0], once->off + 1);
	params[2] = db_number(numbers[1], once->off);
	return LEDGER_MOVE_PARAMS;
}

static int move(struct db_conn *conn, const struct once *once, struct db_error *err) {
	struct db_param params[LEDGER_MOVE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	char numbers[2][24];
	int n = ledger_move_params(once, numbers, params);
	int rc = db_query_on(conn, ledger_move_sql, params, n, &res, err);
	if (rc == 0 && field_changed(res) != 1) /* a repetition asks why */
		rc = db_error_again(err, "the stream's row in rowfs.stream stands elsewhere");
	return rc;
}

static int ask_number(struct db_conn *conn, const struct once *once, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param param = db_text(once->stream);
	int rc = db_ask_on(conn, "SELECT off FROM rowfs.stream WHERE stream = $1::uuid FOR UPDATE",
			   &param, 1, ROWS_ONE_OR_NONE, "n", &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) != 1)
		return db_error_set(
			err, EIO,
			"the stream of these lines is gone from rowfs.stream: another mount serves the "
			"place now, or the database was restored from an older copy; write them again");
	long long off = field_number(res, 0, 0);
	if (off < once->off)
		return db_error_set(
			err, EIO,
			"the database was rolled back to an older copy: of this stream it has %lld "
			"batches, and had confirmed %lld; what was written in between is gone from it",
			off, (long long)once->off);
	return off > once->off ? LEDGER_DONE : 0;
}

/* -- both -------------------------------------------------------------------------------------- */

int ledger_ask(struct db_conn *conn, bool has_ledger, struct once *once, struct db_error *err) {
	if (once->id[0] == '\0')
		return ask_number(conn, once, err);
	once->entered = false;
	return has_ledger ? note(conn, once, err) : 0;
}

int ledger_enter(struct db_conn *conn, bool has_ledger, struct once *once, struct db_error *err) {
	if (once->id[0] == '\0')
		return move(conn, once, err);
	if (once->entered || !has_ledger)
		return 0;
	int rc = note(conn, once, err);
	/* a first attempt cannot be done; a repetition asks */
	return rc == LEDGER_DONE ? db_error_again(err, "the operation is in the ledger already")
				 : rc;
}
