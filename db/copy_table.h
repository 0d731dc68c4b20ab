/* Which table a COPY is about. Pure. Internal to db/. */
#ifndef ROWFS_DB_COPY_TABLE_H
#define ROWFS_DB_COPY_TABLE_H

/* The last part of the name behind "COPY " at the start of SQL, unquoted; NULL if there is none or
 * no memory. Owned by the caller. */
char *copy_table(const char *sql);

#endif
