#include "fs/options/option_table.h"
#include "init/pack.h"
#include "util/secret.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

const struct option *option_find(const char *key, size_t len) {
	for (const struct option *o = option_table; o < option_table + option_count; o++)
		if (o->help != NULL && strlen(o->key) == len && memcmp(o->key, key, len) == 0)
			return o;
	return NULL;
}

static void *field_of(struct options *opt, const struct option *o) {
	return (char *)opt + o->offset;
}

static int needs(struct buf *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int needs(struct buf *err, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(err, fmt, ap);
	va_end(ap);
	buf_puts(err, " is needed");
	return -EINVAL;
}

static int store_text(struct options *opt, const struct option *o, char *owned) {
	char **field = field_of(opt, o);
	if (owned == NULL)
		return -ENOMEM;
	if (o->secret)
		secret_wipe(*field);
	free(*field);
	*field = owned;
	return 0;
}

/* Daemons change their directory: a path is kept from the root. */
static int store_path(struct options *opt, const struct option *o, const char *text,
		      struct buf *err) {
	AUTO_BUF struct buf path = { 0 };
	if (text[0] == '\0')
		return needs(err, "a path");
	if (text[0] != '/') {
		AUTO_FREE char *here = getcwd(NULL, 0);
		if (here == NULL)
			return needs(err, "an absolute path");
		buf_printf(&path, "%s/", strcmp(here, "/") == 0 ? "" : here);
	}
	buf_puts(&path, text);
	return store_text(opt, o, buf_take(&path));
}

/* A word that is no file may be a pack's name. */
static int store_layout(struct options *opt, const struct option *o, const char *text,
			struct buf *err) {
	bool word = strchr(text, '/') == NULL && access(text, F_OK) != 0;
	if (word && strcmp(text, "default") == 0) {
		char **field = field_of(opt, o);
		free(move_ptr(*field));
		return 0;
	}
	char *path = word && text[0] != '\0' ? packs_layout(text) : NULL;
	return path != NULL ? store_text(opt, o, path) : store_path(opt, o, text, err);
}

/* Words are matched without regard to case; READ_COMMITTED and read-committed are "read committed".
 */
static bool same_word(const char *a, const char *b) {
	for (; *a != '\0' && *b != '\0'; a++, b++) {
		bool gap_a = strchr("-_ ", *a) != NULL, gap_b = strchr("-_ ", *b) != NULL;
		if (gap_a != gap_b ||
		    (!gap_a && tolower((unsigned char)*a) != tolower((unsigned char)*b)))
			return false;
	}
	return *a == *b;
}

static int store_word(struct options *opt, const struct option *o, const char *text,
		      struct buf *err) {
	for (const char *const *word = o->words; *word != NULL; word++)
		if (same_word(text, *word))
			return store_text(opt, o, strdup(*word));
	buf_puts(err, "one of");
	for (const char *const *word = o->words; *word != NULL; word++)
		buf_printf(err, "%s \"%s\"", word == o->words ? "" : ",", *word);
	return needs(err, "%s", "");
}

/* A plain decimal number (no sign, no exponent, no "inf"); *REST is what follows it. */
static bool read_number(const char *text, double *out, const char **rest) {
	size_t len = strspn(text, "0123456789.");
	char *end = NULL;
	if (len == 0 || len > 30)
		return false;
	errno = 0;
	*out = strtod(text, &end);
	*rest = end;
	return end == text + len && errno == 0 && isfinite(*out);
}

static int set_int(struct options *opt, const struct option *o, const char *text, struct buf *err) {
	const char *rest = "";
	double number = 0;
	if (!read_number(text, &number, &rest) || *rest != '\0' || number != floor(number) ||
	    number < o->min || number > o->max)
		return needs(err, "a whole number from %.0f to %.0f", o->min, o->max);
	if (o->type == OPTION_UID)
		*(uid_t *)field_of(opt, o) = (uid_t)number;
	else if (o->type == OPTION_GID)
		*(gid_t *)field_of(opt, o) = (gid_t)number;
	else
		*(int *)field_of(opt, o) = (int)number;
	return 0;
}

static int set_double(struct options *opt, const struct option *o, const char *text,
		      struct buf *err) {
	const char *rest = "";
	double number = 0;
	if (!read_number(text, &number, &rest) || *rest != '\0' || number < o->min ||
	    number > o->max)
		return needs(err, "a number from %g to %g", o->min, o->max);
	*(double *)field_of(opt, o) = number;
	return 0;
}

/* "16M", "16MiB", "16MB", "1.5G", "4096"; false if TEXT is no size. */
static bool read_size(const char *text, double *out) {
	static const char suffixes[] = "KMGT";
	const char *rest = "", *suffix = NULL;
	if (!read_number(text, out, &rest))
		return false;
	if (*rest != '\0' && (suffix = strchr(suffixes, toupper((unsigned char)*rest))) != NULL) {
		*out = ldexp(*out, 10 * (int)(suffix - suffixes + 1));
		rest++;
		if (*rest == 'i' && rest[1] == 'B')
			rest++;
	}
	if (*rest == 'B')
		rest++;
	return *rest == '\0';
}

static void show_size(struct buf *out, double bytes) {
	int power = 0;
	while (power < 4 && bytes >= 1024 && fmod(bytes, 1024) == 0) {
		bytes /= 1024;
		power++;
	}
	buf_printf(out, "%.0f%.*s", bytes, power > 0, &" KMGT"[power]);
}

static int set_size(struct options *opt, const struct option *o, const char *text,
		    struct buf *err) {
	double bytes = 0;
	if (!read_size(text, &bytes) || bytes < o->min || bytes > o->max) {
		AUTO_BUF struct buf low = { 0 }, high = { 0 };
		show_size(&low, o->min);
		show_size(&high, o->max);
		return needs(err, "a size from %s to %s, in bytes or as 64K, 16M, 1G,", low.data,
			     high.data);
	}
	*(uint64_t *)field_of(opt, o) = (uint64_t)bytes;
	return 0;
}

static int set_bool(struct options *opt, const struct option *o, const char *text,
		    struct buf *err) {
	static const char *const yes[] = { "true", "yes", "on", "1", NULL };
	static const char *const no[] = { "false", "no", "off", "0", NULL };
	for (int i = 0; yes[i] != NULL; i++) {
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
			*(bool *)field_of(opt, o) = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	}
	return needs(err, "true or false");
}

static int set_octal(struct options *opt, const struct option *o, const char *text,
		     struct buf *err) {
	size_t len = strlen(text);
	unsigned long mode = 0;
	if (len == 0 || len > 4 || strspn(text, "01234567") != len ||
	    (mode = strtoul(text, NULL, 8)) > 0777)
		return needs(err, "an octal number from 0 to 0777");
	*(mode_t *)field_of(opt, o) = (mode_t)mode;
	return 0;
}

static int set_port(struct options *opt, const struct option *o, const char *text,
		    struct buf *err) {
	for (const char *p = text;; p++) {
		const char *rest = "";
		double port = 0;
		size_t digits = strspn(p, "0123456789");
		if (digits == 0 || !read_number(p, &port, &rest) || port < o->min ||
		    port > o->max || (*rest != '\0' && *rest != ','))
			return needs(
				err,
				"a port from %.0f to %.0f, or several with commas between them,",
				o->min, o->max);
		p = rest;
		if (*p == '\0')
			return store_text(opt, o, strdup(text));
	}
}

static int set_coherence(struct options *opt, const struct option *o, const char *text,
			 struct buf *err) {
	const char *rest = "";
	double ttl = 0;
	if (strcmp(text, "none") == 0) {
		opt->coherence = COHERENCE_NONE;
		opt->ttl = 0;
		return 0;
	}
	if (strcmp(text, "notify") == 0) {
		opt->coherence = COHERENCE_NOTIFY;
		opt->ttl = 0.1;
		return 0;
	}
	if (strncmp(text, "ttl=", 4) != 0 || !read_number(text + 4, &ttl, &rest) || *rest != '\0' ||
	    ttl > o->max)
		return needs(err, "notify, ttl=SECONDS, with at most %.0f of them, or none",
			     o->max);
	opt->coherence = COHERENCE_TTL;
	opt->ttl = ttl;
	return 0;
}

int option_set(struct options *opt, const struct option *o, const char *text, struct buf *err) {
	switch (o->type) {
	case OPTION_TEXT:
		return store_text(opt, o, strdup(text));
	case OPTION_PATH:
		return store_path(opt, o, text, err);
	case OPTION_LAYOUT:
		return store_layout(opt, o, text, err);
	case OPTION_WORD:
		return store_word(opt, o, text, err);
	case OPTION_PORT:
		return set_port(opt, o, text, err);
	case OPTION_INT:
	case OPTION_UID:
	case OPTION_GID:
		return set_int(opt, o, text, err);
	case OPTION_SECONDS:
	case OPTION_FACTOR:
		return set_double(opt, o, text, err);
	case OPTION_SIZE:
		return set_size(opt, o, text, err);
	case OPTION_BOOL:
		return set_bool(opt, o, text, err);
	case OPTION_OCTAL:
		return set_octal(opt, o, text, err);
	case OPTION_COHERENCE:
		return set_coherence(opt, o, text, err);
	}
	return needs(err, "BUG: an option type");
}

void option_json_text(const char *s, struct buf *out) {
	if (s == NULL)
		buf_puts(out, "null");
	else
		buf_json_string(out, s, strlen(s));
}

void option_json(const struct options *opt, const struct option *o, struct buf *out) {
	const void *field = (const char *)opt + o->offset;

	if (o->secret) {
		buf_puts(out, "null");
		return;
	}
	switch (o->type) {
	case OPTION_TEXT:
	case OPTION_PATH:
	case OPTION_LAYOUT:
	case OPTION_WORD:
	case OPTION_PORT:
		option_json_text(*(char *const *)field, out);
		break;
	case OPTION_INT:
		buf_printf(out, "%d", *(const int *)field);
		break;
	case OPTION_UID:
		buf_printf(out, "%lld", (long long)*(const uid_t *)field);
		break;
	case OPTION_GID:
		buf_printf(out, "%lld", (long long)*(const gid_t *)field);
		break;
	case OPTION_SECONDS:
	case OPTION_FACTOR:
		buf_printf(out, "%.15g", *(const double *)field);
		break;
	case OPTION_SIZE:
		buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)field);
		break;
	case OPTION_BOOL:
		buf_puts(out, *(const bool *)field ? "true" : "false");
		break;
	case OPTION_OCTAL:
		buf_printf(out, "\"%03o\"", (unsigned)*(const mode_t *)field);
		break;
	case OPTION_COHERENCE:
		if (opt->coherence == COHERENCE_TTL)
			buf_printf(out, "\"ttl=%.15g\"", opt->ttl);
		else
			buf_puts(out,
				 opt->coherence == COHERENCE_NOTIFY ? "\"notify\"" : "\"none\"");
		break;
	}
}
