#include "import/import.h"

#include "import/run.h"
#include "util/below.h"
#include "util/json.h"
#include "util/mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

enum { JOBS_MOST = 64 };

static const int64_t LARGEST_DOCUMENT = INT64_C(1) << 53; /* bytes; exact in a double */

static const char usage_text[] =
	"usage: rowfs import [OPTIONS] OLD-TREE MOUNTPOINT\n"
	"\n"
	"Copies a tree of files into a mounted rowfs, rows before what refers to them.\n"
	"\n"
	"  -j, --jobs N          files copied at once (4)\n"
	"  -n, --dry-run         say what would be done with each file\n"
	"      --verify          compare afterwards\n"
	"      --verify-only     compare, and copy nothing\n"
	"      --journal FILE    what is done (default: $XDG_STATE_HOME/rowfs/import-HASH.journal)\n"
	"      --restart         forget what an earlier run has done\n"
	"  -q, --quiet           no progress\n"
	"  -h, --help\n"
	"\n"
	"Exit status: 0 all is in, 1 something is not, 2 a mistake in the arguments.\n";

/* -- arguments --------------------------------------------------------------------------------- */

static int mistake(const char *fmt, ...) PRINTF_LIKE(1, 2);
static int mistake(const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	fputs("rowfs import: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs("\n", stderr);
	va_end(ap);
	return 2;
}

static bool take_jobs(struct import *im, const char *text) {
	char *end;
	long n = strtol(text, &end, 10);
	if (*text == '\0' || *end != '\0' || n < 1 || n > JOBS_MOST)
		return false;
	im->jobs = (int)n;
	return true;
}

/* Returns -1 to go on, otherwise the exit status. */
static int read_options(struct import *im, int argc, char **argv) {
	enum { VERIFY = 256, VERIFY_ONLY, JOURNAL, RESTART };
	static const struct option known[] = {
		{ "jobs", required_argument, NULL, 'j' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ "verify", no_argument, NULL, VERIFY },
		{ "verify-only", no_argument, NULL, VERIFY_ONLY },
		{ "journal", required_argument, NULL, JOURNAL },
		{ "restart", no_argument, NULL, RESTART },
		{ 0 },
	};
	int c;
	while ((c = getopt_long(argc, argv, "j:nqh", known, NULL)) != -1) {
		if (c == 'j' && !take_jobs(im, optarg))
			return mistake("--jobs wants a number from 1 to %d", JOBS_MOST);
		im->dry_run |= c == 'n';
		im->quiet |= c == 'q';
		im->verify |= c == VERIFY;
		im->verify_only |= c == VERIFY_ONLY;
		im->restart |= c == RESTART;
		if (c == JOURNAL) {
			free(im->journal_path);
			im->journal_path = strdup(optarg);
		}
		if (c == 'h') {
			fputs(usage_text, stdout);
			return 0;
		}
		if (c == '?')
			return 2;
	}
	if (argc - optind != 2)
		return mistake("OLD-TREE and MOUNTPOINT are needed; --help says what is meant");
	im->old = realpath(argv[optind], NULL);
	if (im->old == NULL)
		return mistake("%s: %s", argv[optind], strerror(errno));
	im->target = realpath(argv[optind + 1], NULL);
	if (im->target == NULL)
		return mistake("%s: %s", argv[optind + 1], strerror(errno));
	return -1;
}

static bool is_within(const char *path, const char *directory) {
	size_t len = strlen(directory);
	return strncmp(path, directory, len) == 0 &&
	       (len <= 1 || path[len] == '/' || path[len] == '\0');
}

/* Finds the mount that the target is in: the nearest directory with /.rowfs, upwards. Returns its
 * layout, or NULL. */
static char *find_mount(struct import *im) {
	im->root = strdup(im->target);
	for (char *slash; im->root != NULL && (slash = strrchr(im->root, '/')) != NULL;
	     *slash = '\0') {
		char *layout = import_read_control(im, "layout.json");
		if (layout != NULL) {
			const char *below = im->target + strlen(im->root);
			if (asprintf(&im->prefix, "%s%s", *below == '/' ? below + 1 : "",
				     *below == '/' ? "/" : "") < 0)
				im->prefix = NULL;
			return layout;
		}
	}
	return NULL;
}

static void read_limits(struct import *im) {
	AUTO_FREE char *text = import_read_control(im, "config.json");
	AUTO_JSON cJSON *config = text != NULL ? cJSON_Parse(text) : NULL;
	const cJSON *most = cJSON_GetObjectItemCaseSensitive(config, "max_document");
	im->max_document = (uint64_t)json_integer(most, 0, LARGEST_DOCUMENT, 16 * 1024 * 1024);
}

/* -- what is told ------------------------------------------------------------------------------ */

static void tell_item(const struct item *item, const char *what) {
	AUTO_BUF struct buf name = { 0 };
	import_put_name(&name, item->path);
	if (item->why != NULL)
		printf("%s: %s: %s\n", name.failed ? "?" : name.data, what, item->why);
	else
		printf("%s: %s\n", name.failed ? "?" : name.data, what);
}

static void tell_plan(const struct import *im) {
	for (size_t i = 0; i < im->plan.n; i++) {
		const struct item *item = &im->plan.items[i];
		AUTO_BUF struct buf what = { 0 };
		buf_puts(&what, item->state == ITEM_LEFT_OUT  ? "left out"
				: item->state == ITEM_REFUSED ? "refused"
				: item->was_done              ? "done already"
							      : class_word(item->what));
		if (item->state == ITEM_WAITING && item->what == CLASS_PLAIN)
			buf_puts(&what, ": no route has it; it lives as long as the mount");
		if (item->state == ITEM_WAITING && item->shadowed)
			buf_puts(&what, ": documents say some of it again, and come later");
		tell_item(item, what.failed ? "?" : what.data);
	}
	for (size_t i = 0; i < im->plan.ndirectories; i++) {
		AUTO_BUF struct buf name = { 0 };
		import_put_name(&name, im->plan.directories[i]);
		printf("%s/: an empty directory\n", name.failed ? "?" : name.data);
	}
}

struct summary {
	uint64_t in[ITEM_STATES]; /* files in each state */
	uint64_t plain, shadowed; /* of those that are done */
};

static void count_up(const struct plan *plan, struct summary *out) {
	for (size_t i = 0; i < plan->n; i++) {
		const struct item *item = &plan->items[i];
		out->in[item->state]++;
		out->plain += item->state == ITEM_DONE && item->what == CLASS_PLAIN;
		out->shadowed += item->state == ITEM_DONE && item->shadowed;
	}
}

static void tell_all(const struct plan *plan, enum item_state state, const char *what) {
	for (size_t i = 0; i < plan->n; i++)
		if (plan->items[i].state == state)
			tell_item(&plan->items[i], what);
}

static void tell_end(const struct import *im, const struct summary *s) {
	tell_all(&im->plan, ITEM_LEFT_OUT, "left out");
	tell_all(&im->plan, ITEM_REFUSED, "refused");
	printf("%" PRIu64 " files are in, %" PRIu64 " refused, %" PRIu64 " left out\n",
	       s->in[ITEM_DONE], s->in[ITEM_REFUSED], s->in[ITEM_LEFT_OUT]);
	if (s->plain > 0)
		printf("%" PRIu64
		       " of them are plain files: no route has them, and they live only as "
		       "long as the mount\n",
		       s->plain);
	if (s->shadowed > 0)
		printf("%" PRIu64
		       " of them hold rows that documents beside them hold, too: they were "
		       "written first, and the documents' word stands\n",
		       s->shadowed);
}

/* -- running ----------------------------------------------------------------------------------- */

static struct import *running; /* for the signals */

static void stop_running(int number) {
	(void)number;
	atomic_store(&running->stop, true);
}

static void catch_signals(struct import *im) {
	struct sigaction action = { .sa_handler = stop_running,
				    .sa_flags = SA_RESTART | SA_RESETHAND };
	running = im;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* Files that an earlier run has copied; plain ones only if they are still there. */
static void take_journal(struct import *im) {
	for (size_t i = 0; i < im->plan.n; i++) {
		struct item *item = &im->plan.items[i];
		if (!item->was_done || item->state != ITEM_WAITING)
			continue;
		struct stat st;
		if (item->what == CLASS_PLAIN &&
		    (below_stat(im->new_dir, item->path, &st) != 0 || !S_ISREG(st.st_mode) ||
		     (uint64_t)st.st_size != item->size))
			continue;
		item->state = ITEM_DONE;
	}
}

static void count_totals(struct import *im, bool all) {
	im->files_total = im->bytes_total = 0;
	for (size_t i = 0; i < im->plan.n; i++) {
		const struct item *item = &im->plan.items[i];
		if (item->state == ITEM_LEFT_OUT || (!all && item->state != ITEM_WAITING))
			continue;
		im->files_total++;
		im->bytes_total += item->size;
	}
}

static int copy_all(struct import *im) {
	struct summary sum = { 0 };
	take_journal(im);
	count_totals(im, false);
	run_copies(im);
	uint64_t failed = run_directories(im);
	count_up(&im->plan, &sum);
	tell_end(im, &sum);
	fflush(stdout);
	bool whole = sum.in[ITEM_REFUSED] == 0 && sum.in[ITEM_WAITING] == 0 && failed == 0;
	if (sum.in[ITEM_WAITING] > 0)
		fprintf(stderr,
			"rowfs import: %s with %" PRIu64
			" files to go; the same command goes on from here\n",
			atomic_load(&im->lost) ? "the mount is gone: mount it again; stopped"
					       : "stopped",
			sum.in[ITEM_WAITING]);
	journal_close(move_ptr(im->journal), whole);
	return whole ? 0 : 1;
}

static int run(struct import *im) {
	AUTO_BUF struct buf why = { 0 };
	bool journal = !im->dry_run && !im->verify_only;
	AUTO_FREE char *layout = find_mount(im);
	if (layout == NULL || im->prefix == NULL)
		return mistake("%s is no mounted rowfs: there is no .rowfs/layout.json that can be "
			       "read",
			       im->target);
	if (is_within(im->old, im->root) || is_within(im->root, im->old))
		return mistake("the old tree and the mount must not be within each other");
	AUTO_FREE char *state = import_read_control(im, "status.json");
	if (!routes_read(&im->plan.routes, layout, state))
		return mistake("the mount's layout cannot be read");
	read_limits(im);
	im->old_dir = open(im->old, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (im->old_dir < 0)
		return mistake("%s: %s", im->old, strerror(errno));
	im->new_dir = open(im->target, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (im->new_dir < 0)
		return mistake("%s: %s", im->target, strerror(errno));
	int rc = plan_scan(&im->plan, im->old_dir, im->prefix);
	if (rc != 0)
		return mistake("%s: %s", im->old, strerror(-rc));
	if (journal && im->journal_path == NULL)
		im->journal_path = journal_place(im->old, im->target, &why);
	if (journal && im->journal_path == NULL)
		return mistake("the journal has no place: %s: --journal FILE",
			       why.failed ? "out of memory" : why.data);
	if (journal && journal_open(im->journal_path, im->old, im->target, im->restart, &im->plan,
				    &im->journal, &why) != 0)
		return mistake("%s", why.failed ? "out of memory" : why.data);
	if (im->dry_run) {
		tell_plan(im);
		return 0;
	}
	catch_signals(im);
	int status = im->verify_only ? 0 : copy_all(im);
	if ((im->verify || im->verify_only) && !atomic_load(&im->stop)) {
		count_totals(im, true);
		uint64_t differ = run_verify(im);
		printf("%" PRIu64 " files differ\n", differ);
		status = differ > 0 || atomic_load(&im->stop) ? 1 : status;
	}
	return status;
}

int import_main(int argc, char **argv) {
	struct import im = { .jobs = 4, .old_dir = -1, .new_dir = -1 };
	mutex_init(&im.told, MUTEX_TOLD);
	int status = read_options(&im, argc, argv);
	if (status < 0)
		status = run(&im);
	journal_close(im.journal, false);
	plan_free(&im.plan);
	if (im.old_dir >= 0)
		close(im.old_dir);
	if (im.new_dir >= 0)
		close(im.new_dir);
	free(im.journal_path);
	free(im.old);
	free(im.target);
	free(im.root);
	free(im.prefix);
	mutex_destroy(&im.told);
	return fflush(stdout) == 0 ? status : 1;
}
