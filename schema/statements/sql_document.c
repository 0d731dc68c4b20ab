/* Documents: one row or one column, read as one body, written as one statement. */
#include "schema/layout/match.h"
#include "schema/statements/sql_parts.h"
#include "util/text/strings.h"
#include "db/quote.h"

#include <string.h>

/* -- reading ----------------------------------------------------------------------------------- */

static void put_column_body(struct buf *sql, const struct place *place) {
	const struct column *column = place->column;
	AUTO_BUF struct buf ref = { 0 };
	put_column(&ref, "", place->target, column->name);
	if (strcmp(column->base, "bytea") == 0)
		buf_puts(sql, ref.data);
	else if (strcmp(column->base, "text") == 0)
		buf_printf(sql, "%s::text", ref.data);
	else if (strcmp(column->base, "jsonb") == 0)
		buf_printf(sql, "coalesce(pg_catalog.jsonb_pretty(%s), 'null') || E'\\n'",
			   ref.data);
	else if (strcmp(column->base, "json") == 0)
		buf_printf(sql, "coalesce(%s::text, 'null') || E'\\n'", ref.data);
	else
		buf_printf(sql, "%s::text || E'\\n'", ref.data);
}

static void put_body(struct buf *sql, const struct place *place) {
	char alias[16];
	snprintf(alias, sizeof(alias), "t%d", place->target);
	if (place->route->kind == KIND_COLUMN)
		put_column_body(sql, place);
	else
		put_document(sql, place, alias);
}

/* A column that the role may not read: its file is there, and has no body. */
static bool is_unread(const struct place *place) {
	return place->column != NULL && place->column->hidden;
}

/* True if PLACE's rows are stored, so that each costs nothing to look at; those of a view or a
 * foreign table are worked out. */
static bool is_stored(const struct place *place) {
	char kind = place->scope.tables[place->target].rel->kind;
	return kind == 'r' || kind == 'p' || kind == 'm';
}

/* True if the role may read each row's version. */
static bool has_versions(const struct place *place) {
	return place->scope.tables[place->target].rel->versions;
}

static void put_row_version(struct buf *sql, const struct place *place) {
	buf_printf(sql, "t%d.xmin::text || t%d.ctid::text", place->target, place->target);
}

/* What changes when the body does: the row's version where it can be read. */
static void put_version(struct buf *sql, const struct place *place) {
	if (is_unread(place))
		buf_puts(sql, "'-'");
	else if (has_versions(place))
		put_row_version(sql, place);
	else
		buf_puts(sql, "pg_catalog.md5(b.body::text)");
}

static bool is_bytes(const struct place *place) {
	return place->column != NULL && strcmp(place->column->base, "bytea") == 0;
}

/* "size, body" */
static void put_sized_body(struct buf *sql, const struct place *place, int inline_body) {
	AUTO_BUF struct buf size = { 0 };
	if (is_unread(place)) {
		buf_puts(sql, "'0', NULL");
		return;
	}
	if (is_bytes(place))
		buf_puts(&size, "pg_catalog.octet_length(b.body)");
	else
		put_bytes_of(&size, place, "b.body");
	buf_printf(sql, "%s::text, CASE WHEN %s <= %d THEN b.body END",
		   size.data != NULL ? size.data : "", size.data != NULL ? size.data : "",
		   inline_body);
}

/* "SELECT keys, version, mtime, size, body, id FROM tables, LATERAL body b"; the body where it has
 * at most INLINE_BODY bytes. */
static void put_select(struct buf *sql, const struct place *place, int inline_body) {
	put_own_keys(sql, "SELECT ", place);
	put_version(sql, place);
	buf_puts(sql, ", ");
	put_mtime(sql, place->target, place->mtime, "");
	buf_puts(sql, ", ");
	put_sized_body(sql, place, inline_body);
	buf_puts(sql, ", ");
	if (inline_body == SQL_LIST_BODY)
		put_list_id(sql, place);
	else
		buf_puts(sql, "NULL");
	put_tables(sql, " FROM ", place, -1);
	if (is_unread(place)) {
		buf_puts(sql, " WHERE ");
		return;
	}
	/* OFFSET 0 keeps the planner from rendering the body once for each use */
	buf_puts(sql, ", LATERAL (SELECT ");
	put_body(sql, place);
	buf_puts(sql, " AS body OFFSET 0) b WHERE ");
}

static void put_has_body(struct buf *sql, const struct place *place) {
	buf_puts(sql, is_unread(place) ? "" : " AND b.body IS NOT NULL");
}

static void put_is_id(struct buf *sql, const struct place *place) {
	buf_puts(sql, " AND ");
	put_id(sql, place);
	buf_printf(sql, " = $%d", place->nparams);
}

