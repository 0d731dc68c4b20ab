#include "fs/stream/sent.h"

#include <errno.h>
#include <string.h>

static bool begins_with_one(const char *sqlstate, const char *const *states) {
	for (; *states != NULL; states++)
		if (strncmp(sqlstate, *states, strlen(*states)) == 0)
			return true;
	return false;
}

/* No line's: connections; transactions; resources; locks and time-outs; operators; the system
 * below; a server's configuration. */
static const char *const not_the_lines[] = { "08",    "25", "40", "53", "55P",
					     "55006", "57", "58", "F0", NULL };

static const char *const common[] = { "0A", "28", "2B", "3D", "3F", "42", "55", "XX", NULL };

enum sent sent_of(int rc, const struct db_error *err) {
	if (rc == 0)
		return SENT;
	if (err->in_doubt)
		return IN_DOUBT;
	if (err->retryable || (err->sqlstate[0] == '\0' && rc == -ENOMEM))
		return DO_IT_AGAIN;
	if (err->sqlstate[0] == '\0' || begins_with_one(err->sqlstate, not_the_lines))
		return FAILED;
	return LINE_REFUSED;
}

bool sent_is_common(const struct db_error *err) {
	return begins_with_one(err->sqlstate, common);
}
