/* How far an import is, on standard error: a line that is drawn again on a terminal, otherwise a
 * line every few seconds. */
#pragma once

#include "import/state.h"

/* Starts a thread that tells WHAT ("copied", "compared"). Returns NULL if the user wants none, or
 * without memory. */
struct progress *progress_begin(struct import *im, const char *what);
/* Tells the last state and ends the thread. PROGRESS may be NULL. */
void progress_end(struct progress *progress);