static void build_find(struct place *place, bool by_id, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_select(&sql, place, SQL_INLINE_BODY);
	put_conditions(&sql, "", place, by_id);
	put_has_body(&sql, place);
	if (by_id)
		put_is_id(&sql, place);
	statement_take(place, st, &sql);
}

static void build_list(struct place *place, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_select(&sql, place, SQL_LIST_BODY);
	put_conditions(&sql, "", place, true);
	put_has_body(&sql, place);
	put_list_rest(&sql, place, next, false);
	statement_take(place, st, &sql);
}

/* The column of a row has a file, unless it is NULL; JSON has one in any case. */
static void put_has_file(struct buf *sql, const struct place *place) {
	if (strncmp(place->column->base, "json", 4) == 0 || is_unread(place))
		return;
	put_column(sql, " AND ", place->target, place->column->name);
	buf_puts(sql, " IS NOT NULL");
}

/* What is there, with its version and time: nothing is rendered. */
static void build_bare(struct place *place, bool by_id, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_keys(&sql, "SELECT ", place);
	if (has_versions(place) && !is_unread(place))
		put_row_version(&sql, place);
	else
		buf_puts(&sql, "NULL");
	buf_puts(&sql, ", ");
	put_mtime(&sql, place->target, place->mtime, "");
	buf_puts(&sql, ", NULL, NULL, NULL");
	put_tables(&sql, " FROM ", place, -1);
	put_conditions(&sql, " WHERE ", place, by_id);
	if (place->route->kind == KIND_COLUMN && !is_unread(place))
		put_has_file(&sql, place);
	if (by_id)
		put_is_id(&sql, place);
	statement_take(place, st, &sql);
}

/* Names alone: nothing is rendered. */
static void build_names(struct place *place, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_keys(&sql, "SELECT ", place);
	buf_puts(&sql, "NULL, NULL, '0', NULL, ");
	put_list_id(&sql, place);
	put_tables(&sql, " FROM ", place, -1);
	put_conditions(&sql, " WHERE ", place, true);
	if (place->route->kind == KIND_COLUMN)
		put_has_file(&sql, place);
	put_list_rest(&sql, place, next, false);
	statement_take(place, st, &sql);
}

static void build_body(struct place *place) {
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, "SELECT ");
	put_version(&sql, place); /* of what may not be read, the server says so */
	put_tables(&sql, ", b.body FROM ", place, -1);
	buf_puts(&sql, ", LATERAL (SELECT ");
	put_body(&sql, place);
	put_conditions(&sql, " AS body OFFSET 0) b WHERE ", place, false);
	statement_take(place, &place->sql.body, &sql);
}

void sql_build_pieces(struct place *place) {
	AUTO_BUF struct buf sql = { 0 };
	if (place->sql.body.sql == NULL)
		return;
	/* a value of its own, since a piece of a compressed one would be taken out of all of it
	 * each time */
	buf_printf(
		&sql,
		"DECLARE " SQL_PIECES " NO SCROLL CURSOR FOR SELECT v.version, (i - 1)::text, "
		"substring(v.bytes FROM i FOR %d) FROM (SELECT s.version, %s AS bytes FROM (%s) s "
		"(version, body) OFFSET 0) v, pg_catalog.generate_series(1, pg_catalog.octet_length(v.bytes), %d) i",
		SQL_PIECE,
		is_bytes(place) ? "s.body || ''::bytea" : "pg_catalog.convert_to(s.body, 'UTF8')",
		place->sql.body.sql, SQL_PIECE);
	place->sql.pieces = arena_keep(place->memory, buf_take(&sql));
}

/* -- one column -------------------------------------------------------------------------------- */

/* REMOVES: where there is no file to remove, no row is changed. */
static void build_set(struct place *place, const char *value, bool removes,
		      struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_rows(&sql, "UPDATE ", place->scope.tables[place->target].rel);
	buf_printf(&sql, " t%d SET ", place->target);
	db_quote_ident(&sql, place->column->name);
	buf_printf(&sql, " = %s", value);
	put_tables(&sql, " FROM ", place, place->target);
	put_conditions(&sql, " WHERE ", place, false);
	if (removes)
		put_has_file(&sql, place);
	statement_take(place, st, &sql);
}

static void build_row(struct place *place) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_rows(&sql, "SELECT 1 FROM ", place->scope.tables[place->target].rel);
	buf_printf(&sql, " t%d", place->target);
	put_tables(&sql, ", ", place, place->target);
	put_conditions(&sql, " WHERE ", place, false);
	/* so that policies of UPDATE hold for it */
	buf_printf(&sql, " FOR UPDATE OF t%d", place->target);
	statement_take(place, &place->sql.row, &sql);
}

