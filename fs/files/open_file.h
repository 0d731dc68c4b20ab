/* An open plain or ingest file: what its handle has besides what all kinds share. One struct for
 * both, since a plain file may be renamed onto an ingest route while it is open: the handle then
 * goes on as one of the ingest file. */
#pragma once

#include "fs/core/call.h"
#include "fs/core/kind.h"
#include "fs/open/handle.h"

struct open_file {
	atomic_int fd;    /* of a plain file; read without the lock where `open` is true */
	atomic_bool open; /* there is one */
	struct ingest_stream *stream; /* of an ingest file; of its table */
	bool wrote; /* this handle wrote to the stream, and its close tells how the file ends */
};

extern const struct state_type open_file_type;

static inline struct open_file *file_of(const struct handle *h) {
	return h->state;
}
