#include "util/log.h"

#include "util/buf.h"

#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <time.h>

/* syslog.h has macros LOG_DEBUG and so on; ours are LOG_LEVEL_*, so the two do not meet. */

enum { LONGEST_LINE = 8192 }; /* bytes of one message; more is cut */

static _Atomic(int) most_logged = LOG_LEVEL_INFO;
static _Atomic(bool) syslog_wanted = false;

static const char *const level_names[] = { "error", "warning", "info", "debug" };

void log_setup(enum log_level most, bool to_syslog) {
	if (to_syslog)
		openlog("rowfs", LOG_PID, LOG_DAEMON);
	most_logged = (int)most;
	syslog_wanted = to_syslog;
}

bool log_level_parse(const char *name, enum log_level *out) {
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcasecmp(name, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool log_wants(enum log_level level) {
	return (int)level <= most_logged;
}

/* Control bytes become spaces: a message is one line, and cannot move a terminal's cursor. */
static void make_one_line(char *s) {
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
}

static void write_to_syslog(enum log_level level, const char *line) {
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	syslog(priorities[level], "%s", line);
}

static void write_to_stderr(enum log_level level, const char *line) {
	struct timespec now;
	struct tm tm;
	char when[32] = "";
	clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &tm) != NULL)
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	/* One call a line: stderr is locked for its length, so that lines do not mix. */
	fprintf(stderr, "%s.%03ldZ rowfs %s [%ld] %s\n", when, now.tv_nsec / 1000000,
		level_names[level], (long)syscall(SYS_gettid), line);
}

void log_message(enum log_level level, const char *fmt, ...) {
	char line[LONGEST_LINE];
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	make_one_line(line);
	if (syslog_wanted)
		write_to_syslog(level, line);
	else
		write_to_stderr(level, line);
}
