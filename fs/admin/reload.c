#include "fs/admin/reload.h"

#include "fs/admin/slices.h"
#include "fs/cache/coherence.h"
#include "fs/core/part.h"
#include "schema/embedded.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/ticker.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
	LOOK_MS = 900,     /* between two looks: what changes is to be seen within a second */
	LOOKS_MS = 50,     /* the same, where somebody asks for one */
	RELOAD_MS = 1000,  /* between two reloads, of which each makes the kernel forget all */
	ANSWER_MS = 10000, /* a statement of this thread waits no longer */
	WAIT_MS = 2500,    /* a request waits no longer for a look */
};

struct reload {
	struct fs *fs;
	/* the thread's own */
	struct db_pool *pool; /* one session, made when it is needed; NULL before */
	int64_t looked_us, reloaded_us;
	char *logged; /* the trouble that the log has; NULL: none */

	struct mutex lock; /* guards the rest */
	pthread_cond_t done;
	struct ticker *ticker; /* NULL: before the mount is open, and when it closes */
	uint64_t begun, ended; /* looks */
	uint64_t reloads;
	int64_t at;    /* of the last one, seconds since 1970; 0: none */
	char *trouble; /* why the last look or reload failed; NULL: it did not */
};

/* -- from text to snapshot --------------------------------------------------------------------- */

char *reload_read(const struct options *opt, struct db_error *err) {
	AUTO_BUF struct buf text = { 0 };
	if (opt->layout == NULL) {
		buf_puts(&text, embedded_default_layout);
	} else {
		AUTO_FILE FILE *f = fopen(opt->layout, "re");
		if (f == NULL || !buf_add_file(&text, f, SIZE_MAX)) {
			db_error_set(err, errno, "layout %s: %s", opt->layout, strerror(errno));
			return NULL;
		}
	}
	if (text.failed)
		db_error_set(err, ENOMEM, "out of memory");
	return text.failed ? NULL : buf_take(&text);
}

struct snapshot *reload_make(struct fs *fs, struct db_pool *pool, char *text, struct layout *layout,
			     const struct snapshot *before, enum watch_how how,
			     struct buf *mistakes, struct db_error *err) {
	const char *prefix = fs->opt->table_prefix != NULL ? fs->opt->table_prefix : "";
	struct catalog *catalog = NULL;
	if (layout != NULL && pool != NULL &&
	    catalog_load(pool, layout, prefix, &catalog, err) != 0)
		catalog = NULL;
	struct snapshot *s = snapshot_new(text, layout, catalog, before, mistakes);
	if (s == NULL || slices_open(fs, s, how))
		return s;
	snapshot_drop(s);
	db_error_set(err, ENOMEM, "out of memory");
	return NULL;
}

/* -- the thread -------------------------------------------------------------------------------- */

/* A session of its own: those of the pool may all be taken by statements that take long. */
static struct db_pool *session(struct reload *r, struct db_error *err) {
	struct db_config config = options_db_config(r->fs->opt);
	config.min_connections = 0;
	config.max_connections = 1;
	config.command_timeout_ms = ANSWER_MS;
	config.slow_query_ms = 0;
	config.greeting = catalog_greeting;
	if (r->pool == NULL && db_pool_new(&config, &r->pool, err) != 0)
		r->pool = NULL;
	return r->pool;
}

/* Why what is served stays as it was, WHY; NULL: it does not. Told once in the log. */
static void note_trouble(struct reload *r, const char *why) {
	bool same = why != NULL && r->logged != NULL && strcmp(why, r->logged) == 0;
	if (why != NULL && !same)
		log_warning("what is served stays as it was: %s", why);
	if (!same) {
		free(r->logged);
		r->logged = why != NULL ? strdup(why) : NULL;
	}
	LOCK_SCOPE(&r->lock);
	free(r->trouble);
	r->trouble = why != NULL ? strdup(why) : NULL;
}

