/* What there is to be told of, and the triggers for it. */
#include "db/field.h"
#include "util/text/array.h"
#include "schema/count/mutex.h"
#include "schema/notice/notice.h"
#include "schema/notice/notice_table.h"
#include "schema/expr/sql_build.h"
#include "util/hash.h"
#include "util/list.h"
#include "schema/embedded.h"

#include <errno.h>
#include <string.h>

/* -- definitions ------------------------------------------------------------------------------- */

static int64_t definition_hash(const struct definition *d) {
	uint64_t h = hash_text(HASH_BEGIN, d->relation);
	for (int i = 0; i < d->nkeys; i++)
		h = hash_text(h, d->keys[i]);
	return (int64_t)(h & INT64_MAX);
}

/* True if a row of scope table FROM has at most one row of table TO, its neighbour in the joins. */
static bool leads_up(const struct scope *scope, int from, int to) {
	return (scope->tables[from].joined == to && !scope->tables[from].upwards) ||
	       (scope->tables[to].joined == from && scope->tables[to].upwards);
}

static const struct foreign_key *key_between(const struct scope *scope, int child, int parent) {
	return scope->tables[child].joined == parent ? scope->tables[child].fk
						     : scope->tables[parent].fk;
}

/* The tables on the way from FROM to TO over foreign keys, FROM left out. Returns how many; -1 if a
 * row of FROM does not lead to one of TO. */
static int way_up(const struct scope *scope, int from, int to, int before, int *way) {
	if (from == to)
		return 0;
	for (int t = 0; t < scope->n; t++) {
		if (t == before || t == from || !leads_up(scope, from, t))
			continue;
		way[0] = t;
		int n = way_up(scope, t, to, from, way + 1);
		if (n >= 0)
			return n + 1;
	}
	return -1;
}

/* The column of CHILD's foreign key that holds KEY's very value; NULL if none does. */
static const char *same_value(const struct scope *scope, int child, int parent,
			      const struct key *key) {
	const struct foreign_key *fk = key_between(scope, child, parent);
	const struct relation *rel = scope->tables[child].rel;
	for (int i = 0; key->format == NULL && i < fk->columns.n; i++) {
		const struct column *column = relation_column(rel, fk->columns.names[i]);
		if (strcmp(fk->references.names[i], key->column->name) == 0 && column != NULL &&
		    strcmp(column->base, key->column->base) == 0)
			return column->name;
	}
	return NULL;
}

static void put_json_names(struct buf *json, const char *name, const struct name_list *names) {
	buf_printf(json, ", \"%s\": [", name);
	for (int i = 0; i < names->n; i++) {
		buf_puts(json, i > 0 ? ", " : "");
		buf_json_string(json, names->names[i], strlen(names->names[i]));
	}
	buf_putc(json, ']');
}

static void put_json_text(struct buf *json, const char *name, const char *text) {
	buf_printf(json, "\"%s\": ", name);
	buf_json_string(json, text, strlen(text));
}

/* KEY as a row of table FROM tells it, over the N tables of WAY: names only, of which
 * rowfs.notice_text() makes the SQL. */
static void put_key_over(struct buf *json, const struct scope *scope, int from, const int *way,
			 int n, const struct key *key) {
	const char *same = n == 1 ? same_value(scope, from, way[0], key) : NULL;
	if (same != NULL)
		n = 0;
	buf_puts(json, "{\"way\": [");
	for (int i = 0, child = from; i < n; child = way[i++]) {
		const struct foreign_key *fk = key_between(scope, child, way[i]);
		const struct relation *parent = scope->tables[way[i]].rel;
		buf_puts(json, i > 0 ? ", {" : "{");
		put_json_text(json, "schema", parent->schema);
		buf_puts(json, ", ");
		put_json_text(json, "table", parent->name);
		put_json_names(json, "columns", &fk->columns);
		put_json_names(json, "references", &fk->references);
		buf_putc(json, '}');
	}
	buf_puts(json, "], ");
	put_json_text(json, "column", same != NULL ? same : key->column->name);
	if (key->unit != NULL) {
		buf_puts(json, ", ");
		put_json_text(json, "unit", key->unit);
	}
	if (key->format != NULL) {
		buf_puts(json, ", ");
		put_json_text(json, "format", key->format);
	}
	buf_putc(json, '}');
}

