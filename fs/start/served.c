#include "fs/start/served.h"

#include "fs/admin/slices.h"
#include "fs/core/part.h"
#include "schema/count/bucket.h"
#include "schema/embedded.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

static char *read_file(const char *path) {
	AUTO_FILE FILE *f = fopen(path, "re");
	AUTO_BUF struct buf text = { 0 };
	if (f == NULL || !buf_add_file(&text, f, SIZE_MAX)) {
		fprintf(stderr, "rowfs: layout %s: %s\n", path, strerror(errno));
		return NULL;
	}
	return buf_take(&text);
}

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
	AUTO_FREE char *text =
		opt->layout != NULL ? read_file(opt->layout) : strdup(embedded_default_layout);
	struct catalog *catalog = NULL;
	snapshots_init(&fs->snapshots);
	fs->buckets = bucket_cache_new();
	if (text == NULL || fs->buckets == NULL)
		return false;
	struct layout *layout = layout_parse(text, strlen(text), &mistakes);
	if (layout != NULL && db_pool_new(&config, &fs->pool, &err) == 0 &&
	    catalog_load(fs->pool, layout, opt->table_prefix != NULL ? opt->table_prefix : "",
			 &catalog, &err) != 0)
		catalog = NULL;
	struct snapshot *snapshot = snapshot_new(move_ptr(text), layout, catalog, &mistakes);
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
	return slices_open(fs, how);
}

void served_close(struct fs *fs) {
	bucket_cache_free(fs->buckets);
	snapshots_destroy(&fs->snapshots);
	db_pool_free(fs->pool);
}

static bool serve_open(struct fs *fs) {
	if (served_open(fs, fs->opt->read_only ? WATCH_LOOK : WATCH_REPAIR))
		return true;
	served_close(fs);
	return false;
}

const struct mount_part served_part = { "served", serve_open, served_close };
