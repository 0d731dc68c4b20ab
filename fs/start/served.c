#include "fs/start/served.h"

#include "fs/admin/reload.h"
#include "fs/core/part.h"
#include "schema/count/bucket.h"
#include "util/log.h"

#include <string.h>

/* Says on stderr what the layout does without, and in the log of a daemon. */
static void tell_left_out(const struct fs *fs, const struct snapshot *s) {
	for (int i = 0; i < s->tree->lacks.n; i++) {
		AUTO_BUF struct buf text = { 0 };
		lacks_put(&s->tree->lacks, s->layout, i, &text);
		if (text.failed)
			continue;
		fprintf(stderr, "rowfs: %s\n", text.data);
		if (!fs->opt->foreground && fs->opt->mountpoint != NULL)
			log_warning("%s", text.data);
	}
}

bool served_open(struct fs *fs, enum watch_how how) {
	const struct options *opt = fs->opt;
	struct db_config config = options_db_config(opt);
	AUTO_BUF struct buf mistakes = { 0 };
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct snapshot *snapshot = NULL;
	snapshots_init(&fs->snapshots);
	fs->buckets = bucket_cache_new();
	if (fs->buckets == NULL || !reload_new(fs))
		return false;
	char *text = reload_read(opt, &err);
	struct layout *layout = text != NULL ? layout_parse(text, strlen(text), &mistakes) : NULL;
	if (layout != NULL && db_pool_new(&config, &fs->pool, &err) != 0)
		fs->pool = NULL;
	if (text != NULL)
		snapshot = reload_make(fs, fs->pool, text, layout, NULL, how, &mistakes, &err);
	if (mistakes.len > 0)
		fprintf(stderr, "rowfs: the layout %s does not fit:\n%s",
			opt->layout != NULL ? opt->layout : "(default)", mistakes.data);
	else if (snapshot == NULL)
		fprintf(stderr, "rowfs: %s\n", db_error_text(&err));
	else
		tell_left_out(fs, snapshot);
	if (snapshot == NULL)
		return false;
	snapshots_publish(&fs->snapshots, snapshot);
	return true;
}

void served_close(struct fs *fs) {
	bucket_cache_free(fs->buckets);
	snapshots_destroy(&fs->snapshots);
	db_pool_free(fs->pool);
	reload_free(fs);
}

static bool serve_open(struct fs *fs) {
	if (served_open(fs, fs->opt->read_only ? WATCH_LOOK : WATCH_REPAIR))
		return true;
	served_close(fs);
	return false;
}

const struct mount_part served_part = { "served", serve_open, served_close };
