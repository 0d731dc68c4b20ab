/* A kind of file: a table of functions. Everything that differs between kinds is here, and nowhere
 * else. All functions return 0 or -errno with call->err saying why; the handle's lock is held. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <fuse_lowlevel.h>
#include <libpq-fe.h>

struct buf;
struct call;
struct found;
struct fs;
struct handle;
struct node;
struct place;
struct rowfs_rows;
struct where;

enum sync_reason {
	SYNC_FLUSH, /* close(2) of one of perhaps several descriptors */
	SYNC_FSYNC,
	SYNC_UNLOCK,  /* a lock is given up, and the rest may still come */
	SYNC_RELEASE, /* the last one is closed; errors are only reported */
};

/* What the layout is asked for: see access_check(). */
enum change {
	CHANGE_ANY,    /* a row by its key, lines that are appended, a plain file, a directory */
	CHANGE_ANEW,   /* what the file holds is emptied, cut or replaced as a whole */
	CHANGE_REMOVE, /* the file is removed */
};

/* What a removal of a file runs. */
enum removal_by {
	REMOVAL_NONE, /* no statement: the kind sees to it */
	REMOVAL_ROWS, /* the place's `remove` */
	REMOVAL_VALUE /* the place's `clear` */
};

enum { LOCKED_OTHER_KPAGES = 1 };

/* What a handle keeps for its kind: SIZE bytes, which begin as zeros. A room knows its handles by
 * the address of this. */
struct state_type {
	size_t size;
};

/* One name of a kind's own. */
struct own_name {
	const struct kind *kind;
};

/* The kernel reads a file by itself, and asks rowfs for nothing. */
struct passing {
	int backing; /* the kernel's number for the file that it reads */
	bool direct; /* all the same it asks for what it reads, and tells what it writes */
};

typedef bool (*name_each_fn)(const char *name, void *arg);

/* One file of a page of names. `name` is borrowed from the page. */
struct listed {
	const char *name;
	uint64_t ino, size;
	int64_t mtime_ns;
	mode_t mode;
};

struct kind {
	const char *name;
	bool writable;
	/* each writer has bytes of its own until they are committed, and sees their size */
	bool own_size;
	const struct state_type *state; /* of its handles; NULL: they have none */
	/* The file is being opened; after a creation HANDLE->created is set. */
	int (*open)(struct call *call, struct handle *h);
	/* Appends to OUT what stands at OFFSET, at most SIZE bytes; less only at the end. */
	int (*read)(struct call *call, struct handle *h, size_t size, uint64_t offset,
		    struct buf *out);
	/* Before H's program writes, with no lock held. Returns 0 or -errno. NULL: nothing is to
	 * be done. */
	int (*before_write)(struct call *call, struct handle *h);
	int (*write)(struct call *call, struct handle *h, const char *data, size_t size,
		     uint64_t offset);
	/* Before a truncation of NODE through H, or by path (H is NULL), with no lock held. Returns
	 * 1 if it is no change: then there is none. NULL: nothing is to be done. */
	int (*before_truncate)(struct call *call, struct node *node, struct handle *h,
			       uint64_t size);
	int (*truncate)(struct call *call, struct handle *h, uint64_t size);
	int (*sync)(struct call *call, struct handle *h, enum sync_reason reason);
	/* H was flushed or synced, and no lock is held. NULL: nothing follows. */
	void (*synced)(struct fs *fs, struct handle *h);
	/* H was opened: 1 if the kernel is to read the file as OUT says, 0, or -errno. With no lock
	 * held. NULL: 0. */
	int (*pass)(struct call *call, struct handle *h, struct passing *out);
	/* H's program has got a lock on the file (flock, fcntl), and is to read what the file
	 * says now. With no lock held. Returns 0, -errno, or LOCKED_OTHER_KPAGES: the kernel must
	 * forget what it has of H's node before the program goes on. NULL: it does so anyway. */
	int (*locked)(struct call *call, struct handle *h);
	/* It is about to give one up, and who gets it next is to read what was written: commits
	 * what is whole. NULL: everybody reads it anyway. */
	int (*unlocking)(struct call *call, struct handle *h);
	/* Compares what the file says with the rows that came from it. NULL: ENOTTY. */
	int (*count)(struct call *call, struct handle *h, struct rowfs_rows *out);
	/* Frees what H's state holds, but not the state. Nobody else knows H any more, and H->node
	 * may be gone. NULL: it holds nothing. */
	void (*close)(struct fs *fs, struct handle *h);
	/* How many bytes of memory H's state holds; it may give back some before. NULL: none. */
	uint64_t (*held)(struct handle *h);
	/* The whole of what H, which reads through the kernel's pages, reads: with a reference, or
	 * NULL. With no lock held. NULL: the kernel is to ask for its pages. */
	struct body *(*body)(struct handle *h);
	/* What the disk has of H's file now. Called without H's lock, also while it is opened.
	 * False: nothing, or it is not known yet. NULL: never. */
	bool (*fstat)(const struct handle *h, struct stat *st);
	/* The bytes that H's program has written and that are not committed; NULL: none. Valid
	 * while H's lock is held. The function NULL: there never are. */
	const struct buf *(*unsent)(const struct handle *h);

	/* -- names: what a kind has none of is as for files that show rows -- */

