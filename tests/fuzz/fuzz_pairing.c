/* pairing_make(): rows and lines of any pattern, in each order: a row has at most one line, and
 * equal ones alone where that is asked. */
#include "fs/rows/pairing.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 64, KINDS = 6 };

static size_t likeness(void *arg, int row, int line) {
	const uint8_t *salt = arg;
	return (size_t)((row * 7 + line * 13 + *salt) % 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	int rows[MOST], lines[MOST], row_ties[MOST], line_ties[MOST], ranks[MOST], row_of[MOST];
	bool taken[MOST] = { false };
	uint8_t salt = size > 0 ? data[0] : 0;
	if (size < 3)
		return 0;
	struct pairing p = { .order = data[1] % (PAIRING_TIES + 1),
			     .equal_only = (data[1] & 128) != 0,
			     .nrows = data[2] % MOST,
			     .rows = rows,
			     .lines = lines,
			     .likeness = (data[1] & 64) != 0 ? likeness : NULL,
			     .arg = &salt,
			     .row_of = row_of };
	p.nlines = data[2] / 4 % MOST;
	for (int i = 0; i < MOST; i++) {
		uint8_t byte = data[3 + (size_t)i < size ? 3 + (size_t)i : size - 1];
		rows[i] = byte % KINDS;
		lines[i] = byte / KINDS % KINDS;
		/* those with one number stand side by side */
		row_ties[i] = i == 0 ? 0 : row_ties[i - 1] + (byte >> 7);
		line_ties[i] = i == 0 ? 0 : line_ties[i - 1] + ((byte >> 6) & 1);
		ranks[i] = byte * MOST + i; /* each another */
	}
	if (p.order == PAIRING_TIES) {
		for (int i = 0; i < MOST; i++) {
			rows[i] += KINDS * row_ties[i];
			lines[i] += KINDS * line_ties[i];
		}
		p.row_ties = row_ties;
		p.line_ties = line_ties;
		p.ranks = ranks;
	}
	HOLDS(pairing_make(&p) == 0);
	for (int j = 0; j < p.nlines; j++) {
		HOLDS(row_of[j] >= -1 && row_of[j] < p.nrows);
		if (row_of[j] < 0)
			continue;
		HOLDS(!taken[row_of[j]]);
		taken[row_of[j]] = true;
		HOLDS(!p.equal_only || rows[row_of[j]] == lines[j]);
	}
	return 0;
}
