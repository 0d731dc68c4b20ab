/* What is being removed by a process, and how it is committed or taken back. */
#include "fs/cache/coherence.h"
#include "fs/inodes/access.h"
#include "fs/core/intake.h"
#include "fs/core/pace.h"
#include "fs/core/kind.h"
#include "fs/names/removal.h"
#include "fs/names/removal_state.h"
#include "fs/core/report.h"
#include "fs/names/intent.h"
#include "util/clock.h"
#include "util/list.h"
#include "util/log.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	AGAIN_US = 5000,      /* a process that waits for us is looked at again after this */
	LOOK_AGAIN_US = 2000, /* one that may be waiting for a processor, after this */
};

/* -- names ------------------------------------------------------------------------------------- */

static const struct relation *row_of(const struct fs *fs, const struct place *place) {
	return fs->kinds->of_place(place)->row ? place->scope.tables[place->target].rel : NULL;
}

static struct db_statement *statement_of(const struct fs *fs, const struct place *place) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&place->sql;
	return fs->kinds->of_place(place)->removal == REMOVAL_VALUE ? &sql->clear : &sql->remove;
}

/* NODE was removed by thread TID, and that is committed. */
void removal_is_over(struct fs *fs, struct node *node, pid_t tid) {
	const struct place *place = node->place;
	if (row_of(fs, place) != NULL)
		node_set_gone_above(fs->nodes, node, row_of(fs, place));
	/* a column that shows NULL, and the lines of a row that stays, keep their name: see
	 * intent.h */
	if (fs->kinds->of_place(place)->name_stays)
		intent_note_removed(fs->intents, tid, node->ino);
}

/* Takes the N names from FROM on out. */
static void drop_names(struct removal *r, int from, int n) {
	for (int i = from; i < from + n; i++) {
		node_put(r->all->fs->nodes, r->names[i].node);
		where_free(&r->names[i].w);
	}
	LOCK_SCOPE(&fs_lists);
	memmove(&r->names[from], &r->names[from + n],
		(size_t)(r->n - from - n) * sizeof(*r->names));
	r->n -= n;
}

/* The index of the name with INO, or -1. Under either lock. */
int removal_index(const struct removal *r, uint64_t ino) {
	int i = r->n - 1;
	while (i >= 0 && r->names[i].ino != ino)
		i--;
	return i;
}

/* -- statements -------------------------------------------------------------------------------- */

static void tell(struct fs *fs, const struct removed *name, int rc, struct db_error *err) {
	AUTO_BUF struct buf text = { 0 };
	buf_printf(
		&text,
		"the file was removed, but its removal was not committed, and what it shows is still there "
		"(remove it again): %s",
		err->sentence != NULL ? err->sentence : strerror(-rc));
	atomic_fetch_add(&fs->count.errors, 1);
	report_error(fs->report, name->w.path, -rc, err->sqlstate,
		     text.failed ? "out of memory" : text.data);
	db_error_clear(err);
}

/* Runs the DELETE of each of the first N names alone, committed at once. Returns 0 or the first
 * -errno. */
static int run_alone(const struct removal *r, int n) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_param params[WHERE_PARAMS];
	unsigned flags = DB_REPEATABLE;
	int first = 0;
	for (int i = 0; i < n; i++) {
		const struct removed *name = &r->names[i];
		int k = where_params(&name->w, params);
		int rc = name->statement > 0 ? db_query(r->all->fs->pool, name->st, params, k,
							flags, NULL, NULL, &err)
					     : 0;
		coherence_own(r->all->fs, &err);
		if (rc == 0)
			continue;
		if (err.retryable || rc == -EIO)
			flags |= DB_NO_RETRY; /* the database is away: once is enough for all */
		first = first != 0 ? first : rc;
		tell(r->all->fs, name, rc, &err);
	}
	return first;
}

/* The first N names are removed for good. */
static void finish(struct removal *r, int n) {
	fs_changed(r->all->fs);
	for (int i = 0; i < n; i++)
		removal_is_over(r->all->fs, r->names[i].node, r->names[i].tid);
	drop_names(r, 0, n);
}

