/* The table of options and what can be done with one entry. Private to fs/options/. */
#pragma once

#include "fs/options/options.h"

enum option_type {
	OPTION_TEXT, /* char * */
	OPTION_PATH, /* char *, made absolute */
	/* char *: a path, made absolute, or the layout of a pack; NULL: the default */
	OPTION_LAYOUT,
	OPTION_WORD,      /* char *, one of `words` */
	OPTION_PORT,      /* char *, one port or several with commas */
	OPTION_INT,       /* int */
	OPTION_SECONDS,   /* double */
	OPTION_FACTOR,    /* double */
	OPTION_SIZE,      /* uint64_t, bytes; K, M, G, T are powers of 1024 */
	OPTION_BOOL,      /* bool */
	OPTION_OCTAL,     /* mode_t */
	OPTION_UID,       /* uid_t */
	OPTION_GID,       /* gid_t */
	OPTION_COHERENCE, /* enum coherence and ttl */
};

/* Weakest first. */
enum option_source { FROM_DEFAULT, FROM_ENVIRONMENT, FROM_CONFIG, FROM_COMMAND_LINE };

struct option {
	const char *key;
	enum option_type type;
	size_t offset;       /* in struct options */
	const char *initial; /* default, as a person would write it; NULL: none, or made by the
				program */
	double min, max;     /* of numbers */
	const char *env;     /* environment variable, or NULL */
	const char *const *words;
	bool secret;            /* never shown */
	const char *value_name; /* for the help text */
	const char *help;       /* what it is, unit included; NULL begins a group named `key` */
};

extern const struct option option_table[];
extern const int option_count;

/* The entry called by the LEN bytes at KEY, or NULL. */
const struct option *option_find(const char *key, size_t len);

/* Stores the value that TEXT says; what was there is freed. Returns 0; otherwise -EINVAL and ERR
 * gets what was expected ("a whole number from 1 to 9 is needed"), or -ENOMEM. */
MUST_USE int option_set(struct options *opt, const struct option *o, const char *text,
			struct buf *err);

/* Appends the value, as JSON; secrets as null. */
void option_json(const struct options *opt, const struct option *o, struct buf *out);
/* Appends S as a JSON string, or null. */
void option_json_text(const char *s, struct buf *out);
