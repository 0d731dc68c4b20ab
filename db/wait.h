/* Waiting for a libpq socket, a cancel and a shutdown at once. Internal to db/. */
#pragma once

#include "util/cleanup.h"

#include <poll.h>
#include <stdint.h>

enum wait_end { WAIT_READY, WAIT_TIMEOUT, WAIT_CANCEL, WAIT_STOP };

/* Waits until SOCK is ready for EVENTS (POLLIN, POLLOUT), WAKE_FD or STOP_FD (either may be -1) is
 * readable, or the monotonic clock reaches DEADLINE_US. *REVENTS is what the socket is ready for.
 * A readable WAKE_FD is emptied. */
MUST_USE enum wait_end wait_for(int sock, short events, int wake_fd, int stop_fd,
				int64_t deadline_us, short *revents);
