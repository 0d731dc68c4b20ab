/* The definitions of notices, for notice.c and notice_read.c. */
#pragma once

#include "schema/layout/place.h"
#include "util/arena.h"

struct notices_table;

enum { NOTICE_ANY = -1 };

/* A place that a definition concerns. */
struct subscriber {
	const struct place *place;
	int16_t key
		/* of each key on the path: which of the definition's, or NOTICE_ANY */
		[PATH_KEYS_MAX];
};

struct definition {
	int64_t id;
	char *relation;            /* "schema"."name" */
	char *keys[PATH_KEYS_MAX]; /* JSON objects: see rowfs.notice */
	int nkeys;
	struct subscriber *subscribers;
	int nsubscribers;
};

struct notices {
	struct arena memory; /* of all texts, and of the lists whose length is known */
	const struct tree *tree;
	struct definition *definitions;
	int ndefinitions;
	struct definition *slices; /* id and keys of tree->slices[i], which COPY tells of */
	struct notices_table *tables;
	int ntables;
	char **why;  /* by place->number: not told; NULL: told */
	bool *vague; /* by place->number: told of any key */
};

/* Gives the slices of the tree their subscribers. False if out of memory. */
MUST_USE bool notices_make_slices(struct notices *notices);
/* A subscriber of D for PLACE, all of whose keys are any; NULL if out of memory. */
struct subscriber *definition_subscribe(struct definition *d, const struct place *place);
