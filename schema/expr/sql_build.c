#include "schema/expr/sql_build.h"

#include "db/quote.h"

#include <string.h>

void put_name(struct buf *sql, const char *before, const char *name) {
	buf_puts(sql, before);
	db_quote_ident(sql, name);
}

void put_relation(struct buf *sql, const char *before, const struct relation *rel) {
	put_name(sql, before, rel->schema);
	buf_putc(sql, '.');
	db_quote_ident(sql, rel->name);
}

void put_of(struct buf *sql, const char *before, const char *alias, const char *name) {
	buf_printf(sql, "%s%s.", before, alias);
	db_quote_ident(sql, name);
}

void put_own_rows(struct buf *sql, const char *before, const struct relation *rel) {
	buf_puts(sql, before);
	put_relation(sql, rel->inherited ? "ONLY " : "", rel);
}

void put_column(struct buf *sql, const char *before, int table, const char *name) {
	buf_printf(sql, "%st%d.", before, table);
	db_quote_ident(sql, name);
}

void statement_take(const struct place *place, struct db_statement *st, struct buf *sql) {
	st->sql = arena_keep(place->memory, buf_take(sql));
}

bool is_text_type(const struct column *column) {
	return strcmp(column->base, "text") == 0 || strcmp(column->base, "character varying") == 0;
}

static const struct column builtin = { .operators = (char *)(uintptr_t) "pg_catalog" }, unknown;

const struct column *column_alike(int n, const struct column *before, const struct column *next) {
	next = next != NULL ? next : &builtin;
	bool same = n == 0 || (before->operators != NULL && next->operators != NULL &&
			       strcmp(before->operators, next->operators) == 0);
	return same ? next : &unknown;
}

void put_operator(struct buf *sql, const char *op, const struct column *a, const struct column *b) {
	const char *schema = a != NULL && a->operators != NULL ? a->operators : "";
	const char *other = b != NULL ? (b->operators != NULL ? b->operators : "") : schema;
	if (schema[0] == '\0' || strcmp(schema, other) != 0) {
		buf_printf(sql, " %s ", op);
		return;
	}
	put_name(sql, " OPERATOR(", schema);
	buf_printf(sql, ".%s) ", op);
}

int put_tables(struct buf *sql, const char *before, const struct place *place, int except) {
	int n = 0;
	for (int t = 0; t < place->scope.n; t++) {
		if (t == except)
			continue;
		buf_puts(sql, n++ > 0 ? ", " : before);
		if (place->scope.tables[t].determined)
			put_own_rows(sql, "", place->scope.tables[t].rel);
		else
			put_relation(sql, "", place->scope.tables[t].rel);
		buf_printf(sql, " t%d", t);
	}
	return n;
}

void put_join(struct buf *sql, const struct place *place, int table) {
	const struct scope_table *t = &place->scope.tables[table];
	if (t->fk == NULL)
		return;
	int child = t->upwards ? t->joined : table, parent = t->upwards ? table : t->joined;
	for (int i = 0; i < t->fk->columns.n; i++) {
		put_column(sql, " AND ", child, t->fk->columns.names[i]);
		put_operator(
			sql, "=",
			relation_column(place->scope.tables[child].rel, t->fk->columns.names[i]),
			relation_column(place->scope.tables[parent].rel,
					t->fk->references.names[i]));
		put_column(sql, "", parent, t->fk->references.names[i]);
	}
}

/* -- time buckets ------------------------------------------------------------------------------ */

