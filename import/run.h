/* The work itself: files in their order, several at once, and again those that came too early. */
#pragma once

#include "import/state.h"

/* Copies what is waiting. Afterwards each item has its state. */
void run_copies(struct import *im);
/* Makes the empty directories. Returns how many could not be made; each is told on standard
 * error. */
uint64_t run_directories(struct import *im);
/* Compares all files that are not left out. Returns how many differ. */
uint64_t run_verify(struct import *im);
