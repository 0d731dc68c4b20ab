/* The tables of states of db/. */
#include "db/checkout.h"
#include "db/held_state.h"
#include "tests/unit/table.h"

int main(void) {
	check_table(&conn_table);
	check_table(&held_table);
	check_table(&reach_table);
	return check_end();
}
