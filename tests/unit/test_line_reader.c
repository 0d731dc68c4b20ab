/* The reader of lines: what it learns of a first line, what it refuses, and what comes again. */
#include "fs/stream/line_reader.h"
#include "tests/unit/linekit.h"

#include <errno.h>

enum { MOST = 32 };

struct seen {
	struct line_reader r;
	const struct column *columns[3];
	bool null_fits;
	int fail_first, fail_row; /* so many times */
	struct buf out;
};

static struct column columns[3];

static int first(void *arg, const struct record_found *found) {
	struct seen *s = arg;
	int rc = line_reader_learn(&s->r, s->columns, 3, found, s->null_fits);
	return s->fail_first-- > 0 ? -EIO : rc;
}

static int row(void *arg, const struct record_found *found) {
	struct seen *s = arg;
	if (s->fail_row-- > 0)
		return -EIO;
	buf_printf(&s->out, "%llu:%.*s ", (unsigned long long)found->number, (int)found->len,
		   found->text);
	return 0;
}

static int refuse(void *arg, const struct record_found *found, int rc, const char *why) {
	struct seen *s = arg;
	buf_printf(&s->out, "%llu!%s/%.9s ", (unsigned long long)found->number,
		   rc == -EFBIG ? "big" : "bad", why);
	return 0;
}

static void begin(struct seen *s, bool csv) {
	*s = (struct seen){ .columns = { &columns[0], &columns[1], &columns[2] } };
	line_reader_begin(&s->r, csv ? &format_csv : &format_jsonl, MOST);
	buf_puts(&s->out, "");
}

static void end(struct seen *s) {
	line_reader_forget(&s->r);
	buf_free(&s->out);
}

static const struct line_taker taker = {
	.first = first, .row = row, .refuse = refuse, .too_long = "too long", .too_long_rc = -EFBIG
};

/* What becomes of TEXT; *TAKEN bytes of it. */
static const char *run(struct seen *s, const struct line_taker *t, const char *text,
		       enum record_more more, int rc, size_t *taken) {
	buf_resize(&s->out, 0);
	buf_puts(&s->out, "");
	CHECK_INT(line_reader_take(&s->r, text, strlen(text), more, t, s, taken), rc);
	return s->out.data;
}

static void test_fields(void) {
	static const struct {
		const char *text;
		int n, order[3];
		const char *rows;
	} cases[] = {
		{ "1,x,2\n", 3, { 0, 1, 2 }, "1:1,x,2 " },
		{ "c,a\n1,2\n", 2, { 2, 0 }, "2:1,2 " },
		{ "a,a\n", 3, { 0, 1, 2 }, "1:a,a " }, /* no header: one name twice */
		{ "\xef\xbb\xbf"
		  "b\nx\n",
		  1,
		  { 1 },
		  "1!bad/the heade 2:x " },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct seen s;
		size_t taken;
		begin(&s, true);
		CHECK_STR(run(&s, &taker, cases[i].text, RECORD_MORE, 0, &taken), cases[i].rows);
		CHECK_INT(taken, strlen(cases[i].text));
		CHECK(s.r.known);
		CHECK_INT(s.r.n, cases[i].n);
		for (int k = 0; k < s.r.n && k < cases[i].n; k++) {
			CHECK_INT(s.r.order[k], cases[i].order[k]);
			CHECK(s.r.columns[k] == &columns[cases[i].order[k]]);
		}
		end(&s);
	}
}

static void test_null_fits(void) {
	struct seen s;
	size_t taken;
	begin(&s, true);
	(void)run(&s, &taker, "1,x,2\n", RECORD_MORE, 0, &taken);
	CHECK(s.r.rules[0].not_null);
	line_reader_restart(&s.r);
	s.null_fits = true;
	(void)run(&s, &taker, "1,x,2\n", RECORD_MORE, 0, &taken);
	CHECK(!s.r.rules[0].not_null);
	end(&s);
}

