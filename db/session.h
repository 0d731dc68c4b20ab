/* Making a session: a connection that is connected and set up. Internal to db/. */
#pragma once

#include "db/conn.h"

/* Connects and prepares the session, within connect_timeout (for each host named), and within
 * ALLOWED_MS unless that is 0. STOP_FD is as in struct db_conn. On failure ERR is filled (password
 * scrubbed) and -errno returned; *FINAL tells that trying again is useless. */
MUST_USE int session_open(const struct db_config *cfg, int stop_fd, int allowed_ms,
			  struct db_cancel *cancel, struct db_conn **out, bool *final,
			  struct db_error *err);
