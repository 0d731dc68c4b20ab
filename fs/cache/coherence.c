#include "fs/cache/coherence.h"
#include "fs/cache/coherence_state.h"
#include "fs/core/call.h"
#include "fs/core/intake.h"
#include "fs/core/part.h"
#include "fs/core/kind.h"
#include "fs/cache/node_mark.h"
#include "fs/inodes/fresh.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static const double LONG_S = 3600; /* what is told of when it changes may be kept for so long */

/* How long who has changed something waits until the kernel has forgotten it; NAMES: where it is
 * told name by name. */
enum { SETTLE_MS = 20, SETTLE_NAMES_MS = 1000 };

/* Something that this thread's request has changed is still to be forgotten by the kernel. */
static _Thread_local bool owes;

static bool is_up(const struct caches *c) {
	return c != NULL && fresh_is_ready(c->fs->fresh);
}

bool coherence_listens(const struct fs *fs) {
	return fresh_is_listening(fs->fresh);
}

bool coherence_is_deaf(const struct fs *fs) {
	return is_up(fs->caches) && !coherence_listens(fs);
}

/* -- for who asks the database ----------------------------------------------------------------- */

/* True if PLACE, whose snapshot has notices, is told by its names. */
static bool is_told(const struct place *place) {
	return notices_exact(place->tree->snapshot->notices, place);
}

/* What was told of since is not certain yet: ULONG_MAX if all is. */
static unsigned long uncommitted_since(struct fs *fs) {
	return fs_has_uncommitted(fs) ? fs->uncommitted.since(fs) : ULONG_MAX;
}

bool coherence_may_cache(struct fs *fs, unsigned long ticket, const struct node *dir,
			 const char *name) {
	unsigned long since = uncommitted_since(fs);
	return node_is_good(fs->nodes, dir, name != NULL ? name : "",
			    ticket < since ? ticket : since);
}

double coherence_negative_timeout(struct fs *fs, unsigned long ticket, const struct node *dir,
				  const char *name) {
	return coherence_may_cache(fs, ticket, dir, name) ? LONG_S : 0;
}

void coherence_reply(struct fs *fs, struct node *node, struct stat *st, double *attributes,
		     double *entry) {
	double ttl = fs->opt->coherence != COHERENCE_NONE ? fs->opt->ttl : 0;
	bool told = fresh_is_told(fs->fresh, node);
	bool may_keep = told && is_told(node->place);
	struct node_reply reply;
	node_reply(fs->nodes, node, uncommitted_since(fs), may_keep, &reply);
	*st = reply.st;
	*attributes = *entry = 0;
	if (!reply.certain)
		return;
	if (told) {
		*attributes = *entry = may_keep && reply.keeps ? LONG_S : 0;
	} else {
		/* A file on a route gets a new node with each version, and a row's directory goes
		 * with its document: such a name is looked up every time, which costs no query
		 * while the node is fresh. */
		bool file = !S_ISDIR(st->st_mode) && node->type != NODE_PLAIN;
		bool row = node->type == NODE_PLACE && node->place->owns_row;
		*attributes = ttl;
		*entry = file || row ? 0 : ttl;
	}
	if (!reply.has_size)
		*attributes = 0;
	if (S_ISDIR(st->st_mode) && !fs->expires)
		*entry = 0; /* see tell_name() in invalidate.c */
}

/* -- changes ----------------------------------------------------------------------------------- */

/* One notice. */
struct data_change {
	struct caches *c;
	struct snapshot *snapshot; /* whose names it leads to; held */
	unsigned long epoch;
	struct forget *list; /* what the kernel is to forget */
	bool names;          /* all names, too */
};

/* The names that lead to PLACE with VALUES. Returns how many; 0 if they cannot be told. */
static int put_names(const struct place *place, const char *const *values, char **names) {
	const struct place *chain[PLACES_DEEP];
	int n = 0, done = 0;
	for (; place->parent != NULL; place = place->parent) {
		if (n == PLACES_DEEP)
			return 0;
		chain[n++] = place;
	}
	for (; done < n; done++) {
		const struct place *at = chain[n - 1 - done];
		AUTO_BUF struct buf name = { 0 };
		const char *own[PATH_KEYS_MAX];
		bool known = true;
		for (int k = 0; k < at->nkeys; k++) {
			own[k] = values[at->keys[k].param];
			known = known && own[k] != NULL;
		}
		if (at->nkeys == 0)
			buf_puts(&name, at->text);
		else if (!known || !place_name(at, own, NULL, &name))
			break;
		if ((names[done] = buf_take(&name)) == NULL)
			break;
	}
	if (done == n)
		return n;
	while (done > 0)
		free(names[--done]);
	return 0;
}

