/* Which table a COPY is about. Pure. Internal to db/. */
#pragma once

/* The last part of the name behind "COPY " at the start of SQL, unquoted; NULL if there is none or
 * no memory. Owned by the caller. */
char *copy_table(const char *sql);
