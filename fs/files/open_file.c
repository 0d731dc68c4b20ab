#include "fs/files/open_file.h"

const struct state_type open_file_type = { sizeof(struct open_file) };