/* Adds to D the keys on the path to PLACE that a row of scope table T tells, from the root on. */
static bool add_keys(struct notices *n, struct definition *d, struct subscriber *s,
		     const struct place *place, const struct scope *scope, int t) {
	if (place->parent != NULL && !add_keys(n, d, s, place->parent, scope, t))
		return false;
	for (int i = 0; i < place->nkeys; i++) {
		const struct key *key = &place->keys[i];
		AUTO_BUF struct buf json = { 0 };
		int way[PATH_KEYS_MAX + 1];
		int steps = key->table >= 0 ? way_up(scope, t, key->table, -1, way) : -1;
		if (steps < 0)
			continue;
		put_key_over(&json, scope, t, way, steps, key);
		d->keys[d->nkeys] = arena_keep(&n->memory, buf_take(&json));
		if (d->keys[d->nkeys] == NULL)
			return false;
		s->key[key->param] = (int16_t)d->nkeys++;
	}
	return true;
}

/* Adds D, or its subscribers to the one that is the same. */
static bool add_definition(struct notices *n, struct definition *d) {
	d->id = definition_hash(d);
	for (int i = 0; i < n->ndefinitions; i++) {
		if (n->definitions[i].id != d->id)
			continue;
		struct subscriber *s =
			definition_subscribe(&n->definitions[i], d->subscribers[0].place);
		if (s != NULL)
			*s = d->subscribers[0];
		free(d->subscribers);
		return s != NULL;
	}
	if (!list_room(n->definitions, n->ndefinitions)) {
		free(d->subscribers);
		return false;
	}
	n->definitions[n->ndefinitions++] = *d;
	return true;
}

static struct notices_table *find_table(const struct notices *n, const char *relation) {
	return list_find(n->tables, n->ntables, relation, relation);
}

static bool add_table(struct notices *n, const char *relation) {
	if (find_table(n, relation) != NULL)
		return true;
	char *copy = arena_strdup(&n->memory, relation);
	if (copy == NULL || !list_room(n->tables, n->ntables))
		return false;
	n->tables[n->ntables++] = (struct notices_table){ .relation = copy };
	return true;
}

/* PLACE depends on RELATION: by the keys of scope table T, or (T negative) in a way of its own. */
static bool depend(struct notices *n, const struct place *place, const char *relation, int t) {
	struct definition d = { .relation = arena_strdup(&n->memory, relation) };
	struct subscriber *s = d.relation != NULL ? definition_subscribe(&d, place) : NULL;
	if (s == NULL || (t >= 0 && !add_keys(n, &d, s, place, &place->scope, t)) ||
	    !add_table(n, relation)) {
		free(d.subscribers);
		return false;
	}
	return add_definition(n, &d);
}

/* -- what places depend on --------------------------------------------------------------------- */

static bool set_why(struct notices *n, const struct place *place, const char *why) {
	if (n->why[place->number] == NULL)
		n->why[place->number] = arena_strdup(&n->memory, why);
	return n->why[place->number] != NULL;
}

/* PLACE depends on a view. */
static bool depend_on_view(struct notices *n, struct db_pool *pool, const struct place *place,
			   const struct relation *view) {
	AUTO_BUF struct buf name = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	AUTO_DB_ERROR struct db_error err = { 0 };
	put_relation(&name, "", view);
	struct db_param param = { .data = name.data, .len = name.len };
	if (name.failed)
		return false;
	if (db_ask(pool, embedded_notice_sources_sql, &param, 1, ROWS_ANY, "t?", &res, &err) != 0)
		return set_why(n, place, err.sentence != NULL ? err.sentence : "no answer");
	for (int i = 0; i < PQntuples(res); i++) {
		if (field_is_null(res, i, 0)) {
			if (!set_why(n, place,
				     "a view whose rows change by more than its tables' rows"))
				return false;
		} else if (!depend(n, place, field_text(res, i, 0), -1)) {
			return false;
		}
	}
	return true;
}

