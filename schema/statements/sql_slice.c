/* Finding and listing by the summary: rows files, and the directories that group them. Each
 * statement has two branches; the second one, over the table itself, runs only while the slice is
 * in doubt. Both list in the order of the keys' bytes. */
#include "schema/layout/slice.h"
#include "schema/statements/sql_parts.h"

#include <string.h>

bool by_summary(const struct place *place) {
	return place->slice != NULL && place->slice->usable;
}

static int target_of(const struct place *place) {
	return place->route != NULL ? place->target : place->row_table;
}

/* How many keys of the slice the path down to PLACE knows, own ones included. */
static int known_keys(const struct place *place) {
	int n = place->slice_joined, target = target_of(place);
	for (const struct place *p = place; p != NULL; p = p->parent)
		for (int i = 0; i < p->nkeys; i++)
			n += p->keys[i].table == target;
	return n;
}

/* The key of the path that is the N-th of the table's own. */
static const struct key *own_key(const struct place *place, int target, int n, int *before) {
	if (place == NULL)
		return NULL;
	const struct key *found = own_key(place->parent, target, n, before);
	for (int i = 0; i < place->nkeys && found == NULL; i++)
		if (place->keys[i].table == target && (*before)++ == n)
			found = &place->keys[i];
	return found;
}

/* What the path says that key I of the slice is. CORRELATED: the parents are in the FROM around. */
static void put_source(struct buf *sql, const struct place *place, int i, bool correlated) {
	int target = target_of(place), before = 0;
	if (i >= place->slice_joined) {
		const struct key *key = own_key(place, target, i - place->slice_joined, &before);
		buf_printf(sql, "$%d::text", key->param + 1);
		return;
	}
	const struct scope_table *table = &place->scope.tables[target];
	if (!correlated)
		buf_puts(sql, "(SELECT ");
	put_column(sql, "", table->joined, table->fk->references.names[i]);
	buf_puts(sql, "::text");
	if (correlated)
		return;
	put_tables(sql, " FROM ", place, target);
	put_parent_conditions(sql, " WHERE ", place, target);
	buf_putc(sql, ')');
}

/* "s.slice = 7 AND s.k1 = ..." for the first N keys. */
static void put_prefix(struct buf *sql, const struct place *place, int n, bool correlated) {
	buf_printf(sql, "s.slice = %lld", (long long)place->slice->id);
	for (int i = 0; i < n; i++) {
		buf_printf(sql, " AND s.k%d = ", i + 1);
		put_source(sql, place, i, correlated);
	}
}

/* Whether the summary is true now, and row security hides no row from this role; runs once a
 * statement, since both may change while the place is mounted. */
static void put_good(struct buf *sql, const struct place *place) {
	buf_printf(sql,
		   "coalesce((SELECT g.built AND NOT EXISTS (SELECT FROM rowfs.doubt d WHERE "
		   "d.slice = g.id) AND NOT pg_catalog.row_security_active(pg_catalog.to_regclass("
		   "g.relation)::pg_catalog.oid) FROM rowfs.slice g WHERE g.id = %lld), false)",
		   (long long)place->slice->id);
}

static const char changed_text[] =
	"greatest(least(extract(epoch FROM c.changed) * 1000000::numeric, 9e18), -9e18)::bigint::text";

static size_t header_length(const struct place *place) {
	return place->sql.header != NULL ? strlen(place->sql.header) : 0;
}

/* "(SELECT rows, bytes, changed ...) c" of one file. WHERE restricts s to it. */
static void put_totals(struct buf *sql, const char *where) {
	static const char *const tables[] = { "summary", "delta" };
	buf_puts(
		sql,
		"(SELECT pg_catalog.sum(u.rows) AS rows, pg_catalog.sum(u.bytes) AS bytes, pg_catalog.max(u.changed) AS "
		"changed FROM (");
	for (int i = 0; i < 2; i++) {
		buf_printf(sql, "%sSELECT s.rows, s.bytes, s.changed FROM rowfs.%s s WHERE %s",
			   i > 0 ? " UNION ALL " : "", tables[i], where);
	}
	buf_puts(sql, ") u) c");
}

/* -- files ------------------------------------------------------------------------------------- */

