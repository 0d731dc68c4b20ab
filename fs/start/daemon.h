/* Going to the background, so that the command returns when the mount answers, with the real
 * outcome. */
#pragma once

#include "util/cleanup.h"

#include <stdbool.h>

/* Forks. In the child, which is to become the daemon, returns -1 and goes on. In the parent, waits
 * for daemon_ready() or for the child's end, and returns the exit status to give. To be called
 * before there are threads or connections. */
MUST_USE int daemon_begin(void);

/* The child tells how it went: 0, the mount is served, and its standard streams are closed; or an
 * exit status. Does nothing where daemon_begin() was not called. */
void daemon_ready(int status);