static bool depend_on_table(struct notices *n, struct db_pool *pool, const struct place *place,
			    int t) {
	const struct relation *rel = place->scope.tables[t].rel;
	AUTO_BUF struct buf name = { 0 };
	if (rel->kind == 'v')
		return depend_on_view(n, pool, place, rel);
	if (rel->kind != 'r' && rel->kind != 'p')
		return set_why(n, place,
			       rel->kind == 'm' ? "a materialized view" : "a foreign table");
	put_relation(&name, "", rel);
	return !name.failed && depend(n, place, name.data, t);
}

static bool depend_on_all(struct notices *n, struct db_pool *pool, const struct place *place) {
	int first = place->parent != NULL ? place->parent->scope.n : 0;
	bool ok = true;
	for (int t = 0; ok && t < place->scope.n; t++)
		if (t >= first || t == place->row_table || t == place->target)
			ok = depend_on_table(n, pool, place, t);
	if (ok && place->view != NULL)
		ok = depend_on_view(n, pool, place, place->view);
	if (ok && place->function != NULL)
		ok = set_why(n, place, "a function, which may answer what it likes");
	if (ok && place->route != NULL && place->route->kind == KIND_FILE)
		ok = set_why(n, place, "no rows of a table");
	return ok;
}

/* -- triggers ---------------------------------------------------------------------------------- */

/* The definitions of one table, as parameters. */
struct install {
	struct notices *notices;
	struct notices_table *table;
	struct buf ids, definitions;
};

static void install_free(struct install *in) {
	buf_free(&in->ids);
	buf_free(&in->definitions);
}

static bool install_fill(struct install *in) {
	const struct notices *n = in->notices;
	int found = 0;
	buf_putc(&in->definitions, '[');
	for (int i = 0; i < n->ndefinitions; i++) {
		const struct definition *d = &n->definitions[i];
		if (strcmp(d->relation, in->table->relation) != 0)
			continue;
		array_add_number(&in->ids, d->id);
		buf_printf(&in->definitions, "%s{\"id\": %lld, \"keys\": [", found++ > 0 ? "," : "",
			   (long long)d->id);
		for (int k = 0; k < d->nkeys; k++)
			buf_printf(&in->definitions, "%s%s", k > 0 ? "," : "", d->keys[k]);
		buf_puts(&in->definitions, "]}");
	}
	buf_putc(&in->definitions, ']');
	array_end(&in->ids);
	return !in->ids.failed && !in->definitions.failed;
}

/* Sets the table's told, or its why. */
static void ask(struct db_pool *pool, const struct install *in) {
	struct notices_table *table = in->table;
	AUTO_RESULT PGresult *res = NULL;
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_param params[] = { db_text(table->relation),
				     { .data = in->ids.data, .len = in->ids.len } };
	int rc = db_ask(pool, embedded_notice_ask_sql, params, 2, ROWS_ONE, "b?b", &res, &err);
	table->told = rc == 0 && field_is_true(res, 0, 0);
	bool part = rc == 0 && field_is_true(res, 0, 1);
	table->missing = rc == 0 && !table->told && !part;
	const char *why =
		rc != 0 && err.sentence != NULL ? err.sentence
		: part ? "it is a part of another table, whose statements do not tell it what they change"
		       : "its triggers are not installed: rowfs check --install";
	if (!table->told && table->why == NULL)
		table->why = arena_strdup(&in->notices->memory, why);
}

