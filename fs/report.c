#include "fs/report.h"

#include "schema/name.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

struct report {
	pthread_mutex_t lock; /* guards everything below */
	char **lines;         /* ring of `most_lines` */
	int most_lines, next, count;
	int dir;
	uint64_t bytes, most_bytes;
	unsigned serial;
};

int report_new(const char *dir, int lines, uint64_t most, struct report **out) {
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return -errno;
	AUTO_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct report *report = calloc(1, sizeof(*report));
	if (report == NULL || (report->lines = calloc((size_t)lines, sizeof(char *))) == NULL) {
		free(report);
		return -ENOMEM;
	}
	report->most_lines = lines;
	report->most_bytes = most;
	report->dir = fd;
	fd = -1;
	pthread_mutex_init(&report->lock, NULL);
	DIR *d = fdopendir(dup(report->dir));
	const struct dirent *e;
	struct stat st;
	while (d != NULL && (e = readdir(d)) != NULL)
		if (fstatat(report->dir, e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			report->bytes += (uint64_t)st.st_size;
	if (d != NULL)
		closedir(d);
	*out = report;
	return 0;
}

void report_free(struct report *report) {
	if (report == NULL)
		return;
	for (int i = 0; i < report->most_lines; i++)
		free(report->lines[i]);
	free(report->lines);
	close(report->dir);
	pthread_mutex_destroy(&report->lock);
	free(report);
}

/* "2026-11-21T08:43:46.123Z" */
static void put_time(struct buf *out) {
	struct timespec now;
	struct tm tm;
	char text[32];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(out, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

enum {
	SENTENCE_MOST = 2048, /* bytes: PostgreSQL may repeat the whole input in its message */
	LETTER_MOST = 4,      /* bytes of a letter in UTF-8 */
};

/* Bytes of VALUE that are no UTF-8 (a path may have any) are written %XX: the line stays JSON. */
static void put_member(struct buf *out, const char *name, const char *value) {
	AUTO_BUF struct buf text = { 0 };
	buf_puts(&text, "");
	while (*value != '\0' && SENTENCE_MOST - text.len >= LETTER_MOST) {
		size_t len = strlen(value), room = SENTENCE_MOST - text.len;
		size_t n = utf8_prefix(value, len < room ? len : room);
		buf_add(&text, value, n);
		value += n;
		if (*value != '\0' && SENTENCE_MOST - text.len >= LETTER_MOST)
			buf_printf(&text, "%%%02X", (unsigned char)*value++);
	}
	buf_printf(out, ",\"%s\":", name);
	if (text.failed)
		out->failed = true;
	else
		buf_json_string(out, text.data, text.len);
}

void report_error(struct report *report, const char *path, int errnum, const char *sqlstate,
		  const char *sentence, const char *rejected) {
	AUTO_BUF struct buf line = { 0 };
	const char *name = strerrorname_np(errnum);
	buf_puts(&line, "{\"time\":\"");
	put_time(&line);
	buf_putc(&line, '"');
	put_member(&line, "path", path);
	put_member(&line, "errno", name != NULL ? name : "?");
	if (sqlstate[0] != '\0')
		put_member(&line, "sqlstate", sqlstate);
	put_member(&line, "message", sentence);
	if (rejected != NULL)
		put_member(&line, "rejected", rejected);
	buf_puts(&line, "}\n");
	/* the sentence may quote a row: that is for errors.jsonl, not for a log */
	log_info("%s: %s", path, name != NULL ? name : "?");
	log_debug("%s: %.*s", path, SENTENCE_MOST, sentence);
	char *text = buf_take(&line);
	LOCK_SCOPE(&report->lock);
	free(report->lines[report->next]);
	report->lines[report->next] = text;
	report->next = (report->next + 1) % report->most_lines;
	if (report->count < report->most_lines)
		report->count++;
}

void report_errors(struct report *report, struct buf *out) {
	LOCK_SCOPE(&report->lock);
	for (int i = 0; i < report->count; i++) {
		int at = (report->next - report->count + i + report->most_lines) %
			 report->most_lines;
		if (report->lines[at] != NULL)
			buf_puts(out, report->lines[at]);
	}
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

static bool append_file(int dir, const char *name, int flags, const struct buf *content) {
	AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
	size_t done = 0;
	while (fd >= 0 && done < content->len) {
		ssize_t n = write(fd, content->data + done, content->len - done);
		if (n < 0)
			return false;
		done += (size_t)n;
	}
	return fd >= 0;
}

char *report_reject(struct report *report, const char *path, uint64_t line, const char *data,
		    size_t len, const char *sentence) {
	AUTO_BUF struct buf name = { 0 }, content = { 0 };
	LOCK_SCOPE(&report->lock);
	if (line > 0) {
		put_flat_name(&name, path);
		buf_puts(&name, ".rejected.jsonl");
		buf_printf(&content, "{\"line\":%llu,\"time\":\"", (unsigned long long)line);
		put_time(&content);
		buf_putc(&content, '"');
		put_member(&content, "path", path);
		put_member(&content, "message", sentence);
		put_bytes(&content, data, len);
		buf_puts(&content, "}\n");
	} else {
		put_time(&name);
		buf_printf(&name, "-%u-", ++report->serial);
		put_flat_name(&name, path);
		buf_add(&content, data, len);
	}
	if (name.failed || content.failed)
		return NULL;
	if (report->bytes + content.len > report->most_bytes) {
		log_error("rejected input of %s is not kept: rejected/ is full (rejected_max)",
			  path);
		return NULL;
	}
	if (!append_file(report->dir, name.data, line > 0 ? O_APPEND : O_EXCL, &content)) {
		log_error("rejected input of %s is not kept: %s", path, strerror(errno));
		return NULL;
	}
	report->bytes += content.len;
	return buf_take(&name);
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
