/* Trees of generated layouts: whatever routes stand side by side, there is a tree or a mistake, and
 * never a crash. */
#include "tests/unit/treekit.h"

#include "tests/unit/check.h"

#include <stdlib.h>

enum { LAYOUTS = 5000 };

static bool try_text(const char *json) {
	int built = 0;
	return treekit_try(json, strlen(json), &built) && built == 1;
}

/* One table, one slice: by the foreign key of the parent's row, and by a key of its own. */
static void test_two_joins(void) {
	static const char *const routes[] = {
		"{ \"path\": \"/plants/{plants.name}/w.csv\", \"rows\": \"waterings\" }",
		"{ \"path\": \"/w/{waterings.plant}.csv\", \"rows\": \"waterings\" }",
		"{ \"path\": \"/by/{waterings.plant}/all.csv\", \"rows\": \"waterings\" }",
		"{ \"path\": \"/s/{shelves.id}/{plants.name}/w.csv\", \"rows\": \"waterings\" }",
	};
	for (int i = 0; i < COUNT(routes); i++) {
		for (int k = 0; k < COUNT(routes); k++) {
			AUTO_BUF struct buf json = { 0 };
			if (i == k)
				continue;
			buf_printf(&json, "{ \"routes\": [ %s, %s ] }", routes[i], routes[k]);
			if (!CHECK(try_text(json.data)))
				fprintf(stderr, "%s\n", json.data);
		}
	}
}

/* A timer that lacks its words is a mistake, like any other. */
static void test_empty_timer(void) {
	static const char json[] =
		"{ \"routes\": [ { \"path\": \"/notes.csv\", \"rows\": \"notes\" } ], \"timers\": [ {} ] }";
	AUTO_BUF struct buf mistakes = { 0 };
	struct layout *layout = layout_parse(json, strlen(json), &mistakes);
	CHECK(layout != NULL && tree_build(layout, treekit_catalog(), NULL, &mistakes) == NULL);
	CHECK_HAS(mistakes.data, "needs \"call\" and \"every\"");
	layout_free(layout);
}

static void test_generated(void) {
	int built = 0;
	for (unsigned seed = 1; seed <= LAYOUTS; seed++) {
		uint8_t data[80];
		uint64_t state = seed;
		for (size_t i = 0; i < sizeof(data); i++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			data[i] = (uint8_t)(state >> 56);
		}
		struct choices choices = { .data = data, .left = sizeof(data) };
		AUTO_BUF struct buf json = { 0 };
		treekit_layout(&choices, &json);
		if (!CHECK(treekit_try(json.data, json.len, &built)))
			fprintf(stderr, "seed %u: %s\n", seed, json.data);
	}
	CHECK(built > LAYOUTS / 10); /* not only mistakes */
	printf("%d of %d layouts are trees\n", built, LAYOUTS);
}

int main(void) {
	test_two_joins();
	test_empty_timer();
	test_generated();
	return check_end();
}
