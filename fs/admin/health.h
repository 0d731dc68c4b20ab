/* Whether the mount can do its work: what `/.rowfs/health` says, and status.json with it.
 *
 * A *look* asks the database, by a session of its own, and the disk of state_dir. A job does it,
 * since either may take for ever; one look at a time. A request waits for the look for HEALTH_MS at
 * most, and then says that there was no answer. What the mount knows by itself is added when it is
 * read: no lock is waited for that is held during a statement. */
#pragma once

#include "fs/core/call.h"

enum { HEALTH_MS = 1500 };

/* "ok", or one line a reason: "failing: ..." (nothing can be read or written), "degraded: ..."
 * (something cannot). Takes HEALTH_MS at most. Thread-safe. */
void health_text(struct call *call, struct buf *out);
/* The same as members of a JSON object, by the last look; waits for nothing. */
void health_json(struct call *call, struct buf *out);
