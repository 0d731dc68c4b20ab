#include "fs/account.h"

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

uint64_t account_used(struct account *account) {
	return atomic_load(&account->used);
}

uint64_t account_left(struct account *account) {
	uint64_t used = account_used(account);
	return used < account->most ? account->most - used : 0;
}
