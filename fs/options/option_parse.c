#include "fs/options/options.h"

#include "fs/options/option_config.h"
#include "fs/options/option_conninfo.h"
#include "fs/options/option_secret.h"
#include "fs/options/option_table.h"
#include "util/secret.h"

#include <errno.h>
#include <fuse_log.h>
#include <fuse_opt.h>
#include <math.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_OPTIONS = 96 }; /* the table is shorter: see options_parse() */

struct parse {
	struct options *opt;
	enum option_source now;                   /* what is being read */
	enum option_source sources[MOST_OPTIONS]; /* where each option's value is from */
	char *operands[3];                        /* what is no option; owned */
	int noperands;
	bool sloppy;      /* -s: unknown options are ignored */
	bool secret_word; /* a word of -o holds a secret */
	struct buf *err;
};

/* Words of mount(8): what libfuse is given as it is, and what says nothing to a file system. A
 * trailing '*' matches any rest. */
static const char *const kernel_words[] = { "nosuid",     "nodev", "noexec",  "noatime",
					    "nodiratime", "sync",  "dirsync", NULL };
static const char *const other_words[] = {
	"suid",       "dev",         "exec",          "atime",     "diratime",   "relatime",
	"norelatime", "strictatime", "nostrictatime", "lazytime",  "nolazytime", "async",
	"defaults",   "auto",        "noauto",        "nofail",    "fail",       "user",
	"user=*",     "nouser",      "users",         "nousers",   "owner",      "noowner",
	"group",      "nogroup",     "_netdev",       "comment=*", "x-*",        "X-*",
	"subtype=*",  "loud",        "silent",        NULL
};

static bool is_word(const char *const *words, const char *arg) {
	for (; *words != NULL; words++) {
		size_t len = strlen(*words) - 1;
		if (strcmp(*words, arg) == 0 ||
		    ((*words)[len] == '*' && strncmp(*words, arg, len) == 0))
			return true;
	}
	return false;
}

static int add_mount_flag(struct options *opt, const char *flag) {
	AUTO_BUF struct buf all = { 0 };
	if (opt->mount_flags != NULL)
		buf_printf(&all, "%s,", opt->mount_flags);
	buf_puts(&all, flag);
	free(opt->mount_flags);
	opt->mount_flags = buf_take(&all);
	return opt->mount_flags != NULL ? 0 : -ENOMEM;
}

/* The command line is read first, since it names the configuration file: a weaker source changes
 * nothing that a stronger one has set. */
static int set_from(struct parse *p, const struct option *o, const char *value, struct buf *why) {
	enum option_source *source = &p->sources[o - option_table];
	if (*source > p->now)
		return 0;
	*source = p->now;
	return option_set(p->opt, o, value, why);
}

/* One word of -o. What it says is not repeated in the error where it may be a secret. */
static int take_option(struct parse *p, const char *arg) {
	size_t len = strcspn(arg, "=");
	AUTO_BUF struct buf why = { 0 };

	if (arg[0] == '\0')
		return 0;
	if (strcmp(arg, "rw") == 0)
		arg = "ro=false", len = 2;
	const struct option *o = option_find(arg, len);
	if (o == NULL && is_word(kernel_words, arg))
		return add_mount_flag(p->opt, arg);
	if (o == NULL && (is_word(other_words, arg) || (p->sloppy && arg[0] != '-')))
		return 0;
	if (o == NULL)
		return buf_refuse(p->err, "unknown option \"%.*s\"; rowfs --help lists them all",
				  (int)len, arg);
	p->secret_word |= o->secret;
	if (arg[len] == '\0' && o->type != OPTION_BOOL)
		return buf_refuse(p->err, "option %s needs a value", o->key);
	if (set_from(p, o, arg[len] == '=' ? arg + len + 1 : "true", &why) == 0)
		return 0;
	return buf_refuse(p->err, "option %s: %s", o->secret ? o->key : arg,
			  why.data != NULL ? why.data : "no memory");
}

enum { KEY_FOREGROUND = 1, KEY_DEBUG, KEY_SLOPPY, KEY_LAYOUT, KEY_CONFIG, KEY_INSTALL };

