#include "init/version.h"

#include "db/field.h"
#include "init/pack.h"
#include "schema/embedded.h"

static const char changes_sql[] = "SELECT change FROM rowfs.changes WHERE project = 'rowfs_core'";

/* Compares the changes of RES with the plan. */
static enum version compare(const PGresult *res, const struct pack *core) {
	int last = -1;
	for (int row = 0; row < PQntuples(res); row++) {
		int at = pack_change(core, field_text(res, row, 0));
		if (at < 0)
			return VERSION_NEWER;
		if (at > last)
			last = at;
	}
	return last == core->nchanges - 1 ? VERSION_SAME : VERSION_OLDER;
}

static int ask_changes(struct db_pool *pool, enum version *out, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct pack core = { 0 };
	int rc = db_ask(pool, changes_sql, NULL, 0, ROWS_ANY, "t", &res, err);
	if (rc == 0 && (rc = pack_parse(&core, embedded_core_plan)) == 0)
		*out = compare(res, &core);
	pack_free(&core);
	return rc;
}

int version_ask(struct db_pool *pool, enum version *out, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask(pool, embedded_version_there_sql, NULL, 0, ROWS_ONE, "b?b?b?", &res, err);
	if (rc != 0)
		return rc;
	if (field_is_true(res, 0, 2))
		return ask_changes(pool, out, err);
	*out = field_is_true(res, 0, 1)   ? VERSION_UNKNOWN
	       : field_is_true(res, 0, 0) ? VERSION_OLDER
					  : VERSION_NONE;
	return 0;
}

void version_put(struct buf *out, enum version v, double ttl, const char *conninfo) {
	static const char *const texts[] = {
		[VERSION_NONE] =
			"the database has no schema rowfs, so an append whose connection breaks may be "
			"repeated, changes by others are seen after ",
		[VERSION_OLDER] = "the schema rowfs is older than this rowfs: ",
		[VERSION_NEWER] =
			"the schema rowfs is newer than this rowfs (" ROWFS_VERSION
			"), and some of it may not work: install the newer rowfs on this machine",
		[VERSION_UNKNOWN] = NULL,
	};
	if (texts[v] == NULL)
		return;
	buf_puts(out, texts[v]);
	if (v == VERSION_NEWER)
		return;
	if (v == VERSION_NONE)
		buf_printf(out, "%g s, and sizes are not kept: ", ttl);
	buf_puts(out, v == VERSION_NONE ? "rowfs init " : "rowfs init --upgrade ");
	buf_shell_word(out, conninfo);
}
