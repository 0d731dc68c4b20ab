/* The tables of states of db/. */
#include "db/conn.h"
#include "db/held_state.h"
#include "tests/unit/table.h"

int main(void) {
	check_table(&conn_table);
	check_table(&held_table);
	return check_end();
}
