/* Reading a rows file: the statements that fetch its lines in order, from anywhere. */
#include "schema/sql_build.h"

static int order_length(const struct place *place) {
	int n = 0;
	while (place->order[n] != NULL)
		n++;
	return n;
}

static void put_order_column(struct buf *sql, const struct place *place, int i) {
	if (place->order[i] == NULL)
		buf_printf(sql, "t%d.ctid", place->target);
	else
		put_column(sql, place->target, place->order[i]->name);
}

static const char *order_type(const struct place *place, int i) {
	return place->order[i] != NULL ? place->order[i]->type : "tid";
}

/* Lines after the cursor, where a column of the order may be NULL (NULLs are last): written out column by column. */
static void put_nullable_cursor(struct buf *sql, const struct place *place, int i, int n,
				int first) {
	AUTO_BUF struct buf ref = { 0 }, value = { 0 };
	put_order_column(&ref, place, i);
	buf_printf(&value, "$%d::%s", first + i, order_type(place, i));
	buf_printf(sql, "(%s > %s OR (%s IS NULL AND %s IS NOT NULL)", ref.data, value.data,
		   ref.data, value.data);
	if (i + 1 < n) {
		buf_printf(sql, " OR (%s IS NOT DISTINCT FROM %s AND ", ref.data, value.data);
		put_nullable_cursor(sql, place, i + 1, n, first);
		buf_putc(sql, ')');
	}
	buf_putc(sql, ')');
}

static void put_page_cursor(struct buf *sql, const struct place *place, int n, int first) {
	bool nullable = false;
	for (int i = 0; place->order[i] != NULL; i++)
		nullable = nullable || !place->order[i]->not_null;
	buf_puts(sql, " AND ");
	if (nullable) {
		put_nullable_cursor(sql, place, 0, n, first);
		return;
	}
	/* one row comparison, which an index can answer */
	buf_putc(sql, '(');
	for (int i = 0; i < n; i++) {
		buf_puts(sql, i > 0 ? ", " : "");
		put_order_column(sql, place, i);
	}
	buf_puts(sql, ") > (");
	for (int i = 0; i < n; i++)
		buf_printf(sql, "%s$%d::%s", i > 0 ? ", " : "", first + i, order_type(place, i));
	buf_putc(sql, ')');
}

static void build_page(struct place *place, int n, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	char alias[16];
	int first = place->nparams + 1;
	snprintf(alias, sizeof(alias), "t%d", place->target);
	buf_puts(&sql, "SELECT string_agg(p.line, ''), count(*)::text");
	for (int i = 0; i < n; i++)
		buf_printf(&sql, ", (array_agg(p.o%d::text))[count(*)]", i);
	buf_puts(&sql, " FROM (SELECT ");
	put_line(&sql, place, alias);
	buf_puts(&sql, " || E'\\n' AS line");
	for (int i = 0; i < n; i++) {
		buf_puts(&sql, ", ");
		put_order_column(&sql, place, i);
		buf_printf(&sql, " AS o%d", i);
	}
	buf_puts(&sql, " FROM ");
	put_tables(&sql, place, -1);
	buf_puts(&sql, " WHERE ");
	put_conditions(&sql, place, false);
	if (next)
		put_page_cursor(&sql, place, n, first);
	buf_puts(&sql, " ORDER BY ");
	for (int i = 0; i < n; i++) {
		buf_puts(&sql, i > 0 ? ", " : "");
		put_order_column(&sql, place, i);
	}
	buf_printf(&sql, " LIMIT $%d::int) p", next ? first + n : first);
	statement_take(st, &sql);
}

void sql_build_pages(struct place *place) {
	int n = order_length(place);
	if (relation_key(place->scope.tables[place->target].rel) == NULL)
		n++; /* without a key: the row's place in the table */
	place->sql.cursor = n;
	build_page(place, n, false, &place->sql.page_first);
	build_page(place, n, true, &place->sql.page_next);
}