/* The names' texts as parameters: who asks for a name knows them. */
static void put_own_params(struct buf *sql, const struct place *place) {
	for (int i = 0; i < place->nkeys; i++)
		buf_printf(sql, "$%d::text, ", place->keys[i].param + 1);
}

void sql_slice_put_owned(struct buf *sql, const struct place *place, const char *mtime,
			 const char *size) {
	AUTO_BUF struct buf good = { 0 }, parents = { 0 }, file = { 0 };
	put_good(&good, place);
	put_prefix(&file, place, place->slice->nkeys, true);
	buf_printf(sql,
		   "NULL, CASE WHEN %s THEN %s ELSE %s END, CASE WHEN %s THEN (%zu::numeric + "
		   "coalesce(c.bytes, 0))::text ELSE %s END, NULL, NULL FROM ",
		   good.data, changed_text, mtime, good.data, header_length(place), size);
	if (put_tables(&parents, "", place, place->target) > 0)
		buf_printf(sql, "%s, LATERAL ", parents.data);
	put_totals(sql, file.data);
}

/* -- lists ------------------------------------------------------------------------------------- */

/* "s.k2, s.k3" of the own keys. */
static void put_own_names(struct buf *sql, const char *before, const struct place *place,
			  const char *alias) {
	int above = known_keys(place) - place->nkeys;
	buf_puts(sql, before);
	for (int i = 0; i < place->nkeys; i++)
		buf_printf(sql, "%s%s.k%d", i > 0 ? ", " : "", alias, above + i + 1);
}

static void put_own_expressions(struct buf *sql, const struct place *place) {
	for (int i = 0; i < place->nkeys; i++) {
		buf_puts(sql, i > 0 ? ", (" : "(");
		put_key_text(sql, &place->keys[i]);
		buf_puts(sql, ") COLLATE \"C\"");
	}
}

static void put_cursor(struct buf *sql, const struct place *place) {
	int first = place->parent->nparams + 1;
	buf_putc(sql, '(');
	for (int i = 0; i < place->nkeys; i++)
		buf_printf(sql, "%s$%d::text", i > 0 ? ", " : "", first + i);
	buf_putc(sql, ')');
}

static void put_limit(struct buf *sql, const struct place *place, bool next) {
	buf_printf(sql, " LIMIT $%d::int", place->parent->nparams + 1 + (next ? place->nkeys : 0));
}

/* The second branch of a list. */
static void put_plain_list(struct buf *sql, const struct place *place, bool next) {
	bool file = place->route != NULL;
	buf_puts(sql, " UNION ALL (SELECT ");
	put_own_expressions(sql, place);
	buf_printf(sql, ", NULL, %s, NULL, NULL FROM ",
		   file ? "NULL::text, NULL::text" : "NULL, '0'");
	put_tables(sql, "", place, -1);
	put_conditions(sql, " WHERE ", place, true);
	put_keys_not_null(sql, place);
	buf_puts(sql, " AND NOT ");
	put_good(sql, place);
	if (next) {
		buf_puts(sql, " AND (");
		put_own_expressions(sql, place);
		buf_puts(sql, ") > ");
		put_cursor(sql, place);
	}
	buf_puts(sql, " GROUP BY ");
	put_own_expressions(sql, place);
	buf_puts(sql, " ORDER BY ");
	put_own_expressions(sql, place);
	put_limit(sql, place, next);
	buf_putc(sql, ')');
}

/* -- directories ------------------------------------------------------------------------------- */

/* True while a file below has rows; PREFIX restricts s to the directory. The keys of d are those of
 * s. */
static void put_exists(struct buf *sql, const char *prefix) {
	buf_printf(
		sql,
		"((SELECT 1 FROM rowfs.summary s WHERE %s AND s.rows::numeric + coalesce((SELECT "
		"pg_catalog.sum(d.rows) FROM rowfs.delta d WHERE (d.slice, d.k1, d.k2, d.k3, d.k4) = (s.slice, "
		"s.k1, s.k2, s.k3, s.k4)), 0) > 0::numeric LIMIT 1) IS NOT NULL OR (SELECT 1 FROM rowfs.delta "
		"s WHERE %s GROUP BY s.slice, s.k1, s.k2, s.k3, s.k4 HAVING pg_catalog.sum(s.rows) + "
		"coalesce((SELECT d.rows::numeric FROM rowfs.summary d WHERE (d.slice, d.k1, d.k2, d.k3, d.k4) = "
		"(s.slice, s.k1, s.k2, s.k3, s.k4)), 0) > 0::numeric LIMIT 1) IS NOT NULL)",
		prefix, prefix);
}