/* A row if the column is as the file says: shown in the same way. The value is taken as the column
 * takes it, with its length and scale. */
static void build_same(struct place *place) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	const struct column *column = place->column;
	int param = place->nparams + 1;
	AUTO_BUF struct buf sql = { 0 }, old = { 0 };
	put_column(&old, "", place->target, column->name);
	put_own_rows(&sql, "SELECT 1 FROM ", rel);
	buf_printf(&sql, " t%d", place->target);
	put_tables(&sql, ", ", place, place->target);
	put_conditions(&sql, " WHERE ", place, false);
	if (is_bytes(place)) {
		buf_printf(&sql, " AND %s OPERATOR(pg_catalog.=) $%d", old.data, param);
	} else if (strncmp(column->base, "json", 4) == 0) {
		buf_printf(&sql, " AND coalesce(%s::text, 'null') = ($%d::%s)::text COLLATE \"C\"",
			   old.data, param, column->base);
	} else if (strcmp(column->type, "text") == 0) {
		buf_printf(&sql, " AND %s::text = $%d::text COLLATE \"C\"", old.data, param);
	} else {
		buf_printf(&sql,
			   " AND %s::text = (pg_catalog.json_populate_record(NULL::", old.data);
		put_relation(&sql, "", rel);
		buf_puts(&sql, ", pg_catalog.json_build_object(");
		db_quote_literal(&sql, column->name);
		buf_printf(&sql, ", $%d::text)))", param);
		put_name(&sql, ".", column->name);
		buf_puts(&sql, "::text COLLATE \"C\"");
	}
	statement_take(place, &place->sql.same, &sql);
}

static void build_column_writes(struct place *place) {
	AUTO_BUF struct buf value = { 0 }, more = { 0 };
	const char *base = place->column->base;
	int param = place->nparams + 1;
	bool bytes = strcmp(base, "bytea") == 0;
	/* a cast to the type without its length: too long a value is then an error, not cut */
	buf_printf(&value, bytes ? "$%d" : "$%d::%s", param, place->column->type);
	build_same(place);
	build_set(place, value.data, false, &place->sql.set);
	build_set(place, "NULL", true, &place->sql.clear);
	build_row(place);
	if (relation_key(place->scope.tables[place->target].rel) != NULL) {
		AUTO_BUF struct buf insert = { 0 };
		put_insert_column(&insert, place, value.data);
		statement_take(place, &place->sql.insert, &insert);
	}
	if (!bytes && strcmp(base, "text") != 0)
		return;
	put_column(&more, "coalesce(", place->target, place->column->name);
	buf_printf(&more, ", '') || %s", value.data);
	build_set(place, more.data, false, &place->sql.append);
}

void sql_build_find_document(struct place *place) {
	build_find(place, false, &place->sql.find);
	build_bare(place, false, &place->sql.bare);
	build_body(place);
	sql_build_pieces(place);
	place->sql.list_dear = !is_stored(place);
	if (place->nkeys > 0 && place->row_table >= 0) {
		build_list(place, false, &place->sql.list_first);
		build_list(place, true, &place->sql.list_next);
		build_names(place, false, &place->sql.names_first);
		build_names(place, true, &place->sql.names_next);
		if (place->nkeys == 1 && place->keys[0].format == NULL) {
			build_find(place, true, &place->sql.find_by_id);
			build_bare(place, true, &place->sql.bare_by_id);
		}
	}
	if (place->route->kind == KIND_COLUMN)
		build_column_writes(place);
}

/* -- queries ----------------------------------------------------------------------------------- */

/* The key that gives the query NAME: what "args" says, else the nearest to the file. NULL if there
 * is none. */
static const struct key *key_for(const struct place *place, const char *name) {
	const struct key *found = NULL;
	for (const struct place *p = place; p != NULL; p = p->parent) {
		for (int i = 0; i < p->nkeys; i++) {
			const struct key *key = &p->keys[i];
			if (strcmp(layout_parameter(place->route, key->name), name) != 0)
				continue;
			if (layout_arg(place->route, key->name) != NULL)
				return key;
			found = found != NULL ? found : key;
		}
	}
	return found;
}

/* "name => $1::type, ..." or "AND name = $1::type ..." for what the query takes of the path; CASTS:
 * the values alone. */
