/* -o enable_migrations: what `rowfs init` does, at the start of a mount. */
#include "fs/core/part.h"
#include "init/init.h"

/* Deploys what rowfs keeps for itself, and nothing else. Before there are threads that ask the
 * database. */
static bool migrate_open(struct fs *fs) {
	const struct options *opt = fs->opt;
	AUTO_BUF struct buf why = { 0 };
	struct db_config db = options_db_config(opt);
	const struct init init = { .db = &db, .schema = opt->schema_name, .quiet = true };
	struct packs packs;
	int status = 1;
	if (!opt->enable_migrations)
		return true;
	if (packs_load(&packs, &why))
		status = init_run(&init, &packs, INIT_DEPLOY);
	else
		fprintf(stderr, "rowfs: enable_migrations: %s\n",
			why.data != NULL ? why.data : "out of memory");
	packs_free(&packs);
	return status == 0;
}

const struct mount_part migrate_part = { "migrations", migrate_open, NULL };
