/* The tables of states of db/. */
#include "db/conn.h"
#include "tests/unit/table.h"

int main(void) {
	check_table(&conn_table);
	return check_end();
}
