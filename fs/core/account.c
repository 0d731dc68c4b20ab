#include "fs/core/account.h"

bool account_take(struct account *account, uint64_t bytes) {
	unsigned long long used = atomic_load(&account->used);
	do {
		if (bytes > account->most || used > account->most - bytes)
			return false;
	} while (!atomic_compare_exchange_weak(&account->used, &used, used + bytes));
	return true;
}

void account_force(struct account *account, uint64_t bytes) {
	atomic_fetch_add(&account->used, bytes);
}

void account_give(struct account *account, uint64_t bytes) {
	atomic_fetch_sub(&account->used, bytes);
}

bool account_grow(struct account *account, uint64_t *counted, struct buf *b, size_t len) {
	uint64_t more = 0;
	if (len < b->cap)
		return true;
	/* as buf_reserve() would grow it; or, where there is little room, only as far as it must */
	size_t cap = b->cap * 2 > len + 1 ? b->cap * 2 : len + 1;
	bool taken = account_take(account, more = cap - b->cap);
	if (!taken)
		taken = account_take(account, more = len + 1 - b->cap);
	if (!taken)
		return false;
	bool failed = b->failed;
	b->failed = false;
	buf_fit(b, b->cap + (size_t)more);
	if (b->failed)
		account_give(account, more);
	else
		*counted += more;
	bool grown = !b->failed;
	b->failed = failed;
	return grown;
}

void account_recount(struct account *account, uint64_t *counted, uint64_t now) {
	if (now > *counted)
		account_force(account, now - *counted);
	else
		account_give(account, *counted - now);
	*counted = now;
}

uint64_t account_used(struct account *account) {
	return atomic_load(&account->used);
}

uint64_t account_left(struct account *account) {
	uint64_t used = account_used(account);
	return used < account->most ? account->most - used : 0;
}
