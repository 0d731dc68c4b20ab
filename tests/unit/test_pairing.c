/* Which row each line gets: small files against an exhaustive search, and large ones by what
 * must hold. */
#include "fs/rows/pairing.h"
#include "tests/unit/check.h"

#include <stdlib.h>

enum { MOST = 7, LARGE = 20000 };

static unsigned seed = 1;

static int below(int n) {
	seed = seed * 1103515245U + 12345U;
	return (int)(seed >> 16) % n;
}

static bool each_row_once(const struct pairing *p) {
	bool *has = calloc((size_t)p->nrows + 1, sizeof(*has));
	bool once = has != NULL;
	for (int j = 0; once && j < p->nlines; j++) {
		if (p->row_of[j] < 0)
			continue;
		once = p->row_of[j] < p->nrows && !has[p->row_of[j]];
		has[p->row_of[j]] = true;
	}
	free(has);
	return once;
}

/* True if line J is the only one of its kind, and so is row I. */
static bool is_single(const struct pairing *p, int i, int j) {
	int n = 0;
	for (int k = 0; k < p->nrows; k++)
		n += p->rows[k] == p->rows[i];
	for (int k = 0; k < p->nlines; k++)
		n += p->lines[k] == p->lines[j];
	return n == 2;
}

static int equal_lines(const struct pairing *p, bool single) {
	int n = 0;
	for (int j = 0; j < p->nlines; j++)
		n += p->row_of[j] >= 0 && p->rows[p->row_of[j]] == p->lines[j] &&
		     (!single || is_single(p, p->row_of[j], j));
	return n;
}

/* The lines of one tie read back as they are written: old rows first, by their rank. */
static bool reads_back(const struct pairing *p, int low, int high) {
	int last = -1;
	for (int j = low; j < high; j++) {
		int row = p->row_of[j];
		if (row < 0)
			last = 1 << 30;
		else if ((p->ranks != NULL ? p->ranks[row] : row) <= last)
			return false;
		else
			last = p->ranks != NULL ? p->ranks[row] : row;
	}
	return true;
}

/* Most equal lines of which there is only one that lines from J on can have, if the rows
 * before ROW are spent: tries everything. */
static int most_single(const struct pairing *p, int row, int j) {
	if (j == p->nlines || row == p->nrows)
		return 0; /* what is left is inserted, or deleted */
	int best = 0;
	for (int i = row; i < p->nrows; i++) {
		bool equal = p->rows[i] == p->lines[j] && is_single(p, i, j);
		int n = equal + most_single(p, i + 1, j + 1);
		best = n > best ? n : best;
	}
	return best;
}

static int in_common(const struct pairing *p) {
	int n = 0;
	bool used[MOST] = { 0 };
	for (int j = 0; j < p->nlines; j++)
		for (int i = 0; i < p->nrows; i++)
			if (!used[i] && p->rows[i] == p->lines[j]) {
				used[i] = true;
				n++;
				break;
			}
	return n;
}

static int count_paired(const struct pairing *p) {
	int n = 0;
	for (int j = 0; j < p->nlines; j++)
		n += p->row_of[j] >= 0;
	return n;
}

static void check_small(void) {
	int rows[MOST], lines[MOST], row_of[MOST];
	for (int round = 0; round < 10000; round++) {
		int kinds = 1 + below(6);
		struct pairing p = { .order = round % 2 ? PAIRING_IN_ORDER : PAIRING_FREE,
				     .nrows = below(MOST),
				     .nlines = below(MOST),
				     .rows = rows,
				     .lines = lines,
				     .row_of = row_of };
		for (int i = 0; i < MOST; i++) {
			rows[i] = below(kinds);
			lines[i] = below(kinds);
		}
		CHECK_INT(pairing_make(&p), 0);
		bool good = each_row_once(&p);
		if (p.order == PAIRING_IN_ORDER)
			good = good && reads_back(&p, 0, p.nlines) &&
			       equal_lines(&p, true) == most_single(&p, 0, 0);
		else
			good = good && equal_lines(&p, false) == in_common(&p);
		CHECK(good);
		p.equal_only = true;
		CHECK_INT(pairing_make(&p), 0);
		CHECK_INT(equal_lines(&p, false), count_paired(&p));
	}
}

