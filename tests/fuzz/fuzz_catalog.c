/* catalog_load() and tree_build(): a layout beside what a server says of its relations, most of
 * it as it should be. Whatever is odd gives a tree, or an error, or the mistakes of the layout.
 * tests/fuzz/run puts the functions below in the place of the server. */
#include "db/query.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/treekit.h"

static struct choices choices;
static int asked;

int __wrap_db_query_text(struct db_pool *pool, const char *sql, const struct db_param *params,
			 int n, unsigned flags, struct db_cancel *cancel, PGresult **out,
			 struct db_error *err);

/* -- JSON -------------------------------------------------------------------------------------- */

/* Appends NORMAL, or now and then something else. */
static void put(struct buf *out, const char *normal) {
	static const char *const odd[] = {
		"null", "-1", "1e300", "4294967296",  "\"\"", "\"r\"",         "\"\\u00e4\"",
		"[]",   "{}", "true",  "[null,{},1]", "0",    "{\"name\": 1}", "\"plants\""
	};
	buf_puts(out, choose(&choices, 16) == 15 ? PICK(&choices, odd) : normal);
}

static void put_text(struct buf *out, const char *text) {
	AUTO_BUF struct buf json = { 0 };
	buf_json_string(&json, text, strlen(text));
	put(out, json.data != NULL ? json.data : "\"\"");
}

static void put_number(struct buf *out, long long number) {
	AUTO_BUF struct buf json = { 0 };
	buf_printf(&json, "%lld", number);
	put(out, json.data != NULL ? json.data : "0");
}

/* Appends a member's key, unless it is to be missing. */
static void put_key(struct buf *out, const char *key) {
	buf_printf(out, "%s\"%s\": ", out->data[out->len - 1] == '{' ? "" : ", ",
		   choose(&choices, 32) == 31 ? "other" : key);
}

static void put_flag(struct buf *out, const char *key, bool flag) {
	put_key(out, key);
	put(out, flag ? "true" : "false");
}

static void put_names(struct buf *out, const char *key, const struct name_list *list) {
	AUTO_BUF struct buf json = { 0 };
	buf_puts(&json, "[");
	for (int i = 0; i < list->n; i++) {
		buf_puts(&json, i > 0 ? ", " : "");
		put_text(&json, list->names[i]);
	}
	buf_puts(&json, "]");
	put_key(out, key);
	put(out, json.data);
}

static void put_column(struct buf *out, const struct column *column) {
	const char category[] = { column->category, '\0' }, kind[] = { column->kind, '\0' };
	buf_puts(out, "{");
	put_key(out, "name");
	put_text(out, column->name);
	put_key(out, "type");
	put_text(out, column->type);
	put_key(out, "base");
	put_text(out, column->base);
	put_key(out, "category");
	put_text(out, category);
	put_key(out, "kind");
	put_text(out, kind);
	put_key(out, "modifier");
	put_number(out, column->modifier);
	put_flag(out, "not_null", column->not_null);
	put_flag(out, "default", column->has_default);
	put_flag(out, "generated", column->generated);
	put_flag(out, "identity", column->identity_always);
	buf_puts(out, "}");
}

static void put_relation(struct buf *out, const struct relation *rel) {
	const char kind[] = { rel->kind, '\0' };
	buf_puts(out, "{");
	put_key(out, "oid");
	put_number(out, rel->oid);
	put_key(out, "schema");
	put_text(out, "public");
	put_key(out, "name");
	put_text(out, rel->layout_name);
	put_key(out, "full");
	put_text(out, rel->layout_name);
	put_key(out, "kind");
	put_text(out, kind);
	put_flag(out, "copy", rel->takes_copy);
	put_flag(out, "inherited", rel->inherited);
	put_flag(out, "referenced", rel->referenced);
	put_flag(out, "readable", true);
	put_flag(out, "rewrites", rel->rewrites_rows);
	put_key(out, "columns");
	for (int i = 0; i < rel->ncolumns; i++) {
		buf_puts(out, i > 0 ? ", " : "[");
		put_column(out, &rel->columns[i]);
	}
	buf_puts(out, "]");
	put_key(out, "keys");
	buf_puts(out, "[");
	for (int i = 0; i < rel->nkeys; i++) {
		buf_puts(out, i > 0 ? ", {" : "{");
		put_names(out, "columns", &rel->keys[i].columns);
		put_flag(out, "primary", rel->keys[i].primary);
		buf_puts(out, "}");
	}
	buf_puts(out, "]");
	put_key(out, "parents");
	buf_puts(out, "[");
	for (int i = 0; i < rel->nparents; i++) {
		buf_puts(out, i > 0 ? ", {" : "{");
		put_key(out, "relation");
		put_number(out, rel->parents[i].relation);
		put_names(out, "columns", &rel->parents[i].columns);
		put_names(out, "references", &rel->parents[i].references);
		buf_puts(out, "}");
	}
	buf_puts(out, "]}");
}