/* Anything of PLACE. */
static void change_whole(struct data_change *ch, const struct place *place) {
	fresh_change_place(place, ch->epoch);
	/* what is told of so vaguely the kernel does not keep */
	if (!is_told(place))
		return;
	nodes_list(ch->c->fs->nodes, place, false, &ch->list);
	ch->names = true;
}

static void change_place(void *arg, const struct place *place, const char *const *values,
			 enum notice_kind kind) {
	struct data_change *ch = arg;
	char *names[PLACES_DEEP];
	static const char *const nothing[PATH_KEYS_MAX];
	int n = values != NULL || place->nparams == 0
			? put_names(place, values != NULL ? values : nothing, names)
			: 0;
	if (n == 0) {
		if (place->parent != NULL)
			change_whole(ch, place);
		return;
	}
	if (nodes_mark(ch->c->fs->nodes, place, names, n, kind, ch->epoch, &ch->list))
		ch->names = true;
	while (n > 0)
		free(names[--n]);
}

static void change_all(struct data_change *ch, bool own) {
	fresh_change_all(ch->c->fs->fresh, ch->epoch);
	if (!own) {
		invalidate_all(ch->c->fs->invalidator);
		return;
	}
	nodes_list(ch->c->fs->nodes, NULL, false, &ch->list);
	ch->names = true;
}

/* Takes those names out of LIST that the kernel does not know by a listing; the rest stays. */
static void drop_names(struct invalidator *inv, struct forget **list) {
	for (struct forget **p = list; *p != NULL;) {
		struct forget *f = *p;
		f->expired = f->name != NULL;
		if (f->name == NULL || invalidate_is_listed(inv, f->node)) {
			p = &f->next;
			continue;
		}
		*p = f->next;
		f->next = NULL;
		invalidate_not(inv, f);
	}
}

/* A change of this mount is to be seen when the program that made it goes on. Its thread must not
 * wait for the kernel to forget one name; so all are declared out of date, which is done at once
 * and costs a look-up each, but no query. */
static void forget_own(struct data_change *ch) {
	struct invalidator *inv = ch->c->fs->invalidator;
	bool any = ch->names;
	for (struct forget *f = ch->list; f != NULL; f = f->next)
		any = any || f->name != NULL;
	if (any && invalidate_names(inv)) {
		drop_names(inv, &ch->list);
		ch->names = false;
	}
	invalidate_attributes(inv, ch->list);
	/* pages of rows files may follow a moment later */
	for (struct forget *f = ch->list; f != NULL; f = f->next)
		owes = owes || (f->name != NULL && !f->expired) || f->listing;
}

/* The number comes first: who takes a snapshot after it was replaced takes the new one, and what a
 * smaller number says is not good in the new one anyway. */
static void begin_change(struct data_change *ch, struct caches *c) {
	*ch = (struct data_change){ .c = c, .epoch = atomic_fetch_add(&c->fs->epoch, 1) + 1 };
	ch->snapshot = fs_snapshot(c->fs);
}

/* What was marked the kernel is told to forget. OWN: a change of this mount. */
static void end_change(struct data_change *ch, bool own) {
	if (own)
		forget_own(ch);
	if (ch->names && !invalidate_names(ch->c->fs->invalidator)) {
		/* an older kernel: name by name */
		nodes_list(ch->c->fs->nodes, NULL, true, &ch->list);
	}
	invalidate(ch->c->fs->invalidator, ch->list);
	snapshot_drop(ch->snapshot);
}

static void changed(struct caches *c, const char *payload, bool own) {
	struct data_change ch;
	if (!is_up(c))
		return;
	begin_change(&ch, c);
	const struct notices *notices = ch.snapshot->notices;
	enum notice_reading read =
		payload != NULL && notices != NULL
			? notices_read(notices, payload, own ? NULL : c->me, change_place, &ch)
			: NOTICE_ANYTHING;
	if (read == NOTICE_MALFORMED) /* what is not heard of (`payload` NULL) is another thing */
		atomic_fetch_add(&c->malformed, 1);
	/* our own triggers write what we can read: what else one tells may be anything */
	if (read == NOTICE_ANYTHING || (read == NOTICE_MALFORMED && own))
		change_all(&ch, own);
	end_change(&ch, own);
}

