#include "init/pack.h"

#include "util/text/strings.h"
#include "util/list.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char core_name[] = "core", plan_name[] = "sqitch.plan";

/* The directory of the projects; NULL if there is none. To be freed. */
static char *find_root(void) {
	static const char *const places[] = { ROWFS_DATADIR "/schema", ROWFS_SOURCE_DIR "/schema" };
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		AUTO_FREE char *plan = NULL;
		if (asprintf(&plan, "%s/%s/%s", places[i], core_name, plan_name) >= 0 &&
		    access(plan, R_OK) == 0)
			return strdup(places[i]);
	}
	return NULL;
}

char *packs_layout(const char *name) {
	AUTO_FREE char *root = find_root();
	AUTO_FREE char *path = NULL;
	if (root == NULL || asprintf(&path, "%s/%s/layout.json", root, name) < 0 ||
	    access(path, R_OK) != 0)
		return NULL;
	return move_ptr(path);
}

/* -- one plan ---------------------------------------------------------------------------------- */

/* Appends LEN bytes of TEXT, as a string, to LIST of *N. */
static bool add(char ***list, int *n, const char *text, size_t len) {
	if (!list_room(*list, *n) || ((*list)[*n] = strndup(text, len)) == NULL)
		return false;
	++*n;
	return true;
}

/* "[own_change other_project:change]": the other projects. */
static bool add_needs(struct pack *p, const char *at, const char *end) {
	while (at < end) {
		size_t len = strcspn(at, " ]"), name = strcspn(at, ": ]");
		if (at[name] == ':' && !add(&p->needs, &p->nneeds, at, name))
			return false;
		at += len + 1;
	}
	return true;
}

/* A line of the plan: a pragma, a comment, a tag, nothing, or "change [needs] date who # note". */
static bool take_line(struct pack *p, const char *line, const char *end) {
	static const char project[] = "%project=";
	enum { PREFIX = sizeof(project) - 1 };
	if (strncmp(line, project, PREFIX) == 0) {
		free(p->project);
		p->project = strndup(line + PREFIX, (size_t)(end - line) - PREFIX);
		return p->project != NULL;
	}
	if (line == end || strchr("%#@", line[0]) != NULL)
		return true;
	const char *blank = memchr(line, ' ', (size_t)(end - line));
	const char *close = memchr(line, ']', (size_t)(end - line));
	if (blank == NULL)
		blank = end;
	if (close != NULL && blank[1] == '[' && !add_needs(p, blank + 2, close))
		return false;
	return add(&p->changes, &p->nchanges, line, (size_t)(blank - line));
}

int pack_parse(struct pack *p, const char *text) {
	while (*text != '\0') {
		const char *end = text + strcspn(text, "\n");
		if (!take_line(p, text, end))
			return -ENOMEM;
		text = end + (*end == '\n');
	}
	return p->project != NULL && p->nchanges > 0 ? 0 : -EINVAL;
}

void pack_free(struct pack *p) {
	for (int i = 0; i < p->nchanges; i++)
		free(p->changes[i]);
	for (int i = 0; i < p->nneeds; i++)
		free(p->needs[i]);
	free(p->changes);
	free(p->needs);
	free(p->name);
	free(p->project);
	*p = (struct pack){ 0 };
}

/* Reads the plan of the directory NAME. Returns 0, -ENOENT if that is no project, or -errno. */
static int read_plan(const char *root, const char *name, struct pack *p) {
	AUTO_FREE char *path = NULL;
	AUTO_BUF struct buf text = { 0 };
	*p = (struct pack){ .name = strdup(name) };
	if (p->name == NULL || asprintf(&path, "%s/%s/%s", root, name, plan_name) < 0)
		return -ENOMEM;
	AUTO_FILE FILE *f = fopen(path, "re");
	if (f == NULL)
		return errno == ENOTDIR ? -ENOENT : -errno;
	buf_puts(&text, "");
	if (!buf_add_file(&text, f, SIZE_MAX))
		return -errno;
	return text.failed ? -ENOMEM : pack_parse(p, text.data);
}

/* -- all --------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
	const struct pack *p = a, *q = b;
	int core = (strcmp(q->name, core_name) == 0) - (strcmp(p->name, core_name) == 0);
	return core != 0 ? core : strcmp(p->name, q->name);
}

static int add_pack(struct packs *packs, const char *name) {
	if (!list_room(packs->list, packs->n))
		return -ENOMEM;
	int rc = read_plan(packs->root, name, &packs->list[packs->n]);
	if (rc == 0)
		packs->n++;
	else
		pack_free(&packs->list[packs->n]);
	return rc == -ENOENT ? 0 : rc;
}

/* All projects of the directory. Returns 0, or -errno; WHY may say more. */
static int read_all(struct packs *packs, DIR *dir, struct buf *why) {
	const struct dirent *entry;
	int rc = 0;
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		rc = add_pack(packs, entry->d_name);
		if (rc != 0)
			buf_printf(why, "%s/%s/%s: %s", packs->root, entry->d_name, plan_name,
				   rc == -EINVAL ? "this is no plan" : strerror(-rc));
	}
	return rc;
}

bool packs_load(struct packs *packs, struct buf *why) {
	*packs = (struct packs){ .root = find_root() };
	if (packs->root == NULL) {
		buf_puts(why,
			 "the SQL of rowfs is not in " ROWFS_DATADIR "/schema: install rowfs anew");
		return false;
	}
	DIR *dir = opendir(packs->root);
	int rc = dir != NULL ? read_all(packs, dir, why) : -errno;
	if (dir != NULL)
		closedir(dir);
	if (rc != 0 && why->len == 0)
		buf_printf(why, "%s: %s", packs->root, strerror(-rc));
	if (rc == 0)
		qsort(packs->list, (size_t)packs->n, sizeof(*packs->list), by_name);
	return rc == 0;
}

void packs_free(struct packs *packs) {
	for (int i = 0; i < packs->n; i++)
		pack_free(&packs->list[i]);
	free(packs->list);
	free(packs->root);
	*packs = (struct packs){ 0 };
}

const struct pack *packs_find(const struct packs *packs, const char *name) {
	return list_find(packs->list, packs->n, name, name);
}

int pack_change(const struct pack *pack, const char *change) {
	return text_index((const char *const *)pack->changes, pack->nchanges, change);
}