/* -- both -------------------------------------------------------------------------------------- */

/* Version, time, size, body and id of what PREFIX restricts s to, a file or a directory, and the
 * condition that it is there. LIST: for each n of put_names(). */
static void put_found(struct buf *sql, const struct place *place, const char *prefix, bool list) {
	if (place->route != NULL) {
		buf_printf(sql, "NULL, %s, (%zu::numeric + c.bytes)::text, NULL, NULL FROM %s",
			   changed_text, header_length(place), list ? "n, LATERAL " : "");
		put_totals(sql, prefix);
		buf_puts(sql, " WHERE c.rows > 0::numeric AND ");
		put_good(sql, place);
		return;
	}
	buf_printf(sql, "NULL, NULL, '0', NULL, NULL%s WHERE ", list ? " FROM n" : "");
	put_good(sql, place);
	buf_puts(sql, " AND ");
	put_exists(sql, prefix);
}

void sql_slice_find(const struct place *place, const char *plain, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 }, prefix = { 0 };
	put_prefix(&prefix, place, known_keys(place), false);
	buf_puts(&sql, "SELECT ");
	put_own_params(&sql, place);
	put_found(&sql, place, prefix.data, false);
	buf_printf(&sql, " UNION ALL SELECT * FROM (%s) f WHERE NOT ", plain);
	put_good(&sql, place);
	statement_take(place, st, &sql);
}

/* The next name behind AFTER (an SQL row, or NULL for the first): one step into each index. */
static void put_next_name(struct buf *sql, const struct place *place, const char *after) {
	static const char *const tables[] = { "summary", "delta" };
	buf_puts(sql, "(SELECT * FROM (");
	for (int i = 0; i < 2; i++) {
		put_own_names(sql, i > 0 ? " UNION ALL (SELECT " : "(SELECT ", place, "s");
		buf_printf(sql, " FROM rowfs.%s s WHERE ", tables[i]);
		put_prefix(sql, place, known_keys(place) - place->nkeys, false);
		if (after != NULL) {
			put_own_names(sql, " AND (", place, "s");
			buf_printf(sql, ") > %s", after);
		}
		put_own_names(sql, " ORDER BY ", place, "s");
		buf_puts(sql, " LIMIT 1)");
	}
	put_own_names(sql, ") s ORDER BY ", place, "s");
	buf_puts(sql, " LIMIT 1)");
}

/* "WITH RECURSIVE n AS (names in their order)", and in PREFIX the condition that s belongs to n.
 * Who reads with a LIMIT makes the recursion go no further than that. */
static void put_names(struct buf *sql, const struct place *place, bool next, struct buf *prefix) {
	AUTO_BUF struct buf cursor = { 0 }, before = { 0 };
	int n = known_keys(place);
	put_cursor(&cursor, place);
	buf_putc(&before, '(');
	put_own_names(&before, "", place, "n");
	buf_putc(&before, ')');
	put_prefix(prefix, place, n - place->nkeys, false);
	for (int i = n - place->nkeys; i < n; i++)
		buf_printf(prefix, " AND s.k%d = n.k%d", i + 1, i + 1);
	buf_puts(sql, "WITH RECURSIVE n AS (");
	put_next_name(sql, place, next ? cursor.data : NULL);
	buf_puts(sql, " UNION ALL SELECT x.* FROM n, LATERAL ");
	put_next_name(sql, place, before.data);
	buf_puts(sql, " x) ");
}

void sql_slice_list(struct place *place, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 }, prefix = { 0 };
	buf_putc(&sql, '(');
	put_names(&sql, place, next, &prefix);
	put_own_names(&sql, "SELECT ", place, "n");
	buf_puts(&sql, ", ");
	put_found(&sql, place, prefix.data, true);
	put_limit(&sql, place, next);
	buf_putc(&sql, ')');
	put_plain_list(&sql, place, next);
	statement_take(place, st, &sql);
}
