/* layout_parse(): any bytes give a layout, or the mistakes in it. */
#include "tests/fuzz/fuzz.h"

#include "schema/layout/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_BUF struct buf mistakes = { 0 };
	struct layout *layout = layout_parse((const char *)data, size, &mistakes);
	HOLDS(layout != NULL || mistakes.len > 0);
	if (layout == NULL)
		return 0;
	for (int i = 0; i < layout->nroutes; i++)
		HOLDS(!layout->routes[i].broken || mistakes.len > 0);
	layout_free(layout);
	return 0;
}
