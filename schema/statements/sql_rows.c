/* Rows as lines: a file is a slice of a table in a stated order. */
#include "schema/statements/sql_parts.h"

#include <string.h>

/* Sum of the lines' bytes, the header's included. */
static void put_size(struct buf *sql, const struct place *place) {
	AUTO_BUF struct buf line = { 0 };
	put_line_of(&line, place);
	buf_printf(sql, "(%zu + coalesce(pg_catalog.sum(",
		   place->sql.header != NULL ? strlen(place->sql.header) : 0);
	put_bytes_of(sql, place, line.data != NULL ? line.data : "");
	buf_puts(sql, " + 1), 0))::text");
}

/* "SELECT keys, NULL, mtime, size, NULL, NULL FROM all tables WHERE", for files that exist while
 * they have rows. SUMS: time and size are worked out, from all rows of each file; else they are
 * NULL. */
static void put_grouped_select(struct buf *sql, const struct place *place, bool sums) {
	put_own_keys(sql, "SELECT ", place);
	buf_puts(sql, "NULL, ");
	if (sums) {
		put_mtime(sql, place->target, place->mtime, "max");
		buf_puts(sql, ", ");
		put_size(sql, place);
		buf_puts(sql, ", NULL, NULL FROM ");
	} else {
		buf_puts(sql, "NULL::text, NULL::text, NULL, NULL FROM ");
	}
	put_tables(sql, "", place, -1);
	buf_puts(sql, " WHERE ");
}

static void build_grouped_find(struct place *place, bool sums, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_grouped_select(&sql, place, sums);
	put_conditions(&sql, "", place, false);
	if (!sums) {
		buf_puts(&sql, " LIMIT 1"); /* one row tells that the file is there */
	} else if (place->nkeys > 0) {
		buf_puts(&sql, " GROUP BY ");
		put_list_order(&sql, place);
	} else {
		buf_puts(&sql, " HAVING pg_catalog.count(*) > 0");
	}
	if (by_summary(place))
		sql_slice_find(place, sql.data, st);
	else
		statement_take(place, st, &sql);
}

static void build_grouped_list(struct place *place, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_grouped_select(&sql, place, false);
	put_conditions(&sql, "", place, true);
	put_list_rest(&sql, place, next, true);
	statement_take(place, st, &sql);
}

/* "NULL, mtime, size, NULL, NULL FROM the tables above", for a file that exists while the row that
 * it belongs to does, with or without lines. SUMS as in put_grouped_select(). */
static void put_owned(struct buf *sql, const struct place *place, bool sums) {
	AUTO_BUF struct buf lines = { 0 }, mtime = { 0 }, size = { 0 };
	put_relation(&lines, "FROM ", place->scope.tables[place->target].rel);
	buf_printf(&lines, " t%d WHERE true", place->target);
	put_join(&lines, place, place->target);
	if (place->mtime != NULL && sums) {
		buf_puts(&mtime, "(SELECT ");
		put_mtime(&mtime, place->target, place->mtime, "max");
		buf_printf(&mtime, " %s)", lines.data);
	} else {
		buf_puts(&mtime, "NULL");
	}
	if (sums) {
		buf_puts(&size, "(SELECT ");
		put_size(&size, place);
		buf_printf(&size, " %s)", lines.data);
	} else {
		buf_puts(&size, "NULL");
	}
	if (by_summary(place)) {
		sql_slice_put_owned(sql, place, mtime.data, size.data);
		return;
	}
	buf_printf(sql, "NULL, %s, %s, NULL, NULL", mtime.data, size.data);
	put_tables(sql, " FROM ", place, place->target);
}

static void build_owned_find(struct place *place, bool sums, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_keys(&sql, "SELECT ", place);
	put_owned(&sql, place, sums);
	put_parent_conditions(&sql, " WHERE ", place, place->target);
	statement_take(place, st, &sql);
}

static void build_owned_list(struct place *place, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_keys(&sql, "SELECT ", place);
	put_owned(&sql, place, false);
	buf_puts(&sql, " WHERE ");
	put_listed_parent_conditions(&sql, place, place->target);
	put_list_rest(&sql, place, next, false);
	statement_take(place, st, &sql);
}

static void build_list(struct place *place, bool next, struct db_statement *st) {
	if (!place->grouped)
		build_owned_list(place, next, st);
	else if (by_summary(place))
		sql_slice_list(place, next, st);
	else
		build_grouped_list(place, next, st);
}

void sql_build_rows(struct place *place) {
	const struct line_sql *line = line_sql_of(place);
	if (line->put_header != NULL) {
		AUTO_BUF struct buf header = { 0 };
		line->put_header(&header, place);
		place->sql.header = arena_keep(place->memory, buf_take(&header));
	}
	for (int sums = 0; sums < 2; sums++) {
		struct db_statement *st = sums != 0 ? &place->sql.find : &place->sql.glance;
		if (place->grouped)
			build_grouped_find(place, sums != 0, st);
		else
			build_owned_find(place, sums != 0, st);
	}
	for (int next = 0; next < 2 && place->nkeys > 0; next++)
		build_list(place, next == 1,
			   next == 1 ? &place->sql.list_next : &place->sql.list_first);
	sql_build_pages(place);
}
