/* Freshness: whether what was found in the database, or is remembered of it, is still good.
 *
 * Changes are numbered: each that this mount makes, and each notice that it hears, gets the next
 * value of fs->epoch. Who asks the database takes a ticket before: the number of the last change
 * (coherence_ticket()). What was found with a ticket is good as long as no later change concerns
 * it, and one function says so, for all: fresh_is_good().
 *
 * The state of a node (enum fresh_state) says whether its last look-up still stands; the table of
 * moves is in fresh.c. What is known of changes:
 *
 *  what is known             set by                            read by
 *  fs->epoch                 fs_changed(), each notice         who takes a ticket
 *  fs->changed               fs_changed()                      fresh_is_found(), by time
 *  fresh->told               fresh_tell()                      fresh_is_good(), fresh_is_told()
 *  fresh->listening          the listener                      fresh_is_good()
 *  fresh->all                a notice of anything              fresh_is_good()
 *  place->changed            a notice that names no key        fresh_is_good()
 *  fresh->stripes[hash]      a notice that names it            fresh_is_good(), fresh_found()
 *  node->fresh               fresh_move()                      fresh_is_found(), fresh_is_good()
 *  node->epoch               fresh_found(): the ticket;        fresh_is_found()
 *                            fresh_move(): 0 when it is lost
 *  node->below               a notice: another directory has   fresh_is_good(), for all below
 *                            the name
 *  node->fresh_until         fresh_found(); fresh_lose(): 0    fresh_is_found(), by time
 *  the ticket of a listing,  its reader, before it asks        fresh_is_good()
 *  a transcript, a document
 *
 * What is not told goes by time: it is good for opt->ttl, unless this mount changes something. So
 * does what was found in a layout that was replaced: notices lead to names in the present one.
 *
 * All that is in a node is guarded by the lock of the nodes, which is held in all functions that
 * take a node to read or write it. The rest is atomic, or does not change once it is told. */
#pragma once

#include "fs/core/fs.h"
#include "util/states.h"

struct node;

/* What is known of a node's name. */
enum fresh_state {
	FRESH_FOUND, /* what its look-up found is there, as far as `epoch` or `fresh_until` say */
	FRESH_LOST,  /* it has changed since, or may have: the next look-up must ask */
	FRESH_VANISHED, /* its name came or went, as was told, and it was not found since */
	FRESH_GONE,     /* a row's directory whose row this mount has deleted: an empty shell */
	FRESH_EXPELLED, /* another node is to have the name: the next look-up makes one */
	FRESH_STATES
};

enum fresh_event {
	FRESH_ON_FIND,   /* a look-up has found it */
	FRESH_ON_BACK,   /* the same, and its row is there: what was a shell is none */
	FRESH_ON_CHANGE, /* a notice: it has changed; or it turned out not to be what was found */
	FRESH_ON_NAME,   /* a notice: its name came or went */
	FRESH_ON_GROW,   /* a notice: what it shows is there, perhaps for the first time */
	FRESH_ON_REMOVE, /* this mount has deleted its row */
	FRESH_ON_EXPEL,  /* whoever has it open keeps others from using it */
	FRESH_EVENTS
};

extern struct state_table fresh_table;

enum { FRESH_STRIPES = 4096 }; /* a power of two */

struct fresh {
	/* whose notices are told, as far as `listening`; borrowed; NULL: nobody's */
	const struct snapshot *_Atomic told;
	atomic_bool listening; /* notices are heard */

	/* When what changed last, as epochs. */
	atomic_ulong all;                    /* anything */
	atomic_llong all_ns;                 /* the same, since 1970; 0: never */
	atomic_ulong stripes[FRESH_STRIPES]; /* a name in a directory, by its hash */
};

/* From here on changes in SNAPSHOT are told of, as its notices say, and in no other; NULL: in none.
 * It is borrowed until the next call. */
void fresh_tell(struct fresh *fresh, const struct snapshot *snapshot);

static inline bool fresh_is_ready(const struct fresh *fresh) {
	return atomic_load(&((struct fresh *)(uintptr_t)fresh)->told) != NULL;
}
static inline bool fresh_is_listening(const struct fresh *fresh) {
	return atomic_load(&((struct fresh *)(uintptr_t)fresh)->listening);
}

/* -- what has changed at EPOCH ----------------------------------------------------------------- */

void fresh_change_all(struct fresh *fresh, unsigned long epoch);
void fresh_change_place(const struct place *place, unsigned long epoch);
/* NAME in DIR; "": what is listed there. */
void fresh_change_name(struct fresh *fresh, const struct node *dir, const char *name,
		       unsigned long epoch);

/* When names of PLACE may have come or gone, since 1970, because of a notice that named no key; 0:
 * never. For the time of directories that have such names. */
int64_t fresh_place_changed_at(const struct fresh *fresh, const struct place *place);

/* -- what was found; the lock of the nodes is held --------------------------------------------- */

/* EVENT has happened to NODE: the one function that changes its state. */
void fresh_move(struct node *node, enum fresh_event event);

/* NODE was found with TICKET. */
void fresh_found(const struct fs *fs, struct node *node, unsigned long ticket);
/* NODE may not be what was found: its next look-up must ask. */
void fresh_lose(struct node *node);

/* True if NODE's changes are told, and not only a matter of time. Needs no lock. */
bool fresh_is_told(const struct fresh *fresh, const struct node *node);

/* The predicate: true if what was found with TICKET is told of when it changes, and was not told of
 * since. NAME NULL: it is NODE itself. Otherwise it is what has NAME in the directory NODE, there
 * or not; with NAME "", what is listed there. */
bool fresh_is_good(const struct fresh *fresh, const struct node *node, const char *name,
		   unsigned long ticket);

/* True if NODE need not be looked up again: what its look-up found is good, or, where changes are
 * not told, was found within opt->ttl. */
bool fresh_is_found(const struct fs *fs, const struct node *node);
