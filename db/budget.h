/* One retry budget for one system call, however many statements it sends. The budget is what the
 * pauses between retry_attempts tries come to, and a fifth more; it runs from the time when the
 * database stopped to answer, or when the call began, if that was later. When it is used up, one
 * short attempt is still made.
 *
 * What a thread does between enter and leave is one call. db/ asks when it began; a thread that
 * never enters has a budget for each function of db/ that it calls. */
#pragma once

#include <stdint.h>

/* Begins a call, or goes on with the one that this thread is in. Returns what leave wants. */
int64_t db_budget_enter(void);
void db_budget_leave(int64_t outer);

/* clock_us() when this thread's call began; now, if it is in none. */
int64_t budget_began_us(void);
