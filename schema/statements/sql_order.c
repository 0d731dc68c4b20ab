/* In which order the rows of a save are written. A unique index is checked row by row, so rows that
 * exchange its values step aside first. Foreign keys are checked at the end of a statement, so
 * where a table refers to itself, all of a save is one statement. */
#include "schema/statements/sql_write.h"

#include <string.h>

/* -- stepping aside ---------------------------------------------------------------------------- */

/* The largest value of a whole number's type; NULL: it has no limit that matters. */
static const char *limit_of(const struct column *column) {
	static const char *const limits[][2] = { { "smallint", "32767" },
						 { "integer", "2147483647" },
						 { "bigint", "9223372036854775807" } };
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strcmp(column->base, limits[i][0]) == 0)
			return limits[i][1];
	return NULL;
}

static bool is_in_foreign_key(const struct relation *rel, const struct column *column) {
	for (int i = 0; i < rel->nparents; i++)
		if (name_list_has(&rel->parents[i].columns, column->name))
			return true;
	return false;
}

enum aside { ASIDE_NOT, ASIDE_NUMBER, ASIDE_TIME, ASIDE_TEXT, ASIDE_UUID, ASIDE_RANGE, ASIDE_NULL };

/* What value of COLUMN is in nobody's way while CHECK looks at it. */
static enum aside aside_of(const struct relation *rel, const struct row_check *check,
			   const struct column *column) {
	if (!column->not_null && !check->nulls)
		return ASIDE_NULL;
	if (is_in_foreign_key(rel, column))
		return ASIDE_NOT; /* it would refer to nothing */
	if (column->kind == 'r' || column->kind == 'm')
		return ASIDE_RANGE;
	if (column->category == 'N' && strcmp(column->base, "money") != 0 &&
	    strncmp(column->base, "reg", 3) != 0 && strcmp(column->base, "oid") != 0)
		return ASIDE_NUMBER;
	if (strcmp(column->base, "date") == 0 || strncmp(column->base, "timestamp", 9) == 0)
		return ASIDE_TIME;
	if (strcmp(column->base, "uuid") == 0)
		return ASIDE_UUID;
	return column->category == 'S' && column->kind == 'b' ? ASIDE_TEXT : ASIDE_NOT;
}

static void put_most(struct buf *sql, const struct relation *rel, const struct column *column,
		     const char *aggregate) {
	buf_printf(sql, "(SELECT pg_catalog.%s(", aggregate);
	put_name(sql, "m.", column->name);
	put_relation(sql, ") FROM ", rel);
	buf_puts(sql, " m)");
}

/* Such a value; NUMBER is an expression that no two rows of the statement have in common. */
static void put_aside_value(struct buf *sql, const struct relation *rel,
			    const struct column *column, enum aside how, const char *number) {
	const char *limit = limit_of(column);
	switch (how) {
	case ASIDE_NUMBER:
		buf_puts(sql, "(");
		if (limit != NULL) {
			put_most(sql, rel, column, "max");
			buf_printf(sql, "::numeric + CASE WHEN ");
			put_most(sql, rel, column, "max");
			buf_printf(sql, "::numeric + %s <= %s THEN %s ELSE ", number, limit,
				   number);
			put_most(sql, rel, column, "min");
			buf_puts(sql, "::numeric - ");
			put_most(sql, rel, column, "max");
			buf_printf(sql, "::numeric - %s END", number);
		} else {
			put_most(sql, rel, column, "max");
			buf_printf(sql, " + %s", number);
		}
		break;
	case ASIDE_TIME:
		buf_puts(sql, "(");
		put_most(sql, rel, column, "max");
		buf_printf(sql, " + %s * '1 day'::interval", number);
		break;
	case ASIDE_TEXT:
		buf_printf(
			sql,
			"(pg_catalog.left(pg_catalog.md5(pg_catalog.concat(pg_catalog.random(), %s)), %d)",
			number, column->modifier > 4 ? column->modifier - 4 : 32);
		break;
	case ASIDE_UUID:
		buf_printf(sql, "(pg_catalog.md5(pg_catalog.concat(pg_catalog.random(), %s))",
			   number);
		break;
	case ASIDE_RANGE:
		buf_printf(sql, "(%s", column->kind == 'r' ? "'empty'" : "'{}'");
		break;
	default:
		buf_puts(sql, "(NULL");
	}
	buf_printf(sql, ")::%s", column->type);
}

