#include "fs/start/init.h"
#include "fs/start/mount.h"
#include "fs/options/options.h"
#include "import/import.h"
#include "util/log.h"

#include <malloc.h>
#include <string.h>

static const char usage_text[] =
	"usage: rowfs mount [--layout FILE] [--config FILE] [-o KEY[=VALUE],...] [-f] [-d] [CONNINFO] MOUNTPOINT\n"
	"       rowfs init [OPTIONS] [PACK...] [CONNINFO]\n"
	"       rowfs check [--install] [--config FILE] [-o KEY[=VALUE],...] [LAYOUT [CONNINFO]]\n"
	"       rowfs import [OPTIONS] OLD-TREE MOUNTPOINT\n"
	"       rowfs --help | --version\n"
	"\n"
	"mount   serve a PostgreSQL database as the directory MOUNTPOINT\n"
	"init    put what rowfs needs, and tables of packs, into a database; rowfs init --help says more\n"
	"check   say whether LAYOUT (default: the built-in one) fits the database, and what is\n"
	"        installed for it; nothing in the database changes\n"
	"import  copy a tree of files into a mounted rowfs; rowfs import --help says more\n"
	"\n"
	"CONNINFO is a libpq connection string (\"host=... dbname=...\"), a postgresql:// URI, service=NAME, or\n"
	"the name of a database. Without one, libpq's PG* variables, DATABASE_URL and DB_* say which database.\n"
	"Keep a password in ~/.pgpass (or the file that PGPASSFILE names).\n"
	"\n"
	"  -f, --foreground                do not become a daemon\n"
	"  -d, --debug                     -f, and libfuse tells every request\n"
	"  -s                              ignore unknown options that follow (for mount(8))\n"
	"      --install                   check: install the triggers that LAYOUT needs, and say what\n"
	"                                  they cost; a mount installs nothing\n"
	"      --layout FILE               the same as -o layout=FILE\n"
	"      --config FILE               the same as -o config=FILE\n"
	"  -o KEY[=VALUE][,KEY...]         options; a comma within a value is written \\,\n"
	"\n"
	"Options, strongest source last: environment variable (in brackets below), configuration file (a JSON\n"
	"object with these keys), command line. Words of fstab (defaults, noauto, x-*, ...) are understood.\n";

static int print(struct buf *text) {
	if (text->failed)
		return 1;
	fwrite(text->data, 1, text->len, stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}

static int help(bool troff) {
	AUTO_BUF struct buf text = { 0 };
	if (!troff)
		buf_puts(&text, usage_text);
	options_help(&text, troff);
	return print(&text);
}

static int version(void) {
	AUTO_BUF struct buf text = { 0 };
	buf_puts(&text, "rowfs " ROWFS_VERSION "\n");
	return print(&text);
}

static int usage_mistake(const char *what) {
	fprintf(stderr, "rowfs: %s; rowfs --help says what is meant\n", what);
	return 2;
}

static bool asks_for_help(int argc, char **argv) {
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

static int run(enum command command, int argc, char **argv) {
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	enum log_level level = LOG_LEVEL_INFO;

	if (asks_for_help(argc, argv))
		return help(false);
	int status = options_parse(&opt, command, argc, argv, &err);
	if (status != 0) {
		fprintf(stderr, "rowfs: %s\n", err.data != NULL ? err.data : "out of memory");
	} else {
		if (log_level_parse(opt.log_level, &level))
			log_setup(level, false);
		status = command == COMMAND_MOUNT ? rowfs_mount(&opt)
						  : rowfs_check(&opt, opt.install);
	}
	options_free(&opt);
	return status;
}

/* glibc gives each thread a heap of its own, which grows by one page, and one system call, at a
 * time. */
static void set_memory(void) {
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TOP_PAD, 1 << 20);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
}

int main(int argc, char **argv) {
	const char *word = argc > 1 ? argv[1] : NULL;

	set_memory();

	if (word == NULL)
		return usage_mistake("a command is needed: mount, init, check or import");
	if (strcmp(word, "mount") == 0)
		return run(COMMAND_MOUNT, argc - 1, argv + 1);
	if (strcmp(word, "check") == 0)
		return run(COMMAND_CHECK, argc - 1, argv + 1);
	if (strcmp(word, "init") == 0)
		return rowfs_init(argc - 1, argv + 1);
	if (strcmp(word, "import") == 0)
		return import_main(argc - 1, argv + 1);
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
		return help(false);
	if (strcmp(word, "--help=man") == 0)
		return help(true);
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		return version();
	return usage_mistake("there is no such command");
}
