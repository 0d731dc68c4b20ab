/* Ingest files that no mount has said the table of: they are from before rowfs.file.relation.
 * Every mount's role may use them, until a mount that serves their directory says whose they
 * are. */
#include "fs/files/ingest.h"
#include "fs/core/part.h"

#include "db/field.h"
#include "util/text/array.h"
#include "util/log.h"

#include <string.h>

static const struct ingest *first_ingest(const struct place *dir) {
	for (int i = 0; i < dir->nchildren; i++)
		if (dir->children[i]->ingest != NULL)
			return dir->children[i]->ingest;
	return NULL;
}

/* Claims those files of PAGE that are PLACE's. A role that has no right to leaves them to
 * another mount's. */
static void claim_for(struct fs *fs, const struct place *place, const PGresult *page) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf ids = { 0 };
	for (int i = 0; i < PQntuples(page); i++)
		if (place_of_ingest(place->parent, field_text(page, i, 0)) == place)
			array_add_number(&ids, field_number(page, i, 1));
	if (ids.len == 0)
		return;
	array_end(&ids);
	if (!ids.failed && ingest_file_claim(fs->pool, &ids, place->ingest->of_table, &err) != 0)
		log_info("ingest files of %s that no mount has said the table of stay so: %s",
			 place->ingest->of_table, db_error_text(&err));
}

static void claim_in(struct fs *fs, const struct place *dir, const char *path) {
	AUTO_FREE char *after = NULL;
	for (bool more = true; more;) {
		AUTO_DB_ERROR struct db_error err = { 0 };
		AUTO_RESULT PGresult *page = NULL;
		if (ingest_file_unclaimed(fs->pool, path, after, (int)fs->opt->fetch_size, &page,
					  &err) != 0)
			return; /* nothing can be asked: the next mount will */
		int n = PQntuples(page);
		for (int i = 0; n > 0 && i < dir->nchildren; i++)
			if (dir->children[i]->ingest != NULL)
				claim_for(fs, dir->children[i], page);
		free(after);
		after = n > 0 ? strdup(field_text(page, n - 1, 0)) : NULL;
		more = after != NULL;
	}
}

static void claim(struct fs *fs) {
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	const struct tree *tree = s->tree;
	for (int i = 0; i < tree->nall; i++) {
		const struct ingest *in = first_ingest(tree->all[i]);
		if (in != NULL && in->of_table != NULL)
			claim_in(fs, tree->all[i], in->dir);
	}
}

static bool left_open(struct fs *fs) {
	if (!fs->opt->read_only) {
		claim(fs);
		ingest_sweep(fs);
	}
	return true;
}

const struct mount_part ingest_left_part = { "ingest files that mounts have left", left_open,
					     NULL };
