/* Runs a program that is told by libpq's variables which database is meant. */
#pragma once

#include "util/buf.h"

struct program {
	const char *conninfo; /* may hold a password: it goes through libpq's variables */
	const char *schema;   /* where unqualified objects go; NULL: as the role has it */
	const char *role;     /* to be: the owner of the schema rowfs; NULL: as it logs in */
	const char *root;     /* of the projects */
	bool verbose;         /* what it says goes to stderr as it comes */
};

/* Runs ARGV (ends with NULL) in the directory NAME below the root, with INPUT on stdin (NULL: what
 * this process has). Appends all that it says to OUT. Returns its exit status (128 + N after a
 * signal N), or -errno; 127 if it is not installed. To be called while there is one thread. */
MUST_USE int program_run(const struct program *p, const char *name, const char *const *argv,
			 const struct buf *input, struct buf *out);
