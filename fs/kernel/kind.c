#include "fs/kernel/kind.h"

#include <string.h>

const struct kind *kind_of_place(const struct place *place) {
	switch (place->route->kind) {
	case KIND_ROW:
		return &row_kind;
	case KIND_COLUMN:
		return &column_kind;
	case KIND_ROWS:
		return &rows_kind;
	case KIND_TABLE:
		return &table_kind;
	case KIND_QUERY:
		return &query_kind;
	case KIND_FILE:
		return place->ingest != NULL ? &ingest_kind : &plain_kind;
	}
	return &plain_kind;
}

const struct kind *kind_of_node(const struct node *node) {
	if (node->type == NODE_CONTROL)
		return &control_kind;
	return node->type == NODE_PLAIN ? &plain_kind : kind_of_place(node->place);
}
