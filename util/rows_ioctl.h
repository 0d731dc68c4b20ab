/* What a mount tells of an ingest file that is open for reading: ioctl(fd, ROWFS_IOC_ROWS, &rows).
 * ENOTTY: it is no ingest file. */
#pragma once

#include <linux/ioctl.h>
#include <stdint.h>

struct rowfs_rows {
	uint64_t lines; /* that should be rows */
	uint64_t bad;   /* that are none as they stand */
	uint64_t rows;  /* that came from the file and are still there */
	uint64_t alike; /* of them, those that say what a line says */
};

#define ROWFS_IOC_ROWS _IOR('r', 0x52, struct rowfs_rows)
