/* FNV-1a, 64 bits: for tables and short names, not against a writer who wants two texts to have
 * the same one. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_BEGIN UINT64_C(14695981039346656037)

/* HASH, of what came before (at first HASH_BEGIN), with the LEN bytes of DATA. */
static inline uint64_t hash_add(uint64_t hash, const void *data, size_t len) {
	const unsigned char *bytes = data;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	return hash;
}

/* The same with the string S, and where it ends. */
static inline uint64_t hash_text(uint64_t hash, const char *s) {
	return hash_add(hash_add(hash, s, strlen(s)), "\xff", 1);
}
