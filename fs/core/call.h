/* One request under way: who asked, how to stop its query, what went wrong. */
#pragma once

#include "fs/core/fs.h"

#include <fuse_lowlevel.h>

struct call {
	struct call *next, *prev; /* in fs->calls, and guarded by it; NULL: not there */
	bool listed;              /* it is there: only its own thread may ask without the lock */
	struct fs *fs;
	/* NULL outside a request; gone with the reply, while the call may last longer */
	fuse_req_t req;
	pid_t thread; /* that asks; 0 outside a request */
	struct db_cancel cancel;
	struct db_error err;
	bool interruptible;
	bool seeks;      /* see CALL_SEEKS; guarded by fs->calls */
	uint64_t number; /* of those in fs->calls; guarded by it */
	int64_t outer;   /* of db_budget_enter() */
	bool asked;      /* a look-up had to ask the database */
	/* the name looked up last is not there for the caller, but may be again: nobody is to
	 * remember that */
	bool hidden;
	/* a directory was looked in that the kernel knows as another node: see lookup_renewed();
	 * the kernel cannot be told of its names */
	bool renewed;
	bool other_row; /* a document was refused since it says another row than its path */
	bool mapped;    /* it reads pages for the kernel's memory, or brings changed ones of it */
	struct removal *removal; /* that its statements are part of, or NULL: see removal.h */
};

#define AUTO_CALL __attribute__((cleanup(call_end)))

/* What a request does. */
enum {
	/* Its queries are cancelled when the program that waits is interrupted; those of others are
	 * not: they run to their end. */
	CALL_READS = 1,
	/* It finds, opens, makes or renames a file: the process that asks can do nothing else
	 * meanwhile. Remembered only while there are removals. */
	CALL_SEEKS = 2,
};

/* Begins a call for REQ, which does what FLAGS say. */
void call_begin(struct call *call, fuse_req_t req, unsigned flags);
void call_end(struct call *call);
/* A call outside a request, of the mount OF itself; to be ended. */
#define CALL_OF(of)                                                                                \
	{ .fs = (of), .cancel = DB_CANCEL_INIT }

/* A number for CALL, by which calls_has() knows it until its end. */
uint64_t call_number(struct call *call);

/* Calls under way: those whose queries can be interrupted, and those that seek. Thread-safe. */
MUST_USE struct calls *calls_new(void);
/* True if a thread of PROCESS waits for a call that seeks. */
bool calls_seek(struct calls *calls, pid_t process);
/* True if the call with NUMBER (of call_number()) has not ended. */
bool calls_has(struct calls *calls, uint64_t number);
/* Interrupts those that can be: the mount ends, and must not wait for slow readers. Held:
 * fs_lists. */
void calls_interrupt(struct calls *calls);

/* The thread that asks; 0 outside a request. */
static inline pid_t call_thread(const struct call *call) {
	return call->thread;
}

/* True if a thread that serves a request may wait for the kernel: at most half of them do at a
 * time, since what the kernel waits for may need one. Asked once, and call_waited() is called
 * afterwards, whatever the answer was. */
bool call_may_wait(struct fs *fs);
void call_waited(struct fs *fs);

/* The cancel token to give to db/: NULL for calls that are not interruptible. By the call's own
 * thread. */
struct db_cancel *call_cancel(struct call *call);

/* Writes the failure RC (-errno) of what was done to PATH into /.rowfs/errors.jsonl, if there is a
 * sentence for it; returns RC. */
int call_told(struct call *call, const char *path, int rc);

/* Fills call->err. Returns -ERRNUM. */
int call_error(struct call *call, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
