/* Writing documents and lines: the JSON goes to the server as it is, and json_populate_record()
 * makes the row of it, so that every type is parsed by its own input function. The functions for
 * JSON refuse all of it for one \u0000, and make SQL NULL of the null in a JSON column. So the
 * values of these columns are quoted: they arrive as texts, and are cast. */
#include "schema/statements/sql_write.h"

#include "db/quote.h"

#include <string.h>

/* What a column of the written row is, for the place that is written through. */
enum column_role {
	ROLE_FREE,     /* takes the document's value */
	ROLE_KEY,      /* a key of the path: the document may only repeat it */
	ROLE_PARENT,   /* refers to the parent row: the document may only repeat it */
	ROLE_COMPUTED, /* generated: what the document says of it is not looked at */
};

int target_table(const struct place *place) {
	return place->target >= 0 ? place->target : place->row_table;
}

const struct relation *target_of(const struct place *place) {
	return place->scope.tables[target_table(place)].rel;
}

static const struct key *key_of(const struct place *place, const struct column *column) {
	int table = target_table(place);
	for (const struct place *p = place; p != NULL; p = p->parent)
		for (int i = 0; i < p->nkeys; i++)
			if (p->keys[i].table == table && p->keys[i].column == column)
				return &p->keys[i];
	return NULL;
}

static enum column_role role_of(const struct place *place, const struct column *column) {
	const struct scope_table *t = &place->scope.tables[target_table(place)];
	const struct key *key = key_of(place, column);
	if (column->generated)
		return ROLE_COMPUTED;
	if (key != NULL && key->format == NULL)
		return ROLE_KEY;
	if (t->fk != NULL && !t->upwards && name_list_has(&t->fk->columns, column->name))
		return ROLE_PARENT;
	return ROLE_FREE;
}

bool is_bound(const struct place *place, const struct column *column) {
	enum column_role role = role_of(place, column);
	return role == ROLE_KEY || role == ROLE_PARENT;
}

static bool shape_overflows(const struct place *place, const struct shape *shape) {
	const struct relation *rel = target_of(place);
	for (int i = 0; i < shape->n; i++)
		if (relation_column(rel, shape->names[i]) == NULL)
			return true;
	return false;
}

static bool is_overflow(const struct place *place, const struct column *column) {
	return place->route != NULL && place->route->overflow != NULL &&
	       strcmp(place->route->overflow, column->name) == 0;
}

bool takes_value(const struct place *place, const struct shape *shape,
		 const struct column *column) {
	if (role_of(place, column) != ROLE_FREE)
		return false;
	return shape_has(shape, column->name) ||
	       (is_overflow(place, column) && shape_overflows(place, shape));
}

void put_d(struct buf *sql, const char *before, const char *name) {
	buf_puts(sql, before);
	put_name(sql, "d.", name);
}

/* The document's value for COLUMN. BASE is what an overflow column that the document leaves out
 * starts from. */
static void put_new_value(struct buf *sql, const struct place *place, const struct shape *shape,
			  const struct column *column, const char *base) {
	if (!is_overflow(place, column) || !shape_overflows(place, shape)) {
		put_d(sql, "", column->name);
		return;
	}
	const struct relation *rel = target_of(place);
	buf_puts(sql, "coalesce(");
	if (shape_has(shape, column->name))
		put_d(sql, "", column->name);
	else
		buf_puts(sql, base);
	buf_puts(sql, ", '{}'::jsonb) || (e.j::jsonb - ARRAY[");
	for (int i = 0; i < rel->ncolumns; i++) {
		buf_puts(sql, i > 0 ? ", " : "");
		db_quote_literal(sql, rel->columns[i].name);
	}
	buf_puts(sql, "])");
}

/* The value that the path gives COLUMN. */
static void put_path_value(struct buf *sql, const struct place *place,
			   const struct column *column) {
	const struct key *key = key_of(place, column);
	if (key != NULL) {
		buf_printf(sql, "$%d::%s", key->param + 1, column->type);
		return;
	}
	const struct scope_table *t = &place->scope.tables[target_table(place)];
	for (int i = 0; i < t->fk->columns.n; i++)
		if (strcmp(t->fk->columns.names[i], column->name) == 0)
			put_column(sql, "", t->joined, t->fk->references.names[i]);
}

/* " = " between COLUMN and that, and that. */
static void put_equals_path(struct buf *sql, const struct place *place,
			    const struct column *column) {
	const struct scope_table *t = &place->scope.tables[target_table(place)];
	const struct column *other = NULL;
	if (key_of(place, column) == NULL)
		for (int i = 0; i < t->fk->columns.n; i++)
			if (strcmp(t->fk->columns.names[i], column->name) == 0)
				other = relation_column(place->scope.tables[t->joined].rel,
							t->fk->references.names[i]);
	put_operator(sql, "=", column, other);
	put_path_value(sql, place, column);
}

