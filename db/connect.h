/* Connecting. Internal to db/. */
#pragma once

#include "db/conn.h"

/* Tells a conninfo that libpq could not even read, without repeating any of it (it may hold a
 * password). Returns 0 or -EINVAL with ERR filled. CONNINFO may be NULL or a plain database
 * name. */
MUST_USE int conninfo_check(const char *conninfo, struct db_error *err);

/* Connects C->pg, within ALLOWED_MS unless that is 0. Returns 0 or -errno with ERR filled and
 * *FINAL set. */
MUST_USE int connect_session(struct db_conn *c, int allowed_ms, bool *final, struct db_error *err);