	/* A file of bytes: its names are no keys of rows, and what it holds is no row. */
	bool bytes;
	/* Its names are those of the plain store, and of no place. */
	bool stored;
	/* Its st_size is looked up again while the kernel has it, and its node stays when what
	 * stands behind it changes. */
	bool followed;
	/* This mount may know more of a file than a page of a listing says. */
	bool ahead;
	/* Fills FOUND for the file NAME at PLACE; its keys are given. -ENOENT: there is none. */
	int (*find)(struct call *call, const struct place *place, const char *name,
		    struct found *found);
	/* Asks again about NODE: with FORCE in any case, else if it was looked up too long ago.
	 * GLANCE: a size that is hard to work out is not asked for. NULL: there is nothing to
	 * ask. */
	int (*refresh)(struct call *call, struct node *node, bool force, bool glance);
	/* A page of at most LIMIT names at PLACE and its like in one directory, behind the name
	 * AFTER (NULL: the first), in *PAGE, which is to be cleared; and row ROW of it. NULL: they
	 * are listed as keys of rows. */
	int (*page)(struct call *call, const struct place *place, const char *after, int limit,
		    PGresult **page);
	void (*listed)(struct fs *fs, const PGresult *page, int row, struct listed *out);

	/* Names that the kind adds to a directory of the layout, and directories of its own: nodes
	 * of NODE_CONTROL. Each begins with a struct own_name. True if NAME in DIR is one. NULL: it
	 * has none, nor the next five. */
	bool (*owns)(const struct node *dir, const char *name);
	/* As lookup_child(). */
	int (*look_up)(struct call *call, struct node *dir, const char *name, bool lookup,
		       struct node **out);
	/* Calls EACH with ARG for each such name in DIR, until it returns false. */
	void (*names)(struct call *call, const struct node *dir, name_each_fn each, void *arg);
	/* True if the process that has sent REQ may list DIR, one of its own. */
	bool (*may_list)(const struct fs *fs, fuse_req_t req, const struct node *dir);
	/* True if a request for DIR, one of its own, or for NAME in it (or in any other), if it is
	 * not NULL, never waits. NULL: it may. */
	bool (*quick)(const struct node *dir, const char *name);
	/* Removes NAME in DIR, one of its own. */
	int (*unlink)(struct call *call, const struct node *dir, const char *name);

	/* -- what the layout allows, and what goes with a file -- */

	bool row;      /* it is a row, which goes with it */
	bool document; /* its text is rows as a whole: editors save it, and keep a backup beside */
	bool lines;    /* it shows many rows: what changes them at once is asked for */
	bool appended; /* lines can be appended where it must not be written anew */
	bool name_stays; /* when it was removed, its name is still there, and shows nothing */
	/* To open it to write; to empty it, or cut it, by itself; to rename another file onto it,
	 * if it is there and if it is not. */
	enum change to_write, to_cut, to_replace, to_place;
	enum removal_by removal;
	/* True if CHANGE, which is not CHANGE_ANY, changes many rows at PLACE. NULL: as `lines`. */
	bool (*many)(const struct place *place, enum change change);

	/* -- changes of names -- */

	/* Whether the file W can be made, in a directory that is PENDING or not. NULL: it can. */
	int (*may_create)(struct call *call, const struct where *w, bool pending);
	/* Makes the file NAME at PLACE. NULL: it is marked in the plain store until it has rows. */
	int (*create)(struct call *call, const struct place *place, const char *name, mode_t mode);
	/* chmod and utimens. NULL: without effect. */
	int (*set_attr)(struct call *call, struct node *node, const struct stat *attr, int to_set);
	/* The file NODE gets another name: NAME at PLACE, of the same kind; or TO, a plain file's
	 * path, where PLACE is NULL. NULL: as files that show rows are renamed. */
	int (*rename)(struct call *call, const struct node *node, const struct place *place,
		      const char *name, const char *to);
	/* The file NODE is renamed to a NAME beside it that nothing has: a plain file's, with the
	 * path TO. If that says that it is rotated (LOG.1 of LOG), what it shows moves there.
	 * Returns 0, -errno, or 1: the name says something else. NULL: 1. */
	int (*rotate)(struct call *call, struct node *node, const char *name, const char *to);
	/* The plain file FROM becomes the file TO at PLACE, and FROM stays. NULL: what it holds is
	 * stored, see below. */
	int (*adopt)(struct call *call, const char *from, const struct place *place,
		     const char *to);
	/* NODE's file is going to be renamed onto another one, which takes its content: what is
	 * open on it is given (see handle.h). False if something of it cannot be committed as it
	 * is; then nothing is given. give_not: it was not renamed after all. NULL: open files are
	 * given when the rename is over. */
	bool (*give)(struct call *call, const struct node *node);
	void (*give_not)(struct call *call, const struct node *node);
	/* Removes what stands behind W. */
	int (*remove)(struct call *call, const struct where *w);
	/* Replaces the whole content, as by a rename onto the name. FROM is another file of W's
	 * place, whose rows go in the same transaction, since the content is theirs; or NULL. */
	int (*store)(struct call *call, const struct where *w, const struct where *from,
		     const char *data, size_t len);
};

/* Which kinds there are: the registry, fs/kernel/kinds.c, for code that stands below it. */
struct kinds {
	/* The kind of the files at PLACE, or of directories; and of NODE. */
	const struct kind *(*of_place)(const struct place *place);
	const struct kind *(*of_node)(const struct node *node);
	const struct kind *const *naming; /* those with names of their own; NULL at the end */
};
