/* Whether a text can be a key's value: what the text alone tells. Pure, thread-safe. */
#pragma once

#include "schema/layout/place.h"

enum key_text {
	/* nothing speaks against it; of types that are not known here the server knows more */
	KEY_MAY_BE,
	/* a value that the database writes otherwise: 007, an upper-case uuid, 2025-1-1; or one
	 * that is out of range */
	KEY_OTHER_SPELLING,
	KEY_NO_VALUE, /* no value of the key's type: .tmp as a day, x7Gq2 as an integer */
};

/* TEXT as a value of KEY. */
enum key_text key_text(const struct key *key, const char *text);