static const struct fuse_opt words[] = {
	FUSE_OPT_KEY("-f", KEY_FOREGROUND),
	FUSE_OPT_KEY("--foreground", KEY_FOREGROUND),
	FUSE_OPT_KEY("-d", KEY_DEBUG),
	FUSE_OPT_KEY("--debug", KEY_DEBUG),
	FUSE_OPT_KEY("-s", KEY_SLOPPY),
	FUSE_OPT_KEY("--layout=", KEY_LAYOUT),
	FUSE_OPT_KEY("--layout ", KEY_LAYOUT),
	FUSE_OPT_KEY("--config=", KEY_CONFIG),
	FUSE_OPT_KEY("--config ", KEY_CONFIG),
	FUSE_OPT_KEY("--install", KEY_INSTALL),
	FUSE_OPT_END,
};

static int take_operand(struct parse *p, const char *arg) {
	if (p->noperands == sizeof(p->operands) / sizeof(p->operands[0]))
		return buf_refuse(p->err, "too many arguments; rowfs --help says which are meant");
	p->operands[p->noperands] = strdup(arg);
	return p->operands[p->noperands++] != NULL ? 0 : -ENOMEM;
}

static int take_file(struct parse *p, const char *key, const char *arg) {
	AUTO_BUF struct buf why = { 0 };
	const char *value = arg + 2 + strlen(key);
	if (set_from(p, option_find(key, strlen(key)), value + (*value == '='), &why) == 0)
		return 0;
	return buf_refuse(p->err, "--%s: %s", key, why.data != NULL ? why.data : "no memory");
}

/* For fuse_opt_parse(): one argument, or one word of -o. -1 ends it; 0 means that it was ours. */
static int take_argument(void *data, const char *arg, int key, struct fuse_args *args) {
	struct parse *p = data;
	int rc = 0;

	switch (key) {
	case KEY_FOREGROUND:
		p->opt->foreground = true;
		break;
	case KEY_DEBUG:
		p->opt->debug = p->opt->foreground = true;
		break;
	case KEY_SLOPPY:
		p->sloppy = true;
		break;
	case KEY_LAYOUT:
		rc = take_file(p, "layout", arg);
		break;
	case KEY_CONFIG:
		rc = take_file(p, "config", arg);
		break;
	case KEY_INSTALL:
		p->opt->install = true;
		break;
	case FUSE_OPT_KEY_NONOPT:
		rc = take_operand(p, arg);
		break;
	default:
		rc = take_option(p, arg);
	}
	return rc < 0 ? -1 : 0;
}

static void quiet(enum fuse_log_level level, const char *fmt, va_list ap) {
}

static int read_command_line(struct parse *p, int argc, char **argv) {
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);

	p->now = FROM_COMMAND_LINE;
	fuse_set_log_func(quiet); /* it would speak of "fuse:"; the sentence is ours */
	int rc = fuse_opt_parse(&args, p, words, take_argument);
	fuse_set_log_func(NULL);
	fuse_opt_free_args(&args);
	if (rc < 0 && p->err->len == 0)
		buf_puts(p->err, "the last option needs a value");
	return rc < 0 ? -EINVAL : 0;
}

static int set_defaults(struct parse *p) {
	AUTO_BUF struct buf path = { 0 };
	const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	bool at_home = home != NULL && home[0] == '/';
	const struct passwd *user = at_home ? NULL : getpwuid(geteuid());

	p->opt->uid = getuid();
	p->opt->gid = getgid();
	for (int i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		if (o->initial != NULL && option_set(p->opt, o, o->initial, p->err) < 0)
			return -EINVAL;
	}
	if (geteuid() == 0)
		buf_puts(&path, "/var/lib/rowfs");
	else if (base != NULL && base[0] == '/')
		buf_printf(&path, "%s/rowfs", base);
	else if (at_home || user != NULL)
		buf_printf(&path, "%s/.local/state/rowfs", at_home ? home : user->pw_dir);
	else
		return 0; /* the mount says so: nobody's /tmp is used */
	p->opt->state_dir = buf_take(&path);
	return p->opt->state_dir != NULL ? 0 : -ENOMEM;
}