/* Another text of the same fields: its first line is a row, and the lines go on. */
static void test_restart(void) {
	struct seen s;
	size_t taken;
	begin(&s, true);
	CHECK_STR(run(&s, &taker, "c,a\n1,2\n", RECORD_MORE, 0, &taken), "2:1,2 ");
	line_reader_restart(&s.r);
	CHECK_STR(run(&s, &taker, "a,c\n", RECORD_MORE, 0, &taken), "3:a,c ");
	line_reader_forget(&s.r);
	CHECK(!s.r.known);
	CHECK_STR(run(&s, &taker, "a,c\n1,2\n", RECORD_MORE, 0, &taken), "5:1,2 ");
	CHECK_INT(s.r.order[0], 0);
	end(&s);
}

static void test_failures(void) {
	struct seen s;
	size_t taken;
	begin(&s, true);
	s.fail_first = 1;
	CHECK_STR(run(&s, &taker, "c,a\n1,2\n", RECORD_MORE, -EIO, &taken), "");
	CHECK_INT(taken, 0);
	CHECK(!s.r.known);
	s.fail_row = 1;
	CHECK_STR(run(&s, &taker, "c,a\n1,2\n3,4\n", RECORD_MORE, -EIO, &taken), "");
	CHECK_INT(taken, 4); /* the header */
	CHECK_STR(run(&s, &taker, "1,2\n3,4\n", RECORD_MORE, 0, &taken), "2:1,2 3:3,4 ");
	end(&s);
	begin(&s, false);
	s.fail_row = 1;
	CHECK_STR(run(&s, &taker, "{}\n", RECORD_MORE, -EIO, &taken), "");
	CHECK_STR(run(&s, &taker, "{}\n[]\n{", RECORD_MORE, 0, &taken), "1:{} 2:[] ");
	CHECK_INT(taken, 6);
	end(&s);
}

static void test_refusals(void) {
	static const char open[] = "1,\"x\ny\n";
	static const char tail[] = "1,x,2\n3,y,4";
	struct line_taker other = taker;
	struct seen s;
	size_t taken;
	begin(&s, true);
	CHECK_STR(run(&s, &taker, "1,x,2\n0123456789012345678901234567890123456789\n3,y,4\n",
		      RECORD_MORE, 0, &taken),
		  "1:1,x,2 2!big/too long 3:3,y,4 ");
	end(&s);
	begin(&s, true);
	CHECK_STR(run(&s, &taker, open, RECORD_MORE, 0, &taken), "");
	CHECK_INT(taken, 0);
	CHECK_STR(run(&s, &taker, open, RECORD_END, 0, &taken), "1!bad/a quoted  ");
	CHECK_INT(taken, strlen(open));
	end(&s);
	begin(&s, true);
	CHECK_STR(run(&s, &taker, tail, RECORD_END, 0, &taken), "1:1,x,2 2:3,y,4 ");
	end(&s);
	other.keeps_tail = other.mark_fits = true;
	begin(&s, true);
	CHECK_STR(run(&s, &other, tail, RECORD_END, 0, &taken), "1:1,x,2 ");
	CHECK_INT(taken, 6);
	CHECK_STR(run(&s, &other, "3,y,4\n", RECORD_MORE, 0, &taken), "2:3,y,4 ");
	end(&s);
	begin(&s, true);
	CHECK_STR(run(&s, &other,
		      "\xef\xbb\xbf"
		      "b\nx\n",
		      RECORD_MORE, 0, &taken),
		  "2:x ");
	end(&s);
}

int main(void) {
	columns[0] = kit_column("a", PLAIN("integer"), 'N', true);
	columns[1] = kit_column("b", PLAIN("text"), 'S', false);
	columns[2] = kit_column("c", PLAIN("integer"), 'N', false);
	test_fields();
	test_null_fits();
	test_restart();
	test_failures();
	test_refusals();
	return check_end();
}
