/* The statements of every place: finding and listing names, and changing rows as a whole. */
#include "schema/layout/slice.h"
#include "schema/statements/sql.h"
#include "schema/statements/sql_parts.h"
#include "db/quote.h"

#include <string.h>

/* -- directories ------------------------------------------------------------------------------- */

static void find_directory(struct place *place, bool by_id, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_keys(&sql, "SELECT ", place);
	buf_puts(&sql, "NULL, ");
	put_mtime(&sql, place->row_table, place->row_dir ? place->mtime : NULL, "");
	buf_puts(&sql, ", '0', NULL, ");
	put_id(&sql, place);
	put_tables(&sql, " FROM ", place, -1);
	put_conditions(&sql, " WHERE ", place, by_id);
	if (by_id) {
		buf_puts(&sql, " AND ");
		put_id(&sql, place);
		buf_printf(&sql, " = $%d", place->nparams);
	}
	buf_puts(&sql, " LIMIT 1");
	if (by_summary(place))
		sql_slice_find(place, sql.data, st);
	else
		statement_take(place, st, &sql);
}

static void list_directory(struct place *place, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	bool group = !place->row_dir;
	if (by_summary(place)) {
		sql_slice_list(place, next, st);
		return;
	}
	put_own_keys(&sql, "SELECT ", place);
	buf_puts(&sql, "NULL, ");
	put_mtime(&sql, place->row_table, group ? NULL : place->mtime, "");
	buf_puts(&sql, ", '0', NULL, ");
	if (group)
		buf_puts(&sql, "NULL");
	else
		put_id(&sql, place);
	put_tables(&sql, " FROM ", place, -1);
	put_conditions(&sql, " WHERE ", place, true);
	put_list_rest(&sql, place, next, group);
	statement_take(place, st, &sql);
}

/* -- key texts --------------------------------------------------------------------------------- */

static void build_check(struct place *place) {
	AUTO_BUF struct buf sql = { 0 };
	for (int i = 0; i < place->nkeys; i++) {
		const struct key *key = &place->keys[i];
		if (key->column == NULL || (key->format == NULL && is_text_type(key->column)))
			continue;
		buf_puts(&sql, sql.len == 0 ? "SELECT " : " AND ");
		if (key->format == NULL) {
			buf_printf(&sql, "$%d::%s::text = $%d", key->param + 1, key->column->type,
				   key->param + 1);
			continue;
		}
		AUTO_BUF struct buf condition = { 0 };
		put_key_condition(&condition, key, "x");
		/* the last of its terms compares texts and needs no table */
		const char *text = condition.data != NULL
					   ? strstr(condition.data, "pg_catalog.to_char")
					   : NULL;
		buf_puts(&sql, text != NULL ? text : "true");
	}
	if (sql.len > 0)
		statement_take(place, &place->sql.check, &sql);
}

/* -- rows as a whole --------------------------------------------------------------------------- */

static void put_delete(struct buf *sql, const struct place *place, int target) {
	put_own_rows(sql, "DELETE FROM ", place->scope.tables[target].rel);
	buf_printf(sql, " t%d", target);
	put_tables(sql, " USING ", place, target);
	put_conditions(sql, " WHERE ", place, false);
}

/* "AND NOT EXISTS (child)" for every table below PLACE that refers to TARGET. */
static void put_no_children(struct buf *sql, const struct place *place, int target) {
	for (int i = 0; i < place->nchildren; i++) {
		const struct place *child = place->children[i];
		for (int t = target + 1; t < child->scope.n; t++) {
			const struct scope_table *table = &child->scope.tables[t];
			bool new_here = t >= place->scope.n;
			if (table->joined != target || table->upwards || !new_here)
				continue;
			put_relation(sql, " AND NOT EXISTS (SELECT 1 FROM ", table->rel);
			buf_printf(sql, " t%d WHERE true", t);
			put_join(sql, child, t);
			buf_putc(sql, ')');
		}
		put_no_children(sql, child, target);
	}
}

static void build_remove(struct place *place, int target, bool empty, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_delete(&sql, place, target);
	if (empty)
		put_no_children(&sql, place, target);
	statement_take(place, st, &sql);
}

/* " OR EXISTS (a row that refers by FK)" */
static void put_referring(struct buf *sql, int target, const struct relation *target_rel,
			  const struct relation *rel, const struct foreign_key *fk) {
	put_relation(sql, " OR EXISTS (SELECT 1 FROM ", rel);
	buf_puts(sql, " c WHERE true");
	for (int i = 0; i < fk->columns.n; i++) {
		put_name(sql, " AND c.", fk->columns.names[i]);
		put_operator(sql, "=", relation_column(rel, fk->columns.names[i]),
			     relation_column(target_rel, fk->references.names[i]));
		put_column(sql, "", target, fk->references.names[i]);
	}
	buf_putc(sql, ')');
}

char *sql_find_referred(const struct place *place, const struct catalog *catalog) {
	int target = place->target;
	int64_t oid = place->scope.tables[target].rel->oid;
	AUTO_BUF struct buf sql = { 0 }, known = { 0 };
	put_tables(&sql, "SELECT 1 FROM ", place, -1);
	put_conditions(&sql, " WHERE ", place, false);
	buf_puts(&sql, " AND (false");
	buf_puts(&known, "0");
	for (int i = 0; i < catalog->nrelations; i++) {
		const struct relation *rel = &catalog->relations[i];
		buf_printf(&known, ", %lld", (long long)rel->oid);
		for (int k = 0; k < rel->nparents; k++)
			if (rel->parents[k].relation == oid)
				put_referring(&sql, target, place->scope.tables[target].rel, rel,
					      &rel->parents[k]);
	}
	buf_printf(&sql,
		   " OR EXISTS (SELECT 1 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND "
		   "confrelid = %lld AND confdeltype IN ('c', 'n', 'd') AND conrelid NOT IN (%s)))"
		   " LIMIT 1",
		   (long long)oid, known.data != NULL ? known.data : "");
	return known.failed ? NULL : buf_take(&sql);
}

