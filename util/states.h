/* Tables of states: which event moves a thing from which state to which.
 *
 *	enum door_state { DOOR_OPEN, DOOR_SHUT, DOOR_STATES };
 *	enum door_event { DOOR_PUSH, DOOR_PULL, DOOR_EVENTS };
 *	static const char *const states[DOOR_STATES] = { "open", "shut" };
 *	static const char *const events[DOOR_EVENTS] = { "push", "pull" };
 *	static const state_next moves[DOOR_STATES][DOOR_EVENTS] = {
 *		[DOOR_OPEN][DOOR_PUSH] = STATE_TO(DOOR_SHUT),
 *		[DOOR_SHUT][DOOR_PULL] = STATE_TO(DOOR_OPEN),
 *	};
 *	struct state_table door_table = STATE_TABLE("door", states, events, moves);
 *
 *	door->state = state_move(&door_table, door->state, DOOR_PUSH);
 *
 * The table stands at the top of the file that moves. An event that a state does not declare is a
 * mistake in the program. A debug build (ROWFS_DEBUG: every build with a sanitizer or without
 * optimization) aborts. A release build logs it, because a crash would block every user of the
 * mount, and the state stays as it is. STATE_TABLE_SAFE() names a state to go to instead: the one
 * in which the thing is given up.
 *
 * A debug build also tells which moves are ever made: if the environment variable ROWFS_STATES
 * names a file, each table appends "declared TABLE STATE EVENT NEXT" for all its moves when it is
 * first used, and "passed TABLE STATE EVENT NEXT" when a move is made for the first time in this
 * process. Names are of one word each.
 */
#pragma once

#include "util/cleanup.h"

#include <stdatomic.h>
#include <stdbool.h>

/* One cell of a table: 0, not declared; else the next state and one. */
typedef unsigned char state_next;

#define STATE_TO(state) ((state_next)((state) + 1))

struct state_table {
	const char *name;
	const char *const *states; /* names, by number */
	const char *const *events;
	int nstates, nevents;
	const state_next *moves; /* nstates rows of nevents cells */
	state_next safe;       /* where an undeclared event leads in a release build; 0: nowhere */
	atomic_uchar *passed;  /* of a debug build: which cells have been used; else NULL */
	atomic_bool announced; /* the declared moves stand in the file of ROWFS_STATES */
};

#ifdef ROWFS_DEBUG
#define STATE_PASSED_(moves) ((atomic_uchar[sizeof(moves)]){ 0 })
#else
#define STATE_PASSED_(moves) NULL
#endif

/* STATES and EVENTS are arrays of names, MOVES an array [states][events] of state_next. */
#define STATE_TABLE_SAFE(title, state_names, event_names, cells, safe_state)                       \
	{                                                                                          \
		.name = (title), .states = (state_names), .events = (event_names),                 \
		.nstates = (int)(sizeof(cells) / sizeof((cells)[0])),                              \
		.nevents = (int)(sizeof((cells)[0])), .moves = (cells)[0], .safe = (safe_state),   \
		.passed = STATE_PASSED_(cells)                                                     \
	}
#define STATE_TABLE(title, state_names, event_names, cells)                                        \
	STATE_TABLE_SAFE(title, state_names, event_names, cells, 0)

/* The state that EVENT leads to from state FROM, in constant time. An undeclared event is answered
 * as is said above. Thread-safe; the state itself is guarded by whoever keeps it. */
MUST_USE int state_move(struct state_table *table, int from, int event);

/* True if state FROM declares EVENT. */
bool state_may(const struct state_table *table, int from, int event);
