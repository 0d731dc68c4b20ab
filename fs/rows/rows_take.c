/* What is written to an open rows file is taken: as lines that are appended, or as the text that
 * replaces the file. */
#include "fs/names/lookup.h"
#include "fs/names/made.h"
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_kind.h"
#include "fs/rows/rows_lines.h"
#include "fs/rows/rows_whole.h"
#include "fs/rows/rows_write.h"
#include "fs/stream/refusals.h"
#include "util/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* What is written to H is a part of a text that is kept, or makes it another one. */
static void note_text(struct call *call, struct handle *h, const char *data, size_t size) {
	struct rows_file *f = rows_of(h);
	struct made *made = call->fs->made;
	if (!f->fresh && !made_any(made))
		return;
	AUTO_FREE char *path = node_path(call->fs->nodes, h->node, NULL);
	if (f->fresh && !rows_is_whole(h))
		f->fresh = path != NULL && made_add(made, path, data, size);
	else
		f->fresh = false;
	if (!f->fresh && path != NULL)
		made_forget(made, path);
}

/* True if a write at OFFSET appends: where the file ends, or ended when H was opened or wrote last.
 * Others may have appended since, which must not be written over. */
static bool is_append(struct call *call, const struct handle *h, uint64_t offset) {
	const struct rows_file *f = rows_of(h);
	struct stat st;
	if ((h->flags & O_APPEND) != 0 || (f->has_begun && offset == f->next_offset))
		return true;
	if (!f->has_begun && lookup_refresh(call, h->node, false) != 0)
		db_error_clear(&call->err);
	node_stat(call->fs->nodes, h->node, &st);
	if (offset == (uint64_t)st.st_size)
		return true;
	bool empty = f->opened_empty || (uint64_t)st.st_size <= rows_header_length(h);
	return !f->has_begun && (offset == f->opened_at || (empty && offset == 0));
}

/* A write at OFFSET, which is in the middle of the file. */
static int begin_to_edit(struct call *call, struct handle *h, uint64_t offset) {
	struct rows_file *f = rows_of(h);
	struct stat st;
	int rc = lookup_refresh(call, h->node, true);
	if (rc != 0)
		return rc;
	node_stat(call->fs->nodes, h->node, &st);
	if (offset > (uint64_t)st.st_size && offset > f->next_offset)
		return call_error(
			call, EINVAL,
			"the write begins behind the end of the file: between them would be NUL bytes, which no line has");
	return rows_whole_load(call, h);
}

static uint64_t count_newlines(const char *data, size_t size) {
	uint64_t n = 0;
	const char *end = data + size;
	while ((data = memchr(data, '\n', (size_t)(end - data))) != NULL) {
		n++;
		data++;
	}
	return n;
}

int rows_write(struct call *call, struct handle *h, const char *data, size_t size,
	       uint64_t offset) {
	struct rows_file *f = rows_of(h);
	int rc = 0;
	if (h->given)
		return call_error(call, ESTALE, HANDLE_GIVEN);
	if (f->refused != 0)
		return call_error(call, -f->refused, "an earlier write to this file was refused");
	bool edits = !rows_is_whole(h) && !is_append(call, h, offset);
	if (edits)
		rc = begin_to_edit(call, h, offset);
	if (rc != 0)
		return rc;
	note_text(call, h, data, size);
	if (rows_is_whole(h)) {
		handle_unsettle(call->fs, h, false);
		rc = rows_whole_write(call, h, data, size, offset);
		if (rc == 0 && (h->flags & O_APPEND) != 0) {
			/* the kernel has appended behind what others have written, too: there
			 * its program stands */
			f->has_begun = true;
			f->next_offset = offset + size;
		}
		bool at_end = (h->flags & O_APPEND) != 0 || offset + size >= f->data.len;
		if (rc == 0 && size > 0 && at_end)
			author_wrote(&f->author, call_thread(call), data[size - 1] != '\n');
		return rc;
	}
	bool streams = rows_append_fits(h->node->place);
	if (!f->has_begun || (h->flags & O_APPEND) != 0)
		f->next_offset = offset;
	f->has_begun = true;
	f->next_offset += size;
	rc = handle_room(call, h, &f->data, f->data.len + size);
	if (rc == 0 && !streams)
		buf_add(&f->data, data, size);
	f->dirty = true;
	if (rc != 0 || f->data.failed) {
		f->next_offset -= size;
		return f->refused = -ENOMEM;
	}
	handle_unsettle(call->fs, h, false);
	f->buffered_lines += count_newlines(data, size);
	int taken = streams ? rows_append_write(call, h, data, size) : 0;
	author_wrote(&f->author, call_thread(call),
		     size > 0 && (data[size - 1] != '\n' || (streams && f->data.len > 0)));
	if (streams) {
		/* the bytes are taken: what goes wrong with them is told at fsync or close, after
		 * another attempt */
		if (taken != 0)
			db_error_clear(&call->err);
		return 0;
	}
	if (h->waiting_us == 0)
		h->waiting_us = clock_us();
	if (f->buffered_lines < (uint64_t)call->fs->opt->batch_size &&
	    f->data.len <= call->fs->opt->max_document)
		return 0;
	/* A refused line among them is told at the next fsync or close: the bytes of this write
	 * were taken. */
	f->buffered_lines = 0;
	AUTO_WHERE struct where w = { 0 };
	rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = rows_commit(call, h, &w, RECORD_MORE);
	keep_first(&f->deferred, rc);
	return 0;
}