static void log_misfits(const struct snapshot *s, const struct snapshot *before) {
	for (int i = 0; i < s->layout->nroutes; i++) {
		const char *why = s->tree->misfits[i];
		bool told = before != NULL && before->tree->misfits[i] != NULL;
		if (why != NULL && !told)
			log_warning("%s", why);
		else if (why == NULL && told)
			log_warning("route %s fits the database again", s->layout->routes[i].path);
	}
}

/* Serves TEXT as the database is now. */
static void serve(struct reload *r, char *text, const struct snapshot *now) {
	AUTO_BUF struct buf mistakes = { 0 };
	AUTO_DB_ERROR struct db_error err = { 0 };
	const struct snapshot *before = strcmp(text, now->text) == 0 ? now : NULL;
	struct layout *layout = layout_parse(text, strlen(text), &mistakes);
	struct snapshot *s =
		reload_make(r->fs, r->pool, text, layout, before, WATCH_LOOK, &mistakes, &err);
	r->reloaded_us = clock_us();
	if (s == NULL) {
		if (mistakes.len > 0)
			db_error_set(&err, EINVAL, "the layout does not fit: %s", mistakes.data);
		note_trouble(r, db_error_text(&err));
		return;
	}
	log_misfits(s, before);
	if (coherence_publish(r->fs, s) != 0) {
		note_trouble(r, "out of memory");
		return;
	}
	log_info("the %s: what is served follows", before != NULL ? "database's schema" : "layout");
	note_trouble(r, NULL);
	LOCK_SCOPE(&r->lock);
	r->reloads++;
	r->at = time(NULL);
}

/* Compares, and reloads where something differs, or the layout's file is ASKED for. */
static void look(struct reload *r, bool asked) {
	AUTO_SNAPSHOT struct snapshot *now = fs_snapshot(r->fs);
	AUTO_DB_ERROR struct db_error err = { 0 };
	bool changed = false;
	if (session(r, &err) == NULL ||
	    catalog_changed(r->pool, now->catalog, &changed, &err) != 0) {
		/* that the database is away is told elsewhere; nothing is known meanwhile */
		log_debug("whether the schema has changed: %s", db_error_text(&err));
		if (asked)
			note_trouble(r, db_error_text(&err));
		return;
	}
	if (!changed && !asked)
		return;
	char *text = asked ? reload_read(r->fs->opt, &err) : strdup(now->text);
	if (text != NULL)
		serve(r, text, now);
	else
		note_trouble(r, db_error_text(&err));
}

static int64_t tend(void *arg) {
	struct reload *r = arg;
	int64_t now = clock_us();
	int64_t next = r->looked_us + (int64_t)LOOKS_MS * US_PER_MS;
	int64_t later = r->reloaded_us + (int64_t)RELOAD_MS * US_PER_MS;
	if (next < later)
		next = later;
	if (r->looked_us != 0 && now < next)
		return next - now;
	{
		LOCK_SCOPE(&r->lock);
		r->begun++;
	}
	look(r, atomic_exchange(&r->fs->layout_asked, false));
	r->looked_us = clock_us();
	LOCK_SCOPE(&r->lock);
	r->ended = r->begun;
	pthread_cond_broadcast(&r->done);
	return (int64_t)LOOK_MS * US_PER_MS;
}

/* -- for others -------------------------------------------------------------------------------- */

void reload_hint(struct fs *fs) {
	struct reload *r = fs->reload;
	LOCK_SCOPE(&r->lock);
	if (r->ticker != NULL)
		ticker_call(r->ticker);
}

bool reload_look(struct fs *fs, const struct snapshot *since) {
	struct reload *r = fs->reload;
	int64_t until = clock_us() + (int64_t)WAIT_MS * US_PER_MS;
	mutex_lock(&r->lock);
	uint64_t wanted = r->begun + 1;
	int rc = 0;
	if (r->ticker != NULL)
		ticker_call(r->ticker);
	while (r->ticker != NULL && r->ended < wanted && rc == 0)
		rc = mutex_wait_until(&r->done, &r->lock, until);
	mutex_unlock(&r->lock);
	AUTO_SNAPSHOT struct snapshot *now = fs_snapshot(fs);
	return now != since;
}

