#include "schema/layout/match.h"

#include "schema/layout/key_text.h"
#include "util/text/name.h"

#include <string.h>

struct place *place_literal(const struct place *dir, const char *name) {
	for (int i = 0; i < dir->nchildren; i++)
		if (dir->children[i]->nkeys == 0 && strcmp(dir->children[i]->text, name) == 0)
			return dir->children[i];
	return NULL;
}

/* The end of the key that begins at S: where the literal that follows it begins (the first such
 * place), or the end of the name for a literal that closes it. NULL if there is none. */
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

/* True if RAW, which is no name of any text, is no value of KEY either: what is no number is none
 * however it is written, and who makes an enumeration with a lone dot in it has a plain file beside
 * its row. */
static bool is_none(const struct key *key, const char *raw) {
	return key_text(key, raw) == KEY_NO_VALUE ||
	       (key->column != NULL && key->column->kind == 'e');
}

/* Decodes one key's text. */
static enum match take_value(const struct place *place, int number, const char *s, size_t len,
			     char **value) {
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
	if (!name_decode(&out, s, len)) {
		AUTO_FREE char *raw = strndup(s, len);
		return raw != NULL && kind == MATCH_KEYS && is_none(&place->keys[number], raw)
			       ? MATCH_NO_VALUE
			       : MATCH_BAD;
	}
	*value = buf_take(&out);
	if (kind == MATCH_ID)
		return kind;
	enum key_text text = key_text(&place->keys[number], *value);
	return text == KEY_MAY_BE ? MATCH_KEYS : text == KEY_NO_VALUE ? MATCH_NO_VALUE : MATCH_BAD;
}

/* What a name is whose keys are FOUND and M: what speaks most against it. */
static enum match worse(enum match found, enum match m) {
	static const int order[] = {
		[MATCH_KEYS] = 0,     [MATCH_ID] = 1, [MATCH_BAD] = 2,
		[MATCH_NO_VALUE] = 3, [MATCH_NO] = 4,
	};
	return order[m] > order[found] ? m : found;
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
			found = worse(found, take_value(place, part->key, s, (size_t)(end - s),
							&values[part->key]));
			s = end;
		}
	}
	if (found != MATCH_NO && *s != '\0')
		found = MATCH_NO;
	if (found != MATCH_KEYS && found != MATCH_ID)
		free_values(values, place->nkeys);
	return found;
}

/* Appends NAME with its first N characters in hex; of those that are so already, none changes.
 * False if it has less. */
static bool put_in_hex(struct buf *out, const char *name, int n) {
	if (n > 0 && strcmp(name, "%") == 0) /* all of an empty key */
		return false;
	for (; n > 0; n--) {
		if (*name == '\0')
			return false;
		if (percent_byte(name, strnlen(name, 3)) >= 0) {
			buf_add(out, name, 3);
			name += 3;
		} else {
			buf_printf(out, "%%%02X", (unsigned char)*name++);
		}
	}
	buf_puts(out, name);
	return true;
}

/* Appends the name for VALUES. SEPARATE: what follows a key is encoded in it. HEX: so many
 * characters of the first key are in hex. False if it has less. */
