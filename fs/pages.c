#include "fs/pages.h"

#include "fs/node.h"
#include "fs/options.h"

#include <fuse_lowlevel.h>

/* Bytes; longer documents are read ahead by the kernel. */
enum { GIVEN_MOST = 128 << 10 };

/* The kernel locks the pages, and waits where somebody reads them. To serve that read there must be another thread: so at most half of them
 * give at a time. */
static bool may_wait(struct fs *fs) {
	return atomic_fetch_add(&fs->giving, 1) < fs->opt->threads / 2;
}

void pages_give(struct fs *fs, struct handle *h) {
	struct body *body = h->body;
	if (body == NULL || body->len == 0 || body->len > GIVEN_MOST)
		return;
	if (may_wait(fs) && node_first_given(fs->nodes, h->node)) {
		struct fuse_bufvec data = FUSE_BUFVEC_INIT(body->len);
		data.buf[0].mem = body->data;
		fuse_lowlevel_notify_store(fs->session, (fuse_ino_t)(uintptr_t)h->node, 0, &data,
					   0);
	}
	atomic_fetch_sub(&fs->giving, 1);
}
