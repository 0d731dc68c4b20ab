#include "import/gzip.h"

#include "util/cleanup.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { PIECE = 64 * 1024, GZIP = 16 /* see inflateInit2() */ };

struct inflating {
	z_stream z;
	bool inside, damaged;
	unsigned char *out;
};

/* Takes the N bytes at IN; zero bytes between members are left out. */
static void take(struct inflating *f, unsigned char *in, size_t n) {
	f->z.next_in = in;
	f->z.avail_in = (unsigned)n;
	while (f->z.avail_in > 0 && !f->damaged) {
		if (!f->inside && *f->z.next_in == 0) {
			f->z.next_in++;
			f->z.avail_in--;
			continue;
		}
		f->inside = true;
		f->z.next_out = f->out;
		f->z.avail_out = PIECE;
		int end = inflate(&f->z, Z_NO_FLUSH);
		f->damaged = end != Z_OK && end != Z_STREAM_END;
		if (end == Z_STREAM_END) {
			f->inside = false;
			f->damaged = inflateReset(&f->z) != Z_OK;
		}
	}
}

bool gzip_is_cut(int fd) {
	AUTO_FREE unsigned char *in = malloc(PIECE), *out = malloc(PIECE);
	struct inflating f = { .out = out };
	ssize_t n = 0;
	if (fd < 0 || in == NULL || out == NULL || inflateInit2(&f.z, MAX_WBITS + GZIP) != Z_OK)
		return false;
	while (!f.damaged && (n = read(fd, in, PIECE)) > 0)
		take(&f, in, (size_t)n);
	inflateEnd(&f.z);
	return n == 0 && !f.damaged && f.inside;
}