static bool is_json(const struct column *column) {
	return strcmp(column->base, "json") == 0 || strcmp(column->base, "jsonb") == 0;
}

/* True if COLUMN's values are quoted: not those of domains, whose conditions hold for the value. */
static bool is_quoted(const struct column *column) {
	return is_json(column) && strcmp(column->type, column->base) == 0;
}

static enum json_member member_of(const void *arg, const char *name) {
	const struct column *column = relation_column(arg, name);
	if (column == NULL || !is_quoted(column))
		return MEMBER_VALUE;
	return strcmp(column->type, "json") == 0 ? MEMBER_STORED : MEMBER_JSON;
}

struct json_members sql_members(const struct place *place) {
	return (struct json_members){ .what = member_of, .arg = target_of(place) };
}

void put_record(struct buf *sql, const struct relation *rel, bool set, const char *json) {
	AUTO_BUF struct buf columns = { 0 };
	bool quoted = false;
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		quoted = quoted || is_quoted(column);
		buf_puts(&columns, i > 0 ? ", " : "");
		put_name(&columns, is_quoted(column) ? "(p." : "p.", column->name);
		if (!is_quoted(column))
			continue;
		buf_printf(&columns, " OPERATOR(pg_catalog.#>>) '{}')::%s AS ", column->type);
		db_quote_ident(&columns, column->name);
	}
	if (quoted)
		buf_printf(sql, "(SELECT %s FROM ", columns.data);
	buf_printf(sql, "pg_catalog.json_populate_record%s(NULL::", set ? "set" : "");
	put_relation(sql, "", rel);
	buf_printf(sql, quoted ? ", %s) p) d" : ", %s) d", json);
}

void put_source(struct buf *sql, const struct place *place, const struct shape *shape,
		enum sql_source from) {
	int param = place->nparams + 1;
	const struct relation *rel = target_of(place);
	char whole[32];
	bool many = from != SOURCE_ONE,
	     overflows = from == SOURCE_ORDERED || shape_overflows(place, shape);
	if (many && overflows)
		buf_printf(
			sql,
			"pg_catalog.json_array_elements($%d::json) WITH ORDINALITY e(j, n), LATERAL ",
			param);
	else if (overflows)
		buf_printf(sql, "(SELECT $%d::json) e(j), LATERAL ", param);
	snprintf(whole, sizeof(whole), "$%d::json", param);
	put_record(sql, rel, many && !overflows, overflows ? "e.j" : whole);
}

void put_agreement(struct buf *sql, const struct place *place, const struct shape *shape,
		   bool insert) {
	const struct relation *rel = target_of(place);
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		enum column_role role = role_of(place, column);
		const struct key *key = key_of(place, column);
		if (insert && key != NULL && key->format != NULL && !shape_has(shape, column->name))
			buf_puts(sql, " AND false");
		if (!shape_has(shape, column->name) || role == ROLE_COMPUTED)
			continue;
		if (role != ROLE_FREE) {
			put_d(sql, " AND ", column->name);
			put_equals_path(sql, place, column);
		} else if (key != NULL) {
			put_key_condition(sql, key, "d");
		}
	}
}

void put_same(struct buf *sql, const struct place *place, const struct column *column) {
	put_d(sql, " AND ", column->name);
	put_operator(sql, "=", column, NULL);
	put_column(sql, "", target_table(place), column->name);
}

void put_same_identity(struct buf *sql, const struct place *place, const struct shape *shape) {
	const struct relation *rel = target_of(place);
	for (int i = 0; i < rel->ncolumns; i++)
		if (rel->columns[i].identity_always && shape_has(shape, rel->columns[i].name))
			put_same(sql, place, &rel->columns[i]);
}

static bool has_fields(const struct place *place) {
	return place->format != NULL && place->format->split != NULL;
}

/* Values of COLUMN that differ may be shown as the same by files of PLACE: SQL NULL and the null of
 * JSON, {} and an array with no elements but bounds, a record of NULLs; in fields, which are
 * texts, numbers that have another scale. */
static bool is_shown_alike(const struct place *place, const struct column *column) {
	if (has_fields(place))
		return strcmp(column->base, "numeric") == 0;
	return is_json(column) || column->category == 'A' || column->kind == 'c' ||
	       strcmp(column->base, "bpchar") == 0;
}

