#include "fs/rows/pairing.h"

#include "util/cleanup.h"
#include "util/list.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
	FEW = 32,    /* of so many equal rows, each may be a line's */
	NEAR = 8,    /* of very many, those that are so near */
	SMALL = 128, /* a gap of at most so many lines and rows is paired by likeness */
};

/* -- the longest chain of equal lines ---------------------------------------------------------- */

struct row {
	int what, at;
};

/* A line that gets an equal row, and the one before it in the chain. */
struct link {
	int line, row, before;
};

struct chain {
	const int *rows, *lines;
	int nrows, nlines;
	bool in_order;      /* between two links there are at least as many rows as lines */
	bool single;        /* only lines of which there is one, on both sides */
	int most_behind;    /* in order: so many more rows than lines there may be before a link */
	struct row *sorted; /* the rows by what they are, then by place */
	int *room;          /* of the arrays of numbers */
	int *first, *past;  /* of each line: its equal rows in `sorted` */
	int *seen, *total;  /* of the first of equal rows in `sorted`: lines that are equal to it */
	struct link *links;
	size_t nlinks;
	int *ends, *keys; /* of the best chain of each length: its last link, and the key of that */
	int length;
};

static int compare_rows(const void *a, const void *b) {
	const struct row *x = a, *y = b;
	if (x->what != y->what)
		return x->what < y->what ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static int lower_bound(const struct row *rows, int n, int what) {
	int low = 0, high = n;
	while (low < high) {
		int middle = low + (high - low) / 2;
		if (rows[middle].what < what)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void chain_free(struct chain *c) {
	free(c->sorted);
	free(c->room);
	free(c->links);
}

static int *ints(int n) {
	return calloc((size_t)n + 1, sizeof(int));
}

static int chain_begin(struct chain *c) {
	c->sorted = calloc((size_t)c->nrows + 1, sizeof(*c->sorted));
	size_t lines = (size_t)c->nlines + 1, rows = (size_t)c->nrows + 1;
	c->room = calloc(4 * lines + 2 * rows, sizeof(*c->room));
	if (c->sorted == NULL || c->room == NULL)
		return -ENOMEM;
	c->first = c->room;
	c->past = c->first + lines;
	c->ends = c->past + lines;
	c->keys = c->ends + lines;
	c->seen = c->keys + lines;
	c->total = c->seen + rows;
	for (int i = 0; i < c->nrows; i++)
		c->sorted[i] = (struct row){ c->rows[i], i };
	qsort(c->sorted, (size_t)c->nrows, sizeof(*c->sorted), compare_rows);
	for (int j = 0; j < c->nlines; j++) {
		c->first[j] = lower_bound(c->sorted, c->nrows, c->lines[j]);
		c->past[j] = c->lines[j] == INT_MAX
				     ? c->nrows
				     : lower_bound(c->sorted, c->nrows, c->lines[j] + 1);
		if (c->first[j] < c->past[j])
			c->total[c->first[j]]++;
	}
	return 0;
}

/* Chains of links are ordered by this: it grows from link to link (PAIRING_FREE), or does
 * not shrink. */
static int key_of(const struct chain *c, int line, int row) {
	return c->in_order ? row - line : row;
}

/* Adds the pair to the best chain that it can end. */
static int chain_add(struct chain *c, int line, int row) {
	int key = key_of(c, line, row), low = 0, high = c->length;
	if (c->in_order && (key < 0 || key > c->most_behind))
		return 0;
	while (low < high) {
		int middle = low + (high - low) / 2;
		if (c->keys[middle] < key || (c->in_order && c->keys[middle] == key))
			low = middle + 1;
		else
			high = middle;
	}
	if (c->nlinks == INT_MAX || !list_room(c->links, c->nlinks))
		return -ENOMEM;
	c->links[c->nlinks] = (struct link){ line, row, low > 0 ? c->ends[low - 1] : -1 };
	c->ends[low] = (int)c->nlinks++;
	c->keys[low] = key;
	c->length += low == c->length;
	return 0;
}

/* Tries row ROW, if it is equal to line LINE. */
static void try_row(const struct chain *c, int line, int row, int *tried, int *n) {
	if (row >= 0 && row < c->nrows && c->rows[row] == c->lines[line])
		tried[(*n)++] = row;
}

/* Of very many equal rows only those are tried that a line is likely to have been: counted
 * from the start, and from the end; and as far behind as the line before it, or a little
 * more, if some rows were removed. The greatest first, so that a chain has no line twice. */
static int add_some(struct chain *c, int line) {
	int first = c->first[line], past = c->past[line], n = 0, tried[4 + NEAR];
	int seen = c->seen[first], left = c->total[first] - seen;
	int behind = c->in_order && c->length > 0 ? c->keys[c->length - 1] : 0;
	if (first + seen < past)
		tried[n++] = c->sorted[first + seen].at;
	if (past - left >= first)
		tried[n++] = c->sorted[past - left].at;
	try_row(c, line, line + c->nrows - c->nlines, tried, &n);
	try_row(c, line, line, tried, &n);
	for (int i = 0; i < NEAR; i++)
		try_row(c, line, line + behind + i, tried, &n);
	int rc = 0, last = INT_MAX;
	for (int round = 0; round < n && rc == 0; round++) {
		int best = -1;
		for (int i = 0; i < n; i++)
			if (tried[i] < last && tried[i] > best)
				best = tried[i];
		if (best < 0)
			break;
		rc = chain_add(c, line, best);
		last = best;
	}
	return rc;
}

static int chain_run(struct chain *c, int *row_of) {
	int rc = chain_begin(c);
	for (int j = 0; rc == 0 && j < c->nlines; j++) {
		int first = c->first[j], past = c->past[j];
		if (first == past || (c->single && (past - first > 1 || c->total[first] > 1)))
			continue;
		if (past - first > FEW && c->total[first] > 1)
			rc = add_some(c, j);
		else
			for (int i = past - 1; rc == 0 && i >= first; i--)
				rc = chain_add(c, j, c->sorted[i].at);
		c->seen[first]++;
	}
	for (int at = rc == 0 && c->length > 0 ? c->ends[c->length - 1] : -1; at >= 0;
	     at = c->links[at].before)
		row_of[c->links[at].line] = c->links[at].row;
	return rc;
}

/* Rows and lines between which a chain is looked for. */
struct stretch {
	const int *rows, *lines;
	int nrows, nlines;
	bool in_order;
	bool last; /* lines behind it may be without a row */
};

/* Fills ROW_OF, of the stretch's lines, with the longest chain of equal lines. */
static int find_longest(const struct stretch *s, bool single, int *row_of) {
	struct chain c = { .rows = s->rows,
			   .lines = s->lines,
			   .nrows = s->nrows,
			   .nlines = s->nlines,
			   .in_order = s->in_order,
			   .single = single,
			   .most_behind = s->last ? INT_MAX : s->nrows - s->nlines };
	for (int j = 0; j < s->nlines; j++)
		row_of[j] = -1;
	int rc = c.nrows > 0 && c.nlines > 0 ? chain_run(&c, row_of) : 0;
	chain_free(&c);
	return rc;
}

/* The same, between two lines that are certain; what is equal at both ends first. */
static int find_between(struct stretch s, int *row_of) {
	int same = 0;
	for (; same < s.nrows && same < s.nlines && s.rows[same] == s.lines[same]; same++)
		row_of[same] = same;
	s.rows += same;
	s.lines += same;
	s.nrows -= same;
	s.nlines -= same;
	/* in order, the end is only the same place if there are as many rows as lines, or if
	 * lines behind have no row */
	while (!s.in_order && s.nrows > 0 && s.nlines > 0 &&
	       s.rows[s.nrows - 1] == s.lines[s.nlines - 1]) {
		row_of[same + s.nlines - 1] = same + s.nrows - 1;
		s.nrows--;
		s.nlines--;
	}
	int rc = find_longest(&s, false, row_of + same);
	for (int j = same; j < same + s.nlines; j++)
		row_of[j] += row_of[j] >= 0 ? same : 0;
	return rc;
}

/* Fills ROW_OF with a chain of equal lines: first of those of which there is only one, since
 * these are certain, and then the longest between them. */
static int find_chain(const int *rows, int nrows, const int *lines, int nlines, bool in_order,
		      int *row_of) {
	struct stretch all = { rows, lines, nrows, nlines, in_order, true };
	AUTO_FREE int *single = ints(nlines);
	int line = 0, row = 0;
	int rc = single != NULL ? find_longest(&all, true, single) : -ENOMEM;
	for (int j = 0; rc == 0 && j <= nlines; j++) {
		bool end = j == nlines;
		if (!end && single[j] < 0)
			continue;
		struct stretch s = { rows + row, lines + line, (end ? nrows : single[j]) - row,
				     j - line,   in_order,     end };
		rc = find_between(s, row_of + line);
		for (int k = line; k < j; k++)
			row_of[k] += row_of[k] >= 0 ? row : 0;
		if (end)
			break;
		row_of[j] = single[j];
		row = single[j] + 1;
		line = j + 1;
	}
	return rc;
}

/* -- gaps -------------------------------------------------------------------------------------- */

/* What lies between two equal lines: rows and lines by their numbers in P. */
struct gap {
	int *rows, *lines, nrows, nlines;
};

/* Pairs all of the shorter side, in order, so that the sum of likeness is the greatest. */
static bool pair_by_likeness(const struct pairing *p, const struct gap *g) {
	bool few_lines = g->nlines <= g->nrows;
	int n = few_lines ? g->nlines : g->nrows, m = few_lines ? g->nrows : g->nlines;
	size_t width = (size_t)m + 1;
	AUTO_FREE size_t *best = calloc((size_t)(n + 1) * width, sizeof(*best));
	if (best == NULL)
		return false;
	for (int x = 1; x <= n; x++) {
		for (int y = x; y <= m - n + x; y++) {
			int line = g->lines[(few_lines ? x : y) - 1];
			int row = g->rows[(few_lines ? y : x) - 1];
			size_t both = best[(size_t)(x - 1) * width + (size_t)y - 1] +
				      p->likeness(p->arg, row, line);
			size_t without = y > x ? best[(size_t)x * width + (size_t)y - 1] : 0;
			best[(size_t)x * width + (size_t)y] =
				y > x && without >= both ? without : both;
		}
	}
	for (int x = n, y = m; x > 0; y--) {
		if (y > x &&
		    best[(size_t)x * width + (size_t)y] == best[(size_t)x * width + (size_t)y - 1])
			continue;
		p->row_of[g->lines[(few_lines ? x : y) - 1]] = g->rows[(few_lines ? y : x) - 1];
		x--;
	}
	return true;
}

static void pair_gap(const struct pairing *p, const struct gap *g, bool in_order) {
	bool uneven = g->nlines != g->nrows && !(in_order && g->nlines > g->nrows);
	if (p->likeness != NULL && uneven && g->nlines > 0 && g->nrows > 0 && g->nlines <= SMALL &&
	    g->nrows <= SMALL && pair_by_likeness(p, g))
		return;
	for (int i = 0; i < g->nlines && i < g->nrows; i++)
		p->row_of[g->lines[i]] = g->rows[i];
}

/* Rows and lines, by their numbers in P, and which of them are linked. */
struct span {
	const int *rows, *lines;
	int nrows, nlines;
	const int *chain; /* of each line, by place: the place of its row, or -1 */
};

/* Pairs what lies between the links, without the rows that are TAKEN and the lines that have
 * one. */
static int pair_gaps(const struct pairing *p, const struct span *s, const bool *taken,
		     bool in_order) {
	AUTO_FREE int *rows = ints(s->nrows), *lines = ints(s->nlines);
	struct gap g = { .rows = rows, .lines = lines };
	int row = 0;
	if (rows == NULL || lines == NULL)
		return -ENOMEM;
	for (int j = 0; j <= s->nlines; j++) {
		int line = j < s->nlines ? s->lines[j] : -1;
		if (line >= 0 && s->chain[j] < 0) {
			if (p->row_of[line] < 0)
				lines[g.nlines++] = line;
			continue;
		}
		int end = line >= 0 ? s->chain[j] : s->nrows;
		for (; row < end; row++)
			if (!taken[s->rows[row]])
				rows[g.nrows++] = s->rows[row];
		pair_gap(p, &g, in_order);
		g.nlines = g.nrows = 0;
		row = end + 1;
	}
	return 0;
}

/* -- all lines --------------------------------------------------------------------------------- */

/* Lines whose place says nothing, or not all: a line that has moved is equal all the same. */
static int pair_moved(const struct pairing *p, bool *taken) {
	AUTO_FREE struct row *sorted = calloc((size_t)p->nrows + 1, sizeof(*sorted));
	int n = 0;
	if (sorted == NULL)
		return -ENOMEM;
	for (int i = 0; i < p->nrows; i++)
		if (!taken[i])
			sorted[n++] = (struct row){ p->rows[i], i };
	AUTO_FREE int *used = ints(n);
	if (used == NULL)
		return -ENOMEM;
	qsort(sorted, (size_t)n, sizeof(*sorted), compare_rows);
	for (int j = 0; j < p->nlines; j++) {
		if (p->row_of[j] >= 0)
			continue;
		int first = lower_bound(sorted, n, p->lines[j]);
		if (first == n)
			continue;
		int at = first + used[first];
		if (at == n || sorted[at].what != p->lines[j])
			continue;
		used[first]++;
		p->row_of[j] = sorted[at].at;
		taken[sorted[at].at] = true;
	}
	return 0;
}

/* The rows of lines LOW .. HIGH. */
static void note_taken(const struct pairing *p, int low, int high, bool *taken) {
	for (int j = low; j < high; j++)
		if (p->row_of[j] >= 0)
			taken[p->row_of[j]] = true;
}

static int pair_all(const struct pairing *p, bool *taken) {
	bool in_order = p->order == PAIRING_IN_ORDER;
	int most = p->nrows > p->nlines ? p->nrows : p->nlines, rc;
	AUTO_FREE int *chain = ints(p->nlines), *same = ints(most);
	if (chain == NULL || same == NULL)
		return -ENOMEM;
	for (int i = 0; i < most; i++)
		same[i] = i;
	rc = find_chain(p->rows, p->nrows, p->lines, p->nlines, in_order, chain);
	memcpy(p->row_of, chain, (size_t)p->nlines * sizeof(*chain));
	note_taken(p, 0, p->nlines, taken);
	if (rc == 0 && !in_order)
		rc = pair_moved(p, taken);
	const struct span all = { same, same, p->nrows, p->nlines, chain };
	if (rc == 0 && !p->equal_only)
		rc = pair_gaps(p, &all, taken, in_order);
	note_taken(p, 0, p->nlines, taken);
	return rc;
}

/* -- ties -------------------------------------------------------------------------------------- */

static bool reads_back(const struct pairing *p, int low, int high) {
	int rank = -1;
	bool inserted = false;
	for (int j = low; j < high; j++) {
		int row = p->row_of[j];
		if (row >= 0 && (inserted || p->ranks[row] <= rank))
			return false;
		inserted = inserted || row < 0;
		rank = row >= 0 ? p->ranks[row] : rank;
	}
	return true;
}

/* Which rows the lines LOW to HIGH may have: those that they have, and those of the same tie
 * that no line has. By rank. */
static int rows_of_tie(const struct pairing *p, int low, int high, const bool *taken,
		       const int *first_of_tie, int nties, int *rows) {
	int n = 0, tie = p->line_ties[low];
	for (int j = low; j < high; j++)
		if (p->row_of[j] >= 0)
			rows[n++] = p->row_of[j];
	for (int i = tie < nties ? first_of_tie[tie] - 1 : -1;
	     i >= 0 && i < p->nrows && p->row_ties[i] == tie; i++)
		if (!taken[i])
			rows[n++] = i;
	return n;
}

static int pair_tie(const struct pairing *p, int low, int high, bool *taken, int *rows, int n) {
	AUTO_FREE struct row *sorted = calloc((size_t)n + 1, sizeof(*sorted));
	AUTO_FREE int *what = ints(n), *lines = ints(high - low), *chain = ints(high - low);
	if (sorted == NULL || what == NULL || lines == NULL || chain == NULL)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		sorted[i] = (struct row){ p->ranks[rows[i]], rows[i] };
	qsort(sorted, (size_t)n, sizeof(*sorted), compare_rows);
	for (int i = 0; i < n; i++) {
		rows[i] = sorted[i].at;
		what[i] = p->rows[rows[i]];
		taken[rows[i]] = false;
	}
	int rc = find_chain(what, n, p->lines + low, high - low, true, chain);
	for (int j = low; j < high; j++) {
		lines[j - low] = j;
		p->row_of[j] = chain[j - low] >= 0 ? rows[chain[j - low]] : -1;
	}
	note_taken(p, low, high, taken);
	const struct span tie = { rows, lines, n, high - low, chain };
	if (rc == 0)
		rc = pair_gaps(p, &tie, taken, true);
	note_taken(p, low, high, taken);
	return rc;
}

static int pair_ties(const struct pairing *p, bool *taken) {
	int nties = 0, rc = 0;
	for (int i = 0; i < p->nrows; i++)
		nties = p->row_ties[i] >= nties ? p->row_ties[i] + 1 : nties;
	AUTO_FREE int *first = ints(nties), *rows = ints(p->nrows + p->nlines);
	if (first == NULL || rows == NULL)
		return -ENOMEM;
	for (int i = p->nrows - 1; i >= 0; i--)
		first[p->row_ties[i]] = i + 1;
	for (int low = 0, high; rc == 0 && low < p->nlines; low = high) {
		for (high = low + 1; high < p->nlines && p->line_ties[high] == p->line_ties[low];)
			high++;
		if (reads_back(p, low, high))
			continue;
		int n = rows_of_tie(p, low, high, taken, first, nties, rows);
		rc = pair_tie(p, low, high, taken, rows, n);
	}
	return rc;
}

int pairing_make(const struct pairing *p) {
	AUTO_FREE bool *taken = calloc((size_t)p->nrows + 1, sizeof(*taken));
	if (taken == NULL)
		return -ENOMEM;
	int rc = pair_all(p, taken);
	return rc == 0 && p->order == PAIRING_TIES && !p->equal_only ? pair_ties(p, taken) : rc;
}
