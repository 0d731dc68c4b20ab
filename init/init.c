#include "init/init.h"

#include "db/field.h"
#include "init/differ.h"
#include "init/sqitch.h"
#include "init/state.h"
#include "schema/embedded.h"
#include "util/text/strings.h"
#include "util/list.h"

#include <string.h>

enum { CORE = 0 };

/* One run of the command. */
struct run {
	const struct init *init;
	const struct packs *packs;
	struct db_pool *pool;
	struct program program;
	struct state before;
	struct db_error err; /* of the last question */
	struct buf script;   /* for psql: what would be run */
	bool *wanted;        /* of each pack: is to be deployed, or taken out */
	bool *touched;       /* this run has deployed changes of it */
};

static int complain(const char *fmt, ...) PRINTF_LIKE(1, 2);
static int complain(const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	fputs("rowfs init: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs("\n", stderr);
	va_end(ap);
	return 1;
}

/* -- begin and end ----------------------------------------------------------------------------- */

/* Connects, and looks at what is there. Returns the exit status. */
static int run_begin(struct run *run, const struct init *init, const struct packs *packs) {
	struct db_config config = *init->db;
	config.min_connections = config.max_connections = 1;
	config.search_path = NULL;
	*run = (struct run){
		.init = init,
		.packs = packs,
		.wanted = calloc((size_t)packs->n, sizeof(bool)),
		.touched = calloc((size_t)packs->n, sizeof(bool)),
	};
	if (run->wanted == NULL || run->touched == NULL)
		return complain("out of memory");
	if (db_pool_new(&config, &run->pool, &run->err) != 0 ||
	    state_load(run->pool, packs, &run->before, &run->err) != 0)
		return complain("%s", db_error_text(&run->err));
	const struct state *s = &run->before;
	run->program = (struct program){
		.conninfo = init->db->conninfo != NULL ? init->db->conninfo : "",
		.schema = init->schema,
		.role = s->owned && strcmp(s->owner, s->me) != 0 ? s->owner : NULL,
		.root = packs->root,
		.verbose = init->verbose,
	};
	return 0;
}

static void run_end(struct run *run) {
	state_free(&run->before);
	db_pool_free(run->pool);
	db_error_end(&run->err);
	buf_free(&run->script);
	free(run->wanted);
	free(run->touched);
}

static int refuse(const struct run *run) {
	AUTO_BUF struct buf why = { 0 };
	return state_refuses(&run->before, run->packs, &why) ? complain("%s", why.data) : 0;
}

/* The exit status of a question that returned RC. */
static int asked(const struct run *run, int rc) {
	return rc == 0 ? 0 : complain("%s", db_error_text(&run->err));
}

/* Reads the state anew. Returns the exit status. */
static int look_again(struct run *run, struct state *now) {
	return asked(run, state_load(run->pool, run->packs, now, &run->err));
}

/* Runs sqitch for pack I. Returns the exit status. */
static int sqitch(struct run *run, int i, const char *const *words) {
	AUTO_BUF struct buf why = { 0 };
	int rc = sqitch_run(&run->program, &run->packs->list[i], words, &why);
	return rc == 0 ? 0 : complain("%s", why.data != NULL ? why.data : strerror(-rc));
}

/* -- which ------------------------------------------------------------------------------------- */

/* Wants pack I, and what it needs. */
static void want(struct run *run, int i) {
	const struct pack *p = &run->packs->list[i];
	if (run->wanted[i])
		return;
	run->wanted[i] = true;
	for (int k = 0; k < p->nneeds; k++) {
		const struct pack *needed =
			list_find(run->packs->list, run->packs->n, project, p->needs[k]);
		if (needed != NULL)
			want(run, (int)(needed - run->packs->list));
	}
}

static bool needs(const struct packs *packs, int i, int other) {
	const struct pack *p = &packs->list[i];
	return text_index((const char *const *)p->needs, p->nneeds, packs->list[other].project) >=
	       0;
}

static void want_named(struct run *run) {
	for (int k = 0; k < run->init->npacks; k++)
		want(run, (int)(packs_find(run->packs, run->init->packs[k]) - run->packs->list));
}

typedef int (*pack_fn)(struct run *run, int i);

/* FN for each wanted pack, those that others need first; or the other way round. Plans do not need
 * each other in a circle: sqitch could not deploy them either. Returns FN's first status that is
 * not 0, or 0. */
static int each(struct run *run, bool forward, pack_fn fn) {
	AUTO_FREE bool *done = calloc((unsigned)run->packs->n, sizeof(bool));
	if (done == NULL)
		return complain("out of memory");
	for (bool found = true; found;) {
		found = false;
		for (int i = 0; i < run->packs->n; i++) {
			bool ready = run->wanted[i] && !done[i];
			for (int k = 0; ready && k < run->packs->n; k++)
				ready = !run->wanted[k] || done[k] ||
					!needs(run->packs, forward ? i : k, forward ? k : i);
			/* all need the core, whether they say so or not */
			if (!forward && i == CORE)
				for (int k = 1; ready && k < run->packs->n; k++)
					ready = !run->wanted[k] || done[k];
			if (!ready)
				continue;
			int status = fn(run, i);
			if (status != 0)
				return status;
			done[i] = found = true;
		}
	}
	return 0;
}

/* -- deploying --------------------------------------------------------------------------------- */

/* Where what is there was made by the scripts of today, sqitch is told so. Others take over what
 * they find. */
static int take_over(struct run *run, int i) {
	const struct deployed *d = &run->before.of[i];
	const struct pack *p = &run->packs->list[i];
	const char *const words[] = { "deploy", "--log-only", "--to",
				      d->old >= 0 ? p->changes[d->old] : "", NULL };
	if (!d->same || d->old <= d->last)
		return 0;
	run->touched[i] = true;
	return sqitch(run, i, words);
}

static int deploy(struct run *run, int i) {
	static const char *const words[] = { "deploy", NULL };
	const struct deployed *d = &run->before.of[i];
	const struct pack *p = &run->packs->list[i];
	if (d->last == p->nchanges - 1)
		return 0;
	int status = take_over(run, i);
	if (status == 0) {
		run->touched[i] = true;
		status = sqitch(run, i, words);
	}
	return status;
}

/* What the single project made is brought to the newest: functions of pack I that are another one
 * there. The old definition is kept. */
static int renew(struct run *run, int i) {
	struct db_param pack = db_text(run->packs->list[i].name);
	const struct deployed *d = &run->before.of[i];
	if (d->old < 0 || d->same || !run->touched[i])
		return 0;
	return asked(run, db_query_text(run->pool, embedded_init_renew_sql, &pack, 1, DB_REPEATABLE,
					NULL, NULL, &run->err));
}

/* Takes back what this run has deployed of pack I: where it was before. */
static int take_back(struct run *run, int i) {
	const struct deployed *d = &run->before.of[i];
	const struct pack *p = &run->packs->list[i];
	const char *const some[] = { "revert", "-y", "--to",
				     d->last >= 0 ? p->changes[d->last] : "", NULL };
	static const char *const all[] = { "revert", "-y", NULL };
	struct state now = { 0 };
	/* what the old registry says is there stays there */
	if (!run->touched[i] || d->old >= 0)
		return 0;
	int status = look_again(run, &now);
	if (status == 0 && now.of[i].last > d->last)
		status = sqitch(run, i, d->last >= 0 ? some : all);
	state_free(&now);
	return status;
}

static int undo(struct run *run) {
	int status = each(run, false, take_back);
	if (status != 0)
		return status;
	if (!run->before.registry && !run->before.old) {
		struct state now = { 0 };
		status = look_again(run, &now);
		if (status == 0 && now.registry)
			status = asked(run, state_drop_registry(run->pool, &run->err));
		state_free(&now);
	}
	if (status == 0)
		fputs(run->before.old
			      ? "rowfs init: when that is mended, --upgrade goes on from here\n"
			      : "rowfs init: the database is as it was\n",
		      stderr);
	return status;
}

/* -- what is said ------------------------------------------------------------------------------ */

/* What the deploy of pack I has made, taken and found to differ. */
static int tell_objects(struct run *run, int i) {
	AUTO_RESULT PGresult *res = NULL;
	const char *name = run->packs->list[i].name;
	struct db_param pack = db_text(name);
	int rc = db_ask(run->pool, embedded_init_objects_sql, &pack, 1, ROWS_ONE, "nn", &res,
			&run->err);
	if (rc == 0 && field_number(res, 0, 0) > 0)
		printf("    %s objects made\n", field_text(res, 0, 0));
	if (rc == 0 && field_number(res, 0, 1) > 0)
		printf("    %s objects were there and are as the pack needs them\n",
		       field_text(res, 0, 1));
	if (rc == 0)
		rc = differ_print(run->pool, name, DIFFER_DEPLOYED, &run->err);
	return asked(run, rc);
}

static int tell(struct run *run, int i) {
	const struct pack *p = &run->packs->list[i];
	if (run->touched[i])
		printf("%s: deployed (%s)\n", p->name, p->changes[p->nchanges - 1]);
	else if (!run->init->quiet)
		printf("%s: is there already (%s)\n", p->name, p->changes[p->nchanges - 1]);
	return i != CORE && run->touched[i] ? tell_objects(run, i) : 0;
}

/* -- the role that has the schema's name ------------------------------------------------------- */

/* Runs the statement that SQL makes, if it makes one. */
static void set_role(struct run *run, const char *sql) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_ask(run->pool, sql, NULL, 0, ROWS_ONE_OR_NONE, "t", &res, &run->err);
	if (rc == 0 && PQntuples(res) == 0)
		return;
	const char *statement = rc == 0 ? field_text(res, 0, 0) : "";
	if (rc == 0)
		rc = db_query_text(run->pool, statement, NULL, 0, DB_REPEATABLE, NULL, NULL,
				   &run->err);
	if (rc != 0)
		(void)complain("the role rowfs finds the schema rowfs first, and puts new tables "
			       "there: %s (%s)",
			       statement, db_error_text(&run->err));
}

