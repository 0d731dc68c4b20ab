/* The parser of ingest files: the same lines and refusals however the bytes are cut. */
#include "fs/stream/ingest_parse.h"
#include "tests/unit/linekit.h"

static struct column columns[3];
static const struct column *header[] = { &columns[0], &columns[1], &columns[2] };
static struct ingest_field fields[] = { { &columns[0] }, { &columns[1] }, { &columns[2] } };
static int plain[] = { 0, 1, 2 };

static struct ingest file_of(bool csv) {
	return (struct ingest){ .fields = fields,
				.names = columns,
				.header = header,
				.nfields = 3,
				.plain = plain,
				.nplain = 3,
				.format = csv ? &format_csv : &format_jsonl };
}

/* Appends the lines of UNIT to OUT and its refusals to REFUSED, and empties it. */
static void put(struct buf *out, struct buf *refused, struct ingest_unit *unit) {
	for (int i = 0; i < unit->n; i++) {
		const struct ingest_line *line = &unit->lines[i];
		buf_printf(out, "%llu:%.*s;", (unsigned long long)line->number, (int)line->len - 1,
			   unit->text.data + line->at);
	}
	for (int i = 0; i < unit->refused.n; i++)
		buf_printf(refused, "%llu!;", (unsigned long long)unit->refused.all[i].number);
	ingest_unit_clear(unit);
}

/* Lines that go by COPY are taken from where they stand, but for what waited for its rest. */
static void test_in_place(void) {
	struct tree tree = { 0 };
	struct relation rel = { .rewrites_rows = true };
	struct engine engine = { 0 };
	struct ingest in = file_of(true);
	struct ingest_parser p;
	struct ingest_unit unit = { .uncounted = true };
	static const char first[] = "1,2,3\r\n4,5", second[] = ",6\n7,8,9\n";
	in.tree = &tree;
	in.rel = &rel;
	in.by_copy = true;
	CHECK_INT(parser_begin(&p, &engine, &in, false, NULL), 0);
	CHECK_INT(parser_feed(&p, first, strlen(first), RECORD_MORE, &unit), 0);
	CHECK_INT(unit.n, 1);
	CHECK(ingest_line_text(&unit, &unit.lines[0]) == first);
	CHECK_INT(unit.lines[0].len, 6);
	CHECK_INT(parser_feed(&p, second, strlen(second), RECORD_MORE, &unit), 0);
	CHECK_INT(unit.n, 3);
	CHECK(memcmp(ingest_line_text(&unit, &unit.lines[1]), "4,5,6\n", 6) == 0);
	CHECK(unit.lines[1].text == NULL);
	ingest_unit_clear(&unit);
	parser_free(&p);
}

/* The lines and refusals of TEXT, in pieces of PIECE bytes. */
static char *parse(bool csv, const char *text, size_t piece, bool last) {
	const struct ingest in = file_of(csv);
	struct ingest_parser p;
	struct ingest_unit unit = { .uncounted = true };
	struct refusals bad = { 0 };
	struct buf out = { 0 }, refused = { 0 };
	size_t len = strlen(text);
	buf_puts(&out, "");
	CHECK_INT(parser_begin(&p, NULL, &in, false, NULL), 0);
	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		char *bytes = malloc(n); /* so that a read too far is seen */
		memcpy(bytes, text + at, n);
		CHECK_INT(parser_feed(&p, bytes, n, RECORD_MORE, &unit), 0);
		free(bytes); /* and what is kept too long */
		put(&out, &refused, &unit);
		CHECK_INT(p.fed, at + n);
		CHECK_INT(p.resume_at, p.fed - p.text.len);
	}
	CHECK_INT(parser_tail(&p, &unit, last, &bad), 0);
	put(&out, &refused, &unit);
	buf_add(&out, refused.data, refused.len);
	buf_free(&refused);
	refusals_clear(&bad);
	parser_free(&p);
	return buf_take(&out);
}

static const struct {
	bool csv;
	const char *text, *want; /* the lines, and the numbers of those that are none */
} cases[] = {
	{ true, "1,x,2\n3,y,4\n", "1:1,x,2;2:3,y,4;" },
	{ true, "c,a\n1,2\n3,4\n", "2:1,2;3:3,4;" },
	{ true, "1,x,2\nbad\n3,y,4\n", "1:1,x,2;3:3,y,4;2!;" },
	{ true, "1,\"x\ny\",2\n3,y,4\n", "1:1,\"x\ny\",2;3:3,y,4;" },
	{ true,
	  "\xef\xbb\xbf"
	  "1,x,2\r\n3,y,4\r\n",
	  "1:1,x,2;2:3,y,4;" },
	{ true, "1,x,2\n3,y,4", "1:1,x,2;2:3,y,4;" }, /* the last line has no end */
	{ true, "a,b,nothing\n1,x,2\n", "1!;2!;" },   /* a header that cannot be used */
	{ false, "{\"a\":1}\n\n{\"b\":\"x\"}\n", "1:{\"a\":1};3:{\"b\":\"x\"};" },
	{ false, "{\"a\":1}\n{\"d\":1}\n[]\n{\"c\":2}", "1:{\"a\":1};4:{\"c\":2};2!;3!;" },
};

static void test_cuts(void) {
	static const size_t pieces[] = { 1, 2, 3, 5, 8, 13, 1000 };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
			char *got = parse(cases[i].csv, cases[i].text, pieces[k], true);
			CHECK_STR(got, cases[i].want);
			free(got);
		}
}

/* What is not last waits for its rest, and is no row of its own. */
static void test_a_tail_waits(void) {
	char *got = parse(true, "1,x,2\n3,y", 1000, false);
	CHECK_STR(got, "1:1,x,2;");
	free(got);
}

/* A parse goes on where another one has ended, with what that one has learned. */
static void test_state(void) {
	const struct ingest in = file_of(true);
	static const char text[] = "c,a\n1,2\n3,4\n";
	struct ingest_parser p, q;
	struct ingest_unit unit = { .uncounted = true };
	struct buf state = { 0 }, out = { 0 }, refused = { 0 };
	buf_puts(&out, "");
	CHECK_INT(parser_begin(&p, NULL, &in, false, NULL), 0);
	CHECK_INT(parser_feed(&p, text, 8, RECORD_MORE, &unit), 0);
	put(&out, &refused, &unit);
	CHECK_STR(out.data, "2:1,2;");
	parser_state(&p, NULL, &state);
	CHECK_INT(parser_begin(&q, NULL, &in, false, state.data), 0);
	CHECK(q.reader.known);
	CHECK_INT(q.resume_at, 8);
	CHECK_INT(parser_feed(&q, text + 8, sizeof(text) - 1 - 8, RECORD_MORE, &unit), 0);
	put(&out, &refused, &unit);
	CHECK_STR(out.data, "2:1,2;3:3,4;");
	CHECK_INT(q.reader.order[0], 2);
	parser_free(&p);
	parser_free(&q);
	CHECK_INT(refused.len, 0);
	buf_free(&refused);
	buf_free(&state);
	buf_free(&out);
}

int main(void) {
	columns[0] = kit_column("a", PLAIN("integer"), 'N', false);
	columns[1] = kit_column("b", PLAIN("text"), 'S', false);
	columns[2] = kit_column("c", PLAIN("integer"), 'N', false);
	test_cuts();
	test_a_tail_waits();
	test_state();
	test_in_place();
	return check_end();
}
