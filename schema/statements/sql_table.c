/* Many rows as one JSON document: read as one body, written by statements that update what differs,
 * insert what is new and delete what is absent. */
#include "schema/statements/sql_write.h"

#include <string.h>

/* -- reading ----------------------------------------------------------------------------------- */

static void put_order(struct buf *sql, const struct place *place) {
	int n = 0;
	for (; place->order[n] != NULL; n++)
		put_column(sql, n > 0 ? ", " : "", place->target, place->order[n]->name);
	const struct relation *rel = place->scope.tables[place->target].rel;
	if (rel->inherited) /* whose key does not hold for all rows */
		buf_printf(sql, "%st%d.tableoid", n++ > 0 ? ", " : "", place->target);
	if (rel->inherited || relation_key(rel) == NULL)
		buf_printf(sql, "%st%d.ctid", n > 0 ? ", " : "", place->target);
}

/* The whole document as an aggregate over the target's rows. */
static void put_body(struct buf *sql, const struct place *place) {
	char alias[16];
	const char *open = place->by != NULL ? "{" : "[", *close = place->by != NULL ? "}" : "]";
	snprintf(alias, sizeof(alias), "t%d", place->target);
	buf_printf(sql, "coalesce(E'%s\\n    ' || pg_catalog.string_agg(", open);
	if (place->by != NULL) {
		put_column(sql, "pg_catalog.to_json(", place->target, place->by->name);
		buf_puts(sql, "::text)::text || ': ' || ");
	}
	put_object(sql, place, alias, 2, place->by);
	buf_puts(sql, ", E',\\n    ' ORDER BY ");
	put_order(sql, place);
	buf_printf(sql, ") || E'\\n%s\\n', E'%s%s\\n')", close, open, close);
}

enum listing { LIST_NONE, LIST_FIRST, LIST_NEXT };

/* The conditions that choose the names: one name (LIST_NONE), or a page of them. TARGET: the
 * target's own are among them. */
static void put_names(struct buf *sql, const struct place *place, bool target, enum listing list) {
	if (list == LIST_NONE && target) {
		put_conditions(sql, "", place, false);
	} else if (list == LIST_NONE) {
		put_parent_conditions(sql, "", place, place->target);
	} else if (target) {
		put_conditions(sql, "", place, true);
	} else {
		put_parent_conditions(sql, "", place->parent, place->target);
		for (int t = place->parent->scope.n; t < place->scope.n; t++)
			if (t != place->target && place->scope.tables[t].joined != place->target)
				put_join(sql, place, t);
	}
	if (list == LIST_NONE)
		return;
	put_keys_not_null(sql, place);
	if (list == LIST_NEXT)
		put_list_cursor(sql, place, place->parent->nparams + 1);
}

static void put_page_end(struct buf *sql, const struct place *place, enum listing list) {
	int first = place->parent->nparams + 1;
	if (list == LIST_NONE)
		return;
	buf_puts(sql, " ORDER BY ");
	put_list_order(sql, place);
	buf_printf(sql, " LIMIT $%d::int", list == LIST_NEXT ? first + place->nkeys : first);
}

/* A file that exists while it has rows: one group of them for each name. "FROM (...) b". */
static void put_groups(struct buf *sql, const struct place *place, enum listing list) {
	put_own_keys(sql, " FROM (SELECT ", place);
	put_body(sql, place);
	buf_puts(sql, ", ");
	put_mtime(sql, place->target, place->mtime, "max");
	put_tables(sql, " FROM ", place, -1);
	buf_puts(sql, " WHERE ");
	put_names(sql, place, true, list);
	if (place->nkeys > 0) {
		buf_puts(sql, " GROUP BY ");
		put_list_order(sql, place);
	} else {
		buf_puts(sql, " HAVING pg_catalog.count(*) > 0");
	}
	put_page_end(sql, place, list);
	buf_puts(sql, ") b (");
	for (int i = 0; i < place->nkeys; i++)
		buf_printf(sql, "k%d, ", i);
	buf_puts(sql, "body, mtime)");
}

/* A file that exists while its parent row does, or always. "FROM parents, (...) b WHERE ...". */
static void put_owned(struct buf *sql, const struct place *place, enum listing list) {
	AUTO_BUF struct buf parents = { 0 };
	buf_puts(sql, " FROM ");
	if (put_tables(&parents, "", place, place->target) > 0)
		buf_printf(sql, "%s, ", parents.data);
	buf_puts(sql, "LATERAL (SELECT ");
	put_body(sql, place);
	buf_puts(sql, ", ");
	put_mtime(sql, place->target, place->mtime, "max");
	put_relation(sql, " FROM ", place->scope.tables[place->target].rel);
	buf_printf(sql, " t%d WHERE true", place->target);
	put_join(sql, place, place->target);
	buf_puts(sql, ") b (body, mtime) WHERE ");
	put_names(sql, place, false, list);
	put_page_end(sql, place, list);
}

