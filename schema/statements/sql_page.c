/* Reading a rows file: the statements that fetch its lines in order, from anywhere, forwards and
 * backwards. */
#include "schema/statements/sql_parts.h"

#include <string.h>

static int order_length(const struct place *place) {
	int n = 0;
	while (place->order[n] != NULL)
		n++;
	return n;
}

/* What the lines are ordered by behind the layout's order and the key, so that no two are equal:
 * without a key the row's place in the table; where tables inherit from it, the table, too, since a
 * key does not hold for all of them. */
static const struct {
	const char *name, *type;
} last_resorts[] = { { "tableoid", "oid" }, { "ctid", "tid" } };

/* How many of LAST_RESORTS, the last, PLACE needs. */
static int resorts_needed(const struct place *place) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	return rel->inherited ? 2 : relation_key(rel) == NULL ? 1 : 0;
}

/* The order's I-th column; NULL: one of the last resorts. */
static const struct column *order_column(const struct place *place, int i) {
	return i < order_length(place) ? place->order[i] : NULL;
}

static int resort(const struct place *place, int i) {
	return 2 - resorts_needed(place) + i - order_length(place);
}

static void put_order_column(struct buf *sql, const char *before, const struct place *place,
			     int i) {
	const struct column *column = order_column(place, i);
	if (column == NULL)
		buf_printf(sql, "%st%d.%s", before, place->target,
			   last_resorts[resort(place, i)].name);
	else
		put_column(sql, before, place->target, column->name);
}

static const char *order_type(const struct place *place, int i) {
	const struct column *column = order_column(place, i);
	if (column == NULL)
		return last_resorts[resort(place, i)].type;
	/* "character" alone would be one character */
	return strcmp(column->type, "character") == 0 ? "bpchar" : column->type;
}

static bool may_be_null(const struct place *place, int i) {
	const struct column *column = order_column(place, i);
	return column != NULL && !column->not_null;
}

/* What a page statement is to do. */
struct page {
	const struct place *place;
	int n;     /* columns of the order */
	int first; /* number of the cursor's first parameter; 0: no cursor */
	bool back; /* from the end towards the beginning; a cursor's own line comes first then */
	/* for COPY: a cursor text that may be NULL has a letter before it, since a setting is
	 * never NULL */
	bool copy;
};

/* The cursor's I-th value in its own type. */
static void put_cursor_value(struct buf *sql, const struct page *p, int i) {
	if (p->copy && may_be_null(p->place, i))
		buf_printf(sql, "pg_catalog.substr(nullif($%d, ''), 2)::%s", p->first + i,
			   order_type(p->place, i));
	else
		buf_printf(sql, "$%d::%s", p->first + i, order_type(p->place, i));
}

/* Lines beyond the cursor, where a column of the order may be NULL (NULLs are last): written out
 * column by column. */
static void put_nullable_cursor(struct buf *sql, const struct page *p, int i) {
	AUTO_BUF struct buf ref = { 0 }, value = { 0 }, beyond = { 0 }, equal = { 0 }, same = { 0 };
	put_order_column(&ref, "", p->place, i);
	put_cursor_value(&value, p, i);
	put_operator(&beyond, p->back ? "<" : ">", order_column(p->place, i), NULL);
	put_operator(&equal, "=", order_column(p->place, i), NULL);
	buf_printf(&same, "(%s%s%s OR (%s IS NULL AND %s IS NULL))", ref.data, equal.data,
		   value.data, ref.data, value.data);
	buf_printf(sql, "(%s%s%s OR (%s IS %sNULL AND %s IS %sNULL)", ref.data, beyond.data,
		   value.data, ref.data, p->back ? "NOT " : "", value.data, p->back ? "" : "NOT ");
	if (i + 1 < p->n) {
		buf_printf(sql, " OR (%s AND ", same.data);
		put_nullable_cursor(sql, p, i + 1);
		buf_putc(sql, ')');
	} else if (p->back) {
		buf_printf(sql, " OR %s", same.data);
	}
	buf_putc(sql, ')');
}

static void put_page_cursor(struct buf *sql, const struct page *p) {
	bool nullable = false;
	for (int i = 0; i < p->n; i++)
		nullable = nullable || may_be_null(p->place, i);
	buf_puts(sql, " AND ");
	if (nullable) {
		put_nullable_cursor(sql, p, 0);
		return;
	}
	const struct column *alike = NULL;
	for (int i = 0; i < p->n; i++)
		alike = column_alike(i, alike, order_column(p->place, i));
	/* one row comparison, which an index can answer */
	buf_putc(sql, '(');
	for (int i = 0; i < p->n; i++)
		put_order_column(sql, i > 0 ? ", " : "", p->place, i);
	buf_putc(sql, ')');
	put_operator(sql, p->back ? "<=" : ">", alike, NULL);
	buf_putc(sql, '(');
	for (int i = 0; i < p->n; i++) {
		buf_puts(sql, i > 0 ? ", " : "");
		put_cursor_value(sql, p, i);
	}
	buf_putc(sql, ')');
}

/* "FROM tables WHERE conditions and cursor ORDER BY order" */
static void put_page_source(struct buf *sql, const struct page *p) {
	put_tables(sql, " FROM ", p->place, -1);
	put_conditions(sql, " WHERE ", p->place, false);
	if (p->first > 0)
		put_page_cursor(sql, p);
	buf_puts(sql, " ORDER BY ");
	for (int i = 0; i < p->n; i++) {
		put_order_column(sql, i > 0 ? ", " : "", p->place, i);
		buf_puts(sql, p->back ? " DESC" : "");
	}
}

/* The file's size as look-ups see it, in the same snapshot as the lines: column `size` of
 * `find`. */
