/* What is written into the text of a statement: quoted. Pure. */
#pragma once

struct buf;

/* Appends IDENT to SQL as a quoted identifier. The one quoting helper. */
void db_quote_ident(struct buf *sql, const char *ident);
/* Appends S as a string literal (standard_conforming_strings is on for every connection). For
 * catalog names only; values are parameters. */
void db_quote_literal(struct buf *sql, const char *s);
