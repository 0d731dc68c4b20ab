#include "db/field.h"
#include "util/text/number.h"

#include <errno.h>
#include <string.h>

static bool is_there(const PGresult *res, int row, int column) {
	return res != NULL && row >= 0 && row < PQntuples(res) && column >= 0 &&
	       column < PQnfields(res);
}

bool field_is_null(const PGresult *res, int row, int column) {
	return !is_there(res, row, column) || PQgetisnull(res, row, column);
}

const char *field_text(const PGresult *res, int row, int column) {
	return is_there(res, row, column) ? PQgetvalue(res, row, column) : "";
}

size_t field_len(const PGresult *res, int row, int column) {
	return is_there(res, row, column) ? (size_t)PQgetlength(res, row, column) : 0;
}

bool field_is_true(const PGresult *res, int row, int column) {
	return strcmp(field_text(res, row, column), "t") == 0;
}

int64_t field_number(const PGresult *res, int row, int column) {
	int64_t number = 0;
	return decimal_read(field_text(res, row, column), INT64_MIN, INT64_MAX, &number) ? number
											 : 0;
}

int64_t field_changed(const PGresult *res) {
	int64_t n = 0;
	const char *text = res != NULL ? PQcmdTuples((PGresult *)(uintptr_t)res) : "";
	return decimal_read(text, 0, INT64_MAX, &n) ? n : 0;
}

/* -- forms ------------------------------------------------------------------------------------- */

/* True if the text of a field is what LETTER says. */
static bool fits(char letter, const char *text) {
	int64_t number;
	switch (letter) {
	case 'i':
		return decimal_read(text, INT64_MIN, INT64_MAX, &number);
	case 'n':
		return decimal_read(text, 0, INT64_MAX, &number);
	case 'u':
		return decimal_read(text, 0, UINT32_MAX, &number);
	case 'b':
		return strcmp(text, "t") == 0 || strcmp(text, "f") == 0;
	default:
		return true;
	}
}

static int odd(struct db_error *err, const char *what, int row, int column) {
	return db_error_set(
		err, EIO,
		"the server has answered with something else than what was asked for (%s, row %d, column "
		"%d): is it PostgreSQL, and has nobody changed the tables of rowfs?",
		what, row + 1, column + 1);
}

/* Judges COLUMN in all rows of RES. */
static int judge_column(const PGresult *res, int column, char letter, bool nullable,
			struct db_error *err) {
	for (int row = 0; row < PQntuples(res); row++) {
		if (PQgetisnull(res, row, column)) {
			if (!nullable)
				return odd(err, "NULL", row, column);
		} else if (!fits(letter, PQgetvalue(res, row, column))) {
			return odd(err, letter == 'b' ? "no truth value" : "no number", row,
				   column);
		}
	}
	return 0;
}

/* How many columns FORM names, `*` left out. */
static int columns_of(const char *form) {
	int n = 0;
	for (; *form != '\0'; form++)
		n += *form == '*' ? -1 : *form != '?';
	return n;
}

int field_judge(const PGresult *res, enum field_rows rows, const char *form, struct db_error *err) {
	int n = PQntuples(res), column = 0, more = PQnfields(res) - columns_of(form);
	if ((rows == ROWS_ONE && n != 1) || (rows == ROWS_ONE_OR_NONE && n > 1))
		return odd(err, "another number of rows", n, 0);
	if (more < 0 || (more > 0 && strchr(form, '*') == NULL))
		return odd(err, "another number of columns", 0, PQnfields(res));
	for (; *form != '\0'; form++) {
		bool many = form[1] == '*', nullable = many || form[1] == '?';
		for (int k = many ? more : 1, rc; k > 0; k--, column++)
			if ((rc = judge_column(res, column, *form, nullable, err)) != 0)
				return rc;
		form += nullable;
	}
	return 0;
}
