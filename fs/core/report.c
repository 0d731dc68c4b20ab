#include "fs/core/report.h"

#include "util/text/name.h"
#include "util/text/utf8.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/private_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* One error, or a run of lines with one cause. */
struct entry {
	char *path, *sentence, *rejected; /* owned; rejected may be NULL */
	int errnum;
	char sqlstate[6];
	struct timespec at;          /* of the first */
	int64_t told_us;             /* clock_us() of the last */
	uint64_t first, last, lines; /* numbers of lines, and how many; 0: it is of no line */
};

struct report {
	atomic_llong server_full_us; /* clock_us() of the last error of the server's disk; 0 */
	struct mutex lock;           /* guards everything below */
	struct entry *entries;       /* ring of `most_entries` */
	int most_entries, next, count;
	int dir;
	uint64_t bytes, most_bytes;
	unsigned serial;
};

static void entry_clear(struct entry *e) {
	free(e->path);
	free(e->sentence);
	free(e->rejected);
	*e = (struct entry){ 0 };
}

int report_new(int place, int lines, uint64_t most, struct report **out, struct buf *why) {
	AUTO_FD int fd = private_dir_below(place, "rejected", why);
	if (fd < 0)
		return fd;
	struct report *report = calloc(1, sizeof(*report));
	if (report == NULL ||
	    (report->entries = calloc((size_t)lines, sizeof(*report->entries))) == NULL) {
		free(report);
		return -ENOMEM;
	}
	report->most_entries = lines;
	report->most_bytes = most;
	report->dir = fd;
	fd = -1;
	mutex_init(&report->lock, MUTEX_REPORT);
	DIR *d = fdopendir(dup(report->dir));
	const struct dirent *e;
	struct stat st;
	while (d != NULL && (e = readdir(d)) != NULL)
		if (fstatat(report->dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			report->bytes += (uint64_t)st.st_size;
	if (d != NULL)
		closedir(d);
	*out = report;
	return 0;
}

void report_free(struct report *report) {
	if (report == NULL)
		return;
	for (int i = 0; i < report->most_entries; i++)
		entry_clear(&report->entries[i]);
	free(report->entries);
	close(report->dir);
	mutex_destroy(&report->lock);
	free(report);
}

/* "2026-11-21T08:43:46.123Z" */
static void put_time(struct buf *out, const struct timespec *at) {
	struct tm tm;
	char text[32];
	gmtime_r(&at->tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(out, "%s.%03ldZ", text, at->tv_nsec / 1000000);
}

static void put_now(struct buf *out) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	put_time(out, &now);
}

enum { SENTENCE_MOST = 2048 }; /* bytes: PostgreSQL may repeat the whole input in its message */

/* Bytes of VALUE that are no UTF-8 (a path may have any) are written %XX: the line stays JSON. */
static void put_member(struct buf *out, const char *name, const char *value) {
	AUTO_BUF struct buf text = { 0 };
	percent_put_invalid(&text, value, SENTENCE_MOST);
	buf_printf(out, ",\"%s\":", name);
	if (text.failed)
		out->failed = true;
	else
		buf_json_string(out, text.data, text.len);
}

static void put_entry(struct buf *out, const struct entry *e) {
	const char *name = strerrorname_np(e->errnum);
	buf_puts(out, "{\"time\":\"");
	put_time(out, &e->at);
	buf_putc(out, '"');
	put_member(out, "path", e->path != NULL ? e->path : "");
	put_member(out, "errno", name != NULL ? name : "?");
	if (e->sqlstate[0] != '\0')
		put_member(out, "sqlstate", e->sqlstate);
	put_member(out, "message", e->sentence != NULL ? e->sentence : "");
	if (e->lines > 0)
		buf_printf(out, ",\"line\":%llu", (unsigned long long)e->first);
	if (e->lines > 1)
		buf_printf(out, ",\"last_line\":%llu,\"lines\":%llu", (unsigned long long)e->last,
			   (unsigned long long)e->lines);
	if (e->rejected != NULL)
		put_member(out, "rejected", e->rejected);
	buf_puts(out, "}\n");
}

/* What a sentence says besides values: skips, at P, digits, what stands in parentheses, and a
 * quoted text behind ": ". BEFORE is where the sentence begins. */
static const char *skip_values(const char *p, const char *before) {
	for (;;) {
		char close = *p == '(' ? ')' : '\0';
		if (*p == '"' && p - before >= 2 && memcmp(p - 2, ": ", 2) == 0)
			close = '"';
		const char *end = close != '\0' ? strchr(p + 1, close) : NULL;
		if (end != NULL)
			p = end + 1;
		else if (*p >= '0' && *p <= '9')
			p++;
		else
			return p;
	}
}

static bool is_same_but_values(const char *a, const char *b) {
	const char *p = a, *q = b;
	for (;; p++, q++) {
		p = skip_values(p, a);
		q = skip_values(q, b);
		if (*p != *q)
			return false;
		if (*p == '\0')
			return true;
	}
}

enum {
	RUNS_AT_ONCE = 16, /* files whose bad lines come mixed */
	RUN_PAUSE_MS = 1000,
};

static struct entry *entry_at(struct report *report, int back) {
	return &report->entries[(report->next - 1 - back + report->most_entries) %
				report->most_entries];
}

/* The entry that line R goes on; NULL: there is none. */
static struct entry *find_run(struct report *report, const struct rejection *r) {
	for (int i = 0; r->line > 0 && i < report->count && i < RUNS_AT_ONCE; i++) {
		struct entry *e = entry_at(report, i);
		if (e->path == NULL || e->sentence == NULL || strcmp(e->path, r->path) != 0)
			continue;
		bool goes_on = e->lines > 0 && e->last < r->line && e->errnum == r->errnum &&
			       strcmp(e->sqlstate, r->sqlstate) == 0 &&
			       clock_us() - e->told_us <= RUN_PAUSE_MS * US_PER_MS &&
			       is_same_but_values(e->sentence, r->sentence);
		return goes_on ? e : NULL;
	}
	return NULL;
}

static const char DISK_FULL[] = "53100";

static struct entry *new_entry(struct report *report, const struct rejection *r,
			       const char *sentence, char *rejected) {
	struct entry *e = &report->entries[report->next];
	const char *name = strerrorname_np(r->errnum);
	/* the sentence may quote a row: that is for errors.jsonl, not for a log */
	log_info("%s: %s", r->path, name != NULL ? name : "?");
	log_debug("%s: %.*s", r->path, SENTENCE_MOST, sentence);
	entry_clear(e);
	e->path = strdup(r->path);
	e->sentence = strdup(sentence);
	e->rejected = rejected;
	e->errnum = r->errnum;
	snprintf(e->sqlstate, sizeof(e->sqlstate), "%s", r->sqlstate);
	if (strcmp(e->sqlstate, DISK_FULL) == 0)
		atomic_store(&report->server_full_us, clock_us());
	clock_gettime(CLOCK_REALTIME, &e->at);
	e->first = r->line;
	report->next = (report->next + 1) % report->most_entries;
	if (report->count < report->most_entries)
		report->count++;
	return e;
}

void report_error(struct report *report, const char *path, int errnum, const char *sqlstate,
		  const char *sentence) {
	const struct rejection r = { .path = path, .errnum = errnum, .sqlstate = sqlstate };
	LOCK_SCOPE(&report->lock);
	(void)new_entry(report, &r, sentence, NULL);
}

void report_errors(struct report *report, struct buf *out) {
	LOCK_SCOPE(&report->lock);
	for (int i = report->count - 1; i >= 0; i--)
		put_entry(out, entry_at(report, i));
}

void report_reset_errors(struct report *report) {
	LOCK_SCOPE(&report->lock);
	report->count = 0;
}

/* -- rejected input ---------------------------------------------------------------------------- */

/* PATH as one file name: slashes become '%', the rest is cut to fit. */
static void put_flat_name(struct buf *out, const char *path) {
	const char *from = path;
	size_t len = strlen(path);
	if (len > 180)
		from += len - 180;
	for (from += *from == '/'; *from != '\0'; from++)
		buf_putc(out, *from == '/' ? '%' : *from);
}

/* Text as text; what is not UTF-8 in hex, so that nothing of it is lost. */
static void put_bytes(struct buf *out, const char *data, size_t len) {
	if (utf8_valid(data, len)) {
		buf_puts(out, ",\"text\":");
		buf_json_string(out, data, len);
		return;
	}
	buf_puts(out, ",\"hex\":\"");
	for (size_t i = 0; i < len; i++)
		buf_printf(out, "%02x", (unsigned char)data[i]);
	buf_putc(out, '"');
}

/* Appends to NAME, or makes it, all of CONTENT or nothing. Returns 0 or -errno. */
static int append_file(int dir, const char *name, int flags, const struct buf *content) {
	AUTO_FD int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	struct stat st;
	size_t done = 0;
	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	while (done < content->len) {
		ssize_t n = write(fd, content->data + done, content->len - done);
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		int rc = n < 0 ? -errno : -EIO;
		if (st.st_size == 0)
			(void)unlinkat(dir, name, 0);
		else if (done > 0 && ftruncate(fd, st.st_size) != 0)
			log_error("a line of %s in rejected/ is cut: %s", name, strerror(errno));
		return rc;
	}
	return 0;
}

/* Keeps R's data: its file's name, malloc'd, or NULL with *WHY_NOT as a sentence. */
static char *keep(struct report *report, const struct rejection *r, const char **why_not) {
	AUTO_BUF struct buf name = { 0 }, content = { 0 };
	if (r->line > 0) {
		put_flat_name(&name, r->path);
		buf_puts(&name, ".rejected.jsonl");
		buf_printf(&content, "{\"line\":%llu,\"time\":\"", (unsigned long long)r->line);
		put_now(&content);
		buf_putc(&content, '"');
		put_member(&content, "path", r->path);
		put_member(&content, "message", r->sentence);
		put_bytes(&content, r->data, r->len);
		buf_puts(&content, "}\n");
	} else {
		put_now(&name);
		buf_printf(&name, "-%u-", ++report->serial);
		put_flat_name(&name, r->path);
		buf_add(&content, r->data, r->len);
	}
	*why_not = "out of memory";
	if (name.failed || content.failed)
		return NULL;
	*why_not = "rejected/ is full (rejected_max)";
	if (report->bytes + content.len > report->most_bytes)
		return NULL;
	int rc = append_file(report->dir, name.data, r->line > 0 ? O_APPEND : O_EXCL, &content);
	*why_not = rc == -ENOSPC ? "the disk of state_dir is full: make room there" : strerror(-rc);
	if (rc != 0)
		return NULL;
	report->bytes += content.len;
	return buf_take(&name);
}

void report_rejection(struct report *report, const struct rejection *r) {
	AUTO_BUF struct buf sentence = { 0 };
	const char *why_not = NULL;
	LOCK_SCOPE(&report->lock);
	char *name = r->keep ? keep(report, r, &why_not) : NULL;
	buf_puts(&sentence, r->sentence);
	bool lost = r->keep && name == NULL;
	if (lost)
		buf_printf(&sentence, "; and it is not kept in rejected/: %s", why_not);
	const char *why = sentence.failed ? r->sentence : sentence.data;
	struct rejection told = *r;
	told.sentence = why;
	struct entry *e = find_run(report, &told);
	if (e == NULL && lost)
		log_error("rejected input of %s is not kept: %s", r->path, why_not);
	if (e != NULL)
		free(name);
	else
		e = new_entry(report, r, why, name);
	if (r->line == 0)
		return;
	e->lines += r->more + 1;
	e->last = r->more > 0 ? r->last : r->line;
	e->told_us = clock_us();
}

int report_rejected_dir(const struct report *report) {
	return report->dir;
}

uint64_t report_rejected_bytes(struct report *report) {
	LOCK_SCOPE(&report->lock);
	return report->bytes;
}

int report_remove_rejected(struct report *report, const char *name) {
	struct stat st;
	LOCK_SCOPE(&report->lock);
	if (fstatat(report->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    unlinkat(report->dir, name, 0) != 0)
		return -errno;
	report->bytes -=
		(uint64_t)st.st_size < report->bytes ? (uint64_t)st.st_size : report->bytes;
	return 0;
}

bool report_server_was_full(const struct report *report, int64_t within_us) {
	int64_t at = atomic_load(&report->server_full_us);
	return at > 0 && clock_us() - at <= within_us;
}
