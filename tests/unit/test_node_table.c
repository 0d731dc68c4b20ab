/* The table of nodes against a list of what is in it. */
#include "fs/inodes/node_table.h"
#include "tests/unit/table.h"

#include <stdlib.h>

enum { PARENTS = 3, NAMES = 2000, STEPS = 60000, NAME_ROOM = 16, LOOK_EVERY = 5000 };

static struct nodes nodes;
static struct node parents[PARENTS];
static struct node *named[PARENTS][NAMES]; /* what should be found */
static struct node *nameless[NAMES];
static unsigned state = 12345;

static unsigned next(unsigned n) {
	state = state * 1664525u + 1013904223u;
	return (state >> 8) % n;
}

static struct node *make(struct node *parent, int name) {
	struct node *node = calloc(1, sizeof(*node) + NAME_ROOM);
	if (node == NULL)
		abort();
	snprintf(node->text, NAME_ROOM, "%05d.json", name);
	node->strings = node->text;
	node->parent = parent;
	return node;
}

static void add(struct node *node, bool hashed) {
	CHECK(table_reserve(&nodes));
	atomic_store(&node->name, hashed ? NAME_HELD : NAME_NONE);
	table_add(&nodes, node);
}

static void take_out(struct node **node) {
	table_remove(&nodes, *node);
	free(*node);
	*node = NULL;
}

/* Something happens to a name that is there or not. */
static void step(void) {
	unsigned p = next(PARENTS), name = next(NAMES), slot = next(NAMES);
	struct node **at = &named[p][name];
	if (*at == NULL) {
		*at = make(&parents[p], (int)name);
		add(*at, true);
	} else if (next(2) == 0) {
		take_out(at);
	} else if (nameless[slot] == NULL) { /* it loses its name */
		table_remove(&nodes, *at);
		nameless[slot] = *at;
		*at = NULL;
		add(nameless[slot], false);
	} else {
		take_out(&nameless[slot]);
	}
}

static size_t count_all(void) {
	size_t n = 0;
	for (int i = 0; i < NAMES; i++) {
		for (int p = 0; p < PARENTS; p++)
			n += named[p][i] != NULL;
		n += nameless[i] != NULL;
	}
	return n;
}

/* Each name leads to its node, and each node stands in the table once. */
static void look(void) {
	int wrong = 0;
	size_t there = 0;
	for (int i = 0; i < NAMES; i++) {
		char name[NAME_ROOM];
		snprintf(name, sizeof(name), "%05d.json", i);
		for (int p = 0; p < PARENTS; p++)
			wrong += nodes_find(&nodes, &parents[p], name) != named[p][i];
	}
	for (size_t i = 0; i < nodes.nslots; i++)
		there += nodes.slots[i].node != NULL;
	CHECK_INT(wrong, 0);
	CHECK_INT(nodes.count, count_all());
	CHECK_INT(there, count_all());
}

int main(void) {
	size_t smallest;
	check_table(&name_table);
	CHECK(table_reserve(&nodes));
	smallest = nodes.nslots;
	for (int i = 0; i < STEPS; i++) {
		step();
		if (i % LOOK_EVERY == 0)
			look();
	}
	look();
	CHECK(nodes.nslots > smallest);
	CHECK(count_all() > smallest);
	for (int i = 0; i < NAMES; i++) {
		for (int p = 0; p < PARENTS; p++)
			if (named[p][i] != NULL)
				take_out(&named[p][i]);
		if (nameless[i] != NULL)
			take_out(&nameless[i]);
		if (i % 500 == 0)
			look();
	}
	look();
	CHECK_INT(nodes.count, 0);
	free(nodes.slots);
	return check_end();
}
