#include "db/budget.h"

#include "util/clock.h"

static _Thread_local int64_t began_us; /* 0: no call */

int64_t db_budget_enter(void) {
	int64_t outer = began_us;
	if (outer == 0)
		began_us = clock_us();
	return outer;
}

void db_budget_leave(int64_t outer) {
	began_us = outer;
}

int64_t budget_began_us(void) {
	return began_us != 0 ? began_us : clock_us();
}