/* "%Y-%m-%d" as PostgreSQL's to_char and to_timestamp write it. */
static void put_format(struct buf *sql, const char *format) {
	static const char *const words[][2] = { { "Y", "YYYY" }, { "m", "MM" }, { "d", "DD" },
						{ "H", "HH24" }, { "M", "MI" }, { "S", "SS" } };
	AUTO_BUF struct buf text = { 0 };
	for (const char *p = format; *p != '\0'; p++) {
		if (*p == '%') {
			p++;
			for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
				if (*p == words[i][0][0])
					buf_puts(&text, words[i][1]);
			continue;
		}
		buf_putc(&text, '"');
		for (; *p != '\0' && *p != '%'; p++)
			buf_printf(&text, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
		buf_putc(&text, '"');
		p--;
	}
	db_quote_literal(sql, text.data != NULL ? text.data : "");
}

/* The finest part of FORMAT is the bucket's width. */
static const char *bucket_width(const char *format) {
	static const char *const widths[][2] = { { "%S", "1 second" },
						 { "%M", "1 minute" },
						 { "%H", "1 hour" },
						 { "%d", "1 day" },
						 { "%m", "1 month" } };
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
		if (strstr(format, widths[i][0]) != NULL)
			return widths[i][1];
	return "1 year";
}

/* How many of UNIT make a second, and what one is as an interval; 1 ns is beyond interval's
 * precision. */
static const char *unit_per_second(const char *unit) {
	return strcmp(unit, "s") == 0    ? "1"
	       : strcmp(unit, "ms") == 0 ? "1000"
	       : strcmp(unit, "us") == 0 ? "1000000"
					 : "1000000000";
}

static void put_bucket_text(struct buf *sql, const struct key *key, const char *alias) {
	AUTO_BUF struct buf ref = { 0 };
	put_of(&ref, "", alias, key->column->name);
	if (key->unit == NULL) {
		/* the session's time zone is UTC; a date or timestamp is taken as it stands */
		buf_printf(sql, "pg_catalog.to_char(%s::timestamp, ", ref.data);
		put_format(sql, key->format);
		buf_putc(sql, ')');
		return;
	}
	AUTO_BUF struct buf value = { 0 };
	if (strcmp(key->unit, "ns") == 0) /* downwards for years before 1970, too */
		buf_printf(&value,
			   "((%s OPERATOR(pg_catalog./) 1000) OPERATOR(pg_catalog.-) "
			   "((%s OPERATOR(pg_catalog.%%) 1000) OPERATOR(pg_catalog.<) 0)::int)",
			   ref.data, ref.data);
	else
		buf_puts(&value, ref.data);
	const char *per = unit_per_second(key->unit);
	/* of the years 1 to 9999: a number beyond is in no bucket, and must not be in the way of
	 * the others */
	buf_printf(sql,
		   "CASE WHEN %s OPERATOR(pg_catalog.>=) (-62135596800::numeric * %s::numeric) "
		   "AND %s OPERATOR(pg_catalog.<=) (253402300799::numeric * %s::numeric) "
		   "THEN pg_catalog.to_char(timestamp 'epoch' + "
		   "(%s OPERATOR(pg_catalog.*) interval '1 %s'), ",
		   ref.data, per, ref.data, per, value.data,
		   strcmp(key->unit, "s") == 0    ? "second"
		   : strcmp(key->unit, "ms") == 0 ? "millisecond"
						  : "microsecond");
	put_format(sql, key->format);
	buf_puts(sql, ") END");
}

/* The bucket's name as rows give it, of what parameter $N calls it. */
static void put_canonical(struct buf *sql, int n, const char *format) {
	buf_printf(sql, "pg_catalog.to_char(pg_catalog.to_timestamp($%d, ", n);
	put_format(sql, format);
	buf_puts(sql, "), ");
	put_format(sql, format);
	buf_putc(sql, ')');
}

/* One end of the bucket in the column's own type. */
static void put_bucket_end(struct buf *sql, const struct key *key, bool upper) {
	AUTO_BUF struct buf at = { 0 };
	buf_printf(&at, "(pg_catalog.to_timestamp($%d, ", key->param + 1);
	put_format(&at, key->format);
	buf_printf(&at, ")%s%s%s)", upper ? " + interval '" : "",
		   upper ? bucket_width(key->format) : "", upper ? "'" : "");
	if (key->unit == NULL)
		buf_printf(sql, "%s::%s", at.data, key->column->type);
	else
		buf_printf(sql, "(extract(epoch FROM %s) * %s::numeric)::bigint", at.data,
			   unit_per_second(key->unit));
}

void put_bucket(struct buf *sql, const char *unit, const char *format, bool by_text) {
	struct column value = { .name = (char *)(uintptr_t) "v" };
	struct key key = { .column = &value, .unit = unit, .format = format, .param = 0 };
	buf_puts(sql, "SELECT b.t");
	for (int upper = 0; upper < 2; upper++) {
		buf_puts(sql, ", (extract(epoch FROM pg_catalog.to_timestamp(b.t, ");
		put_format(sql, format);
		buf_printf(sql, ")%s%s%s) * %s::numeric)::bigint", upper ? " + interval '" : "",
			   upper ? bucket_width(format) : "", upper ? "'" : "",
			   unit_per_second(unit));
	}
	buf_puts(sql, " FROM (SELECT ");
	if (by_text)
		put_canonical(sql, 1, format);
	else
		put_bucket_text(sql, &key, "x");
	buf_printf(sql, " AS t FROM (SELECT $1::%s AS v) x) b", by_text ? "text" : "bigint");
}

static void put_bucket_condition(struct buf *sql, const struct key *key, const char *alias) {
	for (int upper = 0; upper < 2; upper++) {
		put_of(sql, " AND ", alias, key->column->name);
		put_operator(sql, upper ? "<" : ">=", key->column, NULL);
		put_bucket_end(sql, key, upper);
	}
	/* only the canonical name of a bucket names it */
	buf_puts(sql, " AND ");
	put_canonical(sql, key->param + 1, key->format);
	buf_printf(sql, " = $%d", key->param + 1);
}

/* -- keys -------------------------------------------------------------------------------------- */

/* KEY's text as it stands in a name, made of ALIAS's columns. Triggers have theirs from
 * rowfs.key_text(): both must agree. */
static void put_key_text_of(struct buf *sql, const struct key *key, const char *alias) {
	if (key->format != NULL) {
		put_bucket_text(sql, key, alias);
		return;
	}
	put_of(sql, "", alias, key->column->name);
	buf_puts(sql, "::text");
}

void put_key_text(struct buf *sql, const struct key *key) {
	char alias[16];
	snprintf(alias, sizeof(alias), "t%d", key->table);
	put_key_text_of(sql, key, alias);
}

void put_key_condition(struct buf *sql, const struct key *key, const char *alias) {
	if (key->format != NULL) {
		put_bucket_condition(sql, key, alias);
		return;
	}
	put_of(sql, " AND ", alias, key->column->name);
	put_operator(sql, "=", key->column, NULL);
	buf_printf(sql, "$%d::%s", key->param + 1, key->column->type);
	if (is_text_type(key->column))
		return;
	/* one value, one name: '007' or an upper-case uuid is not the name of row 7 */
	put_of(sql, " AND ", alias, key->column->name);
	buf_printf(sql, "::text = $%d", key->param + 1);
}

static void put_keys_of(struct buf *sql, const struct place *place, int except) {
	for (int i = 0; i < place->nkeys; i++) {
		const struct key *key = &place->keys[i];
		char alias[16];
		if (key->table < 0 || key->table == except)
			continue;
		snprintf(alias, sizeof(alias), "t%d", key->table);
		put_key_condition(sql, key, alias);
	}
}

void put_conditions(struct buf *sql, const char *before, const struct place *place,
		    bool without_own) {
	buf_printf(sql, "%strue", before);
	for (int t = 0; t < place->scope.n; t++)
		put_join(sql, place, t);
	for (const struct place *p = without_own ? place->parent : place; p != NULL; p = p->parent)
		put_keys_of(sql, p, -1);
}

void put_listed_parent_conditions(struct buf *sql, const struct place *place, int except) {
	buf_puts(sql, "true");
	for (int t = 0; t < place->scope.n; t++)
		if (t != except && place->scope.tables[t].joined != except)
			put_join(sql, place, t);
	for (const struct place *p = place->parent; p != NULL; p = p->parent)
		put_keys_of(sql, p, except);
}

void put_parent_conditions(struct buf *sql, const char *before, const struct place *place,
			   int except) {
	buf_puts(sql, before);
	put_listed_parent_conditions(sql, place, except);
	put_keys_of(sql, place, except);
}

void put_own_keys(struct buf *sql, const char *before, const struct place *place) {
	buf_puts(sql, before);
	for (int i = 0; i < place->nkeys; i++) {
		if (place->keys[i].table >= 0)
			put_key_text(sql, &place->keys[i]);
		else
			buf_printf(sql, "$%d::text", place->keys[i].param + 1);
		buf_puts(sql, ", ");
	}
}

void put_id(struct buf *sql, const struct place *place) {
	if (place->nkeys != 1 || place->keys[0].table < 0 || place->keys[0].format != NULL) {
		buf_puts(sql, "NULL");
		return;
	}
	const struct key *key = &place->keys[0];
	const struct name_list *id = relation_key(place->scope.tables[key->table].rel);
	if (id != NULL && id->n == 1 && strcmp(id->names[0], key->column->name) != 0) {
		put_column(sql, "", key->table, id->names[0]);
		buf_puts(sql, "::text");
		return;
	}
	buf_puts(sql, "pg_catalog.md5(");
	put_key_text(sql, key);
	buf_putc(sql, ')');
}

void put_bytes_of(struct buf *sql, const struct place *place, const char *text) {
	/* convert_to() would copy the text even if there is nothing to convert */
	buf_printf(sql,
		   place->recodes ? "pg_catalog.octet_length(pg_catalog.convert_to(%s, 'UTF8'))"
				  : "pg_catalog.octet_length(%s)",
		   text);
}

void put_list_id(struct buf *sql, const struct place *place) {
	/* a byte is at most %XX; and a byte of another encoding at most three of UTF-8, which are
	 * not counted, since a key that is no text cannot be converted */
	enum { NAME_MOST = 255, ENCODED = 3, RECODED = 3 };
	size_t literal = strlen(place->text);
	if (place->nkeys != 1 || place->keys[0].table < 0 || literal > NAME_MOST / 2) {
		put_id(sql, place);
		return;
	}
	AUTO_BUF struct buf key = { 0 };
	put_key_text(&key, &place->keys[0]);
	buf_printf(sql, "CASE WHEN pg_catalog.octet_length(%s) > %zu THEN ",
		   key.data != NULL ? key.data : "",
		   (NAME_MOST - literal) / ENCODED / (place->recodes ? RECODED : 1));
	put_id(sql, place);
	buf_puts(sql, " END");
}

void put_keys_not_null(struct buf *sql, const struct place *place) {
	for (int i = 0; i < place->nkeys; i++) {
		buf_puts(sql, " AND ");
		put_key_text(sql, &place->keys[i]);
		buf_puts(sql, " IS NOT NULL");
	}
}

void put_list_cursor(struct buf *sql, const struct place *place, int first) {
	const struct column *alike = NULL;
	for (int i = 0; i < place->nkeys; i++)
		alike = column_alike(i, alike,
				     place->keys[i].format == NULL ? place->keys[i].column : NULL);
	buf_puts(sql, " AND (");
	put_list_order(sql, place);
	buf_putc(sql, ')');
	put_operator(sql, ">", alike, NULL);
	buf_putc(sql, '(');
	for (int i = 0; i < place->nkeys; i++)
		buf_printf(sql, "%s$%d::%s", i > 0 ? ", " : "", first + i,
			   place->keys[i].format != NULL ? "text" : place->keys[i].column->type);
	buf_putc(sql, ')');
}

void put_list_order(struct buf *sql, const struct place *place) {
	for (int i = 0; i < place->nkeys; i++) {
		buf_puts(sql, i > 0 ? ", " : "");
		if (place->keys[i].format != NULL)
			put_key_text(sql, &place->keys[i]);
		else
			put_column(sql, "", place->keys[i].table, place->keys[i].column->name);
	}
}

void put_list_rest(struct buf *sql, const struct place *place, bool next, bool grouped) {
	int first = place->parent->nparams + 1;
	put_keys_not_null(sql, place);
	if (next)
		put_list_cursor(sql, place, first);
	if (grouped) {
		buf_puts(sql, " GROUP BY ");
		put_list_order(sql, place);
	}
	buf_puts(sql, " ORDER BY ");
	put_list_order(sql, place);
	buf_printf(sql, " LIMIT $%d::int", next ? first + place->nkeys : first);
}

/* -- rendering --------------------------------------------------------------------------------- */

void put_mtime(struct buf *sql, int table, const struct column *column, const char *aggregate) {
	if (column == NULL) {
		buf_puts(sql, "NULL");
		return;
	}
	AUTO_BUF struct buf time = { 0 };
	buf_printf(&time, "%s%s(", aggregate[0] != '\0' ? "pg_catalog." : "", aggregate);
	put_column(&time, "", table, column->name);
	buf_putc(&time, ')');
	buf_printf(sql,
		   "CASE WHEN pg_catalog.isfinite(%s) THEN greatest(least(extract(epoch FROM %s)"
		   "*1000000::numeric, 9e18), -9e18)::bigint::text END",
		   time.data, time.data);
}

/* The key of a member, in an SQL literal. */
static void put_json_key(struct buf *sql, const char *name) {
	AUTO_BUF struct buf json = { 0 };
	buf_json_string(&json, name, strlen(name));
	buf_puts(&json, ": ");
	db_quote_literal(sql, json.data != NULL ? json.data : "");
}

/* One value of a document, at a depth of LEVEL levels. */
static void put_value(struct buf *sql, const struct column *column, const char *alias, int level) {
	AUTO_BUF struct buf ref = { 0 };
	put_of(&ref, "", alias, column->name);
	if (strcmp(column->base, "jsonb") == 0)
		buf_printf(
			sql,
			"coalesce(pg_catalog.replace(pg_catalog.jsonb_pretty(%s), E'\\n', E'\\n%*s'), 'null')",
			ref.data, 4 * level, "");
	else
		buf_printf(sql, "coalesce(pg_catalog.to_json(%s)::text, 'null')", ref.data);
}

void put_object(struct buf *sql, const struct place *place, const char *alias, int level,
		const struct column *except) {
	int n = 0;
	AUTO_BUF struct buf members = { 0 };
	for (int i = 0; i < place->ncolumns; i++) {
		if (place->columns[i] == except)
			continue;
		buf_puts(&members, n++ > 0 ? ", " : "");
		put_json_key(&members, place->columns[i]->name);
		buf_puts(&members, " || ");
		put_value(&members, place->columns[i], alias, level);
	}
	if (n == 0)
		buf_puts(sql, "'{}'");
	else
		buf_printf(
			sql,
			"E'{\\n%*s' || pg_catalog.array_to_string(ARRAY[%s], E',\\n%*s') || E'\\n%*s}'",
			4 * level, "", members.data, 4 * level, "", 4 * (level - 1), "");
}

void put_document(struct buf *sql, const struct place *place, const char *alias) {
	put_object(sql, place, alias, 1, NULL);
	buf_puts(sql, " || E'\\n'");
}
