/* shape_scan(), json_check() and json_read(): an object with a shape is valid JSON, and each of its
 * keys is UTF-8 and stands there once. The one form of a document is a document with that form. */
#include "tests/fuzz/fuzz.h"

#include "util/text/utf8.h"
#include "util/text/json_shape.h"
#include "util/text/json_tree.h"

static void check_tree(const char *text, size_t size) {
	AUTO_TREE struct json tree = { 0 }, again = { 0 };
	AUTO_BUF struct buf form = { 0 }, same = { 0 };
	HOLDS(json_read(text, size, &tree));
	json_canonical(&form, &tree);
	HOLDS(json_read(form.data, form.len, &again) && json_same(&tree, &again, 0));
	json_canonical(&same, &again);
	HOLDS(form.len == same.len && memcmp(form.data, same.data, form.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_SHAPE struct shape shape = { 0 };
	AUTO_BUF struct buf why = { 0 }, more = { 0 };
	int any = json_check((const char *)data, size, &why);
	HOLDS((any != 0) == (why.len > 0));
	if (any == 0)
		check_tree((const char *)data, size);
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
