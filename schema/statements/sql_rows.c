/* Rows as lines: a file is a slice of a table in a stated order. */
#include "schema/statements/sql_parts.h"
#include "db/quote.h"

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

/* A table that takes at most so many bytes on the server is small: its rows are read whenever
 * somebody looks at one of its files. */
enum { SMALL_TABLE = 256 << 10 };

/* Which files have their size and time worked out, from all rows of each file; those of the others
 * are NULL. */
enum sums { SUMS_NONE, SUMS_SMALL, SUMS_ALL };

/* Whether the table is small, which is asked once a statement. False if it cannot be: "false". */
static void put_is_small(struct buf *sql, const struct place *place) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	if ((rel->kind != 'r' && rel->kind != 'p') || rel->inherited) {
		buf_puts(sql, "false");
		return;
	}
	buf_puts(sql, "coalesce((SELECT ");
	buf_puts(sql, rel->kind == 'p' ? "pg_catalog.sum(pg_catalog.pg_table_size(p.relid)) FROM "
					 "pg_catalog.pg_partition_tree(pg_catalog.to_regclass("
				       : "pg_catalog.pg_table_size(pg_catalog.to_regclass(");
	AUTO_BUF struct buf name = { 0 };
	put_relation(&name, "", rel);
	db_quote_literal(sql, name.data != NULL ? name.data : "");
	buf_printf(sql, ")) %s) <= %d, false)", rel->kind == 'p' ? "p" : "", SMALL_TABLE);
	sql->failed |= name.failed;
}

/* "SELECT keys, NULL, mtime, size, NULL, NULL FROM all tables WHERE", for files that exist while
 * they have rows. SUMS: time and size are worked out. */
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

static void put_grouped_find(struct buf *sql, const struct place *place, bool sums) {
	put_grouped_select(sql, place, sums);
	put_conditions(sql, "", place, false);
	if (!sums) {
		buf_puts(sql, " LIMIT 1"); /* one row tells that the file is there */
	} else if (place->nkeys > 0) {
		buf_puts(sql, " GROUP BY ");
		put_list_order(sql, place);
	} else {
		buf_puts(sql, " HAVING pg_catalog.count(*) > 0");
	}
}

static void build_grouped_find(struct place *place, enum sums sums, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	if (sums == SUMS_SMALL) {
		buf_puts(&sql, "SELECT * FROM (");
		put_grouped_find(&sql, place, true);
		buf_puts(&sql, ") a WHERE ");
		put_is_small(&sql, place);
		buf_puts(&sql, " UNION ALL SELECT * FROM (");
		put_grouped_find(&sql, place, false);
		buf_puts(&sql, ") b WHERE NOT ");
		put_is_small(&sql, place);
	} else {
		put_grouped_find(&sql, place, sums == SUMS_ALL);
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

/* VALUE as far as SUMS says; NULL otherwise. */
static void put_sum(struct buf *sql, const struct place *place, enum sums sums, const char *value) {
	if (sums == SUMS_NONE) {
		buf_puts(sql, "NULL");
		return;
	}
	if (sums == SUMS_ALL) {
		buf_puts(sql, value);
		return;
	}
	buf_puts(sql, "CASE WHEN ");
	put_is_small(sql, place);
	buf_printf(sql, " THEN %s END", value);
}

/* "NULL, mtime, size, NULL, NULL FROM the tables above", for a file that exists while the row that
 * it belongs to does, with or without lines. */
static void put_owned(struct buf *sql, const struct place *place, enum sums sums) {
	AUTO_BUF struct buf lines = { 0 }, mtime = { 0 }, size = { 0 };
	AUTO_BUF struct buf latest = { 0 }, sum = { 0 };
	put_relation(&lines, "FROM ", place->scope.tables[place->target].rel);
	buf_printf(&lines, " t%d WHERE true", place->target);
	put_join(&lines, place, place->target);
	buf_puts(&latest, "(SELECT ");
	put_mtime(&latest, place->target, place->mtime, "max");
	buf_printf(&latest, " %s)", lines.data);
	put_sum(&mtime, place, place->mtime != NULL ? sums : SUMS_NONE, latest.data);
	buf_puts(&sum, "(SELECT ");
	put_size(&sum, place);
	buf_printf(&sum, " %s)", lines.data);
	put_sum(&size, place, sums, sum.data);
	if (by_summary(place)) {
		sql_slice_put_owned(sql, place, mtime.data, size.data);
		return;
	}
	buf_printf(sql, "NULL, %s, %s, NULL, NULL", mtime.data, size.data);
	put_tables(sql, " FROM ", place, place->target);
}

static void build_owned_find(struct place *place, enum sums sums, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_keys(&sql, "SELECT ", place);
	put_owned(&sql, place, sums);
	put_parent_conditions(&sql, " WHERE ", place, place->target);
	statement_take(place, st, &sql);
}

static void build_owned_list(struct place *place, bool next, struct db_statement *st) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_keys(&sql, "SELECT ", place);
	put_owned(&sql, place, SUMS_NONE);
	buf_puts(&sql, " WHERE ");
	put_listed_parent_conditions(&sql, place, place->target);
	put_list_rest(&sql, place, next, false);
	statement_take(place, st, &sql);
}

static void build_file(struct place *place, enum sums sums, struct db_statement *st) {
	if (place->grouped)
		build_grouped_find(place, sums, st);
	else
		build_owned_find(place, sums, st);
}

void sql_rows_bare(struct place *place, struct db_statement *st) {
	build_file(place, SUMS_NONE, st);
}

void sql_rows_names(struct place *place, bool next, struct db_statement *st) {
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
	build_file(place, SUMS_ALL, &place->sql.find);
	build_file(place, place->may_read ? SUMS_SMALL : SUMS_NONE, &place->sql.glance);
	sql_rows_bare(place, &place->sql.bare);
	if (place->nkeys > 0) {
		sql_rows_names(place, false, &place->sql.list_first);
		sql_rows_names(place, true, &place->sql.list_next);
	}
	sql_build_pages(place);
}