/* PAYLOAD NULL: it cannot be known what. */
static void take_one(struct caches *c, const char *payload, bool committed) {
	AUTO_BUF struct buf all = { 0 };
	/* while nothing is heard, nothing is remembered */
	if (payload != NULL || fresh_is_listening(c->fs->fresh))
		changed(c, payload, true);
	if (!committed)
		return;
	if (payload == NULL)
		notice_put_all(&all, c->me);
	if (payload != NULL || !all.failed)
		listening_send(c, payload != NULL ? payload : all.data);
}

void coherence_take(struct fs *fs, struct db_error *err, bool committed) {
	struct db_news news = db_news_take(err);
	const char *data = news.texts.data;
	for (size_t at = 0; at < news.texts.len; at += strlen(data + at) + 1)
		take_one(fs->caches, data + at, committed);
	if (news.unknown)
		take_one(fs->caches, NULL, committed);
	buf_free(&news.texts);
}

void coherence_appended(struct fs *fs, const struct tally *t) {
	struct caches *c = fs->caches;
	struct data_change ch;
	AUTO_BUF struct buf payload = { 0 };
	if (!is_up(c) || t->n == 0)
		return;
	begin_change(&ch, c);
	if (ch.snapshot->notices != NULL)
		notices_tally(ch.snapshot->notices, t, change_place, &ch);
	end_change(&ch, true);
	if (listening_alone(c))
		return;
	notice_put_tally(&payload, c->me, t);
	if (!payload.failed)
		listening_send(c, payload.data);
}

int coherence_forget_then(struct fs *fs, struct node *node, void (*then)(void *arg), void *arg) {
	struct forget *f = calloc(1, sizeof(*f));
	if (f == NULL)
		return -ENOMEM;
	node_hold(fs->nodes, node);
	*f = (struct forget){ .node = node, .data = true, .then = then, .arg = arg };
	invalidate(fs->invalidator, f);
	return 0;
}

void coherence_forget(struct fs *fs, struct node *node) {
	if (is_up(fs->caches))
		(void)!coherence_forget_then(fs, node, NULL, NULL);
}

void coherence_unsettled(struct fs *fs) {
	struct forget *list = NULL;
	if (!is_up(fs->caches) || invalidate_names(fs->invalidator))
		return;
	nodes_list(fs->nodes, NULL, true, &list);
	invalidate(fs->invalidator, list);
}

void coherence_begin(void) {
	owes = false;
}

void coherence_await(struct fs *fs) {
	struct invalidator *inv = fs->invalidator;
	if (!owes || !is_up(fs->caches))
		return;
	if (call_may_wait(fs))
		invalidate_wait(inv, invalidates_by_name(inv) ? SETTLE_NAMES_MS : SETTLE_MS);
	call_waited(fs);
}

/* -- life -------------------------------------------------------------------------------------- */

/* Loads what is told of S. False if nothing is: *WHY says the reason, the caller's. */
static bool load(struct caches *c, struct snapshot *s, char **why) {
	struct db_pool *pool = c->fs->pool;
	AUTO_DB_ERROR struct db_error err = { 0 };
	int told = 0, others;
	int rc = notices_load(pool, s->tree, &s->notices, &err);
	if (rc == 0 && s->notices == NULL) {
		*why = strdup("the database has no rowfs.notice and rowfs.secret that this role "
			      "may read (rowfs init; rowfs.allow())");
		return false;
	}
	if (rc == 0)
		rc = notices_decide(s->notices);
	if (rc == 0)
		notices_count(s->notices, &told, &others);
	if (rc != 0) {
		*why = strdup(err.sentence != NULL ? err.sentence : strerror(-rc));
		log_warning("changes by others are seen after %g s only: %s", c->fs->opt->ttl,
			    *why != NULL ? *why : "out of memory");
	} else if (told == 0)
		*why = strdup("no table of the layout has its triggers");
	return told > 0;
}

/* Passes on what is left, and ends all threads. */
static void coherence_close(struct fs *fs) {
	struct caches *c = fs->caches;
	listening_end(c);
	fresh_tell(fs->fresh, NULL);
	invalidator_free(fs->invalidator);
	mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->wake);
	buf_free(&c->outgoing);
	free(c->why);
	free(c);
}

/* Listens, and tries whether a notice comes back. Where that cannot be, says why in the log and
 * goes by time; what triggers are missing notes_part says. */
