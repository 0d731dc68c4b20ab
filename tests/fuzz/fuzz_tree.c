/* tree_build(): any routes side by side, over tables with every kind of key, give a tree or the
 * mistakes in them. */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/treekit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_BUF struct buf json = { 0 };
	struct choices choices = { .data = data, .left = size };
	int built = 0;
	treekit_layout(&choices, &json);
	HOLDS(treekit_try(json.data, json.len, &built));
	return 0;
}