/* The transaction is lost: all names are removed without it. */
static int without_transaction(struct removal *r) {
	db_held_drop(move_ptr(r->tx));
	int rc = run_alone(r, r->n);
	finish(r, r->n);
	return rc;
}

/* Undoes statement number STATEMENT, whose name is not in R any more, and others: see restore(). */
static void undo_statement(struct removal *r, int statement) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (!r->slot || statement == 0) /* that was done at once */
		return;
	if (db_held_back(r->tx, statement, &err) != 0)
		(void)without_transaction(r);
}

int64_t removal_waited_us(const struct removal *r) {
	return pace_waited_us(r->tgid) - r->waited_us;
}

/* Makes room for another name. Returns false if out of memory. */
static bool make_room(struct removal *r) {
	LOCK_SCOPE(&fs_lists);
	return list_room(r->names, r->n);
}

static int run_in(struct removal *r, struct db_statement *st, const struct db_param *params, int n,
		  unsigned flags, PGresult **out, struct db_error *err) {
	int rc = r->tx == NULL
			 ? db_held_begin(r->all->fs->pool, st, params, n, flags, out, &r->tx, err)
			 : db_held_run(r->tx, st, params, n, flags, out, err);
	coherence_own_early(r->all->fs, err);
	if (rc == 0 && r->careful)
		db_held_be_careful(r->tx);
	return rc;
}

static bool may_be_removed(struct fs *fs, const struct place *place) {
	AUTO_CALL struct call call = CALL_OF(fs);
	return access_check(&call, place, CHANGE_REMOVE) == 0;
}

/* The first name whose statement does not stand; names from K on have none that does. */
static int first_undone(const struct removal *r, int k) {
	int i = 0, last = r->tx != NULL ? db_held_last(r->tx) : 0;
	while (i < k && r->names[i].statement <= last)
		i++;
	return i;
}

static bool is_about_a_lock(const struct db_error *err) {
	return strcmp(err->sqlstate, "55P03") == 0;
}

/* Runs the statement of name K again, which was undone; with PATIENT even if it has to wait for
 * a lock. */
static int run_name(struct removal *r, int k, bool patient, struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	struct removed *name = &r->names[k];
	if (r->tx != NULL)
		db_held_be_patient(r->tx, patient);
	int rc = run_in(r, name->st, params, where_params(&name->w, params), DB_REPEATABLE, NULL,
			err);
	if (r->tx != NULL)
		db_held_be_patient(r->tx, false);
	if (rc == 0)
		name->statement = db_held_last(r->tx);
	return rc;
}

/* Runs the statements of the names from FROM up to TO, which were undone. Their unlink has
 * succeeded: that somebody holds a lock for some time is no reason to refuse it now. Returns how
 * many of the first TO names are left. */
static int run_again(struct removal *r, int from, int to) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	bool patient = false;
	for (int i = from; i < to;) {
		const struct removed *name = &r->names[i];
		/* below a document all goes, also what cannot go by itself */
		if (name->st->sql == NULL || !may_be_removed(r->all->fs, name->w.place)) {
			drop_names(r, i, 1);
			to--;
			continue;
		}
		int rc = run_name(r, i, patient, &err);
		if (rc == 0) {
			i++;
		} else if (r->tx != NULL && db_held_is_broken(r->tx)) {
			(void)without_transaction(r);
			return 0;
		} else if (!patient && is_about_a_lock(&err)) {
			patient = true;
			i = first_undone(r, i);
		} else {
			tell(r->all->fs, name, rc, &err);
			drop_names(r, i, 1);
			to--;
			r->careful = true;
			i = first_undone(r, i);
		}
	}
	return to;
}

/* Statements were undone: those of the names from K on, and perhaps others. They are run again. */
static void restore(struct removal *r, int k) {
	if (r->slot) /* else it stands only until the server has said that it would work */
		(void)run_again(r, first_undone(r, k), r->n);
}

void removal_withdraw(struct removal *r, int statement) {
	undo_statement(r, statement);
	restore(r, r->n);
}

void removals_wake(struct removals *all) {
	if (eventfd_write(all->wake_fd, 1) < 0)
		log_error("BUG: eventfd: %s", strerror(errno));
}

