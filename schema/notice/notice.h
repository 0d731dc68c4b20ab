/* Notices: what triggers tell of a change (schema/core/deploy/rowfs_notify.sql), and which places
 * it concerns.
 *
 * A definition is a table and key texts, made of one of its rows: all keys on the path to some
 * place, as far as the row tells them. A change is told with the key texts of the rows that it
 * touched, so it leads to names. A key that the row does not tell is any; a place that depends on a
 * table in another way than by its rows' keys (a view) is concerned as a whole.
 *
 * A place is told when all tables that it depends on have their triggers, and the directories above
 * it are told, too. Immutable once loaded: any thread may read it. */
#pragma once

#include "db/query.h"
#include "schema/layout/place.h"
#include "schema/count/tally.h"

/* Notices go over a channel whose name is a secret of the database's, since they show keys of
 * rows. All mounts hear this one, too, for what a trigger says that cannot learn the name; any
 * role can say it. */
#define NOTICE_OPEN_CHANNEL "rowfs"

enum { NOTICE_CHANNEL_LEN = 63 };

struct notices;

/* Makes the definitions for TREE and finds out which of its tables have their triggers. *OUT is the
 * caller's, and NULL where the role may not read the definitions and what proves that it is a
 * mount's: then there are none. Returns 0 or -errno, with ERR filled unless out of memory; what
 * else goes wrong leaves tables without. */
MUST_USE int notices_load(struct db_pool *pool, const struct tree *tree, struct notices **out,
			  struct db_error *err);
/* How many tables have not. */
int notices_missing(const struct notices *notices);
/* Makes them, where that is possible: one transaction for each table, in which its writers wait.
 * POOL should have no limit on the time of a transaction. Returns 0 or -ENOMEM. */
MUST_USE int notices_install(struct db_pool *pool, struct notices *notices);

/* A table that notices come from. All borrowed. */
struct notices_table {
	const char *relation; /* "schema"."name", as SQL has it */
	bool told, made;      /* it has its triggers; this process made them */
	bool missing;         /* it lacks them, and notices_install() is what helps */
	const char *why;      /* not told; may be NULL */
};
typedef void (*notices_table_fn)(void *arg, const struct notices_table *table);
void notices_each(const struct notices *notices, notices_table_fn fn, void *arg);
/* True if PLACE itself depends on RELATION, by whatever of its rows. */
bool notices_rest_on(const struct notices *notices, const char *relation,
		     const struct place *place);

/* What triggers that tell could not tell: RELATION, the time of the first failure, and its reason,
 * "" where none is noted. All borrowed. */
typedef void (*notices_failure_fn)(void *arg, const char *relation, const char *at,
				   const char *why);
/* FN for each table of which that is noted; with FORGET the notes are removed. Returns 0, or -errno
 * with ERR filled. */
MUST_USE int notices_failures(struct db_pool *pool, notices_failure_fn fn, void *arg, bool forget,
			      struct db_error *err);

/* Works out which places are told. Nothing changes afterwards. Returns 0 or -ENOMEM. */
MUST_USE int notices_decide(struct notices *notices);
void notices_free(struct notices *notices);

/* True if changes of what is at PLACE are told. */
bool notices_told(const struct notices *notices, const struct place *place);
/* True if they are told by their names: every key on the path is told. */
bool notices_exact(const struct notices *notices, const struct place *place);
/* Why changes of what is at PLACE are not told. Borrowed. */
const char *notices_why(const struct notices *notices, const struct place *place);
/* How many places with tables behind them are told, and how many are not. */
void notices_count(const struct notices *notices, int *told, int *others);

enum notice_kind {
	NOTICE_CHANGED, /* rows under these keys are others than before */
	NOTICE_NAMES,   /* these keys appeared or vanished, too */
	NOTICE_GROWN,   /* rows were added, perhaps the first */
};

/* VALUES has a text for each key on the path to PLACE, NULL for any; or is itself NULL: all are
 * any. */
typedef void (*notice_fn)(void *arg, const struct place *place, const char *const *values,
			  enum notice_kind kind);

/* What a payload turned out to be. */
enum notice_reading {
	NOTICE_TOLD,      /* all that it says */
	NOTICE_ANYTHING,  /* it says that anything may have changed */
	NOTICE_MALFORMED, /* nothing that rowfs has written: it says nothing */
};

/* Tells FN which places PAYLOAD concerns, unless mount ME (may be NULL) sent it. Any role that may
 * connect to the database can send a payload: it is read strictly, and FN is called only if all of
 * it is what a notice is. */
MUST_USE enum notice_reading notices_read(const struct notices *notices, const char *payload,
					  const char *me, notice_fn fn, void *arg);

/* Tells FN which places the lines in T concern, all NOTICE_GROWN. */
void notices_tally(const struct notices *notices, const struct tally *t, notice_fn fn, void *arg);

/* Appends the payload that tells of the lines in T, on behalf of mount ME; of all that is known if
 * they are too many. */
void notice_put_tally(struct buf *out, const char *me, const struct tally *t);
/* The same: anything may have changed. */
void notice_put_all(struct buf *out, const char *me);
/* The same, to see whether it comes back. */
void notice_put_test(struct buf *out, const char *me);
/* True if PAYLOAD is the test of ME, or of anybody (NULL). */
bool notice_is_test(const char *payload, const char *me);

/* True if PAYLOAD is all that may be said over the open channel. */
bool notice_is_open(const char *payload);

/* The name of the secret channel. No parameters. */
extern const char notice_channel_sql[];
/* True if NAME can be one. */
bool notice_is_channel(const char *name);
