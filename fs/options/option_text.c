/* What the table of options says to people: help, man page, /.rowfs/config.json. */
#include "fs/options/option_conninfo.h"
#include "fs/options/option_table.h"

#include <string.h>

enum { HELP_COLUMN = 34, HELP_WIDTH = 100 };

static void put_value_name(const struct option *o, struct buf *out) {
	if (o->words != NULL) {
		for (int i = 0; o->words[i] != NULL; i++)
			buf_printf(out, "%s%s", i > 0 ? "|" : "", o->words[i]);
	} else if (o->type == OPTION_BOOL) {
		buf_puts(out, "true|false");
	} else {
		buf_puts(out, o->value_name != NULL ? o->value_name : "VALUE");
	}
}

/* The explanation with what else a reader wants to know: default and environment variable. */
static void put_explanation(const struct option *o, struct buf *out) {
	buf_puts(out, o->help);
	if (o->initial != NULL)
		buf_printf(out, " (default: %s)", o->initial);
	if (o->env != NULL)
		buf_printf(out, " [%s]", o->env);
}

/* TEXT broken at spaces, each line but the first indented to HELP_COLUMN. */
static void put_wrapped(const char *text, struct buf *out) {
	size_t room = HELP_WIDTH - HELP_COLUMN;
	while (strlen(text) > room) {
		size_t cut = room;
		while (cut > 0 && text[cut] != ' ')
			cut--;
		if (cut == 0)
			cut = strcspn(text, " ");
		buf_printf(out, "%.*s\n%*s", (int)cut, text, HELP_COLUMN, "");
		text += cut + (text[cut] == ' ');
	}
	buf_printf(out, "%s\n", text);
}

static void put_help(const struct option *o, struct buf *out) {
	AUTO_BUF struct buf left = { 0 }, right = { 0 };
	buf_printf(&left, "  %s=", o->key);
	put_value_name(o, &left);
	put_explanation(o, &right);
	if (left.failed || right.failed) {
		out->failed = true;
		return;
	}
	if (left.len >= HELP_COLUMN)
		buf_printf(out, "%s\n%*s", left.data, HELP_COLUMN, "");
	else
		buf_printf(out, "%-*s", HELP_COLUMN, left.data);
	put_wrapped(right.data, out);
}

static void put_troff_text(const struct buf *text, struct buf *out) {
	for (const char *p = text->data; p != NULL && *p != '\0'; p++) {
		if (*p == '\\')
			buf_puts(out, "\\e");
		else if (*p == '-')
			buf_puts(out, "\\-");
		else
			buf_putc(out, *p);
	}
}

static void put_troff(const struct option *o, struct buf *out) {
	AUTO_BUF struct buf value = { 0 }, text = { 0 };
	put_value_name(o, &value);
	put_explanation(o, &text);
	buf_puts(out, ".TP\n\\fB");
	buf_puts(out, o->key);
	buf_puts(out, "\\fR=\\fI");
	put_troff_text(&value, out);
	buf_puts(out, "\\fR\n\\&");
	put_troff_text(&text, out);
	buf_putc(out, '\n');
}

void options_help(struct buf *out, bool troff) {
	for (const struct option *o = option_table; o < option_table + option_count; o++) {
		if (o->help == NULL)
			buf_printf(out, troff ? ".SS %s\n" : "\n%s\n", o->key);
		else if (troff)
			put_troff(o, out);
		else
			put_help(o, out);
	}
}

void options_to_json(const struct options *opt, struct buf *out) {
	AUTO_BUF struct buf conninfo = { 0 };

	conninfo_without_secrets(opt->conninfo != NULL ? opt->conninfo : "", &conninfo);
	buf_puts(out, "{\n");
	for (const struct option *o = option_table; o < option_table + option_count; o++) {
		if (o->help == NULL)
			continue;
		buf_printf(out, "  \"%s\": ", o->key);
		if (strcmp(o->key, "connection_string") == 0 && conninfo.len > 0)
			buf_json_string(out, conninfo.data, conninfo.len);
		else
			option_json(opt, o, out);
		buf_puts(out, ",\n");
	}
	buf_puts(out, "  \"mountpoint\": ");
	option_json_text(opt->mountpoint, out);
	buf_puts(out, "\n}\n");
}

double options_interval(const struct options *opt, const char *key) {
	const struct option *o = option_find(key, strlen(key));
	const void *field = o != NULL ? (const char *)opt + o->offset : NULL;
	if (o == NULL || o->value_name == NULL || strcmp(o->value_name, "SECONDS") != 0)
		return -1;
	return o->type == OPTION_INT ? *(const int *)field : *(const double *)field;
}