static bool coherence_open(struct fs *fs) {
	struct caches *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return false;
	c->fs = fs;
	c->changed = changed;
	peers_make_name(c->secret, c->me);
	mutex_init(&c->lock, MUTEX_CACHES);
	clock_condition(&c->wake);
	fs->invalidator = invalidator_new(fs, &c->lock);
	fs->caches = c;
	if (fs->invalidator == NULL) {
		coherence_close(fs);
		return false;
	}
	if (fs->opt->coherence != COHERENCE_NOTIFY)
		return true;
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(fs);
	if (load(c, s, &c->why)) {
		if (listening_start(c))
			fresh_tell(fs->fresh, s);
		else
			log_warning("changes by others are seen after %g s only: %s", fs->opt->ttl,
				    c->why != NULL ? c->why : "out of memory");
	}
	return true;
}

const struct mount_part coherence_part = { "coherence", coherence_open, coherence_close };

/* A root that was replaced. */
struct replaced {
	struct intake_wait wait;
	struct nodes *nodes;
	struct node *root;
};

static void put_replaced(void *arg) {
	struct replaced *r = arg;
	node_put(r->nodes, r->root);
	free(r);
}

int coherence_publish(struct fs *fs, struct snapshot *snapshot) {
	struct caches *c = fs->caches;
	struct replaced *r = calloc(1, sizeof(*r));
	struct data_change ch;
	char *why = NULL;
	bool told = r != NULL && fs->opt->coherence == COHERENCE_NOTIFY && load(c, snapshot, &why);
	if (told && c->listener == NULL)
		told = listening_start(c); /* what it needs has come since the mount began */
	struct node *old = r != NULL ? nodes_replace_root(fs->nodes, snapshot->tree->root) : NULL;
	if (old == NULL) {
		free(r);
		free(why);
		snapshot_drop(snapshot);
		return -ENOMEM;
	}
	fresh_tell(fs->fresh, told ? snapshot : NULL);
	snapshots_publish(&fs->snapshots, snapshot);
	if (why != NULL) {
		LOCK_SCOPE(&c->lock);
		free(c->why);
		c->why = why;
	}
	/* what was found with a smaller number may have changed without a notice that leads
	 * there */
	begin_change(&ch, c);
	change_all(&ch, false);
	end_change(&ch, false);
	*r = (struct replaced){ { .over = put_replaced, .arg = r }, fs->nodes, old };
	intake_after(fs->intake, &r->wait);
	return 0;
}

/* The tables of places that are not told, each reason once. */
static void put_others(const struct caches *c, struct buf *out) {
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(c->fs);
	int n = 0;
	for (int i = 0; s->notices != NULL && i < s->tree->nall; i++) {
		const struct place *place = s->tree->all[i];
		const char *why = notices_why(s->notices, place);
		if (why == NULL || place->route == NULL || c->fs->kinds->of_place(place)->bytes)
			continue;
		buf_puts(out, n++ > 0 ? ",\n            " : "\n            ");
		buf_json_string(out, place->route->path, strlen(place->route->path));
		buf_puts(out, ": ");
		buf_json_string(out, why, strlen(why));
	}
}

void coherence_json(struct fs *fs, struct buf *out) {
	struct caches *c = fs->caches;
	bool told = is_up(c);
	buf_printf(out, "{\n        \"mode\": \"%s\",\n",
		   told                                   ? "notify"
		   : fs->opt->coherence == COHERENCE_NONE ? "none"
							  : "ttl");
	if (!told && fs->opt->coherence != COHERENCE_NONE)
		buf_printf(out, "        \"ttl\": %.15g,\n", fs->opt->ttl);
	if (!told) {
		LOCK_SCOPE(&c->lock);
		const char *why = c->why != NULL ? c->why : "as asked for";
		buf_puts(out, "        \"why\": ");
		buf_json_string(out, why, strlen(why));
		buf_puts(out, "\n    }");
		return;
	}
	buf_printf(
		out,
		"        \"listening\": %s,\n        \"losses\": %llu,\n        \"heard\": %llu,\n"
		"        \"waiting\": %ld,\n"
		"        \"malformed\": %llu,\n        \"sent\": %llu,\n        \"peers\": %d,\n"
		"        \"peers_lost\": %llu,\n"
		"        \"by_time\": {",
		coherence_listens(fs) ? "true" : "false", atomic_load(&c->losses),
		atomic_load(&c->heard), invalidate_pending(c->fs->invalidator),
		atomic_load(&c->malformed), atomic_load(&c->sent), atomic_load(&c->npeers),
		atomic_load(&c->peers_lost));
	put_others(c, out);
	buf_puts(out, "\n        }\n    }");
}
