#include "schema/layout/line_columns.h"

#include "util/text/csv.h"

#include <string.h>

/* -- rules ------------------------------------------------------------------------------------- */

enum { MODIFIER_BIAS = 4 }; /* what PostgreSQL adds to a type's modifier */

static void numeric_limits(int modifier, struct field_rule *rule) {
	if (modifier < MODIFIER_BIAS)
		return;
	/* 16 bits of precision over 11 bits of signed scale */
	rule->precision = (modifier - MODIFIER_BIAS) >> 16 & 0xffff;
	rule->scale = (((modifier - MODIFIER_BIAS) & 0x7ff) ^ 1024) - 1024;
}

/* The server judges it by a type of CATEGORY: numbers, booleans, times and network addresses hold
 * no newline. */
static bool may_hold_newline(char category) {
	return category == '\0' || strchr("NBDTI", category) == NULL;
}

struct field_rule field_rule_of(const struct column *column) {
	const char *type = column->type;
	struct field_rule rule = { .name = column->name,
				   .type = type,
				   .not_null = column->not_null,
				   .newlines = may_hold_newline(column->category),
				   .kind = FIELD_SERVER,
				   .max_chars = -1,
				   .precision = -1 };
	if (strcmp(type, column->base) != 0)
		return rule; /* a domain has checks of its own */
	if (strcmp(type, "text") == 0 || strcmp(type, "character varying") == 0) {
		rule.kind = FIELD_TEXT;
		if (column->modifier >= MODIFIER_BIAS)
			rule.max_chars = column->modifier - MODIFIER_BIAS;
	} else if (strcmp(type, "numeric") == 0) {
		rule.kind = FIELD_NUMERIC;
		numeric_limits(column->modifier, &rule);
	} else {
		rule.bits = strcmp(type, "smallint") == 0  ? 16
			    : strcmp(type, "integer") == 0 ? 32
			    : strcmp(type, "bigint") == 0  ? 64
							   : 0;
		rule.kind = rule.bits > 0 ? FIELD_INTEGER : FIELD_SERVER;
	}
	if (rule.kind != FIELD_SERVER)
		rule.newlines = rule.kind == FIELD_TEXT;
	return rule;
}

/* -- headers ----------------------------------------------------------------------------------- */

struct names {
	const struct column *const *columns;
	int n;
};

static int column_index(const void *of, const char *text, size_t len) {
	const struct names *names = of;
	for (int i = 0; i < names->n; i++)
		if (strlen(names->columns[i]->name) == len &&
		    memcmp(names->columns[i]->name, text, len) == 0)
			return i;
	return -1;
}

bool line_is_header(const struct format *format, const char *line, size_t len,
		    const struct column *const *columns, int n, int *order, int *fields) {
	const struct names names = { .columns = columns, .n = n };
	AUTO_CSV struct csv_record record = { 0 };
	AUTO_BUF struct buf why = { 0 };
	if (format->split(line, len, &record, &why) != 0 || record.n > n ||
	    !csv_is_header(&record, column_index, &names, order))
		return false;
	*fields = record.n;
	return true;
}
