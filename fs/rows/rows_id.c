#include "fs/rows/rows_id.h"

#include "util/ordered_uuid.h"

#include <string.h>

const struct column *rows_id_column(const struct place *place) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	const struct name_list *key = relation_key(rel);
	const struct column *column =
		key != NULL && key->n == 1 ? relation_column(rel, key->names[0]) : NULL;
	bool given = column != NULL && strcmp(column->base, "uuid") == 0 && column->has_default;
	return given ? column : NULL;
}

const struct column *rows_id_of(const struct place *place, const struct shape *shape) {
	const struct column *column = rows_id_column(place);
	return column != NULL && !shape_has(shape, column->name) ? column : NULL;
}

void rows_put_with_id(struct buf *out, const struct column *id, const struct shape *shape,
		      const char *json, size_t len) {
	char text[37];
	ordered_uuid(text);
	buf_putc(out, '{');
	buf_json_string(out, id->name, strlen(id->name));
	buf_printf(out, ":\"%s\"%s", text, shape->n > 0 ? "," : "");
	const char *brace = memchr(json, '{', len);
	buf_add(out, brace + 1, len - (size_t)(brace + 1 - json));
}
