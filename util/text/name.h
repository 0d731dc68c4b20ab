/* File names and key values: a reversible encoding.
 *
 * '/', control characters, and the whole of "." and ".." are percent-encoded (upper-case hex);
 * letters of any script are themselves. So is '%', but where it would be read as an escape: before
 * two digits of upper-case hex. An empty key is the name "%", and a name that is too long for a
 * directory entry is "%~" and the row's primary key; so a key that is "%", or begins with "%~", has
 * its '%' encoded, too. All functions are pure and thread-safe. */
#pragma once

#include "util/buf.h"

enum { NAME_LONGEST = 255 }; /* bytes, as NAME_MAX */
#define NAME_BY_ID "%~"
#define NAME_CONTROL ".rowfs" /* in the root: rowfs's own directory, and no key's name */

/* Appends KEY, encoded, to OUT. Bytes of ALSO (may be "") are encoded too: the separators of a
 * component that has several keys. */
void name_encode(struct buf *out, const char *key, const char *also);

/* Decodes LEN bytes of NAME into OUT. Returns false if NAME is not the encoding of any key: what
 * must be encoded and is not, invalid UTF-8, NUL. What needs no escape and has one is decoded, too:
 * a name is a key's only if the key is encoded as this name. */
MUST_USE bool name_decode(struct buf *out, const char *name, size_t len);

/* Appends TEXT with %XX (upper-case hex) for control characters and for the bytes of ODD and ALSO.
 */
void percent_put(struct buf *out, const char *text, const char *odd, const char *also);

/* Appends TEXT with %XX for bytes that are no UTF-8, so that it can be shown; of a long one, as
 * many letters as are surely within MOST bytes (0: any number). */
void percent_put_invalid(struct buf *out, const char *text, size_t most);

/* The byte that "%XX" at P, of which LEN bytes are there, stands for; -1 if it is none, or NUL. */
int percent_byte(const char *p, size_t len);
