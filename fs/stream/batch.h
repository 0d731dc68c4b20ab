/* Lines that are committed in one transaction: a batch of a lane of the grouped writer, or one that
 * somebody makes for himself. One thread at a time: a lane's is guarded by the lane's lock while it
 * gathers, and the committing thread's own afterwards. */
#pragma once

#include "db/copy.h"
#include "fs/stream/refusals.h"
#include "fs/stream/sent.h"
#include "schema/state/stream.h"
#include "fs/stream/source.h"

#include "util/states.h"

struct batch_line {
	uint32_t len;    /* bytes in the batch's data, newline included */
	uint32_t id_len; /* of these, before the person's own line: an id, or a lead */
	int group;       /* lines of different groups go in statements of their own */
	bool refused;
	uint64_t number;
	struct source
		*source; /* whose it is in a lane; else NULL. The batch holds it: see `sources` */
};

/* Where a batch stands. Lines get their keys from the table's sequence while the server takes them,
 * and a file shows them in the order of their keys: so the lines of a batch are sent when the batch
 * before it in its lane has sent all of its own. Few lines in OPEN go as one statement. */
enum batch_state {
	BATCH_OPEN,  /* nothing was sent; lines may be, ahead of the commit */
	BATCH_WAITS, /* nothing was sent; the lines before come first */
	BATCH_FED,   /* a COPY has some of the lines */
	BATCH_WHOLE, /* it is sent as a whole, in a transaction that asks the ledger first */
	BATCH_STATES
};

enum batch_event {
	BATCH_MAY,    /* the lines before are at the server */
	BATCH_HOLD,   /* the lines before must be sent anew: what was sent ahead is rolled back */
	BATCH_FEED,   /* lines have gone to a COPY */
	BATCH_COMMIT, /* its commit begins, or its COPY broke */
	BATCH_EVENTS
};

/* At the top of batch.c. */
extern struct state_table batch_states;

struct batch {
	uint64_t number;
	enum batch_state state;
	struct buf data;
	struct batch_line *lines;
	int n, room;
	struct source **sources; /* whose lines they are, each held once */
	int nsources;
	struct tally tally;
	bool counted;            /* the tally is complete: the triggers need not count */
	struct db_copy_in *copy; /* the COPY that is being fed, or NULL */
	atomic_int *feeding;     /* where it is counted while it waits for more lines, or NULL */
	bool silent;             /* it has the triggers off */
	size_t fed;              /* bytes that it got */
	int64_t began_us;        /* clock_us() of its first line */
	struct refusals refused; /* by the server; told when the batch is committed */
};

/* A batch that is in no lane: what its owner says and commits beside the lines. */
struct batch_owner {
	/* In a repetition, when the ledger was asked, before the lines: waits for what else an
	 * earlier attempt may have locked (NULL: nothing). Returns 0, LEDGER_DONE if there is
	 * nothing to do (any more), or -errno. */
	int (*lock)(struct db_conn *conn, struct batch_owner *owner, struct db_error *err);
	/* After the lines and the note in the ledger (NULL: nothing). Returns 0 or -errno. */
	int (*finish)(struct db_conn *conn, struct batch_owner *owner, struct db_error *err);
	/* Sends lines LOW .. HIGH - 1, which are of one group and begin at byte AT; LOW = HIGH: no
	 * line, by the same statement. NULL: they go by COPY. Returns 0 or -errno. */
	int (*send)(struct db_conn *conn, struct batch_owner *owner, const struct batch *b, int low,
		    int high, size_t at, struct db_error *err);
	/* All lines are of one group, and are first sent by SEND at once, without savepoints. */
	bool plain;
};

/* What a batch is sent with. */
struct batch_target {
	struct engine *engine;
	struct once *once; /* what it is in the ledger; NULL: a lost COMMIT is in doubt */
	const char *copy;  /* COPY ... FROM STDIN (FORMAT csv); borrowed */
	/* Of a batch that is in no lane: its lines and what the server refused of them stay its
	 * owner's. Else NULL. */
	struct batch_owner *owner;
	/* of a lane */
	struct lane *lane;
	/* Called while a batch is committed, without the lane's lock: MAY, its lines are at the
	 * server, and those of the next batch may follow; or they must be sent anew, and those of
	 * the next are taken back. */
	void (*follow)(struct lane *lane, bool may);
	struct stream_sql *sql;
	int ncolumns;
};

/* In state OPEN. NULL if out of memory. */
MUST_USE struct batch *batch_new(uint64_t number);
/* Empties it, as if it were new, without a chance to fail. */
void batch_reset(struct batch *b, uint64_t number, enum batch_state state);
void batch_free(struct batch *b);

/* Adds UNIT of SOURCE. Returns 0 or -ENOMEM, with nothing added. */
MUST_USE int batch_put(struct batch *b, struct source *source, const struct unit *unit);

/* Lines LOW .. HIGH - 1, which begin at byte AT and were put with a comma as their lead, as a JSON
 * array: the batch's own bytes, of which the first and the last are brackets until
 * batch_array_end(). */
struct buf batch_array(const struct batch *b, int low, int high, size_t at);
void batch_array_end(struct buf *array);

/* MAY: its lines may be sent from now on. Otherwise not, and what was sent is rolled back. */
void batch_follow(struct batch *b, bool may);

/* Sends what was gathered and not sent yet, and begins the COPY if there is none; unless it is too
 * little to be worth it, or too many connections wait for more lines already, or the state or the
 * isolation level forbid it. */
void batch_feed(struct batch *b, const struct batch_target *to);

/* Sends all that was not sent yet, if there is a COPY: its owner has something else to do before he
 * commits. */
void batch_feed_rest(struct batch *b, const struct batch_target *to);

/* Commits the batch. Returns SENT, or with ERR filled IN_DOUBT or FAILED if it was given up. In a
 * lane: lines that the server refused are kept in rejected/ and noted with their sources; if it was
 * given up, all lines are. With an owner: B keeps all of it. After a failure batch_commit() may be
 * called again, and finds out what became of it. */
MUST_USE enum sent batch_commit(struct batch *b, struct batch_target *to, struct db_error *err);

/* Gives up a batch of a lane for the reason ERR: its lines are kept in rejected/, and noted with
 * their sources. */
void batch_give_up(struct batch *b, const struct batch_target *to, const struct db_error *err);

/* Sends B's lines in the transaction on CONN, around those that the server refuses, which are added
 * to B's refusals: batch_around.c. An error that no line is free of is the whole batch's: it is
 * returned, after bounded work. Returns 0 or -errno. */
MUST_USE int batch_send(struct db_conn *conn, struct batch *b, const struct batch_target *to,
			struct db_error *err);
