#include "fs/inodes/fresh.h"

#include "fs/inodes/node_struct.h"
#include "util/clock.h"
#include "util/hash.h"

#include <limits.h>
#include <string.h>

static const char *const states[FRESH_STATES] = { "found", "lost", "vanished", "gone", "expelled" };
static const char *const events[FRESH_EVENTS] = { "find", "back",   "change", "name",
						  "grow", "remove", "expel" };
/* What a name comes to that may be there; CHANGED: when what it shows has changed. */
#define NAMED(changed)                                                                             \
	[FRESH_ON_FIND] = STATE_TO(FRESH_FOUND), [FRESH_ON_CHANGE] = STATE_TO(changed),            \
	[FRESH_ON_NAME] = STATE_TO(FRESH_VANISHED), [FRESH_ON_GROW] = STATE_TO(FRESH_LOST),        \
	[FRESH_ON_REMOVE] = STATE_TO(FRESH_GONE), [FRESH_ON_EXPEL] = STATE_TO(FRESH_EXPELLED)

static const state_next moves[FRESH_STATES][FRESH_EVENTS] = {
	[FRESH_FOUND] = { NAMED(FRESH_LOST) },
	[FRESH_LOST] = { NAMED(FRESH_LOST) },
	[FRESH_VANISHED] = { NAMED(FRESH_VANISHED) },

	/* a shell stays one, whatever is found of it, until its row is back */
	[FRESH_GONE][FRESH_ON_FIND] = STATE_TO(FRESH_GONE),
	[FRESH_GONE][FRESH_ON_BACK] = STATE_TO(FRESH_LOST),
	[FRESH_GONE][FRESH_ON_CHANGE] = STATE_TO(FRESH_GONE),
	[FRESH_GONE][FRESH_ON_NAME] = STATE_TO(FRESH_GONE),
	[FRESH_GONE][FRESH_ON_GROW] = STATE_TO(FRESH_GONE),
	[FRESH_GONE][FRESH_ON_REMOVE] = STATE_TO(FRESH_GONE),

	/* of a file, which is never a shell; those who have it open go on to find it */
	[FRESH_EXPELLED][FRESH_ON_FIND] = STATE_TO(FRESH_EXPELLED),
	[FRESH_EXPELLED][FRESH_ON_CHANGE] = STATE_TO(FRESH_EXPELLED),
	[FRESH_EXPELLED][FRESH_ON_NAME] = STATE_TO(FRESH_EXPELLED),
	[FRESH_EXPELLED][FRESH_ON_GROW] = STATE_TO(FRESH_EXPELLED),
	[FRESH_EXPELLED][FRESH_ON_EXPEL] = STATE_TO(FRESH_EXPELLED),
};
struct state_table fresh_table = STATE_TABLE("fresh", states, events, moves);

void fresh_move(struct node *node, enum fresh_event event) {
	node->fresh = (uint8_t)state_move(&fresh_table, node->fresh, (int)event);
	if (event == FRESH_ON_CHANGE || event == FRESH_ON_NAME || event == FRESH_ON_GROW)
		node->epoch = 0;
}

/* -- life -------------------------------------------------------------------------------------- */

void fresh_tell(struct fresh *fresh, const struct snapshot *snapshot) {
	atomic_store(&fresh->told, snapshot);
}

/* -- changes ----------------------------------------------------------------------------------- */

static size_t stripe_of(const struct node *dir, const char *name) {
	uint64_t h = hash_add(HASH_BEGIN ^ (uintptr_t)dir, name, strlen(name));
	h = (h ^ (h >> 29)) * 0x9e3779b97f4a7c15u;
	return (h >> 40) & (FRESH_STRIPES - 1);
}

static void set_later(atomic_ulong *at, unsigned long epoch) {
	unsigned long before = atomic_load(at);
	while (before < epoch && !atomic_compare_exchange_weak(at, &before, epoch))
		;
}

void fresh_change_all(struct fresh *fresh, unsigned long epoch) {
	set_later(&fresh->all, epoch);
	atomic_store(&fresh->all_ns, clock_now_ns());
}

void fresh_change_place(const struct place *place, unsigned long epoch) {
	struct place *changed = (struct place *)(uintptr_t)place;
	set_later(&changed->changed, epoch);
	atomic_store(&changed->changed_ns, clock_now_ns());
}

