/* Macros of libraries, for cppcheck, which does not read their headers. */
#define __attribute__(x)
#define _GNU_SOURCE 1
#define ROWFS_VERSION ""
#define ROWFS_DATADIR ""
#define ROWFS_PROGRAM ""
#define cJSON_ArrayForEach(e, array) for (e = (array)->child; e != NULL; e = e->next)
