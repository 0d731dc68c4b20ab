#include "init/state.h"

#include "db/field.h"
#include "schema/embedded.h"

#include <errno.h>
#include <string.h>

/* -- asking ------------------------------------------------------------------------------------ */

struct asking {
	const struct packs *packs;
	struct state *state;
};

static char *text_or_null(const PGresult *res, int column) {
	return field_is_null(res, 0, column) ? NULL : strdup(field_text(res, 0, column));
}

static int survey(struct db_conn *conn, struct state *s, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask_on(conn, embedded_init_survey_sql, NULL, 0, ROWS_ONE, "bubtt?bbbt?", &res,
			   err);
	if (rc != 0)
		return rc;
	s->standby = field_is_true(res, 0, 0);
	s->pooler = field_number(res, 0, 1) != db_backend_on(conn);
	s->can_create = field_is_true(res, 0, 2);
	s->me = text_or_null(res, 3);
	s->owner = text_or_null(res, 4);
	s->schema = s->owner != NULL;
	s->owned = field_is_true(res, 0, 5);
	s->registry = field_is_true(res, 0, 6);
	s->old = field_is_true(res, 0, 7);
	s->strange = text_or_null(res, 8);
	return 0;
}

/* Notes that CHANGE of PACK is deployed. */
static void note_change(const struct pack *pack, const char *change, int *last, bool *foreign) {
	int at = pack_change(pack, change);
	if (at > *last)
		*last = at;
	*foreign |= at < 0;
}

static int ask_deployed(struct db_conn *conn, struct asking *a, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask_on(conn, embedded_init_deployed_sql, NULL, 0, ROWS_ANY, "tt", &res, err);
	for (int row = 0; rc == 0 && row < PQntuples(res); row++)
		for (int i = 0; i < a->packs->n; i++)
			if (strcmp(a->packs->list[i].project, field_text(res, row, 0)) == 0)
				note_change(&a->packs->list[i], field_text(res, row, 1),
					    &a->state->of[i].last, &a->state->of[i].foreign);
	return rc;
}

static void note_old(const struct pack *pack, bool core, const char *project, const char *change,
		     struct deployed *d) {
	bool own = strcmp(pack->project, project) == 0, ignored = false;
	if (!own && strcmp(project, "rowfs") != 0)
		return;
	note_change(pack, change, &d->old, &ignored);
	d->same = own || core;
}

/* The single project `rowfs` had the core, whose changes are still the same, and two packs. */
static int ask_old(struct db_conn *conn, struct asking *a, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask_on(conn, embedded_init_old_sql, NULL, 0, ROWS_ANY, "tt", &res, err);
	for (int row = 0; rc == 0 && row < PQntuples(res); row++)
		for (int i = 0; i < a->packs->n; i++)
			note_old(&a->packs->list[i], i == 0, field_text(res, row, 0),
				 field_text(res, row, 1), &a->state->of[i]);
	if (rc == 0)
		a->state->old = PQntuples(res) > 0;
	return rc;
}

static int load(struct db_conn *conn, void *arg, struct db_error *err) {
	struct asking *a = arg;
	AUTO_RESULT PGresult *res = NULL;
	int rc = survey(conn, a->state, err);
	if (rc == 0 && a->state->registry)
		rc = ask_deployed(conn, a, err);
	if (rc == 0 && a->state->old)
		rc = ask_old(conn, a, err);
	if (rc == 0)
		rc = db_ask_on(conn, embedded_peers_survey_sql, NULL, 0, ROWS_ANY, "tb", &res, err);
	if (rc != 0)
		return rc;
	a->state->mounts = PQntuples(res);
	PQclear(move_ptr(res));
	rc = db_ask_on(conn, embedded_init_sessions_sql, NULL, 0, ROWS_ONE, "n", &res, err);
	if (rc == 0 && a->state->mounts == 0 && field_number(res, 0, 0) > 0)
		a->state->mounts = 1;
	return rc;
}

