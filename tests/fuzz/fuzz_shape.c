/* shape_scan() and json_check(): an object with a shape is valid JSON, and each of its keys is
 * UTF-8 and stands there once. */
#include "tests/fuzz/fuzz.h"

#include "util/text/utf8.h"
#include "util/text/json_shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_SHAPE struct shape shape = { 0 };
	AUTO_BUF struct buf why = { 0 }, more = { 0 };
	int any = json_check((const char *)data, size, &why);
	HOLDS((any != 0) == (why.len > 0));
	int object = shape_scan((const char *)data, size, &shape, &more);
	HOLDS((object != 0) == (more.len > 0));
	if (object != 0)
		return 0;
	HOLDS(any == 0 && utf8_valid((const char *)data, size));
	shape_sort(&shape);
	for (int i = 0; i < shape.n; i++) {
		HOLDS(utf8_valid(shape.names[i], strlen(shape.names[i])));
		HOLDS(i == 0 || strcmp(shape.names[i - 1], shape.names[i]) < 0);
	}
	return 0;
}