static int read_environment(struct parse *p) {
	p->now = FROM_ENVIRONMENT;
	for (int i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		const char *value = o->env != NULL ? getenv(o->env) : NULL;
		AUTO_BUF struct buf why = { 0 };
		if (value == NULL || value[0] == '\0' || set_from(p, o, value, &why) == 0)
			continue;
		return buf_refuse(p->err, "environment variable %s: %s", o->env,
				  why.data != NULL ? why.data : "no memory");
	}
	return 0;
}

static int take_config(void *arg, const char *key, const char *value, struct buf *err) {
	struct parse *p = arg;
	const struct option *o = option_find(key, strlen(key));
	if (o == NULL || strcmp(key, "config") == 0)
		return buf_refuse(err, "there is no such option");
	return set_from(p, o, value, err);
}

/* Overwrites the arguments of ARGV that hold a secret: other users' ps shows them. */
static void mask_arguments(const struct parse *p, int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		bool is_words =
			strncmp(argv[i], "-o", 2) == 0 || (i > 1 && strcmp(argv[i - 1], "-o") == 0);
		bool secret = is_words && p->secret_word;
		for (int k = 0; k < p->noperands; k++)
			secret |= strcmp(argv[i], p->operands[k]) == 0 &&
				  strpbrk(argv[i], "=:") != NULL && conninfo_has_secret(argv[i]);
		if (secret && strcmp(argv[i], "-o") != 0)
			memset(argv[i], 'x', strlen(argv[i]));
	}
}

/* The operand that is a connection string; there may be none. */
static const char *conninfo_operand(const struct parse *p, enum command command) {
	int first = command == COMMAND_CHECK &&
		    p->sources[option_find("layout", 6) - option_table] == FROM_DEFAULT;
	int last = p->noperands - (command == COMMAND_MOUNT);
	return first < last ? p->operands[first] : NULL;
}

static int use_operands(struct parse *p, enum command command) {
	const struct option *layout = option_find("layout", 6),
			    *string = option_find("connection_string", 17);
	const char *conninfo = conninfo_operand(p, command);
	bool names_layout = p->sources[layout - option_table] == FROM_COMMAND_LINE;
	int most = command == COMMAND_INIT || (command == COMMAND_CHECK && names_layout) ? 1 : 2;

	p->now = FROM_COMMAND_LINE;
	if (p->opt->install && command != COMMAND_CHECK)
		return buf_refuse(p->err, "--install is for rowfs check: a mount installs nothing");
	if (p->noperands > most || (command == COMMAND_MOUNT && p->noperands == 0)) {
		buf_puts(p->err,
			 p->noperands == 0 ? "a mountpoint is needed" : "too many arguments");
		return buf_refuse(p->err, "; rowfs --help says which are meant");
	}
	if (conninfo != NULL && set_from(p, string, conninfo, p->err) < 0)
		return -EINVAL;
	if (command == COMMAND_CHECK && !names_layout && p->noperands > 0)
		return set_from(p, layout, p->operands[0], p->err);
	return 0;
}

static int choose_fsname(struct options *opt, const char *operand) {
	AUTO_BUF struct buf name = { 0 };
	if (opt->fsname != NULL)
		return 0;
	if (operand != NULL && !conninfo_has_secret(operand))
		buf_puts(&name, operand); /* as it stands in fstab, where mount -a compares it */
	else
		conninfo_without_secrets(opt->conninfo, &name);
	if (name.len == 0)
		buf_puts(&name, "rowfs");
	opt->fsname = buf_take(&name);
	return opt->fsname != NULL ? 0 : -ENOMEM;
}

static int resolve_mountpoint(struct options *opt, const char *path, struct buf *err) {
	struct stat st;
	opt->mountpoint = realpath(path, NULL);
	if (opt->mountpoint == NULL || stat(opt->mountpoint, &st) < 0) {
		int why = errno;
		return buf_refuse(
			err, "mountpoint %s: %s%s", path, strerror(why),
			why == ENOTCONN ? ": a mount that has died is there; umount it first" : "");
	}
	return S_ISDIR(st.st_mode) ? 0
				   : buf_refuse(err, "mountpoint %s: %s", path, strerror(ENOTDIR));
}

