/* Coherence: what this mount and the kernel remember is dropped when it changes, whoever changes
 * it.
 *
 * Triggers tell of each statement that changed a watched table
 * (schema/core/deploy/rowfs_notify.sql); the keys in a notice lead to names, and what is remembered
 * of these is dropped: first our own marks, so that nothing old is handed out as fresh, then the
 * kernel's entries, attributes and pages. Changes of this mount come back with the answer to its
 * own statement, as the news of a call of db/ (struct db_news): whoever made the call passes them
 * on to coherence_own(), before the program goes on. Other mounts are told of them. Changes of
 * others come by LISTEN.
 *
 * Every notice gets a number, the next value of fs->epoch. Who asks the database takes a ticket
 * before it: the number of the last notice. What a later notice concerned must not be remembered,
 * and node_found() sees to it by `found.epoch`, which is the ticket.
 *
 * While nothing is heard, nothing is remembered. Where nothing can be heard or told, things are
 * remembered for a time (opt->ttl).
 *
 * All functions are thread-safe. */
#pragma once

#include "db/error.h"
#include "fs/core/fs.h"

#include <sys/stat.h>

struct node;

/* -- for who asks the database ----------------------------------------------------------------- */

/* To be called before a query whose result is to be remembered; goes into found.epoch, or to
 * coherence_may_cache(). One atomic load. */
static inline unsigned long coherence_ticket(const struct fs *fs) {
	return atomic_load(&((struct fs *)(uintptr_t)fs)->epoch);
}

/* True while changes are heard of. */
bool coherence_listens(const struct fs *fs);

/* After the query: true if what was found under NAME in directory DIR may be remembered until a
 * notice comes, because notices do come for it and none came since TICKET. NAME NULL: the listing
 * of DIR. For what is a node, node_found() and node_fresh() ask this. */
bool coherence_may_cache(struct fs *fs, unsigned long ticket, const struct node *dir,
			 const char *name);

/* Seconds for which the kernel may keep that NAME is not in DIR, as a query after TICKET said; 0:
 * not at all. */
double coherence_negative_timeout(struct fs *fs, unsigned long ticket, const struct node *dir,
				  const char *name);

/* NODE as a reply tells it: fills ST, and says for how many seconds the kernel may keep that
 * (*ATTRIBUTES) and NODE's name (*ENTRY); 0: not at all. */
void coherence_reply(struct fs *fs, struct node *node, struct stat *st, double *attributes,
		     double *entry);

/* Passes on what statements of this mount have committed, or may have: the news in ERR, which has
 * none from then on. Takes effect before it returns. To be called after each call of db/ that may
 * change something, before anybody is told that it has. */
void coherence_take(struct fs *fs, struct db_error *err, bool committed);
static inline void coherence_own(struct fs *fs, struct db_error *err) {
	if (db_error_has_news(err))
		coherence_take(fs, err, true);
}
/* The same of what a transaction that stays open has changed (db/held.h): other mounts are told
 * when it is committed. */
static inline void coherence_own_early(struct fs *fs, struct db_error *err) {
	if (db_error_has_news(err))
		coherence_take(fs, err, false);
}
/* After a statement that changes something: the same, and what is kept for a time is to be looked
 * up again. */
static inline void coherence_changed(struct fs *fs, struct db_error *err) {
	coherence_own(fs, err);
	fs_changed(fs);
}

/* This mount has committed the lines that T counts, with the triggers switched off. Takes effect
 * before it returns. */
void coherence_appended(struct fs *fs, const struct tally *t);

/* A handle was left unsettled (see handle.h): look-ups are to come here, and wait for what settles
 * it. */
void coherence_unsettled(struct fs *fs);

/* Before a request that commits: what else this thread has changed is not to be waited for. */
void coherence_begin(void);
/* Before the reply to a request that commits: waits, briefly, until the kernel has forgotten what
 * it changed. */
void coherence_await(struct fs *fs);

/* Has the kernel forget what it keeps of NODE, soon: attributes, pages or listing. */
void coherence_forget(struct fs *fs, struct node *node);
/* The same, whatever is told or not. THEN is called with ARG when it has forgotten, or the mount
 * ends: by any thread, perhaps before this returns. No thread that serves requests waits for it,
 * since the kernel may wait for one of them. Returns -ENOMEM if it is not done, nor THEN called. */
MUST_USE int coherence_forget_then(struct fs *fs, struct node *node, void (*then)(void *arg),
				   void *arg);

/* -- life -------------------------------------------------------------------------------------- */

/* Serves SNAPSHOT from here on, whose reference it takes over. Names are looked up in it anew, by
 * the kernel, too. What is open, and a directory that somebody is in, goes on with the snapshot
 * that it has, whose changes are seen by time. Requests may be under way, and this may be one.
 * Returns 0; -ENOMEM, with nothing changed. For one thread at a time. */
MUST_USE int coherence_publish(struct fs *fs, struct snapshot *snapshot);

/* True if changes are to be heard of, and the session that hears of them is lost. */
bool coherence_is_deaf(const struct fs *fs);
/* "coherence" of status.json: its value. */
void coherence_json(struct fs *fs, struct buf *out);