/* -- deploying, and what is deployed ----------------------------------------------------------- */

static int finish_deploy(struct run *run) {
	int status = each(run, true, deploy);
	if (status == 0)
		status = each(run, true, renew);
	if (status != 0)
		return undo(run) == 0 ? status : 1;
	if (run->before.old && state_drop_old(run->pool, &run->err) != 0)
		return complain("everything is deployed, but the registry of the single project "
				"could not be dropped: %s",
				db_error_text(&run->err));
	set_role(run, embedded_init_attracted_sql);
	return each(run, true, tell);
}

static int deploy_named(struct run *run) {
	want(run, CORE);
	want_named(run);
	for (int i = 0; i < run->packs->n; i++)
		if (run->before.of[i].old >= 0)
			want(run, i);
	return finish_deploy(run);
}

static int upgrade(struct run *run) {
	bool any = false;
	for (int i = 0; i < run->packs->n; i++)
		if (run->before.of[i].last >= 0 || run->before.of[i].old >= 0) {
			want(run, i);
			any = true;
		}
	return any ? finish_deploy(run)
		   : complain(
			     "there is nothing to upgrade: rowfs init puts rowfs into the database");
}

static int tell_status(struct run *run) {
	const struct packs *packs = run->packs;
	int status = 0;
	for (int i = 0; i < packs->n; i++) {
		const struct pack *p = &packs->list[i];
		const struct deployed *d = &run->before.of[i];
		if (d->foreign)
			printf("%s: newer than this rowfs (" ROWFS_VERSION ") knows\n", p->name);
		else if (d->last == p->nchanges - 1)
			printf("%s: deployed (%s)\n", p->name, p->changes[d->last]);
		else if (d->last >= 0)
			printf("%s: older (%s; newest: %s): rowfs init --upgrade\n", p->name,
			       p->changes[d->last], p->changes[p->nchanges - 1]);
		else if (d->old >= 0)
			printf("%s: as part of the single project: rowfs init --upgrade\n",
			       p->name);
		else
			printf("%s: not deployed\n", p->name);
	}
	for (int i = 0; status == 0 && i < packs->n; i++) {
		const struct deployed *d = &run->before.of[i];
		status = d->foreign || d->old >= 0 ||
			 (d->last >= 0 && d->last < packs->list[i].nchanges - 1);
	}
	return status;
}

