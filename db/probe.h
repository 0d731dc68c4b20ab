/* One question by a session of its own: whether the server answers, whatever the pool's
 * connections are doing. */
#pragma once

#include "db/config.h"
#include "db/error.h"
#include "db/statement.h"

/* Connects as CFG says, runs SQL with N parameters, and ends the session. ALLOWED_MS bounds the
 * connecting and the answer, each; a server that is silent takes two seconds more. *OUT is the
 * result, owned by the caller. Returns 0, or -errno with ERR filled. Nothing is repeated, and
 * nothing is logged. Thread-safe. */
MUST_USE int db_probe(const struct db_config *cfg, int allowed_ms, const char *sql,
		      const struct db_param *params, int n, PGresult **out, struct db_error *err);
