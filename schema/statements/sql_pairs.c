/* Writing lines over rows whose key the lines do not show: the rows are read with their keys, and
 * changed by them. Which row gets which line is not decided here. */
#include "schema/statements/sql_write.h"

#include <string.h>

/* Where the catalog knows no key: the row's place in the table, as long as it is locked. */
static const char *const place_in_table[][2] = { { "tableoid", "oid" }, { "ctid", "tid" } };

static const struct name_list *key_of_rows(const struct place *place) {
	return relation_key(target_of(place));
}

static int key_length(const struct place *place) {
	const struct name_list *key = key_of_rows(place);
	return key != NULL ? key->n : 2;
}

static const char *key_name(const struct place *place, int i) {
	const struct name_list *key = key_of_rows(place);
	return key != NULL ? key->names[i] : place_in_table[i][0];
}

static const char *key_type(const struct place *place, int i) {
	const struct name_list *key = key_of_rows(place);
	if (key == NULL)
		return place_in_table[i][1];
	const char *type = relation_column(target_of(place), key->names[i])->type;
	/* "character" alone would be one character */
	return strcmp(type, "character") == 0 ? "bpchar" : type;
}

static const struct column *key_column(const struct place *place, int i) {
	static const struct column in_table = { .operators = (char *)(uintptr_t) "pg_catalog" };
	const struct name_list *key = key_of_rows(place);
	return key != NULL ? relation_column(target_of(place), key->names[i]) : &in_table;
}

static bool is_shown(const struct place *place, const struct column *column) {
	for (int i = 0; i < place->ncolumns; i++)
		if (place->columns[i] == column)
			return true;
	return is_bound(place, column);
}

bool sql_shows_key(const struct place *place) {
	const struct relation *rel = target_of(place);
	const struct name_list *key = relation_key(rel);
	bool shows = key != NULL;
	for (int i = 0; shows && i < key->n; i++)
		shows = is_shown(place, relation_column(rel, key->names[i]));
	return shows;
}

static bool hides_something(const struct place *place) {
	const struct relation *rel = target_of(place);
	for (int i = 0; i < rel->ncolumns; i++)
		if (!rel->columns[i].generated && !is_shown(place, &rel->columns[i]))
			return true;
	return false;
}

bool sql_pairs_say_more(const struct place *place, const struct shape *shape) {
	for (int i = 0; i < shape->n; i++) {
		bool shown = false;
		for (int k = 0; !shown && k < place->ncolumns; k++)
			shown = strcmp(place->columns[k]->name, shape->names[i]) == 0;
		if (!shown)
			return true;
	}
	return false;
}

bool sql_can_pair(const struct place *place, bool edited) {
	const struct relation *rel = target_of(place);
	if (rel->kind == 'v' && relation_key(rel) != NULL)
		return true;
	if (rel->kind != 'r' && rel->kind != 'p')
		return false; /* its rows have no place that stays */
	return edited || rel->referenced || relation_key(rel) != NULL || hides_something(place);
}

/* How many columns of the order, from the first on, a line shows. */
static int shown_order(const struct place *place, int *all) {
	int shown = 0, n = 0;
	for (; place->order[n] != NULL; n++)
		if (shown == n && is_shown(place, place->order[n]))
			shown++;
	*all = n;
	return shown;
}

bool sql_rows_have_more(const struct place *place) {
	const struct relation *rel = target_of(place);
	const struct name_list *key = relation_key(rel);
	bool more = rel->referenced;
	for (int i = 0; !more && i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		bool in_key = key != NULL && name_list_has(key, column->name);
		more = !in_key && !column->generated && !is_shown(place, column) &&
		       !is_bound(place, column);
	}
	return more;
}

enum pairing_order sql_pairs_order(const struct place *place) {
	int all, shown = shown_order(place, &all);
	bool constant = true; /* what the path says is the same in all lines */
	for (int i = 0; i < shown; i++)
		constant = constant && is_bound(place, place->order[i]);
	if (shown == all) /* also without a key: an UPDATE moves a row to another place */
		return PAIRING_FREE;
	/* values that moved on to other rows would leave behind what belongs to them */
	if (sql_rows_have_more(place))
		return PAIRING_FREE;
	return constant ? PAIRING_IN_ORDER : PAIRING_TIES;
}

/* A key whose columns the lines show: it tells which line is which row. NULL: none. */
static const struct name_list *shown_key(const struct place *place) {
	const struct relation *rel = target_of(place);
	for (int k = 0; k < rel->nkeys; k++) {
		const struct name_list *names = &rel->keys[k].columns;
		bool shown = true, told = false;
		for (int i = 0; i < names->n; i++) {
			const struct column *column = relation_column(rel, names->names[i]);
			shown = shown && column != NULL && is_shown(place, column) &&
				(column->not_null || rel->keys[k].primary);
			told = told || (shown && !is_bound(place, column));
		}
		if (shown && told)
			return names;
	}
	return NULL;
}