static int replace(struct run *run) {
	const char *name = run->init->packs[0], *function = run->init->function;
	struct db_param params[] = { db_text(name), db_text(function) };
	if (run->before.of[packs_find(run->packs, name) - run->packs->list].last < 0)
		return complain("%s is not deployed: rowfs init %s first", name, name);
	int rc = db_query_text(run->pool, "SELECT rowfs.replace($1, $2)", params, 2, DB_NO_RETRY,
			       NULL, NULL, &run->err);
	if (rc == 0)
		printf("%s: %s is the pack's now\n", name, function);
	return asked(run, rc);
}

/* -- what it would do -------------------------------------------------------------------------- */

/* Appends the scripts of pack I that are still to be run. */
static int add_scripts(struct run *run, int i) {
	const struct deployed *d = &run->before.of[i];
	const struct pack *p = &run->packs->list[i];
	int last = d->same && d->old > d->last ? d->old : d->last;
	int rc = sqitch_script(&run->program, p, last, &run->script);
	return rc == 0 ? 0 : complain("%s: %s", p->name, strerror(-rc));
}

/* The scripts, in one transaction that is rolled back. It waits for no lock of others for long:
 * theirs would wait behind it. */
static int rehearse(struct run *run) {
	static const char *const argv[] = { "psql", "-XqAt", "-v", "ON_ERROR_STOP=1",
					    "-f",   "-",     NULL };
	AUTO_BUF struct buf said = { 0 };
	buf_puts(
		&run->script,
		"BEGIN;\nSET LOCAL client_min_messages = warning;\nSET LOCAL lock_timeout = '3s';\n"
		"\\o /dev/null\nSELECT pg_catalog.set_config('rowfs_init.path', "
		"pg_catalog.current_setting('search_path'), true);\n");
	want(run, CORE);
	want_named(run);
	int status = each(run, true, add_scripts);
	buf_printf(&run->script, "\\o\n%s;\nROLLBACK;\n", embedded_init_would_sql);
	if (status != 0 || run->script.failed)
		return status != 0 ? status : complain("out of memory");
	int rc = program_run(&run->program, run->packs->list[CORE].name, argv, &run->script, &said);
	if (rc != 0)
		return complain("it would fail: %s", rc < 0         ? strerror(-rc)
						     : said.len > 0 ? said.data
								    : "psql said nothing");
	printf("%s", said.len > 0 ? said.data : "nothing would be made\n");
	printf("nothing was changed\n");
	return 0;
}

