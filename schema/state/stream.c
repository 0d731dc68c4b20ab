#include "schema/state/stream.h"

#include "db/field.h"
#include "schema/expr/sql_build.h"
#include "schema/count/tally.h"
#include "schema/state/ledger.h"

#include <string.h>

const char stream_no_triggers[] =
	"SELECT pg_catalog.set_config('rowfs.daemon', s.proof, true) FROM rowfs.secret s";

static void put_names(struct buf *sql, const struct column *const *columns, int n) {
	for (int i = 0; i < n; i++)
		put_name(sql, i > 0 ? ", " : "", columns[i]->name);
}

/* "INSERT INTO rel (columns) SELECT values FROM unnest(arrays)", the arrays being parameters from
 * FIRST. */
static void put_insert(struct buf *sql, const struct relation *rel,
		       const struct column *const *columns, int n, int first, const char *also) {
	put_relation(sql, "INSERT INTO ", rel);
	buf_puts(sql, " (");
	put_names(sql, columns, n);
	buf_puts(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
	for (int i = 0; i < n; i++)
		buf_printf(sql, "%su.c%d::%s", i > 0 ? ", " : "", i, columns[i]->type);
	buf_printf(sql, " FROM %sROWS FROM (", also);
	for (int i = 0; i < n; i++)
		buf_printf(sql, "%spg_catalog.unnest($%d::text[])", i > 0 ? ", " : "", first + i);
	buf_puts(sql, ") AS u(");
	for (int i = 0; i < n; i++)
		buf_printf(sql, "%sc%d", i > 0 ? ", " : "", i);
	buf_putc(sql, ')');
}

/* Puts the statement that begins with HEAD, which ends in a WITH that has `moved`, and goes on with
 * INSERT. Where the table's triggers may drop rows, the number of those inserted does not tell
 * whether the ledger was moved, and is replaced by one that does; that costs a 20th of a statement
 * of one line, on both sides. */
static void finish_insert(struct buf *sql, const struct relation *rel, const struct buf *insert) {
	if (rel->rewrites_rows)
		buf_printf(sql, ", put AS (%s) SELECT pg_catalog.count(*) FROM moved",
			   insert->data);
	else
		buf_printf(sql, " %s", insert->data);
}

bool stream_sql_make(const struct relation *rel, const struct column *const *columns, int n,
		     struct stream_sql *out) {
	AUTO_BUF struct buf copy = { 0 }, bare = { 0 }, plain = { 0 }, counted = { 0 };
	AUTO_BUF struct buf put = { 0 }, put_counted = { 0 };
	put_relation(&copy, "COPY ", rel);
	buf_puts(&copy, " (");
	put_names(&copy, columns, n);
	buf_puts(&copy, ") FROM STDIN (FORMAT csv)");
	put_insert(&bare, rel, columns, n, 1, "");
	put_insert(&put, rel, columns, n, LEDGER_MOVE_PARAMS + 1, "moved, ");
	put_insert(&put_counted, rel, columns, n, LEDGER_MOVE_PARAMS + TALLY_PARAMS + 1, "moved, ");
	if (put.failed || put_counted.failed)
		return false;
	buf_printf(&plain, "WITH moved AS (%s RETURNING 1)", ledger_move_sql);
	finish_insert(&plain, rel, &put);
	buf_printf(&counted,
		   "WITH moved AS (%s RETURNING pg_catalog.set_config('rowfs.daemon', coalesce("
		   /* sessions of a mount that is told have it; it spares the look at the table */
		   "nullif(pg_catalog.current_setting('rowfs.proof', true), ''), "
		   "(SELECT s.proof FROM rowfs.secret s)), true)), counted AS (",
		   ledger_move_sql);
	tally_put_sql(&counted, LEDGER_MOVE_PARAMS + 1, "moved");
	buf_putc(&counted, ')');
	finish_insert(&counted, rel, &put_counted);
	out->copy = buf_take(&copy);
	out->insert_bare.sql = buf_take(&bare);
	out->insert.sql = buf_take(&plain);
	out->insert_counted.sql = buf_take(&counted);
	return out->copy != NULL && out->insert_bare.sql != NULL && out->insert.sql != NULL &&
	       out->insert_counted.sql != NULL;
}

bool stream_was_moved(const PGresult *res, int n) {
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		return PQntuples(res) == 1 && field_number(res, 0, 0) == 1;
	return field_changed(res) == n;
}

void stream_sql_free(struct stream_sql *sql) {
	free(sql->copy);
	free((char *)(uintptr_t)sql->insert.sql);
	free((char *)(uintptr_t)sql->insert_counted.sql);
	free((char *)(uintptr_t)sql->insert_bare.sql);
}
