/* Lists that grow by one; and lists in the order of use. */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The first of the N items of LIST whose MEMBER is the text NAME, or NULL. */
#define list_find(list, n, member, name)                                                           \
	({                                                                                         \
		int at_ = 0;                                                                       \
		while (at_ < (n) && strcmp((list)[at_].member, (name)) != 0)                       \
			at_++;                                                                     \
		at_ < (n) ? &(list)[at_] : NULL;                                                   \
	})

static inline void *list_grown(void *list, size_t n, size_t size) {
	if (list != NULL && n > 0 && (n & (n - 1)) != 0)
		return list;
	return reallocarray(list, n > 0 ? n * 2 : 1, size);
}

/* Makes room for one more behind the N items of LIST, a pointer to them, which may move. A list
 * that grows only like this is full at 0, 1, 2, 4, 8 ... items, and so needs no count of its room.
 * False: there is no memory, and the list is as it was. */
#define list_room(list, n)                                                                         \
	({                                                                                         \
		__typeof__(list) grown_ = list_grown((list), (size_t)(n), sizeof(*(list)));        \
		if (grown_ != NULL)                                                                \
			(list) = grown_;                                                           \
		grown_ != NULL;                                                                    \
	})

/* Puts ITEM behind all others of LIST, which has `oldest` and `newest`, as each item has `older`
 * and `newer`; NULL where there is none. */
#define list_append(list, item)                                                                    \
	do {                                                                                       \
		(item)->older = (list)->newest;                                                    \
		*((item)->older != NULL ? &(item)->older->newer : &(list)->oldest) = (item);       \
		(list)->newest = (item);                                                           \
	} while (0)

/* Takes ITEM out of such a LIST. */
#define list_remove(list, item)                                                                    \
	do {                                                                                       \
		*((item)->older != NULL ? &(item)->older->newer : &(list)->oldest) =               \
			(item)->newer;                                                             \
		*((item)->newer != NULL ? &(item)->newer->older : &(list)->newest) =               \
			(item)->older;                                                             \
		(item)->older = (item)->newer = NULL;                                              \
	} while (0)
