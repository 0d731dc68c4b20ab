/* What rows files said: a rows file that was read from its start to its end is kept as it was read,
 * a transcript, small ones in memory and others in files without a name below state_dir. While no
 * notice has come that concerns it, who opens the file reads the transcript: no query is needed;
 * and where the kernel can (FUSE_PASSTHROUGH, Linux 6.9, and the right to ask for it) it reads the
 * transcript's file by itself, as fast as any file.
 *
 * A transcript is never changed but at its end: who has it open when the rows change goes on
 * reading what the file said, and then the lines that have come behind its last one. Those are
 * appended when they are asked for (transcript_read()), and, for readers whom only the kernel
 * serves, by a thread.
 *
 * Thread-safe; but one that is being made belongs to its maker. */
#pragma once

#include "fs/core/kind.h"
#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "util/mutex.h"

struct rows_reader;

/* SESSION is the file descriptor on which the kernel is asked to read by itself: before the first
 * request. -1: it is about to be closed, after the last request; nothing is appended for the kernel
 * from here on. */
void transcripts_serve(struct transcripts *all, int session);

/* Begins the transcript of NODE, the file W, with a reference for its maker; NULL if it is not to
 * be kept, or too long. ALWAYS: it is to be kept also where no notice would tell that it is old.
 * Before the first query that reads it. */
struct transcript *transcript_begin(struct fs *fs, struct node *node, const struct where *w,
				    bool always);
/* Adds LEN bytes that stand at OFFSET. Returns false if they do not follow what is there, or find
 * no room: then release it. */
MUST_USE bool transcript_add(struct transcript *t, uint64_t offset, const char *data, size_t len);
/* All of the file was added; END reads on behind it, and is taken over (NULL: out of memory). From
 * now on others find it, if the file has not changed meanwhile. The maker's reference stays. False:
 * it must not be read. */
bool transcript_finish(struct transcript *t, struct rows_reader *end);

/* The lock for the reader given to transcript_finish(). */
struct mutex *transcript_lock(struct transcript *t);

/* The transcript of NODE, as it is now, with a reference; or NULL. No query. */
struct transcript *transcript_find(struct fs *fs, struct node *node);
void transcript_release(struct transcript *t);

/* Appends to OUT up to SIZE bytes from OFFSET on; fewer only at the end, after a look at what may
 * have come behind it. Returns 0 or -errno. */
MUST_USE int transcript_read(struct call *call, struct transcript *t, size_t size, uint64_t offset,
			     struct buf *out);

/* For a handle that opens NODE (counted there already) and would read T, which may be NULL. A file
 * that the kernel reads by itself for one handle has all its handles opened with the same
 * transcript; and as long as one is open without, none begins. Returns that transcript, counted
 * until transcript_pass_end(), and in OUT how the kernel opens it; NULL: as any other file. */
struct transcript *transcript_pass(struct fs *fs, struct node *node, struct transcript *t,
				   struct passing *out);
void transcript_pass_end(struct transcript *t);

/* All maps of NODE share its pages in the kernel, so all show one transcript. Returns it, or if
 * there is none OFFER (NULL: none), which it is from now on; counted until transcript_map_end(). */
struct transcript *transcript_map(struct fs *fs, const struct node *node, struct transcript *offer);
void transcript_map_end(struct transcript *t);
/* True if maps of NODE show what the file may not say any more. */
bool transcript_map_is_old(struct fs *fs, const struct node *node);

/* At each flush and fsync of NODE, a rows file: what it may have committed is seen by readers whom
 * the kernel serves before the writer goes on. No query if there is no such reader, or nothing has
 * changed. */
void transcripts_follow(struct fs *fs, const struct node *node);
