#include "fs/start/install.h"

#include "fs/core/part.h"
#include "fs/options/option_conninfo.h"
#include "init/version.h"
#include "schema/notice/notice.h"
#include "schema/expr/sql_build.h"
#include "util/log.h"

#include <string.h>

/* What the triggers of one kind add to a statement that writes one row: docs/PERFORMANCE.md, "What
 * triggers cost". */
enum { INSERT_US = 60, UPDATE_US = 90 };

enum { NAMES_SHOWN = 3 };

/* -- lists of names ---------------------------------------------------------------------------- */

/* RELATION, "schema"."name", without quotes where psql would show none. */
static void put_shown(struct buf *out, const char *relation) {
	bool simple =
		strspn(relation, "abcdefghijklmnopqrstuvwxyz0123456789_.\"") == strlen(relation);
	for (const char *p = relation; *p != '\0'; p++)
		if (!simple || *p != '"')
			buf_putc(out, *p);
}

/* Names with commas between them; those beyond a few are only counted. */
struct names {
	struct buf text;
	int n;
};

static void names_add(struct names *names, const char *name) {
	if (names->n++ < NAMES_SHOWN)
		buf_printf(&names->text, "%s%s", names->n > 1 ? ", " : "", name);
}

static const char *names_end(struct names *names) {
	if (names->n > NAMES_SHOWN)
		buf_printf(&names->text, " and %d more", names->n - NAMES_SHOWN);
	return names->text.data != NULL && !names->text.failed ? names->text.data : "";
}

/* True if one of the first N slices is of the table of slice N, too. */
static bool has_been(const struct tree *tree, int n) {
	for (int i = 0; i < n; i++)
		if (tree->slices[i]->rel == tree->slices[n]->rel)
			return true;
	return false;
}

static bool is_relation(const struct relation *rel, const char *relation) {
	AUTO_BUF struct buf name = { 0 };
	put_relation(&name, "", rel);
	return name.data != NULL && strcmp(name.data, relation) == 0;
}

/* -- what there is, for rowfs check ------------------------------------------------------------ */

struct report {
	const struct tree *tree;
	const struct notices *notices; /* NULL: none */
	int made;                      /* tables that got triggers now */
	bool any;                      /* a table has some */
};

/* What is in RELATION's files, by its slices. */
static bool put_counted(struct report *r, const char *relation, struct buf *line) {
	const struct tree *tree = r->tree;
	struct names routes = { 0 };
	bool usable = true, any = false, made = false;
	for (int i = 0; i < tree->nslices; i++) {
		if (!is_relation(tree->slices[i]->rel, relation))
			continue;
		any = true;
		usable = usable && tree->slices[i]->usable;
		made = made || tree->slices[i]->made;
	}
	for (int i = 0; usable && any && i < tree->nall; i++) {
		const struct place *place = tree->all[i];
		if (place->route != NULL && place->slice != NULL &&
		    is_relation(place->slice->rel, relation))
			names_add(&routes, place->route->path);
	}
	if (routes.n > 0)
		buf_printf(line, "rowfs_* keep the sizes of %s", names_end(&routes));
	buf_free(&routes.text);
	return made;
}

/* Which routes hear of RELATION's changes. */
static void put_told(struct report *r, const char *relation, struct buf *line) {
	const struct tree *tree = r->tree;
	struct names routes = { 0 };
	for (int i = 0; i < tree->nall; i++)
		if (tree->all[i]->route != NULL &&
		    notices_rest_on(r->notices, relation, tree->all[i]))
			names_add(&routes, tree->all[i]->route->path);
	if (routes.n > 0)
		buf_printf(line, "%stell_rowfs_* tell mounts of changes in %s",
			   line->len > 0 ? "; " : "", names_end(&routes));
	buf_free(&routes.text);
}

static void report_table(void *arg, const struct notices_table *t) {
	struct report *r = arg;
	AUTO_BUF struct buf line = { 0 };
	bool made = put_counted(r, t->relation, &line) || t->made;
	if (t->told)
		put_told(r, t->relation, &line);
	r->made += made;
	r->any = r->any || line.len > 0;
	AUTO_BUF struct buf name = { 0 };
	put_shown(&name, t->relation);
	if (line.len > 0)
		printf("triggers on %s: %s\n", name.data != NULL ? name.data : "?", line.data);
	if (!t->told)
		printf("changes of %s are not told: %s\n", name.data != NULL ? name.data : "?",
		       t->why != NULL ? t->why : "?");
}

static void report_failure(void *arg, const char *relation, const char *at, const char *why) {
	printf("a trigger on %s failed first at %s, and mounts forgot all that they knew: %s\n",
	       relation, at, why);
}

static int load(const struct tree *tree, struct db_pool *pool, bool make, struct notices **out,
		struct db_error *err) {
	int rc = notices_load(pool, tree, out, err);
	if (rc != 0 || *out == NULL)
		return rc;
	if (make && notices_missing(*out) > 0)
		rc = notices_install(pool, *out);
	if (rc == 0)
		rc = notices_decide(*out);
	return rc;
}