/* -- taking out -------------------------------------------------------------------------------- */

static int revert(struct run *run, int i) {
	static const char *const words[] = { "revert", "-y", NULL };
	int status = run->before.of[i].last >= 0 ? sqitch(run, i, words) : 0;
	if (status == 0)
		printf("%s: removed\n", run->packs->list[i].name);
	return status;
}

/* Refuses to take out rows that are nowhere else. */
static int guard_data(struct run *run, int i) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param pack = db_text(run->packs->list[i].name);
	const char *state = run->err.sqlstate;
	if (run->before.of[i].last < 0)
		return 0;
	int rc = db_ask(run->pool, i == CORE ? embedded_init_bytes_sql : embedded_init_rows_sql,
			&pack, i != CORE, ROWS_ONE_OR_NONE, "tt", &res, &run->err);
	/* a half-deployed core has no such table */
	if (rc != 0 && (strcmp(state, "42P01") == 0 || strcmp(state, "42883") == 0))
		return 0;
	if (rc != 0)
		return asked(run, rc);
	if (PQntuples(res) > 0)
		return complain("%s has %s, and they would be gone: nothing was removed; say "
				"--with-data if nobody needs them",
				field_text(res, 0, 0), field_text(res, 0, 1));
	return 0;
}

/* Refuses to take out what a pack that stays needs. */
static int guard_needs(const struct run *run) {
	for (int i = 0; i < run->packs->n; i++)
		for (int k = 0; k < run->packs->n; k++)
			if (!run->wanted[i] && run->wanted[k] && run->before.of[i].last >= 0 &&
			    (k == CORE || needs(run->packs, i, k)))
				return complain("%s needs %s: remove it, too",
						run->packs->list[i].name, run->packs->list[k].name);
	return 0;
}

static int remove_wanted(struct run *run) {
	const struct init *init = run->init;
	const struct packs *packs = run->packs;
	if (run->before.old)
		return complain("this database has the single project of before: rowfs init "
				"--upgrade first, so that it is known what is whose");
	for (int k = 0; k < init->npacks; k++)
		run->wanted[packs_find(packs, init->packs[k]) - packs->list] = true;
	for (int i = 0; init->npacks == 0 && i < packs->n; i++)
		run->wanted[i] = run->before.of[i].last >= 0;
	if (init->npacks == 0 && run->before.registry)
		run->wanted[CORE] = true;
	int status = guard_needs(run);
	if (status == 0 && run->before.mounts > 0)
		status = complain("%d mount%s of this database %s up: unmount first",
				  run->before.mounts, run->before.mounts > 1 ? "s" : "",
				  run->before.mounts > 1 ? "are" : "is");
	if (status == 0 && !run->init->with_data)
		status = each(run, true, guard_data);
	if (status == 0)
		status = each(run, false, revert);
	if (status != 0 || !run->wanted[CORE])
		return status;
	if (run->before.registry)
		status = asked(run, state_drop_registry(run->pool, &run->err));
	if (status == 0)
		set_role(run, embedded_init_attracts_again_sql);
	return status;
}

/* -- commands ---------------------------------------------------------------------------------- */

int init_run(const struct init *init, const struct packs *packs, enum init_action action) {
	static int (*const acts[])(struct run * run) = {
		[INIT_DEPLOY] = deploy_named, [INIT_REHEARSE] = rehearse,
		[INIT_STATUS] = tell_status,  [INIT_UPGRADE] = upgrade,
		[INIT_REPLACE] = replace,     [INIT_REMOVE] = remove_wanted,
	};
	struct run run;
	int status = run_begin(&run, init, packs);
	if (status == 0 && action != INIT_STATUS)
		status = refuse(&run);
	if (status == 0)
		status = acts[action](&run);
	run_end(&run);
	return status;
}