int state_load(struct db_pool *pool, const struct packs *packs, struct state *s,
	       struct db_error *err) {
	struct asking asking = { .packs = packs, .state = s };
	*s = (struct state){ .of = calloc((size_t)packs->n, sizeof(*s->of)) };
	if (s->of == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	for (int i = 0; i < packs->n; i++)
		s->of[i] = (struct deployed){ .last = -1, .old = -1 };
	return db_transaction(pool, load, &asking, DB_NO_RETRY, NULL, err);
}

void state_free(struct state *s) {
	free(s->me);
	free(s->owner);
	free(s->strange);
	free(s->of);
	*s = (struct state){ 0 };
}

bool state_refuses(const struct state *s, const struct packs *packs, struct buf *why) {
	bool core = s->of[0].last >= 0 || s->of[0].old >= 0;
	for (int i = 0; i < packs->n; i++)
		if (s->of[i].foreign)
			buf_printf(why,
				   "%s is newer in the database than this rowfs (" ROWFS_VERSION
				   ") knows: install the newer rowfs here",
				   packs->list[i].name);
	if (why->len > 0)
		return true;
	if (s->standby)
		buf_puts(why, "this server is a standby, on which nothing can be changed: name its "
			      "primary");
	else if (s->pooler)
		buf_puts(why, "the server was reached through a pooler, which does not keep a "
			      "session together: name the server's own host and port");
	else if (s->schema && !s->owned)
		buf_printf(why,
			   "the schema rowfs belongs to %s, and %s is no member of that role: log "
			   "in as %s",
			   s->owner, s->me, s->owner);
	else if (s->schema && !core && s->strange != NULL)
		buf_printf(why,
			   "the schema rowfs has things that rowfs has not made (%s): ALTER SCHEMA "
			   "rowfs RENAME TO something else, or DROP SCHEMA rowfs CASCADE if nobody "
			   "needs them",
			   s->strange);
	else if (!s->schema && !s->can_create)
		buf_printf(why,
			   "%s may not make a schema in this database: GRANT CREATE ON DATABASE to "
			   "it, or log in as the database's owner",
			   s->me);
	return why->len > 0;
}

/* -- registries -------------------------------------------------------------------------------- */

/* Runs the statements of SQLS, which ends with NULL. */
static int run_all(struct db_conn *conn, void *arg, struct db_error *err) {
	const char *const *sqls = arg;
	int rc = 0;
	while (rc == 0 && *sqls != NULL)
		rc = db_query_on(conn, *sqls++, NULL, 0, NULL, err);
	return rc;
}

/* Drops the schema that sqitch keeps its tables in, where no project is in it any more. Anything
 * else in it stays, and the schema, too. */
#define DROP_REGISTRY(schema)                                                                      \
	"DO $do$ BEGIN IF NOT EXISTS (SELECT FROM " schema ".changes) THEN DROP TABLE " schema     \
	".changes, " schema ".dependencies, " schema ".events, " schema ".projects, " schema       \
	".releases, " schema ".tags; IF NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE "     \
	"d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass AND "  \
	"d.refobjid OPERATOR(pg_catalog.=) '" schema "'::pg_catalog.regnamespace) "                \
	"THEN DROP SCHEMA " schema "; END IF; END IF; END $do$"

int state_drop_registry(struct db_pool *pool, struct db_error *err) {
	static const char *const sqls[] = { DROP_REGISTRY("rowfs"), NULL };
	return db_transaction(pool, run_all, (void *)(uintptr_t)sqls, DB_REPEATABLE, NULL, err);
}

#define OF_ROWFS "IN ('rowfs', 'rowfs_partitioned')"

int state_drop_old(struct db_pool *pool, struct db_error *err) {
	static const char *const sqls[] = {
		"DELETE FROM sqitch.dependencies WHERE change_id IN (SELECT c.change_id FROM "
		"sqitch.changes c WHERE c.project " OF_ROWFS ")",
		"DELETE FROM sqitch.tags WHERE project " OF_ROWFS,
		"DELETE FROM sqitch.changes WHERE project " OF_ROWFS,
		"DELETE FROM sqitch.events WHERE project " OF_ROWFS,
		"DELETE FROM sqitch.projects WHERE project " OF_ROWFS,
		DROP_REGISTRY("sqitch"),
		NULL,
	};
	return db_transaction(pool, run_all, (void *)(uintptr_t)sqls, DB_NO_RETRY, NULL, err);
}
