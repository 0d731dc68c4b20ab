/* Opening and closing rows files. */
#include "fs/inodes/access.h"
#include "fs/names/lookup.h"
#include "fs/names/made.h"
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_cut.h"
#include "fs/rows/rows_kind.h"
#include "fs/rows/rows_lines.h"
#include "fs/rows/rows_reader.h"
#include "fs/rows/rows_whole.h"
#include "fs/rows/transcript.h"
#include "schema/layout/line_columns.h"

#include <fcntl.h>

/* The text of a file that is made under a key that any name is a value of: see made.h. Other
 * temporary names are plain files. */
static void begin_text(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	const struct place *place = h->node->place;
	bool any_name = false;
	for (int i = 0; i < place->nkeys; i++)
		any_name = any_name || (place->keys[i].format == NULL &&
					field_rule_of(place->keys[i].column).kind == FIELD_TEXT);
	if (!any_name || !(h->created || h->node->pending))
		return;
	AUTO_FREE char *path = node_path(call->fs->nodes, h->node, NULL);
	f->fresh = path != NULL && made_begin(call->fs->made, call_thread(call), path);
}

int rows_open(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	bool writes = (h->flags & O_ACCMODE) != O_RDONLY;
	rows_lines_begin(f, h->node->place, call->fs->opt->max_document);
	if (writes)
		begin_text(call, h);
	if (!writes)
		f->transcript = transcript_find(call->fs, h->node);
	struct stat st;
	/* a program that goes back from the end goes by the size that it is told now, so OPENED_AT
	 * must not be an older one; and one that reads goes by what fstat says */
	bool asks = (writes && (h->flags & (O_APPEND | O_TRUNC)) == 0) ||
		    node_is_unsized(call->fs->nodes, h->node);
	if (asks && lookup_refresh(call, h->node, false) != 0)
		db_error_clear(&call->err);
	node_stat(call->fs->nodes, h->node, &st);
	f->opened_at = (uint64_t)st.st_size;
	f->opened_empty = h->created || f->opened_at <= rows_header_length(h);
	if (!writes || (h->flags & O_TRUNC) == 0)
		return 0;
	/* a file without lines has no name (4.4), but may have a writer */
	if (!rows_cut_commit(call, h->node) && h->created)
		return 0;
	int rc = lookup_refresh(call, h->node, true);
	if (rc != 0)
		return rc;
	node_stat(call->fs->nodes, h->node, &st);
	bool empty = (uint64_t)st.st_size <= rows_header_length(h);
	rc = empty ? 0 : access_check(call, h->node->place, CHANGE_ANEW);
	if (rc != 0)
		return rc;
	rows_cut_rest(call, h->node, true);
	f->opened_empty = empty;
	if (empty)
		return 0; /* nothing to replace: the lines are simply appended */
	return rows_whole_truncate(call, h, 0);
}

void rows_close(struct fs *fs, struct handle *h) {
	struct rows_file *f = rows_of(h);
	rows_whole_free(h);
	rows_reader_free(f->reader);
	if (f->passing != NULL)
		transcript_pass_end(f->passing);
	if (f->mapped != NULL)
		transcript_map_end(f->mapped);
	transcript_release(f->transcript);
	transcript_release(f->writing);
	rows_append_end(f);
	line_reader_forget(&f->lines);
	buf_free(&f->data);
}

const struct buf *rows_unsent(const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	return f->dirty ? &f->data : NULL;
}

uint64_t rows_held(struct handle *h) {
	struct rows_file *f = rows_of(h);
	return handle_fit(&f->data) + f->was.cap;
}
