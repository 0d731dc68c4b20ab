#include "schema/notice/notice_table.h"

#include "schema/layout/slice.h"
#include "schema/expr/sql_build.h"
#include "util/list.h"

#include <string.h>

struct subscriber *definition_subscribe(struct definition *d, const struct place *place) {
	if (!list_room(d->subscribers, d->nsubscribers))
		return NULL;
	struct subscriber *s = &d->subscribers[d->nsubscribers++];
	s->place = place;
	for (int i = 0; i < PATH_KEYS_MAX; i++)
		s->key[i] = NOTICE_ANY;
	return s;
}

/* Which of S's keys KEY is; NOTICE_ANY if none. OWN is how many of the target's keys came before it
 * on the path. */
static int key_of_slice(const struct slice *s, const struct place *place, int target,
			const struct key *key, int own) {
	const struct scope_table *t = &place->scope.tables[target];
	if (key->table == target)
		return place->slice_joined + own < s->nkeys ? place->slice_joined + own
							    : NOTICE_ANY;
	for (int i = 0; i < place->slice_joined && key->table == t->joined; i++)
		if (key->format == NULL &&
		    strcmp(t->fk->references.names[i], key->column->name) == 0)
			return i;
	return NOTICE_ANY;
}

/* Fills SUB for the keys of PLACE and those above it. Returns how many are the target's own. */
static int map_keys(struct subscriber *sub, const struct slice *s, const struct place *at,
		    int target) {
	int own = at->parent != NULL ? map_keys(sub, s, at->parent, target) : 0;
	for (int i = 0; i < at->nkeys; i++) {
		const struct key *key = &at->keys[i];
		sub->key[key->param] = (int16_t)key_of_slice(s, sub->place, target, key, own);
		own += key->table == target;
	}
	return own;
}

static bool is_subscribed(const struct definition *d, const struct place *place) {
	for (int i = 0; i < d->nsubscribers; i++)
		if (d->subscribers[i].place == place)
			return true;
	return false;
}

/* Places whose files the slice is are concerned by its keys, all others of the same table by
 * any. */
static bool subscribe_all(struct notices *n, struct definition *d, const struct slice *s,
			  const char *relation) {
	for (int i = 0; i < n->tree->nall; i++) {
		const struct place *place = n->tree->all[i];
		if (place->slice != s)
			continue;
		struct subscriber *sub = definition_subscribe(d, place);
		if (sub == NULL)
			return false;
		(void)map_keys(sub, s, place,
			       place->target >= 0 ? place->target : place->row_table);
	}
	for (int i = 0; i < n->ndefinitions; i++) {
		const struct definition *other = &n->definitions[i];
		for (int k = 0; strcmp(other->relation, relation) == 0 && k < other->nsubscribers;
		     k++) {
			const struct place *place = other->subscribers[k].place;
			if (!is_subscribed(d, place) && definition_subscribe(d, place) == NULL)
				return false;
		}
	}
	return true;
}

bool notices_make_slices(struct notices *n) {
	n->slices = arena_alloc(&n->memory, n->tree->nslices, sizeof(*n->slices));
	for (int i = 0; n->slices != NULL && i < n->tree->nslices; i++) {
		const struct slice *s = n->tree->slices[i];
		AUTO_BUF struct buf relation = { 0 };
		put_relation(&relation, "", s->rel);
		n->slices[i].id = s->id;
		if (relation.failed || !subscribe_all(n, &n->slices[i], s, relation.data))
			return false;
	}
	return n->slices != NULL;
}