/* -- what is told ------------------------------------------------------------------------------ */

/* Calls PUT with each route that does not fit and its sentence. */
static void put_misfits(const struct snapshot *s, struct buf *out) {
	int n = 0;
	for (int i = 0; i < s->layout->nroutes; i++) {
		const char *why = s->tree->misfits[i];
		if (why == NULL)
			continue;
		buf_puts(out, n++ > 0 ? ",\n            " : "\n            ");
		buf_json_string(out, s->layout->routes[i].path, strlen(s->layout->routes[i].path));
		buf_puts(out, ": ");
		buf_json_string(out, why, strlen(why));
	}
	buf_puts(out, n > 0 ? "\n        }" : "}");
}

bool reload_fits(struct fs *fs, struct buf *out) {
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	int n = 0;
	for (int i = 0; i < s->layout->nroutes; i++)
		if (s->tree->misfits[i] != NULL && n++ == 0)
			buf_puts(out, s->tree->misfits[i]);
	if (n > 1)
		buf_printf(out, " (and %d more: \"schema\" in status.json)", n - 1);
	LOCK_SCOPE(&fs->reload->lock);
	if (fs->reload->trouble != NULL)
		buf_printf(out, "%s%s", n > 0 ? "; " : "", fs->reload->trouble);
	return n == 0 && fs->reload->trouble == NULL;
}

void reload_json(struct fs *fs, struct buf *out) {
	struct reload *r = fs->reload;
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	LOCK_SCOPE(&r->lock);
	buf_printf(out, "{\n        \"looks\": %llu,\n        \"reloads\": %llu,\n",
		   (unsigned long long)r->ended, (unsigned long long)r->reloads);
	if (r->at != 0) {
		char text[sizeof("2025-01-01T00:00:00Z")];
		struct tm tm;
		time_t at = r->at;
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
		buf_printf(out, "        \"last_reload\": \"%s\",\n", text);
	}
	if (r->trouble != NULL) {
		buf_puts(out, "        \"trouble\": ");
		buf_json_string(out, r->trouble, strlen(r->trouble));
		buf_puts(out, ",\n");
	}
	buf_puts(out, "        \"does_not_fit\": {");
	put_misfits(s, out);
	buf_puts(out, "\n    }");
}

/* -- life -------------------------------------------------------------------------------------- */

bool reload_new(struct fs *fs) {
	struct reload *r = fs->reload = calloc(1, sizeof(*r));
	if (r == NULL)
		return false;
	r->fs = fs;
	mutex_init(&r->lock, MUTEX_RELOAD);
	clock_condition(&r->done);
	return true;
}

void reload_free(struct fs *fs) {
	struct reload *r = fs->reload;
	if (r == NULL)
		return;
	mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->done);
	db_pool_free(r->pool);
	free(r->logged);
	free(r->trouble);
	free(r);
	fs->reload = NULL;
}

static bool reload_open(struct fs *fs) {
	struct reload *r = fs->reload;
	struct ticker *ticker = ticker_start(tend, r);
	if (ticker == NULL)
		log_warning("changes of the schema will not be seen: no thread to look for them");
	LOCK_SCOPE(&r->lock);
	r->ticker = ticker;
	return true;
}

static void reload_close(struct fs *fs) {
	struct reload *r = fs->reload;
	struct ticker *ticker;
	{
		LOCK_SCOPE(&r->lock);
		ticker = move_ptr(r->ticker);
		pthread_cond_broadcast(&r->done);
	}
	ticker_stop(ticker);
}

const struct mount_part reload_part = { "reload", reload_open, reload_close };