static void put_from(struct buf *sql, const struct place *place, enum listing list) {
	if (place->grouped)
		put_groups(sql, place, list);
	else
		put_owned(sql, place, list);
}

static void build_find(struct place *place, enum listing list, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, "SELECT ");
	if (place->grouped)
		for (int i = 0; i < place->nkeys; i++)
			buf_printf(&sql, "b.k%d, ", i);
	else
		put_own_keys(&sql, "", place);
	buf_puts(&sql, "pg_catalog.md5(b.body), b.mtime, ");
	put_bytes_of(&sql, place, "b.body");
	buf_puts(&sql, "::text, ");
	if (list == LIST_NONE) {
		buf_puts(&sql, "CASE WHEN ");
		put_bytes_of(&sql, place, "b.body");
		buf_printf(&sql, " <= %d THEN b.body END, NULL", SQL_INLINE_BODY);
	} else
		buf_puts(&sql, "NULL, NULL");
	put_from(&sql, place, list);
	statement_take(place, st, &sql);
}

void sql_build_table(struct place *place) {
	AUTO_BUF struct buf sql = { 0 };
	build_find(place, LIST_NONE, &place->sql.find);
	buf_puts(&sql, "SELECT pg_catalog.md5(b.body), b.body");
	put_from(&sql, place, LIST_NONE);
	statement_take(place, &place->sql.body, &sql);
	sql_build_pieces(place);
	sql_rows_bare(place, &place->sql.bare);
	if (place->nkeys > 0) {
		build_find(place, LIST_FIRST, &place->sql.list_first);
		build_find(place, LIST_NEXT, &place->sql.list_next);
		sql_rows_names(place, false, &place->sql.names_first);
		sql_rows_names(place, true, &place->sql.names_next);
		place->sql.list_dear = true;
	}
}

/* -- writing ----------------------------------------------------------------------------------- */

/* What tells the rows of PLACE's files apart: a rows file whose lines show their key is written as
 * a document is. */
static const struct name_list *match_of(const struct place *place) {
	return place->match != NULL || place->route->kind == KIND_TABLE
		       ? place->match
		       : relation_key(target_of(place));
}

bool sql_table_has_key(const struct place *place, const struct shape *shape) {
	const struct relation *rel = target_of(place);
	const struct name_list *match = match_of(place);
	for (int i = 0; match != NULL && i < match->n; i++) {
		const char *name = match->names[i];
		if (!shape_has(shape, name) && !is_bound(place, relation_column(rel, name)))
			return false;
	}
	return match != NULL;
}

/* The I-th column of the key, or NULL if the path says it already, so that an element need not. */
static const struct column *match_column(const struct place *place, int i) {
	const struct relation *rel = target_of(place);
	const struct column *column = relation_column(rel, match_of(place)->names[i]);
	return is_bound(place, column) ? NULL : column;
}

/* "AND d.key = t.key" */
static void put_match(struct buf *sql, const struct place *place) {
	for (int i = 0; i < match_of(place)->n; i++) {
		const struct column *column = match_column(place, i);
		if (column != NULL)
			put_same(sql, place, column);
	}
}

/* "source, other tables" */
static void put_sources(struct buf *sql, const struct place *place, const struct shape *shape) {
	put_source(sql, place, shape, SOURCE_ORDERED);
	put_tables(sql, ", ", place, place->target);
}

/* Which row an element stands for, and that it agrees with the path. */
static void put_same_row(struct buf *sql, const struct place *place, const struct shape *shape) {
	put_conditions(sql, "", place, false);
	put_match(sql, place);
	put_agreement(sql, place, shape, false);
	put_same_identity(sql, place, shape);
}

char *sql_table_twice(const struct place *place) {
	const struct shape none = { 0 };
	AUTO_BUF struct buf sql = { 0 }, keys = { 0 };
	int n = 0;
	for (int i = 0; i < match_of(place)->n; i++) {
		const struct column *column = match_column(place, i);
		if (column == NULL)
			continue;
		put_d(&keys, n++ > 0 ? ", " : "", column->name);
	}
	buf_printf(&sql, n > 0 ? "SELECT pg_catalog.concat_ws(', ', %s) FROM " : "SELECT '' FROM ",
		   keys.data);
	put_source(&sql, place, &none, SOURCE_ORDERED);
	if (n > 0)
		buf_printf(&sql, " GROUP BY %s", keys.data);
	buf_puts(&sql, " HAVING pg_catalog.count(*) > 1 LIMIT 1");
	return buf_take(&sql);
}

/* With FIND, how many rows the DELETE would delete. */
static char *delete_or_find(const struct place *place, const char *snapshot, bool find) {
	const struct shape none = { 0 };
	AUTO_BUF struct buf sql = { 0 };
	put_own_rows(&sql, find ? "SELECT pg_catalog.count(*) FROM " : "DELETE FROM ",
		     target_of(place));
	buf_printf(&sql, " t%d", place->target);
	put_tables(&sql, find ? ", " : " USING ", place, place->target);
	put_conditions(&sql, " WHERE ", place, false);
	buf_puts(&sql, " AND NOT EXISTS (SELECT 1 FROM ");
	put_source(&sql, place, &none, SOURCE_ORDERED);
	buf_puts(&sql, " WHERE true");
	put_match(&sql, place);
	buf_putc(&sql, ')');
	put_older(&sql, place, snapshot);
	return buf_take(&sql);
}