int64_t fresh_place_changed_at(const struct fresh *fresh, const struct place *place) {
	int64_t all = atomic_load(&((struct fresh *)(uintptr_t)fresh)->all_ns);
	int64_t own = atomic_load(&((struct place *)(uintptr_t)place)->changed_ns);
	return own > all ? own : all;
}

void fresh_change_name(struct fresh *fresh, const struct node *dir, const char *name,
		       unsigned long epoch) {
	set_later(&fresh->stripes[stripe_of(dir, name)], epoch);
}

/* -- what was found ---------------------------------------------------------------------------- */

static unsigned long load(const atomic_ulong *at) {
	return atomic_load((atomic_ulong *)(uintptr_t)at);
}

/* True if nothing was told of NAME in DIR after TICKET, or of a name with the same hash. */
static bool is_unnamed(const struct fresh *fresh, const struct node *dir, const char *name,
		       unsigned long ticket) {
	return load(&fresh->stripes[stripe_of(dir, name)]) <= ticket;
}

static int64_t ttl_us(const struct fs *fs) {
	return fs->opt->coherence != COHERENCE_NONE ? (int64_t)(fs->opt->ttl * US_PER_S) : 0;
}

void fresh_found(const struct fs *fs, struct node *node, unsigned long ticket) {
	bool told = fresh_is_ready(fs->fresh) && node->parent != NULL && node->type == NODE_PLACE;
	node->epoch = ticket;
	fresh_move(node, FRESH_ON_FIND);
	if (told && !is_unnamed(fs->fresh, node->parent, node->strings, ticket))
		fresh_move(node, FRESH_ON_CHANGE); /* a notice has overtaken the answer */
	node->fresh_until = clock_us() + ttl_us(fs);
}

void fresh_lose(struct node *node) {
	fresh_move(node, FRESH_ON_CHANGE);
	node->fresh_until = 0;
}

bool fresh_is_told(const struct fresh *fresh, const struct node *node) {
	const struct snapshot *told = atomic_load(&((struct fresh *)(uintptr_t)fresh)->told);
	return told != NULL && node->type == NODE_PLACE && !node->pending &&
	       node->place->tree->snapshot == told && notices_told(told->notices, node->place);
}

/* True if nothing from NODE upwards was marked as a whole after TICKET. */
static bool is_whole_since(const struct fresh *fresh, const struct node *node,
			   unsigned long ticket) {
	for (; node != NULL && node->type == NODE_PLACE; node = node->parent)
		if (node->below > ticket || load(&node->place->changed) > ticket)
			return false;
	return ticket != 0 && load(&fresh->all) <= ticket;
}

/* True if it is told when NAME ("": any) appears in a directory of PLACE, which is told, and no
 * place that may have it was marked as a whole after TICKET. */
static bool tells_names(const struct place *place, const char *name, unsigned long ticket) {
	const struct notices *notices = place->tree->snapshot->notices;
	if (!notices_exact(notices, place))
		return false;
	for (int i = 0; i < place->nchildren; i++) {
		const struct place *child = place->children[i];
		if (child->nkeys == 0 && *name != '\0' && strcmp(child->text, name) != 0)
			continue;
		if (!notices_exact(notices, child) || load(&child->changed) > ticket)
			return false;
	}
	return true;
}

bool fresh_is_good(const struct fresh *fresh, const struct node *node, const char *name,
		   unsigned long ticket) {
	if (!fresh_is_listening(fresh) || !fresh_is_told(fresh, node) ||
	    !is_whole_since(fresh, node, ticket))
		return false;
	if (name != NULL)
		return node->fresh != FRESH_GONE && tells_names(node->place, name, ticket) &&
		       is_unnamed(fresh, node, name, ticket);
	/* a notice that names a node takes its ticket: the stripe, which it shares with other
	 * names, is for other tickets, and for nodes that no notice finds, since another has their
	 * name */
	return node->parent == NULL || (ticket == node->epoch && node_is_named(node)) ||
	       is_unnamed(fresh, node->parent, node->strings, ticket);
}

bool fresh_is_found(const struct fs *fs, const struct node *node) {
	if (node->fresh != FRESH_FOUND)
		return false;
	if (fresh_is_told(fs->fresh, node))
		return fresh_is_good(fs->fresh, node, NULL,
				     node->parent != NULL ? node->epoch : ULONG_MAX);
	return node->epoch >= load(&fs->changed) && clock_us() < node->fresh_until;
}
