/* Rows as lines: a file is a slice of a table in a stated order. */
#include "schema/sql_build.h"

#include <string.h>

static void put_header(struct buf *out, const struct place *place) {
	for (int i = 0; i < place->ncolumns; i++) {
		const char *name = place->columns[i]->name;
		buf_puts(out, i > 0 ? "," : "");
		if (strpbrk(name, ",\"\r\n") == NULL) {
			buf_puts(out, name);
			continue;
		}
		buf_putc(out, '"');
		for (const char *p = name; *p != '\0'; p++)
			buf_printf(out, *p == '"' ? "\"\"" : "%c", *p);
		buf_putc(out, '"');
	}
	buf_putc(out, '\n');
}

/* Sum of the lines' bytes, the header's included. */
static void put_size(struct buf *sql, const struct place *place) {
	char alias[16];
	snprintf(alias, sizeof(alias), "t%d", place->target);
	buf_printf(sql, "(%zu + coalesce(sum(octet_length(",
		   place->sql.header != NULL ? strlen(place->sql.header) : 0);
	put_line(sql, place, alias);
	buf_puts(sql, ") + 1), 0))::text");
}

/* "SELECT keys, NULL, mtime, size, NULL, NULL FROM all tables WHERE", for files that exist while they have rows. */
static void put_grouped_select(struct buf *sql, const struct place *place) {
	buf_puts(sql, "SELECT ");
	put_own_keys(sql, place);
	buf_puts(sql, "NULL, ");
	put_mtime(sql, place->target, place->mtime, "max");
	buf_puts(sql, ", ");
	put_size(sql, place);
	buf_puts(sql, ", NULL, NULL FROM ");
	put_tables(sql, place, -1);
	buf_puts(sql, " WHERE ");
}

static void build_grouped_find(struct place *place) {
	AUTO_BUF struct buf sql = { 0 };
	put_grouped_select(&sql, place);
	put_conditions(&sql, place, false);
	if (place->nkeys > 0) {
		buf_puts(&sql, " GROUP BY ");
		put_list_order(&sql, place);
	} else {
		buf_puts(&sql, " HAVING count(*) > 0");
	}
	statement_take(&place->sql.find, &sql);
}

static void build_grouped_list(struct place *place, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	int first = place->parent->nparams + 1;
	put_grouped_select(&sql, place);
	put_conditions(&sql, place, true);
	put_keys_not_null(&sql, place);
	if (next)
		put_list_cursor(&sql, place, first);
	buf_puts(&sql, " GROUP BY ");
	put_list_order(&sql, place);
	buf_puts(&sql, " ORDER BY ");
	put_list_order(&sql, place);
	buf_printf(&sql, " LIMIT $%d::int", next ? first + place->nkeys : first);
	statement_take(st, &sql);
}

/* A file that exists while the row that it belongs to does, with or without lines. */
static void build_owned_find(struct place *place) {
	AUTO_BUF struct buf sql = { 0 }, parents = { 0 }, slice = { 0 };
	buf_puts(&slice, "FROM ");
	put_relation(&slice, place->scope.tables[place->target].rel);
	buf_printf(&slice, " t%d WHERE true", place->target);
	put_join(&slice, place, place->target);
	buf_puts(&sql, "SELECT NULL, ");
	if (place->mtime != NULL) {
		buf_puts(&sql, "(SELECT ");
		put_mtime(&sql, place->target, place->mtime, "max");
		buf_printf(&sql, " %s)", slice.data);
	} else {
		buf_puts(&sql, "NULL");
	}
	buf_puts(&sql, ", (SELECT ");
	put_size(&sql, place);
	buf_printf(&sql, " %s), NULL, NULL", slice.data);
	if (put_tables(&parents, place, place->target) > 0)
		buf_printf(&sql, " FROM %s", parents.data);
	buf_puts(&sql, " WHERE ");
	put_parent_conditions(&sql, place, place->target);
	statement_take(&place->sql.find, &sql);
}

/* -- pages ------------------------------------------------------------------------------------- */

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

void sql_build_rows(struct place *place) {
	if (path_format(place->route->path) == FORMAT_CSV) {
		AUTO_BUF struct buf header = { 0 };
		put_header(&header, place);
		place->sql.header = buf_take(&header);
	}
	if (place->grouped)
		build_grouped_find(place);
	else
		build_owned_find(place);
	if (place->nkeys > 0) {
		build_grouped_list(place, false, &place->sql.list_first);
		build_grouped_list(place, true, &place->sql.list_next);
	}
	int n = order_length(place);
	if (relation_key(place->scope.tables[place->target].rel) == NULL)
		n++; /* without a key: the row's place in the table */
	place->sql.cursor = n;
	build_page(place, n, false, &place->sql.page_first);
	build_page(place, n, true, &place->sql.page_next);
}
