/* Whether the database can be reached, and has what a snapshot serves. */
#pragma once

#include "db/config.h"
#include "db/error.h"
#include "schema/layout/catalog.h"
#include "util/buf.h"

/* Asks by a session of its own, within ALLOWED_MS as db_probe() has it. Appends to REASONS a line
 * for each table or view of CAT that is gone, or that the role may not read any more. Returns 0, or
 * -errno with ERR filled: the database does not answer. Thread-safe. */
MUST_USE int reach_ask(const struct db_config *cfg, int allowed_ms, const struct catalog *cat,
		       struct buf *reasons, struct db_error *err);