/* VALUE of COLUMN as the files of PLACE show it; not every type has an equality. */
static void put_shown(struct buf *sql, const struct place *place, const struct column *column,
		      const char *value) {
	if (!is_shown_alike(place, column))
		buf_printf(sql, "(%s)::text", value);
	else if (has_fields(place))
		buf_printf(sql, "pg_catalog.trim_scale(%s)::text", value);
	else if (is_json(column))
		buf_printf(sql, "coalesce((%s)::text, 'null')", value);
	else
		buf_printf(sql, "coalesce(pg_catalog.to_json(%s)::text, 'null')", value);
}

static void put_differs(struct buf *sql, const struct place *place, const struct column *column,
			const char *old, const char *value) {
	put_shown(sql, place, column, old);
	buf_puts(sql, " IS DISTINCT FROM ");
	put_shown(sql, place, column, value);
	buf_puts(sql, " COLLATE \"C\""); /* the column's own may call texts equal that differ */
}

/* What COLUMN gets of VALUE: nothing new where that is shown as OLD is. */
static void put_kept(struct buf *sql, const struct place *place, const struct column *column,
		     const char *old, const char *value) {
	if (!is_shown_alike(place, column)) {
		buf_puts(sql, value);
		return;
	}
	buf_puts(sql, "CASE WHEN ");
	put_differs(sql, place, column, old, value);
	buf_printf(sql, " THEN %s ELSE %s END", value, old);
}

void put_change(struct buf *set, struct buf *differs, const struct place *place,
		const struct shape *shape, const struct column *column) {
	AUTO_BUF struct buf old = { 0 }, value = { 0 };
	put_column(&old, "", target_table(place), column->name);
	put_new_value(&value, place, shape, column, old.data);
	put_name(set, set->len > 0 ? ", " : "", column->name);
	buf_puts(set, " = ");
	if (column->hidden) {
		buf_puts(set, value.data);
		if (differs != NULL)
			buf_printf(differs, "%strue", differs->len > 0 ? " OR " : "");
		return;
	}
	put_kept(set, place, column, old.data, value.data);
	if (differs == NULL)
		return;
	buf_puts(differs, differs->len > 0 ? " OR " : "");
	put_differs(differs, place, column, old.data, value.data);
}

void put_fixed(struct buf *differs, const struct place *place, const struct shape *shape) {
	const struct relation *rel = target_of(place);
	AUTO_BUF struct buf set = { 0 };
	for (int i = 0; i < rel->ncolumns; i++)
		if (rel->columns[i].fixed && takes_value(place, shape, &rel->columns[i]))
			put_change(&set, differs, place, shape, &rel->columns[i]);
}

/* True if an UPDATE to a document of SHAPE would set COLUMN. */
static bool is_set(const struct place *place, const struct shape *shape,
		   const struct column *column) {
	return takes_value(place, shape, column) && !column->identity_always;
}

/* " FROM the document, tables WHERE ...": the row at PLACE. */
static void put_row(struct buf *sql, const struct place *place, const struct shape *shape) {
	put_source(sql, place, shape, SOURCE_ONE);
	put_tables(sql, ", ", place, target_table(place));
	put_conditions(sql, " WHERE ", place, false);
	put_agreement(sql, place, shape, false);
	put_same_identity(sql, place, shape);
}

char *sql_differing_columns(const struct place *place, const struct shape *shape) {
	const struct relation *rel = target_of(place);
	AUTO_BUF struct buf sql = { 0 };
	int n = 0;
	buf_puts(&sql, "SELECT ");
	for (int i = 0; i < rel->ncolumns; i++) {
		AUTO_BUF struct buf set = { 0 }, differs = { 0 };
		if (!is_set(place, shape, &rel->columns[i]))
			continue;
		put_change(&set, &differs, place, shape, &rel->columns[i]);
		buf_printf(&sql, "%s%s AS ", n++ > 0 ? ", " : "", differs.data);
		db_quote_ident(&sql, rel->columns[i].name);
	}
	if (n == 0)
		return NULL;
	put_own_rows(&sql, " FROM ", rel);
	buf_printf(&sql, " t%d, ", target_table(place));
	put_row(&sql, place, shape);
	return buf_take(&sql);
}

/* With FIND, a SELECT of the row that the UPDATE would change, and may: FOR UPDATE, policies of
 * UPDATE hold for it, too. */
