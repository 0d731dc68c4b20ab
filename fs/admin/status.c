#include "fs/admin/status.h"

#include "db/query.h"
#include "fs/cache/coherence.h"
#include "fs/bytes/plain.h"
#include "fs/core/report.h"
#include "fs/inodes/node.h"
#include "fs/admin/health.h"
#include "fs/admin/reload.h"
#include "fs/admin/slices.h"

#include <string.h>
#include <time.h>

/* The counters, once: their names in status.json and, behind "rowfs_", in metrics. */
struct figure {
	const char *name, *help;
	bool counter; /* only ever grows until a reset */
	unsigned long long value;
};

enum { FIGURES_MOST = 40 };

static unsigned long long get(atomic_ullong *value) {
	return atomic_load(value);
}

static int figures(struct call *call, struct figure *out) {
	struct fs *fs = call->fs;
	struct counters *c = &fs->count;
	struct db_stats db;
	db_pool_stats(fs->pool, &db);
	const struct figure all[] = {
		{ "lookups_total", "Names looked up.", true, get(&c->lookups) },
		{ "opens_total", "Files opened.", true, get(&c->opens) },
		{ "reads_total", "Read requests.", true, get(&c->reads) },
		{ "read_bytes_total", "Bytes read.", true, get(&c->bytes_read) },
		{ "writes_total", "Write requests.", true, get(&c->writes) },
		{ "written_bytes_total", "Bytes written.", true, get(&c->bytes_written) },
		{ "listings_total", "Directory pages listed.", true, get(&c->listings) },
		{ "removals_total", "Files and directories removed.", true, get(&c->removals) },
		{ "rows_appended_total", "Rows inserted from lines.", true, get(&c->rows_written) },
		{ "lines_rejected_total", "Lines refused.", true, get(&c->lines_rejected) },
		{ "writers_unknown_total",
		  "Last lines without a newline for which last_line decided: /proc did not tell how their writers ended.",
		  true, get(&c->writers_unknown) },
		{ "gzip_cut_total", "Compressed ingest files that end inside a member.", true,
		  get(&c->gzip_cut) },
		{ "errors_total", "Errors told to programs.", true, get(&c->errors) },
		{ "nodes", "Names that the kernel holds.", false, nodes_count(fs->nodes) },
		{ "plain_bytes", "Bytes of plain files.", false, plain_used(fs->plain) },
		{ "disk_bytes", "Bytes of local files that disk_max bounds.", false,
		  account_used(&fs->disk) },
		{ "disk_bytes_max", "What disk_max allows.", false, fs->disk.most },
		{ "memory_bytes", "Memory of open files, which memory_max bounds.", false,
		  account_used(&fs->memory) },
		{ "memory_bytes_max", "What memory_max allows.", false, fs->memory.most },
		{ "rejected_bytes", "Bytes of refused input kept.", false,
		  report_rejected_bytes(fs->report) },
		{ "db_connections", "Open connections.", false, (unsigned)db.open },
		{ "db_connections_idle", "Idle connections.", false, (unsigned)db.idle },
		{ "db_waiting", "Requests that wait for a connection.", false,
		  (unsigned)db.waiting },
		{ "db_connects_total", "Attempts to connect.", true, db.connects },
		{ "db_connect_failures_total", "Attempts to connect that failed.", true,
		  db.connect_failures },
		{ "db_queries_total", "Statements run.", true, db.queries },
		{ "db_query_errors_total", "Statements that failed.", true, db.query_errors },
		{ "db_retries_total", "Statements repeated.", true, db.retries },
		{ "db_timeouts_total", "Statements that ran into command_timeout.", true,
		  db.timeouts },
		{ "db_cancels_total", "Statements cancelled by their reader.", true, db.cancels },
		{ "db_slow_queries_total", "Statements over slow_query_threshold.", true,
		  db.slow_queries },
		{ "db_query_microseconds_total", "Time spent in statements.", true, db.query_us },
	};
	_Static_assert(sizeof(all) <= FIGURES_MOST * sizeof(*out), "the list has room for all");
	memcpy(out, all, sizeof(all));
	return sizeof(all) / sizeof(all[0]);
}

static void put_string(struct buf *out, const char *name, const char *value) {
	buf_printf(out, "    \"%s\": ", name);
	buf_json_string(out, value, strlen(value));
	buf_puts(out, ",\n");
}

