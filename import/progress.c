#include "import/progress.h"

#include "util/clock.h"
#include "util/mutex.h"
#include "util/ticker.h"

enum { TERMINAL_MS = 200, PLAIN_MS = 5000, BAR = 24 };

struct progress {
	struct import *im;
	const char *what;
	bool terminal, begun;
	int64_t began_us;
	struct ticker *ticker;
};

static void put_bytes(struct buf *out, double bytes) {
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t i = 0;
	while (bytes >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		i++;
	}
	buf_printf(out, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
}

static void put_state(struct buf *out, const struct progress *p) {
	struct import *im = p->im;
	double bytes = (double)atomic_load(&im->bytes), all = (double)im->bytes_total;
	double seconds = (double)(clock_us() - p->began_us) / US_PER_S;
	double rate = seconds > 0 ? bytes / seconds : 0;
	if (p->terminal) {
		int full = all > 0 && bytes < all ? (int)(BAR * bytes / all) : BAR;
		buf_puts(out, "[");
		for (int i = 0; i < BAR; i++)
			buf_putc(out, i < full ? '#' : ' ');
		buf_puts(out, "] ");
	}
	buf_printf(out, "%s %llu of %llu files, %llu rows, ", p->what, atomic_load(&im->files),
		   im->files_total, atomic_load(&im->rows));
	put_bytes(out, bytes);
	buf_puts(out, " of ");
	put_bytes(out, all);
	buf_puts(out, ", ");
	put_bytes(out, rate);
	buf_puts(out, "/s");
	if (rate > 0 && bytes < all) {
		long left = (long)((all - bytes) / rate);
		buf_printf(out, ", ETA %ld:%02ld:%02ld", left / 3600, left / 60 % 60, left % 60);
	}
}

static void tell(const struct progress *p, bool last) {
	AUTO_BUF struct buf out = { 0 };
	put_state(&out, p);
	if (out.failed)
		return;
	if (p->terminal)
		fprintf(stderr, "\r%s\033[K%s", out.data, last ? "\n" : "");
	else
		fprintf(stderr, "%s\n", out.data);
}

/* Tells the state, but for the first time: nothing is done yet. */
static int64_t tell_again(void *arg) {
	struct progress *p = arg;
	LOCK_SCOPE(&p->im->told);
	if (p->begun)
		tell(p, false);
	p->begun = true;
	return (p->terminal ? TERMINAL_MS : PLAIN_MS) * US_PER_MS;
}

struct progress *progress_begin(struct import *im, const char *what) {
	struct progress *p = im->quiet ? NULL : calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	*p = (struct progress){ .im = im,
				.what = what,
				.terminal = isatty(STDERR_FILENO) == 1,
				.began_us = clock_us() };
	p->ticker = ticker_start(tell_again, p);
	if (p->ticker == NULL)
		free(move_ptr(p));
	return p;
}

void progress_end(struct progress *p) {
	if (p == NULL)
		return;
	ticker_stop(p->ticker);
	tell(p, true);
	free(p);
}
