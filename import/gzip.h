/* Compressed files of the old tree. */
#ifndef ROWFS_IMPORT_GZIP_H
#define ROWFS_IMPORT_GZIP_H

#include <stdbool.h>

/* True if the data of FD, which is read from where it stands, ends inside a gzip member. False
 * also if it cannot be read, is damaged or is no gzip: the mount tells that. */
bool gzip_is_cut(int fd);

#endif
