#include "fs/start/migrate.h"

#include "init/init.h"

int migrate_core(const struct options *opt) {
	AUTO_BUF struct buf why = { 0 };
	struct db_config db = options_db_config(opt);
	const struct init init = { .db = &db, .schema = opt->schema_name, .quiet = true };
	struct packs packs;
	int status = 1;
	if (packs_load(&packs, &why))
		status = init_deploy(&init, &packs);
	else
		fprintf(stderr, "rowfs: enable_migrations: %s\n",
			why.data != NULL ? why.data : "out of memory");
	packs_free(&packs);
	return status;
}
