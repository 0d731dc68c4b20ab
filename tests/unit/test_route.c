/* The routes of a layout as an import sees them. */
#include "import/route.h"
#include "tests/unit/check.h"

static const struct route *match(const struct routes *routes, const char *path) {
	static const struct route none = { .rank = -1, .what = CLASS_PLAIN };
	const struct route *found = routes_match(routes, path);
	CHECK(found != NULL);
	return found != NULL ? found : &none;
}

/* Rows come behind those that the keys of their path name. What stands before a key's last dot is
 * its relation, as on the mount. */
static void test_ranks(void) {
	static const char layout[] =
		"{\"routes\": ["
		"{\"path\": \"/p/{parent.id}/{child.id}/leaf.csv\", \"rows\": \"leaf\"},"
		"{\"path\": \"/p/{parent.id}/child.csv\", \"rows\": \"child\"},"
		"{\"path\": \"/p/{parent.id}.json\", \"row\": \"parent\"},"
		"{\"path\": \"/s/{s.parent.id}/{s.child.id}/leaf.csv\", \"rows\": \"s.leaf\"},"
		"{\"path\": \"/s/{s.parent.id}/child.csv\", \"rows\": \"s.child\"},"
		"{\"path\": \"/s/{s.parent.id}.txt\", \"column\": \"s.parent.body\"}]}";
	static const struct {
		const char *path;
		int rank;
	} cases[] = {
		{ "p/1.json", 0 }, { "p/1/child.csv", 1 }, { "p/1/2/leaf.csv", 2 },
		{ "s/1.txt", 0 },  { "s/1/child.csv", 1 }, { "s/1/2/leaf.csv", 2 },
	};
	struct routes routes = { 0 };
	CHECK(routes_read(&routes, layout, NULL));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(match(&routes, cases[i].path)->rank, cases[i].rank);
	arena_free(&routes.memory);
}

/* Literal names win; digits stand where a time bucket's format has them. */
static void test_matches(void) {
	static const char layout[] =
		"{\"routes\": ["
		"{\"path\": \"/{t.id}.json\", \"row\": \"t\"},"
		"{\"path\": \"/all.json\", \"rows\": \"t\"},"
		"{\"path\": \"/{day}/log.jsonl\", \"rows\": \"u\", \"keys\": "
		"{\"day\": {\"column\": \"at\", \"format\": \"%Y-%m-%d\"}}},"
		"{\"path\": \"/in.csv\", \"ingest\": \"u\", \"replace\": \"keep\"}]}";
	struct routes routes = { 0 };
	CHECK(routes_read(&routes, layout, "{\"left_out_routes\": [\"/in.csv\"]}"));
	CHECK_INT(match(&routes, "x.json")->what, CLASS_ROW);
	CHECK_INT(match(&routes, "all.json")->what, CLASS_TABLE);
	const struct route *lines = match(&routes, "2025-01-31/log.jsonl");
	CHECK(lines->what == CLASS_LINES && lines->ingested && !lines->absent);
	const struct route *ingest = match(&routes, "in.csv");
	CHECK(ingest->what == CLASS_INGEST && ingest->keeps && ingest->absent);
	CHECK(routes_match(&routes, "2025-1-31/log.jsonl") == NULL);
	CHECK(routes_match(&routes, ".json") == NULL);
	arena_free(&routes.memory);
}

int main(void) {
	test_ranks();
	test_matches();
	return check_end();
}