/* A daemon leaves the directory that it was started in, and reads the layout again later. Links
 * are not resolved: they may then lead elsewhere. */
static int make_layout_absolute(struct options *opt) {
	AUTO_BUF struct buf path = { 0 };
	AUTO_FREE char *cwd = opt->layout != NULL && opt->layout[0] != '/' ? getcwd(NULL, 0) : NULL;
	if (cwd == NULL)
		return 0;
	buf_printf(&path, "%s/%s", cwd, opt->layout);
	if (path.failed)
		return -ENOMEM;
	free(opt->layout);
	opt->layout = buf_take(&path);
	return 0;
}

static int check_together(const struct options *opt, struct buf *err) {
	if (opt->min_connections <= opt->max_connections)
		return 0;
	return buf_refuse(err, "min_connections (%d) is more than max_connections (%d)",
			  opt->min_connections, opt->max_connections);
}

static int read_all(struct parse *p, enum command command, int argc, char **argv) {
	int rc = set_defaults(p);
	if (rc == 0) {
		rc = read_command_line(p, argc, argv);
		if (rc == 0)
			rc = use_operands(p, command);
		mask_arguments(p, argc, argv);
	}
	if (rc == 0)
		rc = read_environment(p);
	p->now = FROM_CONFIG;
	if (rc == 0 && p->opt->config_file != NULL)
		rc = config_read(p->opt->config_file, take_config, p, p->err);
	if (rc == 0)
		rc = check_together(p->opt, p->err);
	if (rc == 0)
		rc = conninfo_assemble(p->opt, p->sources, p->err);
	return rc;
}

int options_parse(struct options *opt, enum command command, int argc, char **argv,
		  struct buf *err) {
	struct parse p = { .opt = opt, .err = err };
	int status = 2;

	*opt = (struct options){ 0 };
	if (option_count > MOST_OPTIONS) {
		buf_puts(err, "BUG: the table of options has outgrown its parser");
	} else if (read_all(&p, command, argc, argv) == 0 &&
		   choose_fsname(opt, conninfo_operand(&p, command)) == 0 &&
		   make_layout_absolute(opt) == 0) {
		status = 0;
		if (command == COMMAND_MOUNT &&
		    resolve_mountpoint(opt, p.operands[p.noperands - 1], err) < 0)
			status = 1;
	}
	if (status != 0 && err->len == 0)
		buf_puts(err, "out of memory");
	for (int i = 0; i < p.noperands; i++)
		secret_free(p.operands[i]);
	secret_forget_all();
	/* what they say is in opt->conninfo, and only there */
	secret_free(move_ptr(opt->connection_string));
	secret_free(move_ptr(opt->password));
	return status;
}

void options_free(struct options *opt) {
	for (int i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		bool owned = o->type == OPTION_TEXT || o->type == OPTION_PATH ||
			     o->type == OPTION_LAYOUT || o->type == OPTION_WORD ||
			     o->type == OPTION_PORT;
		if (owned && o->help != NULL)
			free(*(char **)((char *)opt + o->offset));
	}
	secret_free(opt->conninfo);
	free(opt->mountpoint);
	free(opt->mount_flags);
	*opt = (struct options){ 0 };
}

struct db_config options_db_config(const struct options *opt) {
	struct db_config config = opt->db;
	config.conninfo = opt->conninfo;
	config.search_path = opt->schema_name;
	config.isolation_level = opt->isolation_level;
	config.min_connections = opt->min_connections;
	config.max_connections = opt->max_connections;
	config.command_timeout_ms = opt->command_timeout * 1000;
	config.transaction_timeout_ms = opt->transaction_timeout * 1000;
	config.retry_delay_ms = (int)lround(opt->retry_delay * 1000);
	config.slow_query_ms = opt->log_slow_queries ? opt->slow_query_threshold : 0;
	return config;
}