static bool may_step(const struct place *place, const struct shape *shape,
		     const struct name_list *but, const struct column *column) {
	return takes_value(place, shape, column) && !column->identity_always && !column->fixed &&
	       !column->hidden && (but == NULL || !name_list_has(but, column->name));
}

/* The column that steps aside for CHECK: one that the save gives its value afterwards. NULL:
 * there is none. */
static const struct column *chosen(const struct place *place, const struct shape *shape,
				   const struct name_list *but, const struct row_check *check,
				   enum aside *how) {
	const struct relation *rel = target_of(place);
	const struct column *best = NULL;
	*how = ASIDE_NOT;
	for (int i = 0; i < check->compared.n; i++) {
		const struct column *column = relation_column(rel, check->compared.names[i]);
		if (column == NULL || !may_step(place, shape, but, column))
			continue;
		enum aside by = aside_of(rel, check, column);
		if (by > *how) {
			*how = by;
			best = column;
		}
	}
	return best;
}

/* " OR ..." for each column that CHECK looks at, and the save changes. */
static void put_moves(struct buf *moves, const struct place *place, const struct shape *shape,
		      const struct row_check *check) {
	const struct relation *rel = target_of(place);
	for (int i = 0; i < check->columns.n; i++) {
		const struct column *column = relation_column(rel, check->columns.names[i]);
		AUTO_BUF struct buf set = { 0 };
		if (column != NULL && takes_value(place, shape, column) && !column->identity_always)
			put_change(&set, moves, place, shape, column);
	}
}

bool put_aside(struct buf *set, struct buf *moves, const struct place *place,
	       const struct shape *shape, const struct name_list *but, const char *number) {
	const struct relation *rel = target_of(place);
	for (int i = 0; i < rel->ncolumns; i++) {
		const struct column *column = &rel->columns[i];
		AUTO_BUF struct buf own = { 0 };
		enum aside how = ASIDE_NOT;
		for (int k = 0; k < rel->nchecks; k++) {
			enum aside by;
			if (chosen(place, shape, but, &rel->checks[k], &by) != column)
				continue;
			put_moves(&own, place, shape, &rel->checks[k]);
			/* where one of them takes no NULL, none is given */
			how = how == ASIDE_NOT || by < how ? by : how;
		}
		if (own.len == 0)
			continue;
		put_name(set, set->len > 0 ? ", " : "", column->name);
		buf_printf(set, " = CASE WHEN %s THEN ", own.data);
		put_aside_value(set, rel, column, how, number);
		put_column(set, " ELSE ", target_table(place), column->name);
		buf_puts(set, " END");
		buf_printf(moves, "%s%s", moves->len > 0 ? " OR " : "", own.data);
	}
	return set->len > 0;
}

/* -- one statement ----------------------------------------------------------------------------- */

bool sql_refers_to_itself(const struct place *place) {
	const struct relation *rel = target_of(place);
	for (int i = 0; i < rel->nparents; i++)
		if (rel->parents[i].relation == rel->oid)
			return true;
	return false;
}

char *sql_together(char *const *steps, int n) {
	AUTO_BUF struct buf sql = { 0 };
	for (int i = 0; i < n; i++)
		buf_printf(&sql, "%sp%d AS (%s RETURNING 1)", i > 0 ? ", " : "WITH ", i, steps[i]);
	/* a step runs when it is read, and what stands in a UNION ALL is read in its order */
	for (int i = 0; i < n; i++)
		buf_printf(&sql, "%sSELECT %d, pg_catalog.count(*) FROM p%d",
			   i > 0 ? " UNION ALL " : " ", i, i);
	return buf_take(&sql);
}