static void put_functions(struct buf *out, const struct function *fn) {
	buf_puts(out, "[{");
	put_key(out, "schema");
	put_text(out, "public");
	put_key(out, "name");
	put_text(out, fn->layout_name);
	put_key(out, "defaults");
	put_number(out, fn->ndefaults);
	put_key(out, "arguments");
	buf_puts(out, "[");
	for (int i = 0; i < fn->narguments; i++) {
		buf_puts(out, i > 0 ? ", {" : "{");
		put_key(out, "name");
		put_text(out, fn->arguments[i].name);
		put_key(out, "type");
		put_text(out, fn->arguments[i].type);
		buf_puts(out, "}");
	}
	buf_puts(out, "]}]");
}

/* -- the server -------------------------------------------------------------------------------- */

static PGresult *result_of(int ncolumns) {
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc columns[8] = { 0 };
	for (int i = 0; i < 8; i++)
		columns[i] = (PGresAttDesc){ .name = TEXT("c"), .typlen = -1 };
	HOLDS(res != NULL && PQsetResultAttrs(res, ncolumns, columns));
	return res;
}

static void set(PGresult *res, int row, int column, const char *text) {
	HOLDS(PQsetvalue(res, row, column, (char *)(uintptr_t)text,
			 text != NULL ? (int)strlen(text) : -1));
}

static PGresult *names_result(void) {
	const struct catalog *cat = treekit_catalog();
	PGresult *res = result_of(3);
	int row = 0;
	for (int i = 0; i < cat->nrelations; i++, row++) {
		AUTO_BUF struct buf json = { 0 };
		put_relation(&json, &cat->relations[i]);
		set(res, row, 0, cat->relations[i].layout_name);
		set(res, row, 1, choose(&choices, 32) == 31 ? NULL : json.data);
		set(res, row, 2, NULL);
	}
	for (int i = 0; i < cat->nfunctions; i++, row++) {
		AUTO_BUF struct buf json = { 0 };
		put_functions(&json, &cat->functions[i]);
		set(res, row, 0, cat->functions[i].layout_name);
		set(res, row, 1, NULL);
		set(res, row, 2, json.data);
	}
	return res;
}

static PGresult *session_result(void) {
	PGresult *res = result_of(7);
	for (int i = 0; i < 7; i++)
		set(res, 0, i, i < 2 ? "me" : choose(&choices, 2) > 0 ? "f" : "t");
	return res;
}

int __wrap_db_query_text(struct db_pool *pool, const char *sql, const struct db_param *params,
			 int n, unsigned flags, struct db_cancel *cancel, PGresult **out,
			 struct db_error *err) {
	*out = asked++ == 0 ? names_result() : session_result();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_BUF struct buf json = { 0 }, mistakes = { 0 };
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct catalog *cat = NULL;
	choices = (struct choices){ .data = data, .left = size };
	asked = 0;
	treekit_layout(&choices, &json);
	struct layout *layout = layout_parse(json.data, json.len, &mistakes);
	if (layout == NULL || catalog_load(NULL, layout, "", &cat, &err) != 0) {
		layout_free(layout);
		return 0;
	}
	struct tree *tree = tree_build(layout, cat, NULL, &mistakes);
	HOLDS((tree == NULL) == (mistakes.len > 0));
	HOLDS(tree == NULL || sql_build(tree));
	for (int i = 0; tree != NULL && i < tree->nslices; i++)
		tree->slices[i]->usable = true;
	HOLDS(tree == NULL || sql_use_slices(tree));
	tree_free(tree);
	catalog_free(cat);
	layout_free(layout);
	return 0;
}