/* What two lines must have in common to be places in the order that a hidden column decides. */
static void put_tie(struct buf *sql, const struct place *place, const char *alias) {
	int all, shown = shown_order(place, &all);
	if (sql_pairs_order(place) != PAIRING_TIES) {
		buf_puts(sql, "NULL::text");
		return;
	}
	buf_puts(sql, "ROW(");
	for (int i = 0; i < shown; i++)
		put_of(sql, i > 0 ? ", " : "", alias, place->order[i]->name);
	buf_puts(sql, ")::text");
}

/* What tells a line from others: its values of a unique key. */
static void put_identity(struct buf *sql, const struct place *place, const char *alias) {
	int n = 0;
	const struct relation *rel = target_of(place);
	const struct name_list *key = shown_key(place);
	if (key == NULL) {
		buf_puts(sql, "NULL::text");
		return;
	}
	buf_puts(sql, "pg_catalog.json_build_array(");
	for (int i = 0; i < key->n; i++) {
		if (is_bound(place, relation_column(rel, key->names[i])))
			continue;
		put_of(sql, n++ > 0 ? ", " : "", alias, key->names[i]);
		buf_puts(sql, "::text");
	}
	buf_puts(sql, ")::text");
}

/* "(SELECT ... [FOR NO KEY UPDATE]) q": in it no window and no order, so that a row that was
 * waited for is counted and sorted as it is then. */
static void put_rows_read(struct buf *sql, const struct place *place, bool lock,
			  const char *snapshot) {
	char alias[16];
	snprintf(alias, sizeof(alias), "t%d", place->target);
	buf_puts(sql, "(SELECT pg_catalog.json_build_array(");
	for (int i = 0; i < key_length(place); i++) {
		put_of(sql, i > 0 ? ", " : "", alias, key_name(place, i));
		buf_puts(sql, "::text");
	}
	buf_puts(sql, ")::text AS k, ");
	put_line(sql, place, alias);
	buf_puts(sql, " AS line, ");
	put_tie(sql, place, alias);
	buf_puts(sql, " AS tie, ");
	put_identity(sql, place, alias);
	buf_puts(sql, " AS identity");
	for (int i = 0; place->order[i] != NULL; i++) {
		put_of(sql, ", ", alias, place->order[i]->name);
		buf_printf(sql, " AS o%d", i);
	}
	if (key_of_rows(place) == NULL)
		buf_printf(sql, ", %s.tableoid AS p0, %s.ctid AS p1", alias, alias);
	put_tables(sql, " FROM ", place, -1);
	put_conditions(sql, " WHERE ", place, false);
	put_older(sql, place, snapshot);
	if (lock)
		buf_printf(sql, " FOR NO KEY UPDATE OF %s", alias);
	buf_puts(sql, ") q");
}

static void put_order_from(struct buf *sql, const struct place *place, int first) {
	int n = 0;
	buf_puts(sql, "ORDER BY ");
	for (int i = first; place->order[i] != NULL; i++)
		buf_printf(sql, "%sp.o%d", n++ > 0 ? ", " : "", i);
	if (key_of_rows(place) == NULL)
		buf_printf(sql, "%sp.p0, p.p1", n > 0 ? ", " : "");
}

char *sql_pairs_read(const struct place *place, bool lock, const char *snapshot) {
	AUTO_BUF struct buf sql = { 0 };
	int all, shown = shown_order(place, &all);
	buf_puts(&sql, "SELECT p.k, p.line, p.tie, p.identity, ");
	if (sql_pairs_order(place) == PAIRING_TIES) {
		buf_puts(&sql, "pg_catalog.row_number() OVER (");
		put_order_from(&sql, place, shown);
		buf_puts(&sql, ")");
	} else {
		buf_puts(&sql, "0");
	}
	buf_puts(&sql,
		 " FROM (SELECT q.*, pg_catalog.sum(pg_catalog.octet_length(q.line) + 1) OVER () "
		 "AS bytes FROM ");
	put_rows_read(&sql, place, lock, snapshot);
	buf_printf(&sql, ") p WHERE p.bytes <= $%d::bigint ", place->nparams + 1);
	put_order_from(&sql, place, 0);
	return buf_take(&sql);
}

char *sql_pairs_lines(const struct place *place, const struct shape *shape) {
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, "SELECT ");
	put_line(&sql, place, "d");
	buf_puts(&sql, ", ");
	put_tie(&sql, place, "d");
	buf_puts(&sql, ", ");
	put_identity(&sql, place, "d");
	buf_puts(&sql, " FROM ");
	put_source(&sql, place, shape, SOURCE_ORDERED);
	buf_puts(&sql, " ORDER BY e.n");
	return buf_take(&sql);
}