char *sql_table_delete(const struct place *place, const char *snapshot) {
	return match_of(place) != NULL ? delete_or_find(place, snapshot, false)
				       : sql_remove_older(place, snapshot, false);
}

char *sql_table_absent(const struct place *place, const char *snapshot) {
	return match_of(place) != NULL ? delete_or_find(place, snapshot, true) : NULL;
}

/* Which columns: those that the role may update, the others, or all. */
enum set_of_columns { SET_OWN, SET_FIXED, SET_ALL };

static bool is_in_set(enum set_of_columns which, const struct column *column) {
	return which == SET_ALL || column->fixed == (which == SET_FIXED);
}

/* What the UPDATE of these columns sets, and whether that changes something; both empty: nothing is
 * set. */
static void put_changes(struct buf *set, struct buf *differs, const struct place *place,
			const struct shape *shape, enum set_of_columns which) {
	const struct relation *rel = target_of(place);
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		if (takes_value(place, shape, column) && !column->identity_always &&
		    is_in_set(which, column) && !name_list_has(match_of(place), column->name))
			put_change(set, differs, place, shape, column);
	}
}

/* ", count(*) FILTER (...)": of how many rows these columns differ. */
static void put_count_of(struct buf *sql, const struct place *place, const struct shape *shape,
			 enum set_of_columns which) {
	AUTO_BUF struct buf set = { 0 }, differs = { 0 };
	put_changes(&set, &differs, place, shape, which);
	buf_printf(sql, ", pg_catalog.count(*) FILTER (WHERE %s)",
		   differs.len > 0 ? differs.data : "false");
}

char *sql_table_count(const struct place *place, const struct shape *shape) {
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, "SELECT pg_catalog.count(*)");
	put_count_of(&sql, place, shape, SET_ALL);
	put_count_of(&sql, place, shape, SET_FIXED);
	put_relation(&sql, " FROM ", place->scope.tables[place->target].rel);
	buf_printf(&sql, " t%d, ", place->target);
	put_sources(&sql, place, shape);
	buf_puts(&sql, " WHERE ");
	put_same_row(&sql, place, shape);
	return buf_take(&sql);
}

/* "FROM ... WHERE ... AND (CONDITION)": the objects' rows for which it holds. */
static void put_rows_where(struct buf *sql, const struct place *place, const struct shape *shape,
			   const struct buf *condition) {
	put_sources(sql, place, shape);
	buf_puts(sql, " WHERE ");
	put_same_row(sql, place, shape);
	buf_printf(sql, " AND (%s)", condition->data);
}

char *sql_table_update(const struct place *place, const struct shape *shape, bool fixed) {
	AUTO_BUF struct buf sql = { 0 }, set = { 0 }, differs = { 0 };
	put_changes(&set, &differs, place, shape, fixed ? SET_ALL : SET_OWN);
	if (set.len == 0 && !set.failed)
		return NULL;
	put_own_rows(&sql, "UPDATE ", target_of(place));
	buf_printf(&sql, " t%d SET %s FROM ", target_table(place), set.data);
	put_rows_where(&sql, place, shape, &differs);
	return buf_take(&sql);
}

char *sql_table_aside(const struct place *place, const struct shape *shape) {
	AUTO_BUF struct buf sql = { 0 }, set = { 0 }, moves = { 0 };
	if (!put_aside(&set, &moves, place, shape, match_of(place), "e.n"))
		return NULL;
	put_own_rows(&sql, "UPDATE ", target_of(place));
	buf_printf(&sql, " t%d SET %s FROM ", target_table(place), set.data);
	put_rows_where(&sql, place, shape, &moves);
	return buf_take(&sql);
}

/* " AND ...": the object has no row here. */
static void put_without_row(struct buf *sql, const struct place *place, const struct shape *shape) {
	if (!sql_table_has_key(place, shape))
		return;
	put_tables(sql, " AND NOT EXISTS (SELECT 1 FROM ", place, -1);
	put_conditions(sql, " WHERE ", place, false);
	put_match(sql, place);
	buf_putc(sql, ')');
}

char *sql_table_insert(const struct place *place, const struct shape *shape) {
	AUTO_BUF struct buf sql = { 0 };
	if (!put_insert(&sql, place, shape, SOURCE_ORDERED))
		return NULL;
	put_without_row(&sql, place, shape);
	buf_puts(&sql, " ORDER BY e.n");
	return buf_take(&sql);
}

char *sql_table_skipped(const struct place *place, const struct shape *shape) {
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, "SELECT pg_catalog.count(*)");
	put_rows(&sql, place, shape, SOURCE_ORDERED);
	put_without_row(&sql, place, shape);
	return buf_take(&sql);
}