bool install_report(struct fs *fs, bool make) {
	struct db_config config = options_db_config(fs->opt);
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	struct db_pool *pool = NULL;
	struct notices *notices = NULL;
	AUTO_DB_ERROR struct db_error err = { 0 };
	/* to make a trigger may have to wait longer than any statement of a file takes */
	config.command_timeout_ms = config.transaction_timeout_ms = 0;
	config.min_connections = config.max_connections = 1;
	int rc = db_pool_new(&config, &pool, &err);
	if (rc == 0)
		rc = load(s->tree, pool, make, &notices, &err);
	if (rc == 0 && notices == NULL)
		printf("changes are not told: the schema rowfs is not installed, or this role may not "
		       "read it\n");
	struct report r = { .tree = s->tree, .notices = notices };
	if (rc == 0 && notices != NULL) {
		notices_each(notices, report_table, &r);
		rc = notices_failures(pool, report_failure, NULL, make, &err);
	}
	if (r.any)
		printf("what they cost: rowfs_* and tell_rowfs_* each add about %d us to an INSERT and "
		       "%d us to an UPDATE of one row (from docs/PERFORMANCE.md)\n",
		       INSERT_US, UPDATE_US);
	if (rc == 0 && make && notices != NULL && r.made > 0)
		printf("installed on %d table%s\n", r.made, r.made == 1 ? "" : "s");
	else if (rc == 0 && make && notices != NULL)
		printf("nothing was to be installed\n");
	if (rc != 0)
		fprintf(stderr, "rowfs: %s\n", db_error_text(&err));
	notices_free(notices);
	db_pool_free(pool);
	return rc == 0;
}

/* -- what is missing, for a mount -------------------------------------------------------------- */

static void add_missing(void *arg, const struct notices_table *t) {
	AUTO_BUF struct buf name = { 0 };
	put_shown(&name, t->relation);
	if (t->missing && name.data != NULL)
		names_add(arg, name.data);
}

/* Once: to the log, and to whoever has called `rowfs mount`, who does not see the log. */
static void say(const struct fs *fs, const char *sentence) {
	log_warning("%s", sentence);
	if (!fs->opt->foreground)
		fprintf(stderr, "rowfs: %s\n", sentence);
}

/* "changes by others are seen after 0.1 s only" and so on, as far as it is so. */
static void put_lost(struct buf *out, const struct fs *fs, bool appends, bool changes, bool sizes) {
	const char *comma = "";
	if (appends) {
		buf_puts(out, "appends are not exactly-once");
		comma = ", ";
	}
	if (changes && fs->opt->coherence == COHERENCE_NOTIFY) {
		buf_printf(out, "%schanges by others are seen after %g s only", comma,
			   fs->opt->ttl);
		comma = ", ";
	}
	if (sizes)
		buf_printf(out, "%ssizes of rows files are not kept", comma);
}

/* The command that installs the schema, or (FOLLOW) the triggers, ready to be pasted. */
static void put_command(struct buf *out, const struct fs *fs, bool follow) {
	AUTO_BUF struct buf conninfo = { 0 };
	conninfo_without_secrets(fs->opt->conninfo, &conninfo);
	buf_puts(out, ": rowfs init ");
	if (follow) {
		buf_puts(out, "--follow ");
		buf_shell_word(out, fs->opt->layout != NULL ? fs->opt->layout : "default");
		buf_putc(out, ' ');
	}
	buf_shell_word(out, conninfo.data != NULL ? conninfo.data : "");
	out->failed = out->failed || conninfo.failed;
}

/* One sentence about what is not there, what is missing because of it, and the command that helps.
 * To the log, and to stderr while that is a terminal's. */
static void install_note(const struct fs *fs) {
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	const struct tree *tree = s->tree;
	AUTO_BUF struct buf text = { 0 };
	struct names uncounted = { 0 }, untold = { 0 };
	if (s->notices != NULL)
		notices_each(s->notices, add_missing, &untold);
	for (int i = 0; i < tree->nslices; i++)
		if (tree->slices[i]->missing && !has_been(tree, i))
			names_add(&uncounted, tree->slices[i]->rel->layout_name);
	if (!tree->has_streams) {
		buf_puts(&text, "the schema rowfs is not installed in this database: ");
		put_lost(&text, fs, !tree->has_ledger, true, tree->nslices > 0);
		put_command(&text, fs, false);
	} else if (uncounted.n > 0 || untold.n > 0) {
		struct names *longer = untold.n >= uncounted.n ? &untold : &uncounted;
		buf_printf(&text, "triggers are not installed on %s: ", names_end(longer));
		put_lost(&text, fs, false, untold.n > 0, uncounted.n > 0);
		put_command(&text, fs, true);
	}
	if (text.len > 0 && !text.failed)
		say(fs, text.data);
	buf_free(&uncounted.text);
	buf_free(&untold.text);
}

void install_version(struct fs *fs, bool mount) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf text = { 0 }, conninfo = { 0 };
	enum version version = VERSION_SAME;
	if (version_ask(fs->pool, &version, &err) != 0) {
		log_warning("which schema rowfs the database has is not known: %s",
			    db_error_text(&err));
		return;
	}
	if (mount && version == VERSION_NONE)
		return;
	conninfo_without_secrets(fs->opt->conninfo, &conninfo);
	version_put(&text, version, fs->opt->ttl, conninfo.len > 0 ? conninfo.data : "");
	if (text.len > 0 && !text.failed && !conninfo.failed)
		fprintf(stderr, "rowfs: %s\n", text.data);
}

static bool notes_open(struct fs *fs) {
	install_version(fs, true);
	install_note(fs);
	return true;
}

const struct mount_part notes_part = { "notes", notes_open, NULL };