static int tell_table(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct install *in = arg;
	struct db_param params[] = { db_text(in->table->relation),
				     { .data = in->definitions.data, .len = in->definitions.len } };
	/* another mount may be about the same */
	int rc = mutex_begin(conn, "notice", &params[0], err);
	if (rc == 0)
		rc = db_query_on(conn, "SELECT rowfs.tell($1::regclass, $2::jsonb)", params, 2,
				 NULL, err);
	return rc;
}

static void install_table(struct db_pool *pool, struct install *in) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	int rc = mutex_transaction(pool, tell_table, in, &err);
	in->table->why = NULL;
	if (rc != 0) {
		in->table->why = arena_strdup(&in->notices->memory,
					      err.sentence != NULL ? err.sentence : strerror(-rc));
		return;
	}
	in->table->made = true;
	ask(pool, in);
}

/* Asks for all tables at once: at most mounts, all is there. Returns false if that failed, for
 * whatever reason. */
static bool ask_all(struct db_pool *pool, struct notices *n) {
	AUTO_BUF struct buf relations = { 0 }, ids = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	AUTO_DB_ERROR struct db_error err = { 0 };
	for (int i = 0; i < n->ndefinitions; i++) {
		const struct definition *d = &n->definitions[i];
		array_add(&relations, d->relation, strlen(d->relation));
		array_add_number(&ids, d->id);
	}
	array_end(&relations);
	array_end(&ids);
	struct db_param params[] = { { .data = relations.data, .len = relations.len },
				     { .data = ids.data, .len = ids.len } };
	if (relations.failed || ids.failed ||
	    db_ask(pool, embedded_notice_ask_all_sql, params, 2, ROWS_ANY, "tb?", &res, &err) != 0)
		return false;
	for (int i = 0; i < PQntuples(res); i++) {
		struct notices_table *table = find_table(n, field_text(res, i, 0));
		if (table != NULL)
			table->told = field_is_true(res, i, 1);
	}
	return notices_missing(n) == 0;
}

int notices_missing(const struct notices *n) {
	int missing = 0;
	for (int i = 0; i < n->ntables; i++)
		missing += !n->tables[i].told;
	return missing;
}

/* Asks for each table that is not told, so that it is known why; with INSTALL, makes its
 * triggers. */
static bool watch_tables(struct notices *n, struct db_pool *pool, bool install) {
	for (int i = 0; i < n->ntables; i++) {
		struct notices_table *table = &n->tables[i];
		struct install in = { .notices = n, .table = table };
		if (table->told)
			continue;
		bool ok = install_fill(&in);
		if (ok && !install)
			ask(pool, &in);
		else if (ok)
			install_table(pool, &in);
		install_free(&in);
		if (!ok)
			return false;
	}
	return true;
}

/* Places of tables without triggers, and all that is below a place that is not told, are not told
 * either. */
static bool mark_places(struct notices *n) {
	for (int i = 0; i < n->ndefinitions; i++) {
		const struct definition *d = &n->definitions[i];
		const struct notices_table *table = find_table(n, d->relation);
		for (int s = 0; !table->told && s < d->nsubscribers; s++) {
			AUTO_BUF struct buf why = { 0 };
			buf_printf(&why, "%s: %s", d->relation,
				   table->why != NULL ? table->why : "?");
			if (why.failed || !set_why(n, d->subscribers[s].place, why.data))
				return false;
		}
	}
	for (int i = 0; i < n->tree->nall; i++) { /* parents come before children */
		const struct place *place = n->tree->all[i];
		if (place->parent != NULL && n->why[place->parent->number] != NULL &&
		    !set_why(n, place, n->why[place->parent->number]))
			return false;
	}
	return true;
}

/* A change of a place is told by its name only if every table that it depends on tells all keys of
 * it. */
static void mark_vague(struct notices *n) {
	for (int i = 0; i < n->ndefinitions; i++) {
		const struct definition *d = &n->definitions[i];
		for (int s = 0; s < d->nsubscribers; s++) {
			const struct place *place = d->subscribers[s].place;
			for (int k = 0; k < place->nparams; k++)
				if (d->subscribers[s].key[k] == NOTICE_ANY)
					n->vague[place->number] = true;
		}
	}
}

