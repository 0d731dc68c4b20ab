/* The locks of flock(2) and fcntl(2).
 *
 * The kernel would keep them by its inodes, and a document's inode is one version of it: two
 * processes that have opened two versions would both hold "the" lock. So they are kept here, by
 * identity, which all versions of a file have in common.
 *
 * Locks of either kind say nothing to those of the other, as on a local file system. A lock of
 * fcntl(2) has a range, and belongs to a process or, with F_OFD_SETLK, to an open file; that of
 * flock(2) is of the whole file, and belongs to an open file. Who belongs to whom is the kernel's
 * to say: an owner is a number of its.
 *
 * A request that must wait is kept until locks_granted() brings it out, or locks_cancel() does. All
 * functions are thread-safe; no callback takes a lock of this module. */
#pragma once

#include "util/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum lock_kind { LOCK_WHOLE_FILE, LOCK_RANGE };

/* The last byte that a lock can have. */
#define LOCK_END INT64_MAX

/* A lock as it is asked for, or held. */
struct lock {
	uint64_t ino;    /* of the file */
	uint64_t owner;  /* the kernel's number */
	const void *via; /* the open file that it was asked for through */
	enum lock_kind kind;
	short type;       /* F_RDLCK, F_WRLCK or F_UNLCK */
	int64_t from, to; /* bytes, both included; 0 and LOCK_END with LOCK_WHOLE_FILE */
	pid_t pid;        /* for F_GETLK */
	/* The kernel need not tell of a close until VIA is released: so a lock that is in the
	 * way may be gone already. */
	bool closing;
};

struct locks;

/* Why a lock that is in the way is not waited for. */
enum lock_wait {
	LOCK_AT_ONCE, /* the caller does not want to */
	/* the same; but a lock that is `closing` may take LOCK_CLOSE_MS to go, and the thread
	 * may wait for that */
	LOCK_SOON,
	LOCK_QUEUE, /* it waits: TICKET is kept */
};
enum { LOCK_CLOSE_MS = 50 };

/* What locks_set() returns besides 0 and -errno. */
enum { LOCK_QUEUED = 1 };

/* Gives WANTED's owner the lock, in place of what he has of its range; F_UNLCK takes that away.
 * TICKET names a request that waits, and is the caller's; GONE (NULL: never) is asked, with this
 * module's lock held, whether it is wanted no more. flock(2)'s own rule holds: a lock that is
 * changed is given up first.
 *
 * Returns 0; LOCK_QUEUED; -EAGAIN: somebody else has it; -EINTR: GONE said so; -EDEADLK: he waits
 * for one who waits for him; -ENOLCK: out of memory. */
int locks_set(struct locks *locks, const struct lock *wanted, enum lock_wait wait, void *ticket,
	      bool (*gone)(void *ticket));

/* True if a lock of another owner is in WANTED's way: it is copied to OUT. */
bool locks_test(struct locks *locks, const struct lock *wanted, struct lock *out);

/* A descriptor of the open file VIA was closed by OWNER: his ranges of the file INO go. */
void locks_flushed(struct locks *locks, uint64_t ino, uint64_t owner, const void *via);

/* The open file VIA is closed: all that was asked for through it goes. */
void locks_released(struct locks *locks, const void *via);

/* The request TICKET is not to wait any longer. Returns false if it does not. */
bool locks_cancel(struct locks *locks, const void *ticket);

/* Brings out a request that has waited and got its lock, copied to OUT; *TICKET is its. To be
 * called until it returns false, after each change. With ALL, those that still wait come out,
 * too, with type F_UNLCK: the mount ends. */
bool locks_granted(struct locks *locks, bool all, struct lock *out, void **ticket);
