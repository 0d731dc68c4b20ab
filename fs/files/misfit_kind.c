#include "fs/files/misfit_kind.h"

#include "fs/core/call.h"
#include "fs/inodes/where.h"

#include <errno.h>

static int misfit_find(struct call *call, const struct place *place, const char *name,
		       struct found *found) {
	return call_error(call, EIO, "%s", place->misfit);
}

static int misfit_may_create(struct call *call, const struct where *w, bool pending) {
	return call_error(call, EIO, "%s", w->place->misfit);
}

/* It has no nodes, and so no open files. */
const struct kind misfit_kind = {
	.name = "misfit",
	.writable = true,
	.find = misfit_find,
	.may_create = misfit_may_create,
};
