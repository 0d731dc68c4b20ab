#include "fs/admin/slices.h"

#include "util/clock.h"
#include "util/log.h"

#include <string.h>
#include <unistd.h>

enum { QUIET_MS = 2000, TERMINAL_MS = 100 };

struct progress {
	bool terminal, told;
	int64_t due_us;
};

static void tell(void *arg, const struct relation *rel, int percent) {
	struct progress *p = arg;
	int64_t now = clock_us();
	if (now < p->due_us && !(p->told && percent == 100))
		return;
	p->due_us = now + (int64_t)(p->terminal ? TERMINAL_MS : QUIET_MS) * US_PER_MS;
	fprintf(stderr, "%srowfs: building the summary of %s: %d %%%s", p->terminal ? "\r" : "",
		rel->layout_name, percent, p->terminal && percent < 100 ? "" : "\n");
	fflush(stderr);
	p->told = percent < 100;
	log_info("building the summary of %s: %d %%", rel->layout_name, percent);
}

typedef int (*watch_fn)(struct db_pool *pool, struct tree *tree, enum watch_how how,
			watch_progress_fn progress, void *arg);

/* FN of S, with a connection of its own. Returns false if out of memory. */
static bool watch(struct fs *fs, struct snapshot *s, watch_fn fn, enum watch_how how) {
	struct progress progress = { .terminal = isatty(STDERR_FILENO) == 1,
				     .due_us = clock_us() + (int64_t)QUIET_MS * US_PER_MS };
	struct db_config config = options_db_config(fs->opt);
	struct db_pool *pool = NULL;
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (s->tree->nslices == 0)
		return true;
	/* counting a big table takes longer than any statement of a file */
	config.command_timeout_ms = config.transaction_timeout_ms = 0;
	config.min_connections = config.max_connections = 1;
	int rc = db_pool_new(&config, &pool, &err);
	if (rc == 0)
		rc = fn(pool, s->tree, how, tell, &progress);
	else
		log_warning("summaries: %s", err.sentence != NULL ? err.sentence : "no connection");
	db_pool_free(pool);
	return rc == 0 || err.sentence != NULL;
}

bool slices_open(struct fs *fs, struct snapshot *s, enum watch_how how) {
	return watch(fs, s, watch_tree, how);
}

bool slices_compare(struct fs *fs, enum watch_how how) {
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	return watch(fs, s, watch_compare, how);
}

/* The first slice of a table; NULL if one before it has the same. */
static const struct slice *first_of_table(const struct tree *tree, int i) {
	for (int k = 0; k < i; k++)
		if (tree->slices[k]->rel == tree->slices[i]->rel)
			return NULL;
	return tree->slices[i];
}

static const char *why_not(const struct tree *tree, const struct slice *slice) {
	for (int i = 0; i < tree->nslices; i++) {
		const struct slice *s = tree->slices[i];
		if (s->rel == slice->rel && !s->usable)
			return s->why != NULL ? s->why : "not installed";
	}
	return NULL;
}

/* For how many files a slice of the table was wrong, at most. */
static int64_t most_differed(const struct tree *tree, const struct slice *slice) {
	int64_t most = 0;
	for (int i = 0; i < tree->nslices; i++)
		if (tree->slices[i]->rel == slice->rel && tree->slices[i]->differed > most)
			most = tree->slices[i]->differed;
	return most;
}

void slices_print(const struct fs *fs) {
	AUTO_SNAPSHOT struct snapshot *now = fs_snapshot(fs);
	const struct tree *tree = now->tree;
	for (int i = 0; i < tree->nslices; i++) {
		const struct slice *s = first_of_table(tree, i);
		const char *why = s != NULL ? why_not(tree, s) : NULL;
		int64_t differed = s != NULL ? most_differed(tree, s) : 0;
		if (differed > 0)
			printf("the summary of %s was wrong for %lld files%s\n",
			       s->rel->layout_name, (long long)differed,
			       why == NULL ? ": it was counted anew" : "");
		if (s != NULL && why == NULL)
			printf("the summary of %s is kept\n", s->rel->layout_name);
		else if (s != NULL)
			printf("no summary of %s, sizes are asked for when a file is opened: %s\n",
			       s->rel->layout_name, why);
	}
}

void slices_json(const struct fs *fs, struct buf *out) {
	AUTO_SNAPSHOT struct snapshot *now = fs_snapshot(fs);
	const struct tree *tree = now->tree;
	int n = 0;
	buf_puts(out, "{");
	for (int i = 0; i < tree->nslices; i++) {
		const struct slice *s = first_of_table(tree, i);
		if (s == NULL)
			continue;
		const char *why = why_not(tree, s);
		buf_printf(out, "%s\n        ", n++ > 0 ? "," : "");
		buf_json_string(out, s->rel->layout_name, strlen(s->rel->layout_name));
		buf_puts(out, ": ");
		buf_json_string(out, why != NULL ? why : "kept",
				strlen(why != NULL ? why : "kept"));
	}
	buf_puts(out, n > 0 ? "\n    }" : "}");
}
