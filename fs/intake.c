#include "fs/intake.h"

#include "fs/pace.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum state { SERVES, READS, HAS_READ };

struct slot {
	atomic_int tid; /* of the thread that has it; 0: none */
	atomic_int state;
};

struct intake {
	unsigned n;
	struct slot slots[];
};

static _Thread_local struct slot *mine;

struct intake *intake_new(unsigned threads) {
	struct intake *intake = calloc(1, sizeof(*intake) + threads * sizeof(intake->slots[0]));
	if (intake != NULL)
		intake->n = threads;
	return intake;
}

void intake_free(struct intake *intake) {
	free(intake);
}

static void set(enum state state) {
	if (mine != NULL)
		atomic_store(&mine->state, state);
}

static void take_slot(struct intake *intake) {
	for (unsigned i = 0; i < intake->n && mine == NULL; i++) {
		int none = 0;
		if (atomic_compare_exchange_strong(&intake->slots[i].tid, &none, gettid()))
			mine = &intake->slots[i];
	}
}

ssize_t intake_read(struct intake *intake, int fd, void *buf, size_t len) {
	if (mine == NULL)
		take_slot(intake);
	set(READS);
	ssize_t n = read(fd, buf, len);
	int errnum = errno;
	set(HAS_READ);
	errno = errnum;
	return n;
}

void intake_known(struct intake *intake) {
	(void)intake;
	set(SERVES);
}

bool intake_any(struct intake *intake) {
	for (unsigned i = 0; i < intake->n; i++) {
		struct slot *slot = &intake->slots[i];
		int state = atomic_load(&slot->state), tid = atomic_load(&slot->tid);
		/* one that reads and does not sleep may have the request, and not know it yet */
		if (state == HAS_READ || (state == READS && pace_of_thread(tid) != PACE_SLEEPS))
			return true;
	}
	return false;
}