static char *update_or_find(const struct place *place, const struct shape *shape,
			    const struct shape *changed, bool find) {
	int table = target_table(place);
	const struct relation *rel = target_of(place);
	AUTO_BUF struct buf sql = { 0 }, set = { 0 }, others = { 0 }, ignored = { 0 };
	for (int i = 0; i < rel->ncolumns && !find; i++) {
		const struct column *column = &rel->columns[i];
		if (!is_set(place, shape, column))
			continue;
		bool same = changed != NULL && !shape_has(changed, column->name);
		put_change(same ? &ignored : &set, same ? &others : NULL, place, shape, column);
	}
	if (set.len > 0 || set.failed) {
		put_own_rows(&sql, "UPDATE ", rel);
		buf_printf(&sql, " t%d SET %s FROM ", table, set.data);
	} else {
		/* nothing to set: only whether the row is there and agrees */
		put_own_rows(&sql, "SELECT 1 FROM ", rel);
		buf_printf(&sql, " t%d, ", table);
	}
	put_row(&sql, place, shape);
	if (others.len > 0) /* somebody may have changed them since */
		buf_printf(&sql, " AND NOT (%s)", others.data);
	if (find)
		buf_printf(&sql, " FOR UPDATE OF t%d", table);
	return buf_take(&sql);
}

char *sql_update_document(const struct place *place, const struct shape *shape,
			  const struct shape *changed) {
	return update_or_find(place, shape, changed, false);
}

char *sql_find_updated(const struct place *place, const struct shape *shape) {
	return update_or_find(place, shape, NULL, true);
}

void put_rows(struct buf *sql, const struct place *place, const struct shape *shape,
	      enum sql_source from) {
	bool many = from != SOURCE_ONE;
	int table = target_table(place);
	AUTO_BUF struct buf others = { 0 }, source = { 0 };
	if (shape->n > 0 || many)
		put_source(&source, place, shape, from);
	int parents = put_tables(&others, "", place, table);
	if (source.len > 0 || parents > 0)
		buf_printf(sql, " FROM %s%s%s", source.len > 0 ? source.data : "",
			   source.len > 0 && parents > 0 ? ", " : "",
			   parents > 0 ? others.data : "");
	put_parent_conditions(sql, " WHERE ", place, table);
	put_agreement(sql, place, shape, shape->n > 0 || many);
}

bool put_insert(struct buf *sql, const struct place *place, const struct shape *shape,
		enum sql_source from) {
	int table = target_table(place), n = 0;
	const struct relation *rel = target_of(place);
	AUTO_BUF struct buf values = { 0 };
	put_relation(sql, "INSERT INTO ", rel);
	buf_printf(sql, " AS t%d (", table);
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		bool bound = is_bound(place, column);
		if (!bound && !takes_value(place, shape, column))
			continue;
		buf_puts(sql, n > 0 ? ", " : "");
		buf_puts(&values, n++ > 0 ? ", " : "");
		db_quote_ident(sql, column->name);
		if (bound)
			put_path_value(&values, place, column);
		else
			put_new_value(&values, place, shape, column, "NULL");
	}
	if (n == 0 || place->scope.tables[table].upwards)
		return false; /* what another row refers to cannot be made through that row */
	buf_printf(sql, ") OVERRIDING SYSTEM VALUE SELECT %s", values.data);
	put_rows(sql, place, shape, from);
	if (from == SOURCE_MANY && shape_overflows(place, shape))
		buf_puts(sql, " ORDER BY e.n");
	return true;
}

/* One key's part of the guard: its text must be that of the parameter. */
static void put_guard_of(struct buf *sql, const struct key *key, int param, int n) {
	AUTO_BUF struct buf text = { 0 };
	put_key_text(&text, key);
	buf_printf(sql, "%s(CASE WHEN %s IS DISTINCT FROM $%d::text THEN ",
		   n > 0 ? ", " : " RETURNING ", text.data, param);
	db_quote_literal(sql, SQL_OTHER_KEY);
	buf_puts(sql, " || pg_catalog.concat_ws(' = ', ");
	db_quote_literal(sql, key->column->name);
	buf_printf(sql, ", coalesce(%s, 'NULL')) ELSE 'true' END)::boolean", text.data);
}

void put_key_guard(struct buf *sql, const struct place *place, int renamed) {
	int table = renamed > 0 ? place->row_table : target_table(place), n = 0;
	if (place->scope.tables[table].rel->rules.n > 0) /* a rule may return nothing */
		return;
	for (const struct place *p = place; p != NULL; p = renamed > 0 ? NULL : p->parent)
		for (int i = 0; i < p->nkeys; i++)
			if (p->keys[i].table == table && p->keys[i].format == NULL)
				put_guard_of(sql, &p->keys[i],
					     renamed > 0 ? renamed + i : p->keys[i].param + 1, n++);
}