bool removal_add(struct removal *r, struct node *node, const struct where *w, struct call *call,
		 int statement) {
	struct nodes *nodes = r->all->fs->nodes;
	struct removed name = { .ino = node->ino,
				.st = statement_of(r->all->fs, node->place),
				.node = node,
				.tid = call_thread(call),
				.statement = statement,
				.since_us = clock_us(),
				.call = call_number(call),
				.epoch = r->began };
	if (!make_room(r) || !where_copy(&name.w, w)) {
		where_free(&name.w);
		removal_withdraw(r, statement);
		return false;
	}
	if (row_of(r->all->fs, node->place) != NULL)
		name.ngone = node_row_dirs(nodes, node, row_of(r->all->fs, node->place), name.gone,
					   GONE_MOST);
	node_hold(nodes, node);
	LOCK_SCOPE(&fs_lists);
	r->names[r->n++] = name;
	if (r->n > 1)
		return true;
	r->lost_us = 0;
	r->looked_us = 0;
	r->waited_us = pace_waited_us(r->tgid);
	removals_wake(r->all);
	return true;
}

/* Takes out of the transaction all but the first N names. Returns how many of them there are to
 * commit. */
static int undo_others(struct removal *r, int n) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (n == r->n)
		return n;
	if (db_held_back(r->tx, r->names[n].statement, &err) == 0)
		return run_again(r, first_undone(r, n), n);
	(void)without_transaction(r);
	return 0;
}

/* Commits the first N names. The others stay, in a transaction that begins now. */
static int commit(struct removal *r, int n) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	int rc = 0;
	for (int i = r->n - 1; n < r->n && i >= 0;
	     i--) /* these go with what is committed, or are found again */
		if (r->names[i].statement == 0) {
			drop_names(r, i, 1);
			n -= i < n;
		}
	if (r->tx == NULL && r->slot)
		drop_names(r, 0, n = r->n);
	if (n == 0)
		return 0;
	if (!r->slot) {
		rc = run_alone(r, n);
		finish(r, n);
		return rc;
	}
	n = undo_others(r, n);
	int failed = n > 0 ? db_held_commit(move_ptr(r->tx), &err) : 0;
	coherence_own(r->all->fs, &err);
	if (failed != 0) {
		log_debug("a removal could not be committed: %s", db_error_text(&err));
		rc = run_alone(r, n);
	}
	finish(r, n);
	(void)run_again(r, 0, r->n);
	return rc;
}

void removal_undo(struct removal *r, int k) {
	int statement = r->names[k].statement;
	drop_names(r, k, 1);
	undo_statement(r, statement);
	if (statement > 0)
		restore(r, k);
}

int64_t removal_due_us(const struct removal *r) {
	return r->names[0].since_us + REMOVAL_US + r->lost_us;
}

int removal_due(const struct removal *r) {
	int64_t now = clock_us();
	int n = r->n, young = n > REMOVAL_YOUNG + 1 && r->next_tid == 1 ? 1 : REMOVAL_YOUNG;
	if (n == 0 || (removal_due_us(r) > now && n < REMOVAL_NAMES))
		return 0;
	while (n > 1 && r->n - n < young &&
	       r->names[n - 1].since_us + REMOVAL_US + r->lost_us > now)
		n--;
	return n;
}

/* The time of the names begins. */
static void begin_time(struct removal *r) {
	int64_t waited = pace_waited_us(r->tgid);
	LOCK_SCOPE(&fs_lists);
	r->waited_us = waited;
	r->lost_us = 0;
	r->looked_us = 0;
}

/* A request is on its way to us. Nobody can know of which process it is. */
static bool is_behind(struct fs *fs) {
	struct pollfd fd = { .fd = fuse_session_fd(fs->session), .events = POLLIN };
	return (poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN) != 0) || intake_any(fs->intake);
}

/* True if a thread of R's process waits for us: for the reply to the first unlink, or to a request
 * that finds or makes a file. It is looked for in the order in which a request goes its way, so
 * that none is overlooked. */
static bool waits_for_us(struct fs *fs, const struct removal *r) {
	return is_behind(fs) || calls_has(fs->calls, r->names[0].call) ||
	       calls_seek(fs->calls, r->tgid);
}

