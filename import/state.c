#include "import/state.h"

#include "util/text/name.h"
#include "util/below.h"
#include "util/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

enum { LARGEST_CONTROL = 64 * 1024 * 1024, CHUNK = 256 * 1024 };

/* -- both trees -------------------------------------------------------------------------------- */

int import_open_old(const struct import *im, const struct item *item) {
	return below_read(im->old_dir, item->path);
}

int import_open_new(const struct import *im, const struct item *item) {
	return below_read(im->new_dir, item->path);
}

bool import_has_changed(const struct import *im, const struct item *item) {
	struct stat st;
	return below_stat(im->old_dir, item->path, &st) != 0 ||
	       (uint64_t)st.st_size != item->size || st.st_mtim.tv_sec != item->mtime.tv_sec ||
	       st.st_mtim.tv_nsec != item->mtime.tv_nsec;
}

int import_open_for_writing(const struct import *im, const struct item *item, int flags) {
	flags |= O_WRONLY | O_CREAT;
	int fd = below_open(im->new_dir, item->path, flags, 0666);
	const char *slash = strrchr(item->path, '/');
	if (fd != -ENOENT || slash == NULL)
		return fd;
	int rc = below_make(im->new_dir, item->path, (size_t)(slash - item->path));
	return rc != 0 ? rc : below_open(im->new_dir, item->path, flags, 0666);
}

int import_write(int fd, const char *data, size_t len) {
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Fills the chunk as far as the file goes. Returns the bytes, or -errno. */
static ssize_t read_full(int fd, char *chunk) {
	size_t len = 0;
	ssize_t n = 1;
	for (; len < CHUNK && n > 0; len += n > 0 ? (size_t)n : 0)
		n = read(fd, chunk + len, CHUNK - len);
	return n < 0 ? -errno : (ssize_t)len;
}

int import_compare(int a, int b, struct import_difference *out) {
	AUTO_FREE char *x = malloc(CHUNK), *y = malloc(CHUNK);
	*out = (struct import_difference){ .line = 1 };
	if (x == NULL || y == NULL)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read_full(a, x), m = read_full(b, y), i = 0;
		if (n < 0 || m < 0)
			return (int)(n < 0 ? n : m);
		for (; i < n && i < m && x[i] == y[i]; i++)
			out->line += x[i] == '\n';
		out->offset += (uint64_t)i;
		out->a_ends = i == n && n < CHUNK;
		out->b_ends = i == m && m < CHUNK;
		if (i < n || i < m || n < CHUNK)
			return 0;
	}
}

int import_ask_rows(const struct import *im, const struct item *item, struct rowfs_rows *out) {
	AUTO_FD int fd = import_open_new(im, item);
	if (fd < 0)
		return fd;
	return ioctl(fd, ROWFS_IOC_ROWS, out) == 0 ? 0 : -errno;
}

/* -- counters ---------------------------------------------------------------------------------- */

void import_count(struct import *im, struct item *item, uint64_t bytes, uint64_t rows) {
	bytes = bytes < item->size ? bytes : item->size;
	if (bytes > item->counted) {
		atomic_fetch_add(&im->bytes, bytes - item->counted);
		item->counted = bytes;
	}
	atomic_fetch_add(&im->rows, rows);
	item->rows_counted += rows;
}

void import_uncount(struct import *im, struct item *item) {
	atomic_fetch_sub(&im->bytes, item->counted);
	atomic_fetch_sub(&im->rows, item->rows_counted);
	item->counted = item->rows_counted = 0;
}

/* -- what is told ------------------------------------------------------------------------------ */

void import_put_name(struct buf *out, const char *name) {
	AUTO_BUF struct buf text = { 0 };
	percent_put_invalid(&text, name, 0);
	percent_put(out, text.failed ? "?" : text.data, "", "");
}

char *import_read_control(const struct import *im, const char *name) {
	AUTO_BUF struct buf path = { 0 }, text = { 0 };
	buf_printf(&path, "%s/.rowfs/%s", im->root, name);
	AUTO_FILE FILE *f = path.failed ? NULL : fopen(path.data, "re");
	if (f == NULL)
		return NULL;
	buf_puts(&text, "");
	return buf_add_file(&text, f, LARGEST_CONTROL) ? buf_take(&text) : NULL;
}

void import_sentence(const struct import *im, const struct item *item, struct buf *out) {
	AUTO_FREE char *text = import_read_control(im, "errors.jsonl");
	AUTO_BUF struct buf path = { 0 };
	AUTO_FREE char *found = NULL;
	buf_printf(&path, "/%s", im->prefix);
	percent_put_invalid(&path, item->path, 0);
	if (text == NULL || path.failed)
		return;
	char *rest = text, *line;
	while ((line = strsep(&rest, "\n")) != NULL) {
		AUTO_JSON cJSON *error = cJSON_Parse(line);
		const char *where = json_word(error, "path");
		const char *message = json_word(error, "message");
		if (where == NULL || message == NULL || strcmp(where, path.data) != 0)
			continue;
		free(found);
		found = strdup(message);
	}
	if (found != NULL)
		import_put_name(out, found);
}
