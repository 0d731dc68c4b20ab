/* Does a layout fit the database? `rowfs check`, with and without --install. */
#include "fs/start/mount.h"

#include "fs/admin/slices.h"
#include "fs/kernel/kinds.h"
#include "fs/start/install.h"
#include "fs/start/served.h"
#include "init/differ.h"
#include "util/log.h"

/* What packs need otherwise, on stdout. It is no mistake of the layout. */
static void tell_packs(struct fs *fs) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (differ_print_all(fs->pool, &err) != 0)
		log_warning("how the packs differ is not known: %s", db_error_text(&err));
}

int rowfs_check(const struct options *given, bool install) {
	enum watch_how how = install ? WATCH_INSTALL : WATCH_LOOK;
	struct options opt = *given;
	struct fs fs = { .opt = &opt, .kinds = &all_kinds };
	opt.log_slow_queries = false; /* who has asked waits for it, and nobody else does */
	bool ok = served_open(&fs, how) && slices_compare(&fs, how);
	if (ok) {
		install_version(&fs, false);
		AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(&fs);
		printf("the layout fits: %d routes, %d places\n", s->tree->nroutes, s->tree->nall);
		slices_print(&fs);
		ok = install_report(&fs, install);
		if (ok && !install)
			tell_packs(&fs);
	}
	served_close(&fs);
	return ok ? 0 : 1;
}
