/* The states of a transaction that stays open. Its table of moves stands at the top of held.c.
 * Internal to db/. */
#pragma once

#include "util/states.h"

enum held_state {
	HELD_NONE,    /* none is open; the next statement begins it */
	HELD_OPEN,    /* it is open; its statements wait for locks as any statement does */
	HELD_LIMITED, /* it is open; its statements wait for locks for HELD_LOCK_MS only */
	HELD_BROKEN,  /* it can only be dropped */
	HELD_STATES
};

enum held_event {
	HELD_ON_RAN, /* a statement, which waited as any does */
	HELD_ON_RAN_LIMITED,
	HELD_ON_UNDONE,     /* the last statements, back to a savepoint */
	HELD_ON_UNDONE_ALL, /* all statements */
	HELD_ON_BREAK,
	HELD_EVENTS
};

extern struct state_table held_table;
