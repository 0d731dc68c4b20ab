#include "fs/options/option_conninfo.h"

#include "fs/options/option_secret.h"
#include "util/secret.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Keys of our own and what libpq calls them. */
static const struct {
	const char *key, *keyword;
	size_t offset;
} singles[] = {
	{ "host", "host", offsetof(struct options, host) },
	{ "port", "port", offsetof(struct options, port) },
	{ "database", "dbname", offsetof(struct options, database) },
	{ "username", "user", offsetof(struct options, username) },
	{ "password", "password", offsetof(struct options, password) },
	{ "ssl_mode", "sslmode", offsetof(struct options, ssl_mode) },
	{ "ssl_cert", "sslcert", offsetof(struct options, ssl_cert) },
	{ "ssl_key", "sslkey", offsetof(struct options, ssl_key) },
	{ "ssl_ca", "sslrootcert", offsetof(struct options, ssl_ca) },
};
enum { SINGLES = sizeof(singles) / sizeof(singles[0]) };
enum { CONNINFO_USUAL = 4096 }; /* bytes; up to these, no copy of it is left behind as it grows */

static bool is_uri(const char *s) {
	return strncmp(s, "postgresql://", 13) == 0 || strncmp(s, "postgres://", 11) == 0;
}

/* libpq's message may quote the string: it is shown only where that holds no password. */
static bool may_hold_password(const char *s) {
	return strcasestr(s, "pass") != NULL || strchr(s, '@') != NULL || strchr(s, '%') != NULL;
}

/* libpq marks what a form should not show. */
static bool is_secret(const PQconninfoOption *o) {
	return strchr(o->dispchar, '*') != NULL || strstr(o->keyword, "password") != NULL ||
	       strstr(o->keyword, "secret") != NULL;
}

#define AUTO_CONNINFO __attribute__((cleanup(cleanup_conninfo)))
static void cleanup_conninfo(PQconninfoOption **list) {
	for (PQconninfoOption *o = *list; o != NULL && o->keyword != NULL; o++)
		if (is_secret(o))
			secret_wipe(o->val);
	PQconninfoFree(*list);
}

/* Appends VALUE quoted as in a libpq connection string. */
static void put_quoted(struct buf *out, const char *value) {
	buf_putc(out, '\'');
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			buf_putc(out, '\\');
		buf_putc(out, *value);
	}
	buf_putc(out, '\'');
}

/* What STRING says, as a list; a word alone is a database, as for psql. NULL with a sentence in
 * ERR. */
static PQconninfoOption *parse(const char *string, struct buf *err) {
	AUTO_SECRET_BUF struct buf named = { 0 };
	char *why = NULL;
	PQconninfoOption *list = NULL;

	if (strchr(string, '=') == NULL && !is_uri(string) && string[0] != '\0') {
		buf_puts(&named, "dbname=");
		put_quoted(&named, string);
		string = named.data;
	}
	if (string != NULL)
		list = PQconninfoParse(string, &why);
	if (list == NULL) {
		buf_puts(err, "the connection string is not valid");
		if (why != NULL && !may_hold_password(string))
			buf_printf(err, ": %.*s", (int)strcspn(why, "\n"), why);
	}
	PQfreemem(why);
	return list;
}

static const PQconninfoOption *given(const PQconninfoOption *list, const char *keyword) {
	for (; list->keyword != NULL; list++)
		if (strcmp(list->keyword, keyword) == 0)
			return list->val != NULL ? list : NULL;
	return NULL;
}

static enum option_source source_of(const enum option_source *sources, const char *key) {
	return sources[option_find(key, strlen(key)) - option_table];
}

static void add(struct buf *out, const char *keyword, const char *value) {
	if (out->len > 0)
		buf_putc(out, ' ');
	buf_printf(out, "%s=", keyword);
	put_quoted(out, value);
}

/* True if the single option S counts beside the connection string LIST that came from SOURCE: it is
 * stronger, or the string leaves it open, be it to a service. */
static bool counts(int s, const PQconninfoOption *list, const enum option_source *sources,
		   enum option_source source) {
	enum option_source own = source_of(sources, singles[s].key);
	if (own > source)
		return true;
	if (given(list, singles[s].keyword) != NULL)
		return false;
	return own == source || given(list, "service") == NULL;
}

/* The password of PGPASSWORD, which libpq shall not look for there: the variable is overwritten. */
static void add_password_of_libpq(struct buf *out, const PQconninfoOption *list) {
	const PQconninfoOption *service = given(list, "service");
	char *password = secret_of_libpq(service != NULL ? service->val : NULL);
	if (password != NULL)
		add(out, "password", password);
	secret_free(password);
}

int conninfo_assemble(struct options *opt, const enum option_source *sources, struct buf *err) {
	const char *string = opt->connection_string != NULL ? opt->connection_string : "";
	AUTO_CONNINFO PQconninfoOption *list = parse(string, err);
	AUTO_SECRET_BUF struct buf out = { 0 };
	bool overridden[SINGLES] = { false };
	bool has_password = false;

	if (list == NULL)
		return -EINVAL;
	buf_reserve(&out, CONNINFO_USUAL);
	for (int s = 0; s < SINGLES; s++) {
		const char *value = *(char **)((char *)opt + singles[s].offset);
		overridden[s] = value != NULL &&
				counts(s, list, sources, source_of(sources, "connection_string"));
		if (overridden[s])
			add(&out, singles[s].keyword, value);
		has_password |= overridden[s] && strcmp(singles[s].keyword, "password") == 0;
	}
	for (const PQconninfoOption *o = list; o->keyword != NULL; o++) {
		bool taken = o->val == NULL;
		for (int s = 0; s < SINGLES; s++)
			taken |= overridden[s] && strcmp(o->keyword, singles[s].keyword) == 0;
		if (!taken)
			add(&out, o->keyword, o->val);
	}
	if (!has_password && given(list, "password") == NULL)
		add_password_of_libpq(&out, list);
	secret_free(opt->conninfo);
	opt->conninfo = buf_take(&out);
	return opt->conninfo != NULL ? 0 : -ENOMEM;
}

void conninfo_without_secrets(const char *conninfo, struct buf *out) {
	AUTO_BUF struct buf ignored = { 0 };
	AUTO_CONNINFO PQconninfoOption *list = parse(conninfo, &ignored);
	size_t start = out->len;

	for (const PQconninfoOption *o = list; o != NULL && o->keyword != NULL; o++) {
		bool plain = o->val != NULL && o->val[0] != '\0' && strpbrk(o->val, " '\\") == NULL;
		if (o->val == NULL || is_secret(o))
			continue;
		if (out->len > start)
			buf_putc(out, ' ');
		buf_printf(out, "%s=", o->keyword);
		if (plain)
			buf_puts(out, o->val);
		else
			put_quoted(out, o->val);
	}
}

bool conninfo_has_secret(const char *string) {
	AUTO_BUF struct buf ignored = { 0 };
	AUTO_CONNINFO PQconninfoOption *list = parse(string, &ignored);

	if (list == NULL)
		return true; /* nobody can tell */
	for (const PQconninfoOption *o = list; o->keyword != NULL; o++)
		if (o->val != NULL && is_secret(o))
			return true;
	return false;
}