/* The parameter's elements are {"k": key, "j": line}. FROM items, with e and d as of put_source();
 * "WHERE ... AND t.key = the pair's": the line may be this row's. */
static void put_pairs(struct buf *sql, const struct place *place, const struct shape *shape) {
	buf_printf(sql,
		   "pg_catalog.json_array_elements($%d::json) WITH ORDINALITY x(o, n), LATERAL "
		   "(SELECT x.o->'j'::text, x.n) e(j, n), LATERAL ",
		   place->nparams + 1);
	put_record(sql, target_of(place), false, "e.j");
	put_tables(sql, ", ", place, target_table(place));
	put_conditions(sql, " WHERE ", place, false);
	put_agreement(sql, place, shape, false);
	for (int i = 0; i < key_length(place); i++) {
		put_column(sql, " AND ", place->target, key_name(place, i));
		put_operator(sql, "=", key_column(place, i), NULL);
		buf_printf(sql, "(x.o->'k'::text->>%d)::%s", i, key_type(place, i));
	}
}

/* With FIND, a SELECT of the rows that the UPDATE would change. NULL if it cannot be done, or there
 * is nothing to set. */
static char *update_or_find(const struct place *place, const struct shape *shape, bool find) {
	const struct relation *rel = target_of(place);
	AUTO_BUF struct buf sql = { 0 }, set = { 0 }, differs = { 0 }, fixed = { 0 };
	for (int i = 0; i < rel->ncolumns; i++) {
		if (!takes_value(place, shape, &rel->columns[i]))
			continue;
		if (rel->columns[i].identity_always)
			return NULL;
		if (!find && rel->columns[i].fixed)
			continue;
		put_change(&set, &differs, place, shape, &rel->columns[i]);
	}
	if (set.len == 0 && !set.failed)
		return NULL;
	put_own_rows(&sql, find ? "SELECT x.n FROM " : "UPDATE ", rel);
	buf_printf(&sql, " t%d%s%s%s", target_table(place), find ? ", " : " SET ",
		   find ? "" : set.data, find ? "" : " FROM ");
	put_pairs(&sql, place, shape);
	/* a rule may return nothing */
	bool returns = !find && rel->rules.n == 0;
	buf_printf(&sql, " AND (%s)", differs.data);
	if (!find)
		put_fixed(&fixed, place, shape);
	if (fixed.len > 0)
		buf_printf(&sql, " AND NOT (%s)", fixed.data);
	buf_puts(&sql, returns ? " RETURNING x.n" : "");
	return buf_take(&sql);
}

char *sql_pairs_aside(const struct place *place, const struct shape *shape) {
	AUTO_BUF struct buf sql = { 0 }, set = { 0 }, moves = { 0 };
	if (!put_aside(&set, &moves, place, shape, NULL, "x.n"))
		return NULL;
	put_own_rows(&sql, "UPDATE ", target_of(place));
	buf_printf(&sql, " t%d SET %s FROM ", target_table(place), set.data);
	put_pairs(&sql, place, shape);
	buf_printf(&sql, " AND (%s)", moves.data);
	return buf_take(&sql);
}

char *sql_pairs_update(const struct place *place, const struct shape *shape) {
	return update_or_find(place, shape, false);
}

char *sql_pairs_differing(const struct place *place, const struct shape *shape) {
	return update_or_find(place, shape, true);
}

char *sql_pairs_count(const struct place *place, const struct shape *shape) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_rows(&sql, "SELECT pg_catalog.count(*) FROM ", target_of(place));
	buf_printf(&sql, " t%d, ", target_table(place));
	put_pairs(&sql, place, shape);
	return buf_take(&sql);
}

bool sql_pairs_have_key(const struct place *place) {
	return key_of_rows(place) != NULL;
}

char *sql_pairs_delete(const struct place *place, bool others, bool keyed, const char *snapshot) {
	AUTO_BUF struct buf sql = { 0 };
	const struct column *alike = NULL;
	buf_printf(&sql, "%s AND %s(", place->sql.remove.sql, others ? "NOT " : "");
	for (int i = 0; i < key_length(place); i++) {
		alike = column_alike(i, alike, key_column(place, i));
		put_column(&sql, i > 0 ? ", " : "", place->target, key_name(place, i));
	}
	buf_putc(&sql, ')');
	put_operator(&sql, "=", alike, NULL);
	buf_puts(&sql, "ANY (SELECT ");
	for (int i = 0; i < key_length(place); i++)
		buf_printf(&sql, "%s(x.k->>%d)::%s", i > 0 ? ", " : "", i, key_type(place, i));
	buf_printf(&sql, " FROM pg_catalog.json_array_elements($%d::json) x(k))",
		   place->nparams + (keyed ? 2 : 1));
	if (keyed)
		put_absent(&sql, place);
	put_older(&sql, place, snapshot);
	return buf_take(&sql);
}
