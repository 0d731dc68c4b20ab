#include "fs/start/init.h"

#include "fs/start/mount.h"
#include "init/init.h"

#include <string.h>

static const char usage_text[] =
	"usage: rowfs init [-o KEY=VALUE,...] [PACK...] [CONNINFO]\n"
	"       rowfs init --follow LAYOUT [PACK...] [CONNINFO]\n"
	"       rowfs init --dry-run [PACK...] [CONNINFO]\n"
	"       rowfs init --replace FUNCTION PACK [CONNINFO]\n"
	"       rowfs init --status | --upgrade [CONNINFO]\n"
	"       rowfs init --remove [--with-data] [PACK...] [CONNINFO]\n"
	"\n"
	"Puts what rowfs keeps for itself into a database, in the schema rowfs, and the tables of packs\n"
	"into the first schema of the search path (or the one that -o schema_name=NAME names). Tables that\n"
	"are there are taken as they are; what differs from what the pack needs is told.\n"
	"\n"
	"      --follow LAYOUT   make the triggers, too, by which mounts of LAYOUT (a file, a pack, or\n"
	"                        default) are told of changes and keep the sizes of files\n"
	"      --replace FUNCTION  put the pack's function in the place of the one that was there; --remove gives\n"
	"                        that back\n"
	"      --dry-run         say what would be made, what is there, and what differs; change nothing\n"
	"      --status          say what is deployed\n"
	"      --upgrade         bring what is deployed to the newest\n"
	"      --remove          take the packs out, or everything; what was there before stays\n"
	"      --with-data       rows in tables that a pack has made, and the bytes of ingest files, may go\n"
	"  -v, --verbose         what sqitch says, too\n"
	"  -h, --help\n"
	"\n"
	"Exit status: 0; 1 something could not be done, or (--status) is not the newest; 2 a mistake in the\n"
	"arguments.\n"
	"\n"
	"Packs:";

static const struct {
	const char *word;
	enum init_action action;
} actions[] = {
	{ "--dry-run", INIT_REHEARSE },
	{ "--status", INIT_STATUS },
	{ "--upgrade", INIT_UPGRADE },
	{ "--remove", INIT_REMOVE },
};

/* The arguments: those of init, and the rest, which every command knows. */
struct arguments {
	enum init_action action;
	bool with_data, verbose, help;
	const char *follow;  /* a layout, or NULL */
	const char *replace; /* a function, or NULL */
	const char **packs;
	int npacks;
	char **rest; /* argv of options_parse() */
	int nrest;
};

static int mistake(const char *what, const char *word) {
	fprintf(stderr, "rowfs init: %s%s; --help says what is meant\n", what, word);
	return 2;
}

static bool take_action(struct arguments *a, const char *word) {
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(word, actions[i].word) == 0) {
			a->action = actions[i].action;
			return true;
		}
	return false;
}

/* Takes ARGV[*I], and what belongs to it. Returns 0, or the exit status. */
static int take(struct arguments *a, const struct packs *packs, int argc, char **argv, int *i) {
	static const char follow[] = "--follow";
	const char *word = argv[*i];
	bool next = *i + 1 < argc;
	if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)
		a->help = true;
	else if (strcmp(word, "-v") == 0 || strcmp(word, "--verbose") == 0)
		a->verbose = true;
	else if (strcmp(word, "--with-data") == 0)
		a->with_data = true;
	else if (strcmp(word, follow) == 0 && next)
		a->follow = argv[++*i];
	else if (strncmp(word, "--follow=", sizeof(follow)) == 0)
		a->follow = word + sizeof(follow);
	else if (strcmp(word, follow) == 0)
		return mistake("--follow needs a layout", "");
	else if (strcmp(word, "--replace") == 0 && next)
		a->replace = argv[++*i];
	else if (packs_find(packs, word) != NULL)
		a->packs[a->npacks++] = word;
	else if (!take_action(a, word)) {
		a->rest[a->nrest++] = argv[*i];
		if (next && (strcmp(word, "-o") == 0 || strcmp(word, "--config") == 0))
			a->rest[a->nrest++] = argv[++*i];
	}
	return 0;
}

static int judge(const struct arguments *a) {
	if (a->npacks > 0 && (a->action == INIT_STATUS || a->action == INIT_UPGRADE))
		return mistake("--status and --upgrade are about all packs, and not ", a->packs[0]);
	if (a->with_data && a->action != INIT_REMOVE)
		return mistake("--with-data goes with --remove", "");
	if (a->follow != NULL && a->action != INIT_DEPLOY && a->action != INIT_UPGRADE)
		return mistake("--follow makes triggers, and goes neither with --status nor with ",
			       "--remove");
	if (a->replace != NULL && (a->npacks != 1 || a->action != INIT_DEPLOY || a->follow != NULL))
		return mistake("--replace wants the pack that the function is of, and nothing else",
			       "");
	return 0;
}

static void help(const struct packs *packs) {
	fputs(usage_text, stdout);
	for (int i = 0; i < packs->n; i++)
		printf(" %s", packs->list[i].name);
	fputs("\n", stdout);
}

static int act(const struct arguments *a, const struct packs *packs, struct options *opt) {
	struct db_config db = options_db_config(opt);
	db.slow_query_ms = 0;
	const struct init init = {
		.db = &db,
		.schema = opt->schema_name,
		.packs = a->packs,
		.npacks = a->npacks,
		.function = a->replace,
		.with_data = a->with_data,
		.verbose = a->verbose,
	};
	int status = init_run(&init, packs, a->replace != NULL ? INIT_REPLACE : a->action);
	return status == 0 && a->follow != NULL ? rowfs_check(opt, true) : status;
}

/* With the arguments taken apart. */
static int run(struct arguments *a, const struct packs *packs) {
	AUTO_BUF struct buf err = { 0 };
	AUTO_FREE char *layout = NULL;
	struct options opt;
	int status = judge(a);
	if (status != 0)
		return status;
	if (a->follow != NULL && asprintf(&layout, "--layout=%s", a->follow) < 0)
		return 1;
	if (layout != NULL)
		a->rest[a->nrest++] = layout;
	status = options_parse(&opt, COMMAND_INIT, a->nrest, a->rest, &err);
	if (status != 0)
		fprintf(stderr, "rowfs: %s\n", err.data != NULL ? err.data : "out of memory");
	else
		status = act(a, packs, &opt);
	options_free(&opt);
	return status;
}

int rowfs_init(int argc, char **argv) {
	AUTO_BUF struct buf why = { 0 };
	AUTO_FREE char **rest = calloc((size_t)argc + 2, sizeof(*rest));
	AUTO_FREE const char **names = calloc((size_t)argc + 1, sizeof(*names));
	struct arguments a = { .packs = names, .rest = rest };
	struct packs packs;
	int status = rest != NULL && names != NULL ? 0 : 1;
	if (!packs_load(&packs, &why)) {
		fprintf(stderr, "rowfs init: %s\n", why.data != NULL ? why.data : "out of memory");
		status = 1;
	}
	if (status == 0)
		a.rest[a.nrest++] = argv[0];
	for (int i = 1; status == 0 && i < argc; i++)
		status = take(&a, &packs, argc, argv, &i);
	if (status == 0 && a.help)
		help(&packs);
	else if (status == 0)
		status = run(&a, &packs);
	packs_free(&packs);
	return status;
}