static void put_found_size(struct buf *sql, const struct place *place) {
	buf_puts(sql, "(SELECT f.size FROM (");
	buf_puts(sql, place->sql.find.sql);
	buf_puts(sql, ") AS f(");
	for (int i = 0; i < place->nkeys; i++)
		buf_printf(sql, "k%d, ", i);
	buf_puts(sql, "version, mtime, size, body, id)), ");
}

/* One line a row: [size,] line, order texts. It ends with the limit's rows, or with the row behind
 * the one that completes the wanted bytes: lines may be of any length, and the reader's memory must
 * not grow with them. */
static void build_page(const struct page *p, bool size, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	int limit = p->first > 0 ? p->first + p->n : p->place->nparams + 1;
	buf_puts(&sql, "SELECT ");
	if (size)
		put_found_size(&sql, p->place);
	buf_puts(&sql, "p.line");
	for (int i = 0; i < p->n; i++)
		buf_printf(&sql, ", p.o%d", i);
	buf_puts(&sql,
		 " FROM (SELECT *, pg_catalog.sum(pg_catalog.octet_length(q.line)) OVER "
		 "(ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING) AS before FROM (SELECT ");
	put_line_of(&sql, p->place);
	buf_puts(&sql, " || E'\\n' AS line");
	for (int i = 0; i < p->n; i++) {
		put_order_column(&sql, ", ", p->place, i);
		buf_printf(&sql, "::text AS o%d", i);
	}
	put_page_source(&sql, p);
	buf_printf(&sql, " LIMIT $%d::int) q) p WHERE coalesce(p.before < $%d::bigint, true)",
		   limit, limit + 1);
	statement_take(p->place, st, &sql);
}

/* -- COPY -------------------------------------------------------------------------------------- */

/* Appends SQL with each parameter $N, outside quotes, turned into the setting rowfs.kN: COPY takes
 * no parameters. */
static void put_with_settings(struct buf *out, const char *sql) {
	char quote = '\0';
	for (const char *p = sql; *p != '\0'; p++) {
		if (quote == '\0' && *p == '$' && p[1] >= '0' && p[1] <= '9') {
			buf_puts(out, "pg_catalog.current_setting('rowfs.k");
			for (; p[1] >= '0' && p[1] <= '9'; p++)
				buf_putc(out, p[1]);
			buf_puts(out, "')");
			continue;
		}
		if (quote == '\0' && (*p == '\'' || *p == '"'))
			quote = *p;
		else if (*p == quote)
			quote = '\0';
		buf_putc(out, *p);
	}
}

/* Which field of the line that COPY writes the order's I-th column is; -1: none. */
static int field_of_order(const struct place *place, int i) {
	const struct column *column = order_column(place, i);
	if (!place->format->by_copy || column == NULL)
		return -1;
	for (int k = 0; k < place->ncolumns; k++)
		if (strcmp(place->columns[k]->name, column->name) == 0)
			return k;
	return -1;
}

/* Where each cursor text is in what COPY writes: among the line's own fields if it can be, since
 * each field costs. */
static bool place_cursor(struct place *place, int n) {
	struct place_sql *sql = &place->sql;
	sql->cursor_nullable = arena_alloc(place->memory, n, sizeof(*sql->cursor_nullable));
	sql->cursor_field = arena_alloc(place->memory, n, sizeof(*sql->cursor_field));
	if (sql->cursor_nullable == NULL || sql->cursor_field == NULL)
		return false;
	for (int i = 0; i < n; i++) {
		sql->cursor_nullable[i] = may_be_null(place, i);
		if (field_of_order(place, i) < 0)
			sql->cursor_field[i] = sql->copy_extra++;
	}
	for (int i = 0; i < n; i++)
		if (field_of_order(place, i) >= 0)
			sql->cursor_field[i] = sql->copy_extra + field_of_order(place, i);
	return true;
}

static char *build_copy(const struct page *p) {
	AUTO_BUF struct buf select = { 0 }, copy = { 0 };
	const struct line_sql *line = line_sql_of(p->place);
	bool first = true;
	buf_puts(&select, "SELECT ");
	for (int i = 0; i < p->n; i++) {
		if (field_of_order(p->place, i) >= 0)
			continue;
		put_order_column(&select, first ? "" : ", ", p->place, i);
		first = false;
		const struct column *column = order_column(p->place, i);
		bool as_text = column != NULL && prints_as_text(column);
		buf_puts(&select, as_text ? "" : "::text"); /* a cast costs as much as a field */
	}
	buf_puts(&select, first ? "" : ", ");
	line->put_fields(&select, p->place);
	put_page_source(&select, p);
	buf_puts(&copy, "COPY (");
	put_with_settings(&copy, select.data != NULL ? select.data : "");
	buf_printf(&copy, ") TO STDOUT (FORMAT %s)", line->copy);
	copy.failed |= select.failed;
	return arena_keep(p->place->memory, buf_take(&copy));
}

void sql_build_pages(struct place *place) {
	struct place_sql *sql = &place->sql;
	int n = order_length(place) + resorts_needed(place);
	sql->cursor = n;
	if (!place_cursor(place, n))
		return;
	struct page p = { .place = place, .n = n };
	build_page(&p, false, &sql->page_first);
	p.copy = true;
	sql->copy_first = build_copy(&p);
	p = (struct page){ .place = place, .n = n, .back = true };
	build_page(&p, true, &sql->page_last);
	p.first = place->nparams + 1;
	p.copy = true;
	sql->copy_before = build_copy(&p);
	p.back = false;
	sql->copy_next = build_copy(&p);
	p.copy = false;
	build_page(&p, false, &sql->page_next);
}