/* Sentences: what the layout does without. */
static void put_left_out(const struct snapshot *s, struct buf *out) {
	const struct lacks *lacks = &s->tree->lacks;
	buf_puts(out, "    \"left_out\": [");
	for (int i = 0; i < lacks->n; i++) {
		AUTO_BUF struct buf text = { 0 };
		lacks_put(lacks, s->layout, i, &text);
		buf_puts(out, i > 0 ? ", " : "");
		buf_json_string(out, text.data != NULL ? text.data : "", text.len);
	}
	/* and the paths of its routes, for programs */
	buf_puts(out, "],\n    \"left_out_routes\": [");
	for (int i = 0, n = 0; i < s->layout->nroutes; i++) {
		const char *path = s->layout->routes[i].path;
		if (lacks->of == NULL || lacks->of[i] == 0 || path == NULL)
			continue;
		buf_puts(out, n++ > 0 ? ", " : "");
		buf_json_string(out, path, strlen(path));
	}
	buf_puts(out, "],\n");
}

void status_json(struct call *call, struct buf *out) {
	struct figure list[FIGURES_MOST];
	int n = figures(call, list), version = db_pool_server_version(call->fs->pool);
	char failure[512] = "";
	bool healthy = db_pool_healthy(call->fs->pool, failure, sizeof(failure));
	const struct options *opt = call->fs->opt;
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(call->fs);
	buf_puts(out, "{\n");
	put_string(out, "version", ROWFS_VERSION);
	buf_printf(out, "    \"uptime_seconds\": %lld,\n",
		   (long long)(time(NULL) - call->fs->started));
	put_string(out, "mountpoint", opt->mountpoint);
	put_string(out, "database", s->catalog->database);
	put_string(out, "user", s->catalog->user);
	put_string(out, "connection", healthy ? "up" : "down");
	if (!healthy)
		put_string(out, "connection_error", failure);
	health_json(call, out);
	buf_printf(out, "    \"server_version\": \"%d.%d\",\n", version / 10000, version % 10000);
	buf_printf(out, "    \"pool\": { \"min\": %d, \"max\": %d },\n", opt->min_connections,
		   opt->max_connections);
	buf_puts(out, "    \"coherence\": ");
	coherence_json(call->fs, out);
	buf_puts(out, ",\n");
	buf_printf(out, "    \"last_line\": \"%s\",\n", opt->last_line);
	buf_printf(out, "    \"ledger\": %s,\n", s->tree->has_ledger ? "true" : "false");
	put_left_out(s, out);
	buf_puts(out, "    \"schema\": ");
	reload_json(call->fs, out);
	buf_puts(out, ",\n");
	buf_puts(out, "    \"summary\": ");
	slices_json(call->fs, out);
	buf_puts(out, ",\n    \"counters\": {\n");
	for (int i = 0; i < n; i++)
		buf_printf(out, "        \"%s\": %llu%s\n", list[i].name, list[i].value,
			   i + 1 < n ? "," : "");
	buf_puts(out, "    }\n}\n");
}

void status_config(struct call *call, struct buf *out) {
	options_to_json(call->fs->opt, out);
}

void status_layout(struct call *call, struct buf *out) {
	AUTO_SNAPSHOT struct snapshot *s = fs_snapshot(call->fs);
	buf_puts(out, s->text);
}

void status_metrics(struct call *call, struct buf *out) {
	struct figure list[FIGURES_MOST];
	int n = call->fs->opt->enable_metrics ? figures(call, list) : 0;
	for (int i = 0; i < n; i++) {
		buf_printf(out, "# HELP rowfs_%s %s\n", list[i].name, list[i].help);
		buf_printf(out, "# TYPE rowfs_%s %s\n", list[i].name,
			   list[i].counter ? "counter" : "gauge");
		buf_printf(out, "rowfs_%s %llu\n", list[i].name, list[i].value);
	}
}

void status_errors(struct call *call, struct buf *out) {
	report_errors(call->fs->report, out);
}

void status_reset(struct call *call) {
	struct counters *c = &call->fs->count;
	atomic_ullong *all[] = { &c->lookups,      &c->opens,          &c->reads,
				 &c->writes,       &c->bytes_read,     &c->bytes_written,
				 &c->listings,     &c->removals,       &c->errors,
				 &c->rows_written, &c->lines_rejected, &c->writers_unknown,
				 &c->gzip_cut };
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		atomic_store(all[i], 0);
	db_pool_reset_stats(call->fs->pool);
}

void status_reset_errors(struct call *call) {
	report_reset_errors(call->fs->report);
}
