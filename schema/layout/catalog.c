#include "schema/layout/catalog.h"

#include "db/field.h"
#include "util/text/array.h"
#include "util/text/strings.h"
#include "schema/embedded.h"
#include "util/json.h"
#include "util/list.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

bool name_list_has(const struct name_list *list, const char *name) {
	return text_index((const char *const *)list->names, list->n, name) >= 0;
}

static char *get_string(struct arena *memory, const cJSON *object, const char *name) {
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
	return arena_strdup(memory, cJSON_IsString(item) ? item->valuestring : "");
}

static char get_char(const cJSON *object, const char *name) {
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
	return cJSON_IsString(item) ? item->valuestring[0] : '\0';
}

static bool get_bool(const cJSON *object, const char *name) {
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static int64_t get_oid(const cJSON *object, const char *name) {
	return json_integer(cJSON_GetObjectItemCaseSensitive(object, name), 0, UINT32_MAX, 0);
}

/* OTHERWISE where there is no such number from LOW to INT_MAX. */
static int get_int(const cJSON *object, const char *name, int low, int otherwise) {
	return (int)json_integer(cJSON_GetObjectItemCaseSensitive(object, name), low, INT_MAX,
				 otherwise);
}

static struct name_list get_names(struct arena *memory, const cJSON *object, const char *name) {
	const cJSON *array = cJSON_GetObjectItemCaseSensitive(object, name), *e;
	struct name_list list = { .names = arena_alloc(memory, cJSON_GetArraySize(array),
						       sizeof(char *)) };
	cJSON_ArrayForEach(e, array) {
		if (list.names != NULL)
			list.names[list.n++] =
				arena_strdup(memory, cJSON_IsString(e) ? e->valuestring : "");
	}
	return list;
}

static void read_columns(struct arena *memory, const cJSON *array, struct relation *rel) {
	const cJSON *e;
	rel->columns = arena_alloc(memory, cJSON_GetArraySize(array), sizeof(*rel->columns));
	if (rel->columns == NULL)
		return;
	cJSON_ArrayForEach(e, array) {
		rel->columns[rel->ncolumns++] = (struct column){
			.name = get_string(memory, e, "name"),
			.type = get_string(memory, e, "type"),
			.base = get_string(memory, e, "base"),
			.operators = get_string(memory, e, "operators"),
			.category = get_char(e, "category"),
			.kind = get_char(e, "kind"),
			.modifier = get_int(e, "modifier", INT_MIN, -1),
			.not_null = get_bool(e, "not_null"),
			.has_default = get_bool(e, "default"),
			.generated = get_bool(e, "generated"),
			.identity_always = get_bool(e, "identity"),
			.selectable = get_bool(e, "select"),
			.insertable = get_bool(e, "insert"),
			.updatable = get_bool(e, "update"),
		};
	}
}

/* What a role with rights on some columns does without. */
static void set_hidden(struct relation *rel) {
	bool reads = false, updates = false;
	for (int i = 0; i < rel->ncolumns; i++) {
		reads = reads || rel->columns[i].selectable;
		updates = updates || rel->columns[i].updatable;
	}
	for (int i = 0; i < rel->ncolumns; i++) {
		struct column *column = &rel->columns[i];
		column->hidden = reads && !column->selectable;
		/* what cannot be compared either is left to the server */
		column->fixed = updates && !column->updatable && !column->hidden;
	}
}

static bool is_hidden(const struct relation *rel, const struct name_list *names) {
	for (int i = 0; i < names->n; i++) {
		const struct column *column = relation_column(rel, names->names[i]);
		if (column != NULL && column->hidden)
			return true;
	}
	return false;
}

static void read_relation(struct arena *memory, const cJSON *json, struct relation *rel) {
	const cJSON *e, *array;
	rel->oid = get_oid(json, "oid");
	rel->schema = get_string(memory, json, "schema");
	rel->name = get_string(memory, json, "name");
	rel->full_name = get_string(memory, json, "full");
	rel->kind = get_char(json, "kind");
	rel->takes_copy = get_bool(json, "copy");
	rel->inherited = get_bool(json, "inherited");
	rel->referenced = get_bool(json, "referenced");
	rel->readable = get_bool(json, "readable");
	rel->versions = get_bool(json, "versions");
	rel->deletable = get_bool(json, "deletable");
	rel->rewrites_rows = get_bool(json, "rewrites");
	read_columns(memory, cJSON_GetObjectItemCaseSensitive(json, "columns"), rel);
	set_hidden(rel);
	array = cJSON_GetObjectItemCaseSensitive(json, "keys");
	rel->keys = arena_alloc(memory, cJSON_GetArraySize(array), sizeof(*rel->keys));
	cJSON_ArrayForEach(e, array) {
		if (rel->keys != NULL)
			rel->keys[rel->nkeys++] = (struct unique_key){
				.columns = get_names(memory, e, "columns"),
				.primary = get_bool(e, "primary"),
			};
	}
	array = cJSON_GetObjectItemCaseSensitive(json, "checks");
	rel->checks = arena_alloc(memory, cJSON_GetArraySize(array), sizeof(*rel->checks));
	cJSON_ArrayForEach(e, array) {
		if (rel->checks != NULL)
			rel->checks[rel->nchecks++] = (struct row_check){
				.columns = get_names(memory, e, "columns"),
				.compared = get_names(memory, e, "compared"),
				.nulls = get_bool(e, "nulls"),
			};
	}
	rel->rules = get_names(memory, json, "rules");
	array = cJSON_GetObjectItemCaseSensitive(json, "parents");
	rel->parents = arena_alloc(memory, cJSON_GetArraySize(array), sizeof(*rel->parents));
	cJSON_ArrayForEach(e, array) {
		if (rel->parents != NULL)
			rel->parents[rel->nparents++] = (struct foreign_key){
				.relation = get_oid(e, "relation"),
				.columns = get_names(memory, e, "columns"),
				.references = get_names(memory, e, "references"),
			};
	}
}

static void read_function(struct arena *memory, const cJSON *json, struct function *fn) {
	const cJSON *e, *array = cJSON_GetObjectItemCaseSensitive(json, "arguments");
	fn->schema = get_string(memory, json, "schema");
	fn->name = get_string(memory, json, "name");
	fn->ndefaults = get_int(json, "defaults", 0, 0);
	fn->arguments = arena_alloc(memory, cJSON_GetArraySize(array), sizeof(*fn->arguments));
	cJSON_ArrayForEach(e, array) {
		if (fn->arguments == NULL)
			return;
		fn->arguments[fn->narguments].name = get_string(memory, e, "name");
		fn->arguments[fn->narguments++].type = get_string(memory, e, "type");
	}
}

/* A view has no keys of its own: the layout may say what identifies its rows. */
static void add_layout_key(struct arena *memory, struct relation *rel,
			   const struct layout_table *table) {
	if (table == NULL || table->key.n == 0)
		return;
	struct unique_key *keys = arena_alloc(memory, rel->nkeys + 1, sizeof(*keys));
	if (keys == NULL)
		return;
	keys[0] = (struct unique_key){ .primary = true, .columns = table->key };
	for (int i = 0; i < rel->nkeys; i++)
		keys[i + 1] = rel->keys[i];
	rel->keys = keys;
	rel->nkeys++;
}

/* One row of the catalog query: a name, perhaps a relation, perhaps functions. */
static void read_name(const PGresult *res, int row, const struct layout *layout,
		      struct catalog *cat) {
	const char *name = field_text(res, row, 0);
	AUTO_JSON cJSON *relation = cJSON_Parse(field_text(res, row, 1));
	AUTO_JSON cJSON *functions = cJSON_Parse(field_text(res, row, 2));
	cat->memory.failed |= (relation == NULL && !field_is_null(res, row, 1)) ||
			      (functions == NULL && !field_is_null(res, row, 2));
	if (relation != NULL) {
		struct relation *rel = &cat->relations[cat->nrelations++];
		rel->layout_name = arena_strdup(&cat->memory, name);
		read_relation(&cat->memory, relation, rel);
		add_layout_key(&cat->memory, rel, layout_table(layout, name));
		for (int i = 0; i < rel->nkeys && rel->keys != NULL; i++)
			rel->keys[i].hidden = is_hidden(rel, &rel->keys[i].columns);
	}
	if (functions != NULL) {
		/* Overloaded functions: the first; a layout cannot say which. */
		struct function *fn = &cat->functions[cat->nfunctions++];
		fn->layout_name = arena_strdup(&cat->memory, name);
		read_function(&cat->memory, cJSON_GetArrayItem(functions, 0), fn);
	}
}

static void add_name(cJSON *seen, const char *name) {
	if (cJSON_GetObjectItemCaseSensitive(seen, name) == NULL)
		cJSON_AddNullToObject(seen, name);
}

/* The relation of "relation.column", LEN bytes; nothing for a column alone. */
static void add_relation_of(cJSON *seen, const char *column, size_t len) {
	const char *dot = memrchr(column, '.', len);
	AUTO_FREE char *name = dot != NULL ? strndup(column, (size_t)(dot - column)) : NULL;
	if (name != NULL)
		add_name(seen, name);
}

/* The names that LAYOUT speaks of, each once, as a JSON array. */
static char *names_of(const struct layout *layout) {
	AUTO_JSON cJSON *seen = cJSON_CreateObject();
	for (int i = 0; i < layout->nroutes; i++) {
		const struct layout_route *route = &layout->routes[i];
		if (route->broken)
			continue;
		if (route->relation != NULL)
			add_name(seen, route->relation);
		for (int k = 0; k < route->nkeys; k++)
			add_relation_of(seen, route->keys[k].column, strlen(route->keys[k].column));
		/* {relation.column} in the path may speak of further relations */
		for (const char *p = strchr(route->path, '{'); p != NULL; p = strchr(p + 1, '{')) {
			const char *end = strchr(p, '}');
			if (end != NULL)
				add_relation_of(seen, p + 1, (size_t)(end - p) - 1);
		}
	}
	for (int i = 0; i < layout->ntables; i++)
		add_name(seen, layout->tables[i].relation);
	for (int i = 0; i < layout->ntimers; i++)
		if (layout->timers[i].call != NULL)
			add_name(seen, layout->timers[i].call);
	AUTO_BUF struct buf out = { 0 };
	const cJSON *e;
	cJSON_ArrayForEach(e, seen) {
		buf_puts(&out, out.len == 0 ? "[" : ",");
		buf_json_string(&out, e->string, strlen(e->string));
	}
	buf_puts(&out, out.len == 0 ? "[]" : "]");
	return buf_take(&out);
}

/* What stands in the schema rowfs is used only if it is rowfs's own. */
static int ask_owners(struct db_pool *pool, const struct catalog *cat, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	AUTO_BUF struct buf oids = { 0 };
	for (int i = 0; i < cat->nrelations; i++)
		array_add_number(&oids, cat->relations[i].oid);
	array_end(&oids);
	if (oids.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	struct db_param param = { .data = oids.data, .len = oids.len };
	int rc = db_ask(pool, embedded_owners_sql, &param, 1, ROWS_ONE_OR_NONE, "t", &res, err);
	if (rc == 0 && PQntuples(res) > 0)
		rc = db_error_set(err, EPERM, "%s", field_text(res, 0, 0));
	return rc;
}

static int ask_session(struct db_pool *pool, struct catalog *cat, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask(pool, embedded_catalog_session_sql, NULL, 0, ROWS_ONE, "ttbbbbbb", &res,
			err);
	if (rc != 0)
		return rc;
	cat->database = arena_strdup(&cat->memory, field_text(res, 0, 0));
	cat->user = arena_strdup(&cat->memory, field_text(res, 0, 1));
	cat->has_ledger = field_is_true(res, 0, 2);
	cat->has_streams = field_is_true(res, 0, 3);
	cat->has_proof = field_is_true(res, 0, 4);
	cat->has_file_relations = field_is_true(res, 0, 5);
	cat->recodes = field_is_true(res, 0, 6);
	cat->read_only = field_is_true(res, 0, 7);
	return 0;
}

const char catalog_greeting[] = "SET enable_hashjoin = off; SET enable_mergejoin = off;"
				"SET enable_seqscan = off";

int catalog_changed(struct db_pool *pool, const struct catalog *cat, bool *changed,
		    struct db_error *err) {
	/* prepared: to plan it takes longer than to run it */
	static struct db_statement st = { .sql = embedded_fingerprint_sql };
	AUTO_RESULT PGresult *res = NULL;
	struct db_param params[] = { db_text(cat->names), db_text(cat->prefix) };
	int rc = db_query(pool, &st, params, 2, DB_NO_RETRY, NULL, &res, err);
	if (rc == 0)
		rc = field_judge(res, ROWS_ONE, "t", err);
	if (rc == 0)
		*changed = strcmp(field_text(res, 0, 0), cat->fingerprint) != 0;
	return rc;
}

int catalog_load(struct db_pool *pool, const struct layout *layout, const char *prefix,
		 struct catalog **out, struct db_error *err) {
	AUTO_FREE char *names = names_of(layout);
	AUTO_RESULT PGresult *res = NULL, *fingerprint = NULL;
	if (names == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	struct db_param params[] = { db_text(names), db_text(prefix) };
	/* first: what changes while the rest is read is a change */
	int rc =
		db_ask(pool, embedded_fingerprint_sql, params, 2, ROWS_ONE, "t", &fingerprint, err);
	if (rc == 0)
		rc = db_ask(pool, embedded_catalog_sql, params, 2, ROWS_ANY, "tt?t?", &res, err);
	if (rc != 0)
		return rc;
	int n = PQntuples(res);
	struct catalog *cat = calloc(1, sizeof(*cat));
	if (cat == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	cat->relations = arena_alloc(&cat->memory, n, sizeof(*cat->relations));
	cat->functions = arena_alloc(&cat->memory, n, sizeof(*cat->functions));
	cat->names = arena_strdup(&cat->memory, names);
	cat->prefix = arena_strdup(&cat->memory, prefix);
	cat->fingerprint = arena_strdup(&cat->memory, field_text(fingerprint, 0, 0));
	for (int i = 0; i < n && !cat->memory.failed; i++)
		read_name(res, i, layout, cat);
	if (!cat->memory.failed)
		rc = ask_owners(pool, cat, err);
	if (rc == 0 && !cat->memory.failed)
		rc = ask_session(pool, cat, err);
	if (cat->memory.failed)
		rc = db_error_set(err, ENOMEM, "out of memory");
	if (rc != 0)
		catalog_free(cat);
	else
		*out = cat;
	return rc;
}

const struct relation *catalog_relation(const struct catalog *cat, const char *layout_name) {
	return list_find(cat->relations, cat->nrelations, layout_name, layout_name);
}

const struct function *catalog_function(const struct catalog *cat, const char *layout_name) {
	return list_find(cat->functions, cat->nfunctions, layout_name, layout_name);
}

const struct column *relation_column(const struct relation *rel, const char *name) {
	return list_find(rel->columns, rel->ncolumns, name, name);
}

const struct name_list *relation_key(const struct relation *rel) {
	for (int i = 0; i < rel->nkeys; i++) {
		bool usable = !rel->keys[i].hidden;
		for (int c = 0; c < rel->keys[i].columns.n && !rel->keys[i].primary; c++) {
			const struct column *col =
				relation_column(rel, rel->keys[i].columns.names[c]);
			usable = usable && col != NULL && col->not_null;
		}
		if (usable)
			return &rel->keys[i].columns;
	}
	return NULL;
}

void catalog_free(struct catalog *cat) {
	if (cat == NULL)
		return;
	arena_free(&cat->memory);
	free(cat);
}
