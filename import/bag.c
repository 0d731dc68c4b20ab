#include "import/bag.h"

#include <errno.h>

void bag_free(struct bag *bag) {
	free(bag->entries);
	*bag = (struct bag){ 0 };
}

static struct bag_entry *slot(struct bag_entry *entries, size_t room, struct hash hash) {
	size_t i = hash.b & (room - 1);
	while (entries[i].used && (entries[i].hash.a != hash.a || entries[i].hash.b != hash.b))
		i = (i + 1) & (room - 1);
	return &entries[i];
}

struct bag_entry *bag_find(const struct bag *bag, struct hash hash) {
	struct bag_entry *entry = bag->room > 0 ? slot(bag->entries, bag->room, hash) : NULL;
	return entry != NULL && entry->used ? entry : NULL;
}

static bool grow(struct bag *bag) {
	size_t room = bag->room > 0 ? bag->room * 2 : 1024;
	struct bag_entry *entries = calloc(room, sizeof(*entries));
	if (entries == NULL)
		return false;
	for (size_t i = 0; i < bag->room; i++)
		if (bag->entries[i].used)
			*slot(entries, room, bag->entries[i].hash) = bag->entries[i];
	free(bag->entries);
	bag->entries = entries;
	bag->room = room;
	return true;
}

int bag_add(struct bag *bag, struct hash hash, uint64_t line) {
	if (bag->n * 4 >= bag->room * 3 && !grow(bag))
		return -ENOMEM;
	struct bag_entry *entry = slot(bag->entries, bag->room, hash);
	if (!entry->used) {
		if (bag->n == BAG_MOST)
			return -E2BIG;
		bag->n++;
		*entry = (struct bag_entry){ .hash = hash, .used = true };
	}
	entry->count++;
	entry->line = line;
	return 0;
}