/* True if R's process, which could run, has hardly done so since it was looked at last. The
 * first look says nothing yet. */
static bool starves(struct removal *r, bool runnable, int64_t now) {
	int64_t ran = pace_ran_us(r->tgid), since = now - r->looked_us;
	bool starved = runnable && (r->looked_us == 0 || ran - r->ran_us < since / 2);
	r->ran_us = ran;
	r->looked_us = runnable ? now : 0;
	return starved;
}

/* True if the time is not over yet, since the process could not use all of it. */
static bool has_lost_time(struct removal *r) {
	int64_t lost = removal_waited_us(r), now = clock_us(), more = 0;
	int64_t ran = pace_ran_us(r->tgid);
	bool waits = waits_for_us(r->all->fs, r);
	enum pace pace = pace_of(r->tgid);
	/* if it ran between the two looks, it may have waited for us before the one and after
	 * the other */
	if (waits || pace == PACE_BLOCKED)
		more = AGAIN_US;
	else if (starves(r, pace == PACE_RUNNABLE, now) ||
		 (pace == PACE_SLEEPS && pace_ran_us(r->tgid) != ran))
		more = LOOK_AGAIN_US;
	if (more > 0 && now + more - r->names[0].since_us - REMOVAL_US > lost) /* until then */
		lost = now + more - r->names[0].since_us - REMOVAL_US;
	if (lost > REMOVAL_LOST_US)
		lost = REMOVAL_LOST_US;
	LOCK_SCOPE(&fs_lists);
	r->lost_us = lost > r->lost_us ? lost : r->lost_us;
	return removal_due_us(r) > now; /* not the time by now: we may have lost some ourselves */
}

int removal_ripe(struct removal *r) {
	mutex_lock(&fs_lists);
	int n = removal_due(r);
	mutex_unlock(&fs_lists);
	return n > 0 && r->n < REMOVAL_NAMES && has_lost_time(r) ? 0 : n;
}

/* Commits the first N names, and ends the transaction if no name is left. */
static int finish_first(struct removal *r, int n) {
	int rc = n > 0 ? commit(r, n) : 0;
	if (r->n == 0)
		db_held_drop(move_ptr(r->tx));
	else if (n > 0)
		begin_time(r);
	return rc;
}

int removal_finish(struct removal *r, bool everything) {
	return finish_first(r, everything ? r->n : removal_ripe(r));
}

int removal_finish_ripe(struct removal *r) {
	mutex_lock(&fs_lists);
	int n = removal_due(r);
	mutex_unlock(&fs_lists);
	return finish_first(r, n);
}

/* A statement in R has failed: with ERR, and WAITS if for a lock. Those of the names before it
 * go on standing, or are committed. */
static void save_others(struct removal *r, bool waits) {
	if (db_held_is_broken(r->tx)) {
		(void)without_transaction(r);
		return;
	}
	if (!waits)
		r->careful = true; /* the next ones may be refused, too */
	restore(r, r->n);
	if (waits) /* they must not wait with it */
		(void)commit(r, r->n);
}

int removal_query(struct call *call, struct db_statement *st, const struct db_param *params, int n,
		  unsigned flags, PGresult **out) {
	struct removal *r = call->removal;
	mutex_lock(&fs_lists);
	r->careful = r->careful || r->next_tid > 1; /* each may be taken back */
	mutex_unlock(&fs_lists);
	if (r->first > 0) /* a question about what has been done */
		db_held_be_careful(r->tx);
	int rc = run_in(r, st, params, n, flags, out, &call->err);
	if (rc != 0 && r->tx != NULL) {
		bool waits = is_about_a_lock(&call->err);
		bool again = waits || db_held_is_broken(r->tx);
		save_others(r, waits);
		if (again) {
			db_held_drop(move_ptr(r->tx)); /* if it had no names */
			r->first = 0;
			db_error_clear(&call->err);
			rc = run_in(r, st, params, n, flags, out, &call->err);
		}
	}
	if (rc == 0 && r->first == 0)
		r->first = db_held_last(r->tx);
	return rc;
}
