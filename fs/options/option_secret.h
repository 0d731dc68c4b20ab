/* Passwords in the environment. A process's own variables can be read by its user's other
 * programs and are handed to its children, so what rowfs has taken from there is overwritten.
 * Private to fs/options/; for a process without threads. */
#pragma once

#include "util/cleanup.h"

/* The password that libpq would take from PGPASSWORD for a connection string that has none: not
 * if the service has one. SERVICE is the one that the string names, or NULL. NULL if there is
 * none; freed with secret_free(). */
MUST_USE char *secret_of_libpq(const char *service);

/* Overwrites the variable NAME where /proc/PID/environ shows it, and removes it. */
void secret_forget(const char *name);
/* The same for those that hold a secret by their nature: of libpq, and of the table of options. */
void secret_forget_all(void);
