/* File names against a place's component, both ways. Pure; any thread. */
#pragma once

#include "schema/layout/place.h"

enum match {
	MATCH_NO, /* the name has another shape */
	/* it has the shape, but a value that is the encoding of no key, or another spelling of
	 * one */
	MATCH_BAD,
	/* it has the shape, but a text that is no value of the key's type: see key_text.h */
	MATCH_NO_VALUE,
	MATCH_KEYS, /* the values are the keys */
	MATCH_ID,   /* the value is the row's id, of a key that is too long for a name */
};

/* Takes NAME apart by the place's component. With MATCH_KEYS and MATCH_ID, VALUES (room for nkeys)
 * gets a malloc'd string for each key. Where several places of a directory match, NAME belongs to
 * the first of the directory's `keyed`. */
enum match place_match(const struct place *place, const char *name, char **values);

/* Sets the directory's `keyed`, and the `rivals` of each: places with more literal text come first
 * ({name}.meta.json before {name}.json), then as in the layout. A name belongs to a literal place,
 * else to the first keyed one that matches. So every row has one name, which leads to it alone:
 * place_name() writes characters of a key in hex until no other place takes the name. False if out
 * of memory. */
MUST_USE bool place_rank_children(struct place *dir);

/* Appends the file name for key VALUES (nkeys C strings); ID is what find_by_id takes, for a name
 * that would be too long. Returns false if there is no name, or even that is too long. */
bool place_name(const struct place *place, const char *const *values, const char *id,
		struct buf *out);

/* The literal child called NAME, or NULL. */
struct place *place_literal(const struct place *dir, const char *name);
/* The place that the file NAME in DIR has, if its files are ingest files; else NULL, also where
 * there is no memory. Borrowed from the tree. Pure. */
const struct place *place_of_ingest(const struct place *dir, const char *name);
