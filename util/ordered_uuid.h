/* Uuids that are in the order in which they were made: version 7 of RFC 9562, the time and a
 * counter first. Thread-safe. */
#pragma once

/* Makes a uuid's text that is larger, as text and as a uuid of PostgreSQL, than all that this
 * process has made before. */
void ordered_uuid(char text[37]);
