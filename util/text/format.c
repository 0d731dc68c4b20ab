#include "util/text/format.h"

#include <string.h>

const struct format format_csv = {
	.word = "csv", .split = csv_split, .check = line_check, .quotes = true, .by_copy = true
};
const struct format format_jsonl = { .word = "jsonl" };

static const struct format *const formats[] = { &format_csv, &format_jsonl };

const struct format *format_called(const char *word, size_t len) {
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strlen(formats[i]->word) == len && memcmp(formats[i]->word, word, len) == 0)
			return formats[i];
	return NULL;
}

const struct format *format_of(const char *path, size_t len) {
	const char *dot = memrchr(path, '.', len);
	return dot != NULL ? format_called(dot + 1, (size_t)(path + len - dot) - 1) : NULL;
}
