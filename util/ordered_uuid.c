#include "util/ordered_uuid.h"

#include "util/clock.h"

#include <stdatomic.h>
#include <stdint.h>
#include <uuid/uuid.h>

/* Milliseconds since 1970, and 12 bits that count within one; it runs ahead of the clock where they
 * do not suffice. */
static uint64_t next_moment(void) {
	static atomic_ullong last;
	uint64_t ms = (uint64_t)clock_now_ns() / 1000000;
	unsigned long long old = atomic_load(&last), new;
	do {
		new = ms << 12 > old ? ms << 12 : old + 1;
	} while (!atomic_compare_exchange_weak(&last, &old, new));
	return new;
}

void ordered_uuid(char text[37]) {
	uuid_t id;
	uint64_t moment = next_moment();
	uuid_generate_random(id);
	for (int i = 0; i < 6; i++)
		id[i] = (unsigned char)(moment >> (52 - 8 * i));
	id[6] = (unsigned char)(0x70 | (moment >> 8 & 0x0f));
	id[7] = (unsigned char)moment;
	uuid_unparse_lower(id, text);
}