/* "INSERT" of a row with its keys and one more column, whose value is VALUE. */
void put_insert_column(struct buf *sql, const struct place *place, const char *value) {
	int table = target_table(place);
	const struct relation *rel = target_of(place);
	AUTO_BUF struct buf values = { 0 };
	put_relation(sql, "INSERT INTO ", rel);
	buf_printf(sql, " AS t%d (", table);
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		if (!is_bound(place, column))
			continue;
		db_quote_ident(sql, column->name);
		buf_puts(sql, ", ");
		put_path_value(&values, place, column);
		buf_puts(&values, ", ");
	}
	db_quote_ident(sql, place->column->name);
	buf_printf(sql, ") OVERRIDING SYSTEM VALUE SELECT %s%s", values.data, value);
	put_tables(sql, " FROM ", place, table);
	put_parent_conditions(sql, " WHERE ", place, table);
	if (rel->takes_copy)
		put_key_guard(sql, place, 0);
}

char *sql_insert(const struct place *place, const struct shape *shape, enum sql_source from) {
	AUTO_BUF struct buf sql = { 0 };
	if (!put_insert(&sql, place, shape, from))
		return NULL;
	/* policies may hide a new row, which is a document's affair; a directory must be seen */
	if (from == SOURCE_ONE && (shape->n == 0 || target_of(place)->takes_copy))
		put_key_guard(&sql, place, 0);
	return buf_take(&sql);
}

char *sql_count(const struct place *place, const struct shape *shape, enum sql_source from) {
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, "SELECT pg_catalog.count(*)");
	put_rows(&sql, place, shape, from);
	return buf_take(&sql);
}

bool sql_has_key(const struct place *place, const struct shape *shape) {
	int named = 0;
	const struct relation *rel = target_of(place);
	const struct name_list *key = relation_key(rel);
	for (int i = 0; key != NULL && i < key->n; i++) {
		if (shape_has(shape, key->names[i]))
			named++;
		else if (!is_bound(place, relation_column(rel, key->names[i])))
			return false;
	}
	return named > 0;
}

void put_absent(struct buf *sql, const struct place *place) {
	const struct shape none = { 0 };
	const struct relation *rel = target_of(place);
	const struct name_list *key = relation_key(rel);
	buf_puts(sql, " AND NOT EXISTS (SELECT 1 FROM ");
	put_source(sql, place, &none, SOURCE_MANY);
	buf_puts(sql, " WHERE true");
	for (int i = 0; i < key->n; i++) {
		const struct column *column = relation_column(rel, key->names[i]);
		if (!is_bound(place, column)) /* what the path says, a line need not */
			put_same(sql, place, column);
	}
	buf_putc(sql, ')');
}

const char sql_snapshot[] = "SELECT pg_catalog.pg_current_snapshot()::text";

bool sql_is_snapshot(const char *text) {
	unsigned long long most;
	int n = 0;
	return sscanf(text, "%*20[0-9]:%20llu:%n", &most, &n) == 1 && n > 0 &&
	       strspn(text + n, "0123456789,") == strlen(text + n);
}

/* A row's xmin has 32 bits, the snapshot 64: of the numbers with the same low bits, the one that
 * is nearest to the snapshot's end. Rows are newer if that is one of the transactions that have
 * begun since, or were under way. A row that was frozen long ago may have such a number by
 * chance; no transaction of the future has written it, so most are told by that. */
void put_older(struct buf *sql, const struct place *place, const char *snapshot) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	unsigned long long first, end;
	if (snapshot == NULL || !rel->versions || sscanf(snapshot, "%llu:%llu", &first, &end) != 2)
		return;
	AUTO_BUF struct buf xid = { 0 };
	buf_printf(
		&xid,
		"(%llu + (t%d.xmin::text::bigint - %llu + 6442450944) %% 4294967296 - 2147483648)",
		end, place->target, end % 4294967296ULL);
	buf_printf(
		sql,
		" AND NOT (%s BETWEEN %llu AND pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint "
		"AND NOT pg_catalog.pg_visible_in_snapshot(greatest(%s, 3)::text::xid8, '%s'::pg_snapshot))",
		xid.data != NULL ? xid.data : "", first, xid.data != NULL ? xid.data : "",
		snapshot);
	if (xid.failed)
		sql->failed = true;
}

char *sql_remove_older(const struct place *place, const char *snapshot, bool absent) {
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, place->sql.remove.sql);
	if (absent)
		put_absent(&sql, place);
	put_older(&sql, place, snapshot);
	return buf_take(&sql);
}