/* -- all --------------------------------------------------------------------------------------- */

/* The definitions alone, without a question whether the role may read them. */
static struct notices *make(struct db_pool *pool, const struct tree *tree) {
	struct notices *n = calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	n->tree = tree;
	n->why = arena_alloc(&n->memory, tree->nall, sizeof(*n->why));
	n->vague = arena_alloc(&n->memory, tree->nall, sizeof(*n->vague));
	bool ok = n->why != NULL && n->vague != NULL;
	for (int i = 0; ok && i < tree->nall; i++)
		ok = depend_on_all(n, pool, tree->all[i]);
	if (ok && (ask_all(pool, n) || watch_tables(n, pool, false)))
		return n;
	notices_free(n);
	return NULL;
}

int notices_load(struct db_pool *pool, const struct tree *tree, struct notices **out,
		 struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	*out = NULL;
	int rc = db_ask(pool, embedded_notice_readable_sql, NULL, 0, ROWS_ONE, "b", &res, err);
	if (rc != 0 || !field_is_true(res, 0, 0))
		return rc;
	*out = make(pool, tree);
	return *out != NULL ? 0 : -ENOMEM;
}

int notices_install(struct db_pool *pool, struct notices *n) {
	return watch_tables(n, pool, true) ? 0 : -ENOMEM;
}

void notices_each(const struct notices *n, notices_table_fn fn, void *arg) {
	for (int i = 0; i < n->ntables; i++)
		fn(arg, &n->tables[i]);
}

bool notices_rest_on(const struct notices *n, const char *relation, const struct place *place) {
	for (int i = 0; i < n->ndefinitions; i++) {
		const struct definition *d = &n->definitions[i];
		for (int s = 0; strcmp(d->relation, relation) == 0 && s < d->nsubscribers; s++)
			if (d->subscribers[s].place == place)
				return true;
	}
	return false;
}

int notices_failures(struct db_pool *pool, notices_failure_fn fn, void *arg, bool forget,
		     struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask(pool, embedded_notice_noted_sql, NULL, 0, ROWS_ANY, "tt?t?", &res, err);
	for (int row = 0; rc == 0 && row < PQntuples(res); row++)
		fn(arg, field_text(res, row, 0), field_text(res, row, 1), field_text(res, row, 2));
	if (rc == 0 && forget && PQntuples(res) > 0)
		rc = db_query_text(pool, embedded_notice_forget_sql, NULL, 0, DB_REPEATABLE, NULL,
				   NULL, err);
	return rc;
}

int notices_decide(struct notices *n) {
	if (!mark_places(n) || !notices_make_slices(n))
		return -ENOMEM;
	mark_vague(n);
	return 0;
}

void notices_free(struct notices *n) {
	if (n == NULL)
		return;
	for (int i = 0; i < n->ndefinitions; i++)
		free(n->definitions[i].subscribers);
	for (int i = 0; n->slices != NULL && i < n->tree->nslices; i++)
		free(n->slices[i].subscribers);
	free(n->definitions);
	free(n->tables);
	arena_free(&n->memory);
	free(n);
}

bool notices_told(const struct notices *n, const struct place *place) {
	return n->why[place->number] == NULL;
}

bool notices_exact(const struct notices *n, const struct place *place) {
	return n->why[place->number] == NULL && !n->vague[place->number];
}

const char *notices_why(const struct notices *n, const struct place *place) {
	return n->why[place->number];
}

void notices_count(const struct notices *n, int *told, int *others) {
	*told = *others = 0;
	for (int i = 0; i < n->tree->nall; i++) {
		const struct place *place = n->tree->all[i];
		if (place->route == NULL || place->route->kind == KIND_FILE)
			continue;
		*told += n->why[i] == NULL;
		*others += n->why[i] != NULL;
	}
}
