/* What removal.c (processes, requests, the clock) and removal_commit.c (names, statements,
 * transactions) share. */
#pragma once

#include "db/held.h"
#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "util/mutex.h"

enum {
	REMOVAL_US = 45000,        /* so that it is seen 50 ms after unlink has returned */
	REMOVAL_LOST_US = 2000000, /* at most so much time of a process is not counted */
	/* they may have a savepoint each, and more slow other sessions down */
	REMOVAL_NAMES = 64,
	/* names that get their full time when those before them are committed; one, where one
	 * thread removes many */
	REMOVAL_YOUNG = 4
};

enum { GONE_MOST = 4 }; /* directories above a document that stand for its row */
enum { TIDS = 8 };      /* threads of a process that are remembered */

/* A name that is being removed. */
struct removed {
	uint64_t ino;   /* of its path */
	struct where w; /* its own */
	struct db_statement *st;
	struct node *node; /* what had the name; holds a reference */
	pid_t tid;         /* of the thread that unlinked it */
	int statement;     /* its number in the transaction; 0: none, it goes with a document */
	int64_t since_us;
	uint64_t call;            /* call_number() of its unlink */
	unsigned long epoch;      /* fs->epoch before its statement */
	uint64_t gone[GONE_MOST]; /* identities of the directories that go with it */
	int ngone;
};

struct removal {
	/* guarded by fs_lists */
	struct removal *next;
	int users; /* requests that have it; it is freed by the last one if it has no names */
	pid_t tgid;
	pid_t tids[TIDS]; /* threads that are known to be the process's */
	unsigned next_tid;
	/* keeps its transaction; else it is dry. Changes only while there are no names */
	bool slot;
	unsigned passed;   /* the round in which the clock found it in use */
	bool finishing;    /* by a finisher */
	int64_t waited_us; /* pace_waited_us() of the process when its time began */
	int64_t lost_us;   /* how much it has lost since; changed under both locks */

	unsigned long epoch; /* the same of the unlink that runs in it while there are no names */

	int pidfd;            /* never changes */
	struct removals *all; /* never changes */

	/* held while a statement runs in it, and taken before fs_lists; guards the rest */
	struct mutex lock;
	struct db_held *tx; /* NULL: none */
	/* when it was looked whether the process starves; 0: not yet, or not so */
	int64_t looked_us;
	int64_t ran_us; /* pace_ran_us() then */
	/* its statements get savepoints: several threads remove, or one was refused */
	bool careful;
	unsigned long began;   /* fs->epoch before the present unlink */
	int first;             /* the number that the statement of this unlink got; 0: none yet */
	struct removed *names; /* in the order of their statements; changed under both locks */
	int n;
};

struct removals {
	struct fs *fs;
	int wake_fd;
	bool started;     /* the clock */
	pthread_t thread; /* the clock */

	/* guarded by fs_lists */
	struct removal *list; /* fs->uncommitted.n of them */
	int slots;            /* that are left */
	bool none;            /* from now on each is committed at once */
	bool stopping;        /* the clock is to end */
	int finishers;        /* that run: see finish_job() */
};

/* -- removal_commit.c; R's lock is held, unless it says otherwise ------------------------------ */

/* Has the clock look at all. Under any lock. */
void removals_wake(struct removals *all);

/* Adds NODE at W, which CALL removes by statement number STATEMENT (0: none). Returns false if out
 * of memory; then the statement is undone. */
MUST_USE bool removal_add(struct removal *r, struct node *node, const struct where *w,
			  struct call *call, int statement);

/* Statement number STATEMENT is undone: its name is not removed. */
void removal_withdraw(struct removal *r, int statement);

/* The index of the name with INO, or -1. Under either lock. */
int removal_index(const struct removal *r, uint64_t ino);

/* Takes name K back: what it showed is there again. */
void removal_undo(struct removal *r, int k);

/* How many names are to be committed now. Under either lock. */
int removal_due(const struct removal *r);

/* How long the process has waited for a processor since that time began. There are names. */
int64_t removal_waited_us(const struct removal *r);

/* When the first name's time is over. Under either lock; there are names. */
int64_t removal_due_us(const struct removal *r);

/* How many names are to be committed now, after a look at whether the process could use all of
 * its time. */
int removal_ripe(struct removal *r);

/* Commits what is due (after that look), or ALL that there is, and ends the transaction if no
 * name is left. Returns 0 or the first -errno, which is told already. */
int removal_finish(struct removal *r, bool everything);

/* Commits what is due, where removal_ripe() has just looked. Returns as removal_finish(). */
int removal_finish_ripe(struct removal *r);

/* NODE was removed by thread TID, and that is committed. No lock is held. */
void removal_is_over(struct fs *fs, struct node *node, pid_t tid);
