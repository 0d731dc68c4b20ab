#include "fs/kernel/kpages.h"

#include "fs/core/call.h"
#include "fs/cache/coherence.h"
#include "fs/core/kind.h"

#include <fuse_lowlevel.h>

/* Bytes; longer documents are read ahead by the kernel. */
enum { GIVEN_MOST = 128 << 10 };

void kpages_give(struct fs *fs, struct handle *h) {
	AUTO_BODY struct body *body = h->kind->body != NULL ? h->kind->body(h) : NULL;
	if (body == NULL || body->len == 0 || body->len > GIVEN_MOST)
		return;
	/* the kernel locks the pages, and waits where somebody reads them */
	if (call_may_wait(fs) && node_first_given(fs->nodes, h->node)) {
		struct fuse_bufvec data = FUSE_BUFVEC_INIT(body->len);
		data.buf[0].mem = body->data;
		fuse_lowlevel_notify_store(fs->session, (fuse_ino_t)(uintptr_t)h->node, 0, &data,
					   0);
	}
	call_waited(fs);
	/* it has gone on to another version meanwhile: see document_locked() */
	if (h->node->written)
		coherence_forget(fs, h->node);
}