static void put_arguments(struct buf *sql, const struct place *place, bool casts) {
	int n = 0,
	    count = place->view != NULL ? place->view->ncolumns : place->function->narguments;
	for (int i = 0; i < count; i++) {
		const char *name = place->view != NULL ? place->view->columns[i].name
						       : place->function->arguments[i].name;
		const char *type = place->view != NULL ? place->view->columns[i].type
						       : place->function->arguments[i].type;
		const struct key *key = name[0] != '\0' ? key_for(place, name) : NULL;
		if (key == NULL)
			continue;
		if (place->view != NULL && !casts)
			buf_puts(sql, " AND q.");
		else
			buf_puts(sql, n++ > 0 ? ", " : "");
		if (!casts)
			db_quote_ident(sql, name);
		if (place->view != NULL && !casts)
			put_operator(sql, "=", &place->view->columns[i], NULL);
		else if (!casts)
			buf_puts(sql, " => ");
		buf_printf(sql, "$%d::%s", key->param + 1, type);
	}
}

/* "SELECT * FROM ...": a subquery makes a row of whatever a function returns, be it one value. */
static void put_query_rows(struct buf *sql, const struct place *place) {
	buf_puts(sql, "SELECT * FROM ");
	if (place->view != NULL) {
		put_relation(sql, "", place->view);
		buf_puts(sql, " q WHERE true");
		put_arguments(sql, place, false);
		return;
	}
	put_name(sql, "", place->function->schema);
	buf_putc(sql, '.');
	db_quote_ident(sql, place->function->name);
	buf_putc(sql, '(');
	put_arguments(sql, place, false);
	buf_putc(sql, ')');
}

/* The header, also if the query has no row: its columns are whatever it returns. It is not run for
 * that. */
static void put_query_header(struct buf *sql, const struct place *place) {
	if (line_sql_of(place)->query_header == NULL)
		return;
	buf_printf(sql, "(SELECT %s FROM (SELECT q.* FROM (SELECT 1) one LEFT JOIN (",
		   line_sql_of(place)->query_header);
	put_query_rows(sql, place);
	buf_puts(sql, " LIMIT 0) q ON true) q) || ");
}

/* One row of a query as a pretty object: its columns are whatever it returns. */
static const char query_object[] =
	"(SELECT coalesce(E'{\\n    ' || pg_catalog.string_agg(pg_catalog.to_json(e.key)::text || ': ' || "
	"CASE WHEN pg_catalog.json_typeof(e.value) IN ('object', 'array') "
	"THEN pg_catalog.replace(pg_catalog.jsonb_pretty(e.value::jsonb), E'\\n', E'\\n    ') ELSE e.value::text END, "
	"E',\\n    ') || E'\\n}', '{}') FROM pg_catalog.json_each(pg_catalog.row_to_json(q.*)) e)";

/* The whole document as one aggregate over the query's rows q; NULL where an object has no row. */
static void put_query_body(struct buf *sql, const struct place *place) {
	bool json = text_ends(place->route->path, ".json");
	if (json && place->route->as_array)
		buf_printf(
			sql,
			"coalesce(E'[\\n    ' || pg_catalog.string_agg(pg_catalog.replace(%s, E'\\n', E'\\n    '), "
			"E',\\n    ') || E'\\n]\\n', E'[]\\n')",
			query_object);
	else if (json)
		buf_printf(sql, "(pg_catalog.array_agg(%s || E'\\n'))[1]", query_object);
	else if (place->format != NULL) {
		put_query_header(sql, place);
		buf_puts(sql, line_sql_of(place)->query);
	} else
		buf_puts(sql,
			 "(pg_catalog.array_agg((SELECT e.value || E'\\n' FROM "
			 "pg_catalog.json_each_text(pg_catalog.row_to_json(q.*)) e LIMIT 1)))[1]");
}

void sql_build_query(struct place *place) {
	AUTO_BUF struct buf sql = { 0 }, query = { 0 };
	buf_puts(&query, "(SELECT ");
	put_query_body(&query, place);
	buf_puts(&query, " AS body FROM (");
	put_query_rows(&query, place);
	buf_puts(&query, ") q) b WHERE b.body IS NOT NULL");
	buf_puts(&sql, "SELECT ");
	for (int i = 0; i < place->nkeys; i++)
		buf_printf(&sql, "$%d::text, ", place->keys[i].param + 1);
	buf_puts(&sql, "pg_catalog.md5(b.body), NULL, ");
	put_sized_body(&sql, place, place->always ? SQL_QUERY_BODY : SQL_INLINE_BODY);
	buf_printf(&sql, ", NULL FROM %s", query.data);
	statement_take(place, &place->sql.find, &sql);
	buf_puts(&sql, "SELECT pg_catalog.md5(b.body), b.body FROM ");
	buf_puts(&sql, query.data);
	statement_take(place, &place->sql.body, &sql);
	sql_build_pieces(place);
	AUTO_BUF struct buf arguments = { 0 };
	put_arguments(&arguments, place, true);
	if (arguments.len == 0)
		return;
	buf_printf(&sql, "SELECT %s", arguments.data);
	statement_take(place, &place->sql.arguments, &sql);
}
