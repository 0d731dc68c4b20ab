/* name_encode() and name_decode(): a key's name is its name alone, holds no '/', and gives the key
 * back. */
#include "tests/fuzz/fuzz.h"

#include "util/text/name.h"
#include "util/text/utf8.h"

static void check_key(const char *key, const char *also) {
	AUTO_BUF struct buf name = { 0 }, again = { 0 };
	name_encode(&name, key, also);
	HOLDS(name.len > 0 && strchr(name.data, '/') == NULL);
	HOLDS(strcmp(name.data, ".") != 0 && strcmp(name.data, "..") != 0);
	HOLDS(name_decode(&again, name.data, name.len));
	HOLDS(strcmp(again.data != NULL ? again.data : "", key) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_BUF struct buf key = { 0 };
	if (utf8_valid((const char *)data, size)) {
		AUTO_FREE char *text = strndup((const char *)data, size);
		check_key(text, "");
		check_key(text, "-_.");
	}
	if (name_decode(&key, (const char *)data, size)) {
		HOLDS(utf8_valid(key.data != NULL ? key.data : "", key.len));
		check_key(key.data != NULL ? key.data : "", "");
	}
	return 0;
}
