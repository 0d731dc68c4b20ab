/* The SQL projects that rowfs brings along: `core`, what rowfs keeps for itself, and packs, the
 * tables of one system each. A project is a directory with a sqitch.plan. */
#pragma once

#include "util/buf.h"

struct pack {
	char *name;     /* "voice-assistant", its directory's */
	char *project;  /* "rowfs_voice_assistant", sqitch's name */
	char **changes; /* in the order of the plan */
	char **needs;   /* projects that a change of it refers to */
	int nchanges, nneeds;
};

struct packs {
	char *root;        /* the directory that they are in */
	struct pack *list; /* the core first, the rest by name */
	int n;
};

/* Reads the plans of all projects: where rowfs is installed, or, for a binary that runs from its
 * build directory, in the source tree. Returns false with a sentence in WHY. packs_free() in both
 * cases. */
MUST_USE bool packs_load(struct packs *packs, struct buf *why);
void packs_free(struct packs *packs);

/* The pack called NAME; NULL if there is none. Borrowed. */
const struct pack *packs_find(const struct packs *packs, const char *name);

/* Reads TEXT, a sqitch.plan. Returns 0, -EINVAL if it is none, or -ENOMEM. pack_free() in all
 * cases. */
MUST_USE int pack_parse(struct pack *pack, const char *text);
void pack_free(struct pack *pack);

/* The place of CHANGE in the plan of PACK; -1 if it is not there. */
int pack_change(const struct pack *pack, const char *change);

/* The path of the layout of the pack called NAME; NULL if there is no such. To be freed. */
char *packs_layout(const char *name);
