#include "db/wait.h"

#include "util/clock.h"

#include <errno.h>

static int poll_timeout_ms(int64_t deadline_us) {
	if (deadline_us == NEVER_US)
		return -1;
	int64_t left = deadline_us - clock_us();
	if (left <= 0)
		return 0;
	/* Rounded up: waking a moment early would turn the last millisecond into a busy loop. */
	int64_t ms = (left + US_PER_MS - 1) / US_PER_MS;
	return ms > 3600000 ? 3600000 : (int)ms;
}

enum wait_end wait_for(int sock, short events, int wake_fd, int stop_fd, int64_t deadline_us,
		       short *revents) {
	struct pollfd fds[] = {
		{ .fd = sock, .events = events },
		{ .fd = wake_fd, .events = POLLIN },
		{ .fd = stop_fd, .events = POLLIN },
	};

	*revents = 0;
	for (;;) {
		int n = poll(fds, 3, poll_timeout_ms(deadline_us));
		if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOMEM)
			return WAIT_TIMEOUT;
		if (n > 0 && fds[0].revents != 0) {
			*revents = fds[0].revents;
			return WAIT_READY;
		}
		if (n > 0 && fds[1].revents != 0) {
			uint64_t count;
			if (read(wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
				return WAIT_TIMEOUT;
			return WAIT_CANCEL;
		}
		if (n > 0)
			return WAIT_STOP;
		if (deadline_us != NEVER_US && clock_us() >= deadline_us)
			return WAIT_TIMEOUT;
	}
}
