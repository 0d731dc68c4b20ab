#include "fs/migrate.h"

#include <errno.h>
#include <libpq-fe.h>
#include <string.h>
#include <sys/wait.h>

/* Where the sqitch project is: installed, or, for a binary that runs from its build directory, in the source tree. */
static const char *find_project(void) {
	static const char *const places[] = { ROWFS_DATADIR "/schema", ROWFS_SOURCE_DIR "/schema" };
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		AUTO_FREE char *plan = NULL;
		if (asprintf(&plan, "%s/sqitch.plan", places[i]) >= 0 && access(plan, R_OK) == 0)
			return places[i];
	}
	return NULL;
}

/* Sets libpq's variables from CONNINFO: psql, which sqitch runs, reads them. */
static bool export_conninfo(const char *conninfo) {
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);
	if (options == NULL) {
		PQfreemem(message);
		return false;
	}
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (o->val != NULL && o->val[0] != '\0' && o->envvar != NULL)
			setenv(o->envvar, o->val, 1);
	PQconninfoFree(options);
	return true;
}

static void run_sqitch(const char *project, const struct options *opt) {
	if (!export_conninfo(opt->conninfo != NULL ? opt->conninfo : ""))
		_exit(126); /* banned-ok: the child of a fork */
	/* the new objects go where the mount will look for them first */
	if (opt->schema_name != NULL) {
		AUTO_FREE char *path = NULL;
		if (asprintf(&path, "-c search_path=%s,public", opt->schema_name) >= 0)
			setenv("PGOPTIONS", path, 1);
	}
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (chdir(project) == 0)
		execlp("sqitch", "sqitch", "deploy", "db:pg:", (char *)NULL);
	_exit(127); /* banned-ok: the child of a fork */
}

int migrate(const struct options *opt) {
	const char *project = find_project();
	int how;
	if (project == NULL) {
		fprintf(stderr, "rowfs: enable_migrations: no schema project in %s/schema\n",
			ROWFS_DATADIR);
		return -1;
	}
	pid_t child = fork();
	if (child == 0)
		run_sqitch(project, opt);
	if (child < 0 || waitpid(child, &how, 0) != child) {
		fprintf(stderr, "rowfs: enable_migrations: %s\n", strerror(errno));
		return -1;
	}
	if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
		return 0;
	fprintf(stderr, "rowfs: enable_migrations: %s\n",
		WIFEXITED(how) && WEXITSTATUS(how) == 127 ? "sqitch is not installed"
							  : "sqitch deploy failed");
	return -1;
}