/* Lines in groups that are ties; the rows' ranks are any. */
static void check_ties(void) {
	int rows[MOST], lines[MOST], row_of[MOST], row_ties[MOST], line_ties[MOST], ranks[MOST];
	for (int round = 0; round < 10000; round++) {
		struct pairing p = { .order = PAIRING_TIES,
				     .nrows = below(MOST),
				     .nlines = below(MOST),
				     .rows = rows,
				     .lines = lines,
				     .row_ties = row_ties,
				     .line_ties = line_ties,
				     .ranks = ranks,
				     .row_of = row_of };
		for (int i = 0, row_tie = 0, line_tie = 0; i < MOST; i++) {
			row_ties[i] = row_tie += below(3) == 0;
			line_ties[i] = line_tie += below(3) == 0;
			rows[i] = 10 * row_ties[i] + below(3);
			lines[i] = 10 * line_ties[i] + below(3);
			ranks[i] = i;
		}
		for (int i = MOST - 1; i > 0; i--) {
			int k = below(i + 1), rank = ranks[i];
			ranks[i] = ranks[k];
			ranks[k] = rank;
		}
		CHECK_INT(pairing_make(&p), 0);
		bool good = each_row_once(&p);
		for (int low = 0, high; low < p.nlines; low = high) {
			for (high = low + 1; high < p.nlines && line_ties[high] == line_ties[low];)
				high++;
			good = good && reads_back(&p, low, high);
		}
		CHECK(good);
	}
}

/* Large files, with many equal lines and with none: some are changed, some removed, some
 * appended. What was not keeps its row. */
static void check_large(int kinds) {
	int *rows = calloc(LARGE, sizeof(int)), *lines = calloc(2 * LARGE, sizeof(int));
	int *row_of = calloc(2 * LARGE, sizeof(int)), kept = 0;
	struct pairing p = { .nrows = LARGE, .rows = rows, .lines = lines, .row_of = row_of };
	for (int i = 0; i < LARGE; i++) {
		rows[i] = kinds > 0 ? below(kinds) : i;
		if (below(50) == 0)
			continue;
		bool changed = below(50) == 0;
		kept += !changed;
		lines[p.nlines++] = changed ? LARGE + i : rows[i];
	}
	for (int i = 0; i < 100; i++)
		lines[p.nlines++] = 3 * LARGE + i;
	for (int round = 0; round < 2; round++) {
		p.order = round == 0 ? PAIRING_FREE : PAIRING_IN_ORDER;
		CHECK_INT(pairing_make(&p), 0);
		CHECK(each_row_once(&p));
		CHECK(round == 0 || reads_back(&p, 0, p.nlines));
		CHECK(equal_lines(&p, false) >= kept);
	}
	free(rows);
	free(lines);
	free(row_of);
}

/* Numbers of letters: the texts that are compared. */
static size_t likeness(void *arg, int row, int line) {
	const char *const *texts = arg;
	return texts[0][row] == texts[1][line] ? 5 : 1;
}

static void check_likeness(void) {
	static const struct {
		const char *rows, *lines; /* the same letter: much in common, and not equal */
		enum pairing_order order;
		int want[4];
	} cases[] = {
		{ "abc", "c", PAIRING_FREE, { 2 } },
		{ "abc", "c", PAIRING_IN_ORDER, { 2 } },
		{ "abc", "xx", PAIRING_FREE, { 0, 1 } },
		{ "abcd", "bd", PAIRING_IN_ORDER, { 1, 3 } },
		{ "b", "ab", PAIRING_FREE, { -1, 0 } },
		{ "b", "ab", PAIRING_IN_ORDER, { 0, -1 } }, /* a new row can only be the last */
		{ "ab", "ba", PAIRING_FREE, { 0, 1 } },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *texts[] = { cases[i].rows, cases[i].lines };
		int rows[] = { 0, 1, 2, 3 }, lines[] = { 10, 11, 12, 13 }, row_of[4];
		struct pairing p = { .order = cases[i].order,
				     .nrows = (int)strlen(texts[0]),
				     .nlines = (int)strlen(texts[1]),
				     .rows = rows,
				     .lines = lines,
				     .likeness = likeness,
				     .arg = texts,
				     .row_of = row_of };
		CHECK_INT(pairing_make(&p), 0);
		for (int j = 0; j < p.nlines; j++)
			CHECK_INT(row_of[j], cases[i].want[j]);
	}
}

int main(void) {
	check_small();
	check_ties();
	check_large(0);
	check_large(3);
	check_large(500);
	check_likeness();
	return check_end();
}
