/* Coherence: what this mount and the kernel remember is dropped when it changes, whoever changes it.
 *
 * Triggers tell of each statement that changed a watched table (schema/deploy/rowfs_notify.sql); the keys in a notice lead
 * to names, and what is remembered of these is dropped: first our own marks, so that nothing old is handed out as fresh, then
 * the kernel's entries, attributes and pages. Changes of this mount come back with the answer to its own statement, before the
 * program that made them goes on; changes of others come by LISTEN.
 *
 * Every notice gets a number, the next value of fs->epoch. Who asks the database takes a ticket before it: the number of the last
 * notice. What a later notice concerned must not be remembered, and node_found() sees to it by `found.epoch`, which is the ticket.
 *
 * All functions are thread-safe. */
#ifndef ROWFS_FS_COHERENCE_H
#define ROWFS_FS_COHERENCE_H

#include "fs/fs.h"

struct node;
struct caches;

/* To be called before a query whose result is to be remembered; goes into found.epoch, or to coherence_may_cache(). One
 * atomic load. */
static inline unsigned long coherence_ticket(const struct fs *fs) {
	return atomic_load(&((struct fs *)(uintptr_t)fs)->epoch);
}

/* After the query: true if what was found under NAME in directory DIR may be remembered until a notice comes, because notices do come for it
 * and none came since TICKET. NAME NULL: the listing of DIR. For what is a node, node_found() and node_fresh() ask this. */
bool coherence_may_cache(struct fs *fs, unsigned long ticket, const struct node *dir,
			 const char *name);

/* Seconds for which the kernel may keep that NAME is not in DIR, as a query after TICKET said; 0: not at all. */
double coherence_negative_timeout(struct fs *fs, unsigned long ticket, const struct node *dir,
				  const char *name);

/* Seconds for which the kernel may keep NODE's attributes, and its name if ENTRY; 0: not at all. */
double coherence_timeout(struct fs *fs, struct node *node, bool entry);

#endif