static bool put_name(const struct place *place, const char *const *values, bool separate, int hex,
		     struct buf *out) {
	bool ok = true, first = true;
	for (int i = 0; i < place->nparts; i++) {
		const struct part *part = &place->parts[i];
		if (part->literal != NULL) {
			buf_puts(out, part->literal);
			continue;
		}
		char also[2] = "";
		if (separate && i + 1 < place->nparts)
			also[0] = place->parts[i + 1].literal[0];
		if (first && hex > 0) {
			AUTO_BUF struct buf key = { 0 };
			name_encode(&key, values[part->key], also);
			ok = ok && !key.failed && put_in_hex(out, key.data, hex);
		} else {
			name_encode(out, values[part->key], also);
		}
		first = false;
	}
	return ok;
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

/* Makes NAME that of VALUES, with HEX as of put_name(). False if there is none that reads back. */
static bool make_name(const struct place *place, const char *const *values, int hex,
		      struct buf *name) {
	for (int separate = 0; separate < 2; separate++) {
		buf_resize(name, 0);
		if (!put_name(place, values, separate != 0, hex, name) || name->failed)
			return false;
		if (reads_back(place, name->data, values))
			return true;
	}
	return false;
}

/* The same for a key that is too long, by the row's ID. */
static bool make_name_by_id(const struct place *place, const char *id, int hex, struct buf *name) {
	bool ok = true;
	buf_resize(name, 0);
	for (int i = 0; i < place->nparts; i++) {
		AUTO_BUF struct buf key = { 0 };
		if (place->parts[i].literal != NULL) {
			buf_puts(name, place->parts[i].literal);
			continue;
		}
		buf_puts(name, NAME_BY_ID);
		name_encode(&key, id, "");
		ok = ok && !key.failed && put_in_hex(name, key.data, hex);
	}
	return ok && !name->failed;
}

/* True if NAME belongs to another place in the directory. */
static bool is_taken(const struct place *place, const char *name) {
	if (place_literal(place->parent, name) != NULL ||
	    (place->parent->parent == NULL && strcmp(name, NAME_CONTROL) == 0))
		return true;
	for (int i = 0; i < place->nrivals; i++) {
		char *values[PATH_KEYS_MAX];
		const struct place *rival = place->rivals[i];
		enum match m = place_match(rival, name, values);
		if (m != MATCH_KEYS && m != MATCH_ID)
			continue;
		free_values(values, rival->nkeys);
		return true;
	}
	return false;
}

bool place_name(const struct place *place, const char *const *values, const char *id,
		struct buf *out) {
	AUTO_BUF struct buf name = { 0 };
	bool by_id = false;
	/* one character more in hex until it is nobody else's: for most names, none */
	for (int hex = 0;; hex++) {
		if (!(by_id ? make_name_by_id(place, id, hex, &name)
			    : make_name(place, values, hex, &name)))
			return false;
		if (name.len > NAME_LONGEST) {
			if (by_id || place->nkeys != 1 || id == NULL)
				return false;
			by_id = true;
			hex = -1;
		} else if (!is_taken(place, name.data)) {
			buf_add(out, name.data, name.len);
			return !out->failed;
		}
	}
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

/* -- which of several places a name belongs to ------------------------------------------------- */

static size_t literal_length(const struct place *place) {
	size_t n = 0;
	for (int i = 0; i < place->nparts; i++)
		n += place->parts[i].literal != NULL ? strlen(place->parts[i].literal) : 0;
	return n;
}

static const char *first_literal(const struct place *place) {
	return place->parts[0].literal != NULL ? place->parts[0].literal : "";
}

static const char *last_literal(const struct place *place) {
	const char *literal = place->parts[place->nparts - 1].literal;
	return literal != NULL ? literal : "";
}

/* True if some name might be of A's shape and of B's: one beginning begins with the other, and so
 * do the ends. */
static bool may_share(const struct place *a, const struct place *b) {
	const char *x = first_literal(a), *y = first_literal(b);
	size_t n = strlen(x) < strlen(y) ? strlen(x) : strlen(y);
	if (strncmp(x, y, n) != 0)
		return false;
	x = last_literal(a);
	y = last_literal(b);
	n = strlen(x) < strlen(y) ? strlen(x) : strlen(y);
	return strcmp(x + strlen(x) - n, y + strlen(y) - n) == 0;
}

/* Puts CHILD among its parent's `keyed`: the most literal text first, then as in the layout. */
static void rank(struct place *dir, struct place *child) {
	int at = dir->nkeyed++;
	for (; at > 0 && literal_length(dir->keyed[at - 1]) < literal_length(child); at--)
		dir->keyed[at] = dir->keyed[at - 1];
	dir->keyed[at] = child;
}

bool place_rank_children(struct place *dir) {
	dir->keyed = arena_alloc(dir->memory, dir->nchildren, sizeof(*dir->keyed));
	for (int i = 0; dir->keyed != NULL && i < dir->nchildren; i++)
		if (dir->children[i]->nkeys > 0)
			rank(dir, dir->children[i]);
	for (int i = 0; i < dir->nkeyed; i++) {
		struct place *child = dir->keyed[i];
		child->rivals = arena_alloc(dir->memory, i, sizeof(*child->rivals));
		if (child->rivals == NULL)
			return false;
		for (int k = 0; k < i; k++)
			if (may_share(dir->keyed[k], child))
				child->rivals[child->nrivals++] = dir->keyed[k];
	}
	return dir->keyed != NULL;
}

const struct place *place_of_ingest(const struct place *dir, const char *name) {
	const struct place *found = place_literal(dir, name);
	for (int i = 0; found == NULL && i < dir->nkeyed; i++) {
		char *values[PATH_KEYS_MAX] = { NULL };
		if (place_match(dir->keyed[i], name, values) == MATCH_KEYS)
			found = dir->keyed[i];
		for (int k = 0; k < dir->keyed[i]->nkeys; k++)
			free(values[k]);
	}
	return found != NULL && found->ingest != NULL ? found : NULL;
}
