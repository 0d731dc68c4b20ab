/* Asking the server to stop a statement. Internal to db/; callers use db_cancel_fire(). */
#pragma once

#include "util/cleanup.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* Asks the server to stop what PG runs, from a thread of its own: the request needs a connection,
 * and on a frozen host nobody knows for how long. Returns NULL where that cannot be done. Give the
 * result to cancel_request_end(). */
struct cancel_request *cancel_request_send(PGconn *pg);

/* Waits until the request has been taken by the server, at most until DEADLINE_US. Returns false if
 * it has not: it may still arrive, and would then hit whatever runs on that connection next. R may
 * be NULL. */
bool cancel_request_end(struct cancel_request *r, int64_t deadline_us);