/* UPDATE that gives the own keys new values: the K parameters after the path's. */
static void build_rename(struct place *place) {
	AUTO_BUF struct buf sql = { 0 };
	int target = place->row_table;
	for (int i = 0; i < place->nkeys; i++)
		if (place->keys[i].format != NULL)
			return;
	put_own_rows(&sql, "UPDATE ", place->scope.tables[target].rel);
	buf_printf(&sql, " t%d SET ", target);
	for (int i = 0; i < place->nkeys; i++) {
		put_name(&sql, i > 0 ? ", " : "", place->keys[i].column->name);
		buf_printf(&sql, " = $%d::%s", place->nparams + 1 + i, place->keys[i].column->type);
	}
	put_tables(&sql, " FROM ", place, target);
	put_conditions(&sql, " WHERE ", place, false);
	put_key_guard(&sql, place, place->nparams + 1);
	statement_take(place, &place->sql.rename, &sql);
}

static bool column_given(const struct place *place, int target, const struct column *column) {
	const struct scope_table *table = &place->scope.tables[target];
	if (table->fk != NULL && !table->upwards &&
	    name_list_has(&table->fk->columns, column->name))
		return true;
	for (const struct place *p = place; p != NULL; p = p->parent)
		for (int i = 0; i < p->nkeys; i++)
			if (p->keys[i].table == target && p->keys[i].column == column)
				return true;
	return false;
}

static void build_insert(struct place *place, int target) {
	const struct relation *rel = place->scope.tables[target].rel;
	bool plain = true;
	for (int i = 0; i < place->nkeys; i++)
		plain = plain && place->keys[i].format == NULL;
	place->sql.insertable = plain;
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		if (column->not_null && !column->has_default && !column->generated &&
		    !column_given(place, target, column))
			place->sql.insertable = false;
	}
	const struct shape none = { 0 };
	AUTO_FREE char *text = sql_insert(place, &none, SOURCE_ONE);
	if (text == NULL)
		return;
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, text);
	statement_take(place, &place->sql.insert, &sql);
}

/* -- all --------------------------------------------------------------------------------------- */

/* A directory that only shows parts of a row (two of its columns, say) is not the row: emptying it
 * must not delete it. */
static bool has_row_document(const struct place *place) {
	const struct relation *rel = place->scope.tables[place->row_table].rel;
	for (int i = 0; i < place->nchildren; i++) {
		const struct place *child = place->children[i];
		if (child->route != NULL && child->route->kind == KIND_ROW && child->nkeys == 0 &&
		    child->scope.tables[child->target].rel == rel)
			return true;
	}
	return false;
}

static void build_directory(struct place *place) {
	struct place_sql *sql = &place->sql;
	if (place->row_table < 0)
		return;
	find_directory(place, false, &sql->find);
	list_directory(place, false, &sql->list_first);
	list_directory(place, true, &sql->list_next);
	if (!place->row_dir)
		return;
	if (place->nkeys == 1 && place->keys[0].format == NULL)
		find_directory(place, true, &sql->find_by_id);
	place->owns_row = has_row_document(place);
	if (!place->owns_row)
		return;
	build_remove(place, place->row_table, true, &sql->remove_empty);
	build_rename(place);
	build_insert(place, place->row_table);
}

static bool build_place(struct place *place) {
	build_check(place);
	if (place->route == NULL) {
		build_directory(place);
		return true;
	}
	switch (place->route->kind) {
	case KIND_FILE:
		break;
	case KIND_QUERY:
		sql_build_query(place);
		return place->sql.find.sql != NULL;
	case KIND_ROW:
		build_remove(place, place->target, false, &place->sql.remove);
		if (place->nkeys > 0 && place->row_table == place->target)
			build_rename(place);
		sql_build_find_document(place);
		return place->sql.find.sql != NULL;
	case KIND_COLUMN:
		sql_build_find_document(place);
		return place->sql.find.sql != NULL;
	case KIND_TABLE:
		build_remove(place, place->target, false, &place->sql.remove);
		sql_build_table(place);
		return place->sql.find.sql != NULL;
	case KIND_ROWS:
		build_remove(place, place->target, false, &place->sql.remove);
		sql_build_rows(place);
		return place->sql.find.sql != NULL;
	}
	return true;
}

static void build_timer(struct arena *memory, struct tree_timer *timer) {
	AUTO_BUF struct buf sql = { 0 };
	put_name(&sql, "SELECT ", timer->function->schema);
	buf_putc(&sql, '.');
	db_quote_ident(&sql, timer->function->name);
	buf_puts(&sql, "()");
	timer->sql = arena_keep(memory, buf_take(&sql));
}

bool sql_build(struct tree *tree) {
	bool ok = true;
	for (int i = 0; ok && i < tree->nall; i++)
		ok = build_place(tree->all[i]);
	for (int i = 0; i < tree->ntimers; i++)
		build_timer(&tree->memory, &tree->timers[i]);
	return ok && !tree->memory.failed;
}

bool sql_use_slices(struct tree *tree) {
	for (int i = 0; i < tree->nall; i++) {
		struct place *place = tree->all[i];
		if (place->slice == NULL || !place->slice->usable)
			continue;
		place->sql = (struct place_sql){ 0 };
		if (!build_place(place))
			return false;
	}
	return true;
}
