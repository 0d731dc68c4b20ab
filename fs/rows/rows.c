/* Rows files: a slice of a table as lines. The kind; see rows_kind.h for what its functions do. */
#include "fs/rows/rows.h"

#include "fs/names/lookup.h"
#include "fs/rows/rows_cut.h"
#include "fs/rows/rows_kind.h"
#include "fs/rows/rows_read.h"
#include "fs/rows/rows_replace.h"
#include "fs/rows/rows_rotate.h"
#include "fs/rows/rows_whole.h"

static int read_any(struct call *call, struct handle *h, size_t size, uint64_t offset,
		    struct buf *out) {
	if (call->mapped)
		return rows_read_page(call, h, size, offset, out);
	return rows_is_whole(h) ? rows_whole_read(h, size, offset, out)
				: rows_read(call, h, size, offset, out);
}

const struct kind rows_kind = {
	.name = "rows",
	.writable = true,
	.own_size = true,
	.followed = true,
	.refresh = lookup_refresh_row,
	.state = &rows_state_type,
	.open = rows_open,
	.read = read_any,
	.before_write = rows_before_write,
	.write = rows_write,
	.before_truncate = rows_before_truncate,
	.truncate = rows_truncate,
	.sync = rows_sync,
	.close = rows_close,
	.held = rows_held,
	.unsent = rows_unsent,
	.unlocking = rows_unlocking,
	.synced = rows_synced,
	.pass = rows_pass,
	.lines = true,
	.appended = true,
	.name_stays = true,
	.to_replace = CHANGE_ANEW,
	.to_place = CHANGE_ANEW,
	.removal = REMOVAL_ROWS,
	.rotate = rows_rotate,
	.give = rows_give,
	.give_not = rows_give_not,
	.remove = rows_remove,
	.store = rows_store,
};
