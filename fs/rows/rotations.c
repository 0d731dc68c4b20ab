#include "fs/rows/rotations.h"

#include "db/field.h"
#include "fs/bytes/plain.h"
#include "schema/state/ledger.h"
#include "util/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { FIELDS = 4 };

int rotations_note(struct fs *fs, const struct rotation_note *note) {
	AUTO_BUF struct buf text = { 0 };
	char number[16];
	snprintf(number, sizeof(number), "%u", note->number);
	const char *fields[] = { note->xid, note->draft, note->to };
	buf_printf(&text, "%llu", (unsigned long long)note->ino);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		buf_putc(&text, '\0');
		buf_puts(&text, fields[i]);
	}
	buf_putc(&text, '\0');
	if (text.failed)
		return -ENOMEM;
	AUTO_FD int fd =
		openat(fs->rotations, number, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n = fd >= 0 ? pwrite(fd, text.data, text.len, 0) : -1;
	if (n < 0)
		return -errno;
	if ((size_t)n < text.len)
		return -ENOSPC;
	return fdatasync(fd) == 0 ? 0 : -errno;
}

void rotations_forget(struct fs *fs, unsigned number) {
	char text[16];
	snprintf(text, sizeof(text), "%u", number);
	if (unlinkat(fs->rotations, text, 0) != 0 && errno != ENOENT)
		log_warning("rotations/%s: %s", text, strerror(errno));
}

/* -- what an earlier mount left ---------------------------------------------------------------- */

/* Reads the note NAME to TEXT, which its fields point into. False if it was cut short: then
 * nothing had been done yet. */
static bool read_note(const struct fs *fs, const char *name, struct buf *text,
		      struct rotation_note *note) {
	const char *fields[FIELDS];
	AUTO_FD int fd = openat(fs->rotations, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
		return false;
	buf_resize(text, (size_t)st.st_size);
	if (text->failed || pread(fd, text->data, text->len, 0) != st.st_size)
		return false;
	const char *at = text->data, *all = text->data + text->len;
	for (int i = 0; i < FIELDS; i++) {
		const char *end = memchr(at, '\0', (size_t)(all - at));
		if (end == NULL)
			return false;
		fields[i] = at;
		at = end + 1;
	}
	note->ino = (ino_t)strtoull(fields[0], NULL, 10);
	note->xid = fields[1];
	note->draft = fields[2];
	note->to = fields[3];
	return true;
}

/* Whether the server has undone transaction XID; *KNOWN: it says so, or that it was committed. */
static bool was_undone(struct fs *fs, const char *xid, bool *known) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	struct db_param param = db_text(xid);
	int rc = db_ask(fs->pool, ledger_xid_status_sql, &param, 1, ROWS_ONE, "t?", &res, &err);
	const char *status = rc == 0 && !field_is_null(res, 0, 0) ? field_text(res, 0, 0) : "";
	*known = strcmp(status, "committed") == 0 || strcmp(status, "aborted") == 0;
	return strcmp(status, "aborted") == 0;
}

/* Returns false if it is not known what became of it. */
static bool end_rotation(struct fs *fs, const struct rotation_note *note) {
	struct stat st;
	bool known, undone = was_undone(fs, note->xid, &known);
	if (!undone)
		return known;
	(void)!plain_unlink(fs->plain, note->draft);
	if (note->ino != 0 && plain_stat(fs->plain, note->to, &st) == 0 && st.st_ino == note->ino)
		(void)!plain_unlink(fs->plain, note->to);
	return true;
}

void rotations_recover(struct fs *fs) {
	int copy = dup(fs->rotations);
	DIR *notes = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;
	while (notes != NULL && (entry = readdir(notes)) != NULL) {
		AUTO_BUF struct buf text = { 0 };
		struct rotation_note note;
		if (entry->d_name[0] == '.')
			continue;
		if (read_note(fs, entry->d_name, &text, &note) && !end_rotation(fs, &note))
			log_warning(
				"%s: the server does not say whether its lines have moved: if they are "
				"rows, too, remove it",
				note.to);
		(void)!unlinkat(fs->rotations, entry->d_name, 0);
	}
	if (notes != NULL)
		closedir(notes);
	else if (copy >= 0)
		close(copy);
}
