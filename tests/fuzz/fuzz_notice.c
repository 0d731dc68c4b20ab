/* notices_read(), peers_hear(): whatever comes over the channel is told of in full, or not at
 * all. */
#include "schema/notice/notice.h"
#include "schema/notice/notice_table.h"
#include "schema/notice/peers.h"
#include "tests/fuzz/fuzz.h"

/* Made once: a tree of three files, and a definition whose keys are those of the third. */
static struct notices *notices_of_three(void) {
	static struct place top = { .nparams = 0 }, by_name = { .nparams = 1 },
			    by_both = { .nparams = 2 };
	static struct tree tree = { .nslices = 1 };
	static struct subscriber first[3], second[1];
	static struct definition definition = { .id = 7, .subscribers = first, .nsubscribers = 3 };
	static struct definition slice = { .id = -1, .subscribers = second, .nsubscribers = 1 };
	static struct notices notices = {
		.tree = &tree, .definitions = &definition, .ndefinitions = 1, .slices = &slice
	};
	first[0] = (struct subscriber){ .place = &top };
	first[1] = (struct subscriber){ .place = &by_name, .key = { 0 } };
	first[2] = (struct subscriber){ .place = &by_both, .key = { 1, NOTICE_ANY } };
	second[0] = (struct subscriber){ .place = &by_both, .key = { 0, PATH_KEYS_MAX - 1 } };
	return &notices;
}

static void told(void *arg, const struct place *place, const char *const *values,
		 enum notice_kind kind) {
	size_t *bytes = arg;
	*bytes += kind == NOTICE_CHANGED || kind == NOTICE_NAMES || kind == NOTICE_GROWN;
	for (int i = 0; values != NULL && i < place->nparams; i++)
		*bytes += values[i] != NULL ? strlen(values[i]) : 0; /* reads them */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_BUF struct buf payload = { 0 };
	size_t heard = 0, own = 0;
	buf_add(&payload, data, size);
	buf_puts(&payload, "");
	if (payload.data == NULL)
		return 0;
	const struct notices *n = notices_of_three();
	enum notice_reading read = notices_read(n, payload.data, NULL, told, &heard);
	HOLDS(read == NOTICE_TOLD || heard == 0);
	/* what mount `me` has sent tells itself nothing, but is no less a notice */
	enum notice_reading mine = notices_read(n, payload.data, "me", told, &own);
	HOLDS((mine == NOTICE_MALFORMED) == (read == NOTICE_MALFORMED) && own <= heard);
	struct peers *peers = peers_new("00000000-0000-4000-8000-000000000001");
	if (peers == NULL)
		return 0;
	(void)peers_hear(peers, payload.data);
	HOLDS(peers_count(peers) <= 1);
	(void)notice_is_test(payload.data, "me");
	peers_free(peers);
	return 0;
}
