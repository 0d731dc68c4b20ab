#include "init/sqitch.h"

#include <errno.h>
#include <string.h>

enum { WORDS_MOST = 12, NOT_THERE = 127 };

int sqitch_run(const struct program *p, const struct pack *pack, const char *const *words,
	       struct buf *why) {
	const char *argv[WORDS_MOST + 3] = { "sqitch" };
	AUTO_BUF struct buf said = { 0 };
	int n = 1;
	while (n <= WORDS_MOST && *words != NULL)
		argv[n++] = *words++;
	argv[n] = "db:pg:";
	int rc = program_run(p, pack->name, argv, NULL, &said);
	if (rc == 0)
		return 0;
	if (rc < 0)
		buf_printf(why, "sqitch: %s", strerror(-rc));
	else if (rc == NOT_THERE)
		buf_puts(why, "sqitch is not installed: apt install sqitch libdbd-pg-perl");
	else
		buf_printf(why, "sqitch failed in %s/%s:\n%s", p->root, pack->name,
			   said.len > 0 && !said.failed ? said.data : "it said nothing");
	return rc < 0 ? rc : -EIO;
}

/* Appends the script PATH without its BEGIN and COMMIT, and in place of "\\ir FILE" that file. */
static int add_file(const char *path, bool inner, struct buf *out) {
	static const char include[] = "\\ir ";
	AUTO_FREE char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int rc = 0;
	AUTO_FILE FILE *f = fopen(path, "re");
	if (f == NULL)
		return -errno;
	while (rc == 0 && (len = getline(&line, &room, f)) >= 0) {
		AUTO_FREE char *other = NULL;
		if (strcmp(line, "BEGIN;\n") == 0 || strcmp(line, "COMMIT;\n") == 0)
			continue;
		if (inner || strncmp(line, include, sizeof(include) - 1) != 0) {
			buf_add(out, line, (size_t)len);
			continue;
		}
		line[strcspn(line, "\n")] = '\0';
		if (asprintf(&other, "%.*s/%s", (int)(strrchr(path, '/') - path), path,
			     line + sizeof(include) - 1) < 0)
			return -ENOMEM;
		rc = add_file(other, true, out);
	}
	return rc;
}

/* Appends the deploy script of CHANGE. Each one begins with the search path that the first one
 * found. */
static int add_script(const struct program *p, const struct pack *pack, const char *change,
		      struct buf *out) {
	AUTO_FREE char *path = NULL;
	if (asprintf(&path, "%s/%s/deploy/%s.sql", p->root, pack->name, change) < 0)
		return -ENOMEM;
	int rc = add_file(path, false, out);
	buf_puts(out, "\nSELECT pg_catalog.set_config('search_path', "
		      "pg_catalog.current_setting('rowfs_init.path'), true);\n");
	return rc == 0 && out->failed ? -ENOMEM : rc;
}

int sqitch_script(const struct program *p, const struct pack *pack, int last, struct buf *out) {
	int rc = 0;
	for (int i = last + 1; rc == 0 && i < pack->nchanges; i++)
		rc = add_script(p, pack, pack->changes[i], out);
	return rc;
}
