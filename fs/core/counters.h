/* Requests and lines that were served since start or since the last reset. */
#pragma once

#include <stdatomic.h>

/* One per kind of work. */
struct counters {
	atomic_ullong lookups, opens, reads, writes, bytes_read, bytes_written, listings, removals,
		errors, rows_written, lines_rejected, writers_unknown, gzip_cut;
};
