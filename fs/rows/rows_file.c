#include "fs/rows/rows_file.h"

const struct state_type rows_state_type = { sizeof(struct rows_file) };
