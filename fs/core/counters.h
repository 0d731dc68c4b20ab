/* Requests and lines that were served since start or since the last reset. */
#ifndef ROWFS_FS_CORE_COUNTERS_H
#define ROWFS_FS_CORE_COUNTERS_H

#include <stdatomic.h>

/* One per kind of work. */
struct counters {
	atomic_ullong lookups, opens, reads, writes, bytes_read, bytes_written, listings, removals,
		errors, rows_written, lines_rejected, writers_unknown, gzip_cut;
};

#endif
