/* File names against a place's component, both ways. */
#include "schema/name.h"
#include "schema/tree.h"

#include <string.h>

enum file_format path_format(const char *path) {
	const char *dot = strrchr(path, '.');
	if (dot == NULL || strchr(dot, '/') != NULL)
		return FORMAT_TEXT;
	if (strcmp(dot, ".json") == 0)
		return FORMAT_JSON;
	if (strcmp(dot, ".jsonl") == 0)
		return FORMAT_JSONL;
	if (strcmp(dot, ".csv") == 0)
		return FORMAT_CSV;
	return FORMAT_TEXT;
}

struct place *place_literal(const struct place *dir, const char *name) {
	for (int i = 0; i < dir->nchildren; i++)
		if (dir->children[i]->nkeys == 0 && strcmp(dir->children[i]->text, name) == 0)
			return dir->children[i];
	return NULL;
}

/* The end of the key that begins at S: where the literal that follows it begins (the first such place), or
 * the end of the name for a literal that closes it. NULL if there is none. */
static const char *key_end(const struct place *place, int part, const char *s) {
	if (part + 1 == place->nparts)
		return s + strlen(s);
	const char *literal = place->parts[part + 1].literal;
	if (part + 2 < place->nparts)
		return strstr(s, literal);
	size_t left = strlen(s), want = strlen(literal);
	if (left < want || strcmp(s + left - want, literal) != 0)
		return NULL;
	return s + left - want;
}

static void free_values(char **values, int n) {
	for (int i = 0; i < n; i++) {
		free(values[i]);
		values[i] = NULL;
	}
}

/* Decodes one key's text. */
static enum match take_value(const struct place *place, const char *s, size_t len, char **value) {
	AUTO_BUF struct buf out = { 0 };
	enum match kind = MATCH_KEYS;
	size_t mark = strlen(NAME_BY_ID);
	if (place->nkeys == 1 && len > mark && strncmp(s, NAME_BY_ID, mark) == 0) {
		kind = MATCH_ID;
		s += mark;
		len -= mark;
	}
	if (place->ingest != NULL) { /* its keys are any text, and stand for no value */
		*value = strndup(s, len);
		return *value != NULL ? MATCH_KEYS : MATCH_BAD;
	}
	if (!name_decode(&out, s, len))
		return MATCH_BAD;
	*value = buf_take(&out);
	return kind;
}

static enum match take_apart(const struct place *place, const char *name, char **values) {
	const char *s = name;
	enum match found = MATCH_KEYS;
	memset(values, 0, (size_t)place->nkeys * sizeof(*values));
	for (int i = 0; i < place->nparts && found != MATCH_NO; i++) {
		const struct part *part = &place->parts[i];
		const char *end = s;
		if (part->literal != NULL) {
			size_t n = strlen(part->literal);
			found = strncmp(s, part->literal, n) == 0 ? found : MATCH_NO;
			s += n;
		} else if ((end = key_end(place, i, s)) == NULL || end == s) {
			found = MATCH_NO;
		} else {
			enum match m = take_value(place, s, (size_t)(end - s), &values[part->key]);
			found = found == MATCH_BAD ? found : m;
			s = end;
		}
	}
	if (found != MATCH_NO && *s != '\0')
		found = MATCH_NO;
	if (found == MATCH_NO || found == MATCH_BAD)
		free_values(values, place->nkeys);
	return found;
}

static void put_name(const struct place *place, const char *const *values, bool escape_literals,
		     struct buf *out) {
	for (int i = 0; i < place->nparts; i++) {
		const struct part *part = &place->parts[i];
		if (part->literal != NULL) {
			buf_puts(out, part->literal);
			continue;
		}
		char also[2] = "";
		if (escape_literals && i + 1 < place->nparts)
			also[0] = place->parts[i + 1].literal[0];
		name_encode(out, values[part->key], also);
	}
}

/* True if NAME would be read back as VALUES. */
static bool reads_back(const struct place *place, const char *name, const char *const *values) {
	AUTO_FREE char **again = calloc((size_t)place->nkeys + 1, sizeof(*again));
	bool same = again != NULL && take_apart(place, name, again) == MATCH_KEYS;
	for (int i = 0; same && i < place->nkeys; i++)
		same = strcmp(again[i], values[i]) == 0;
	if (again != NULL)
		free_values(again, place->nkeys);
	return same;
}

/* A whole name that is also a literal sibling's: the first byte of the first key is written in hex. */
static void escape_first_byte(const struct place *place, struct buf *name) {
	size_t at = place->parts[0].literal != NULL ? strlen(place->parts[0].literal) : 0;
	AUTO_BUF struct buf old = *name;
	*name = (struct buf){ 0 };
	buf_add(name, old.data, at);
	buf_printf(name, "%%%02X", (unsigned char)old.data[at]);
	buf_puts(name, old.data + at + 1);
}

static void put_name_by_id(const struct place *place, const char *id, struct buf *out) {
	for (int i = 0; i < place->nparts; i++) {
		if (place->parts[i].literal != NULL) {
			buf_puts(out, place->parts[i].literal);
			continue;
		}
		buf_puts(out, NAME_BY_ID);
		name_encode(out, id, "");
	}
}

bool place_name(const struct place *place, const char *const *values, const char *id,
		struct buf *out) {
	AUTO_BUF struct buf name = { 0 };
	put_name(place, values, false, &name);
	if (!name.failed && !reads_back(place, name.data, values)) {
		buf_resize(&name, 0);
		put_name(place, values, true, &name);
	}
	if (!name.failed && place_literal(place->parent, name.data) != NULL)
		escape_first_byte(place, &name);
	if (!name.failed && name.len > NAME_LONGEST && place->nkeys == 1 && id != NULL) {
		buf_resize(&name, 0);
		put_name_by_id(place, id, &name);
	}
	if (name.failed || name.len > NAME_LONGEST)
		return false;
	buf_add(out, name.data, name.len);
	return !out->failed;
}

enum match place_match(const struct place *place, const char *name, char **values) {
	enum match found = take_apart(place, name, values);
	if (found != MATCH_KEYS || place->ingest != NULL || strchr(name, '%') == NULL)
		return found;
	/* one key, one name: only what needs it is encoded */
	AUTO_BUF struct buf canonical = { 0 };
	if (place_name(place, (const char *const *)values, NULL, &canonical) &&
	    strcmp(canonical.data, name) == 0)
		return MATCH_KEYS;
	free_values(values, place->nkeys);
	return MATCH_BAD;
}
