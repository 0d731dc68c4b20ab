#include "util/text/gunzip.h"

#include <string.h>

enum { STEP = 65536 }; /* bytes of output at once */

static const unsigned char magic[3] = { 0x1f, 0x8b, 0x08 };

void gunzip_free(struct gunzip *g) {
	if (g->begun)
		inflateEnd(&g->z);
	memset(g, 0, sizeof(*g));
}

static void use(struct gunzip *g, const char **data, size_t *len, size_t n) {
	*data += n;
	*len -= n;
	g->at += n;
}

static enum gunzip_event damaged(struct gunzip *g, const char **why, const char *sentence) {
	g->mode = GUNZIP_SEEKING;
	g->matched = 0;
	*why = sentence;
	return GUNZIP_DAMAGED;
}

static enum gunzip_event begin_member(struct gunzip *g, uint64_t at, const char **why) {
	int rc = g->begun ? inflateReset(&g->z) : inflateInit2(&g->z, 15 + 16);
	if (rc != Z_OK)
		return damaged(g, why, "out of memory");
	g->begun = true;
	g->mode = GUNZIP_INSIDE;
	g->full = false;
	g->member_at = at;
	return GUNZIP_MEMBER;
}

/* Between members: zero bytes are padding. */
static enum gunzip_event between(struct gunzip *g, const char **data, size_t *len,
				 const char **why) {
	while (*len > 0 && **data == '\0')
		use(g, data, len, 1);
	if (*len == 0)
		return GUNZIP_MORE;
	if ((unsigned char)**data != magic[0])
		return damaged(g, why, "this is no gzip data");
	return begin_member(g, g->at, why);
}

/* Looks for the first three bytes of a member. They are given to zlib from here, since they may
 * have come in pieces. */
static enum gunzip_event seek(struct gunzip *g, const char **data, size_t *len, const char **why) {
	while (*len > 0 && g->matched < 3) {
		unsigned char c = (unsigned char)**data;
		g->matched = c == magic[g->matched] ? g->matched + 1 : c == magic[0] ? 1 : 0;
		use(g, data, len, 1);
	}
	if (g->matched < 3)
		return GUNZIP_MORE;
	unsigned char unused[1];
	g->matched = 0;
	enum gunzip_event event = begin_member(g, g->at - 3, why);
	if (event != GUNZIP_MEMBER)
		return event;
	g->z.next_in = (unsigned char *)(uintptr_t)magic;
	g->z.avail_in = sizeof(magic);
	g->z.next_out = unused;
	g->z.avail_out = sizeof(unused);
	int rc = inflate(&g->z, Z_NO_FLUSH);
	return rc == Z_OK || rc == Z_BUF_ERROR ? event : damaged(g, why, "this is no gzip data");
}

static enum gunzip_event inside(struct gunzip *g, const char **data, size_t *len, struct buf *out,
				const char **why) {
	buf_reserve(out, out->len + STEP + 1);
	if (out->failed || (*len == 0 && !g->full))
		return GUNZIP_MORE;
	g->z.next_in = (unsigned char *)(uintptr_t)*data;
	g->z.avail_in = *len < (1u << 30) ? (unsigned)*len : 1u << 30;
	g->z.next_out = (unsigned char *)out->data + out->len;
	g->z.avail_out = STEP;
	unsigned before = g->z.avail_in;
	int rc = inflate(&g->z, Z_SYNC_FLUSH);
	g->full = g->z.avail_out == 0;
	out->len += STEP - g->z.avail_out;
	out->data[out->len] = '\0';
	use(g, data, len, before - g->z.avail_in);
	if (rc == Z_STREAM_END) {
		g->mode = GUNZIP_BETWEEN;
		return GUNZIP_MEMBER_END;
	}
	if (rc != Z_OK && rc != Z_BUF_ERROR)
		return damaged(g, why, g->z.msg != NULL ? g->z.msg : "the gzip data is damaged");
	return g->z.avail_out == 0 ? GUNZIP_FULL : GUNZIP_MORE;
}

enum gunzip_event gunzip_feed(struct gunzip *g, const char **data, size_t *len, struct buf *out,
			      const char **why) {
	switch (g->mode) {
	case GUNZIP_BETWEEN:
		return between(g, data, len, why);
	case GUNZIP_SEEKING:
		return seek(g, data, len, why);
	case GUNZIP_INSIDE:
		break;
	}
	return inside(g, data, len, out, why);
}
