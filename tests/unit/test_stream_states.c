/* The states of the stream engine: what is declared passes, what is not is no move. */
#include "fs/stream/batch.h"
#include "tests/unit/table.h"

int main(void) {
	check_table(&batch_states);
	return check_end();
}
