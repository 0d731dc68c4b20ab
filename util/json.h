/* Members of JSON that others have written. Of a number, cJSON keeps a double, which may be
 * anything. */
#pragma once

#include <cjson/cJSON.h>
#include <stdint.h>

/* The whole part of the number ITEM (may be NULL) if it is within LOW and HIGH, which a double must
 * hold exactly; otherwise OTHERWISE. Pure. */
static inline int64_t json_integer(const cJSON *item, int64_t low, int64_t high,
				   int64_t otherwise) {
	/* NaN compares with nothing */
	if (!cJSON_IsNumber(item) ||
	    !(item->valuedouble >= (double)low && item->valuedouble <= (double)high))
		return otherwise;
	return (int64_t)item->valuedouble;
}

/* The member KEY of OBJECT (may be NULL) if it is a string, borrowed; else NULL. */
static inline const char *json_word(const cJSON *object, const char *key) {
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}
