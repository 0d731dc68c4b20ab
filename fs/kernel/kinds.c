#include "fs/kernel/kinds.h"

#include "fs/admin/control.h"
#include "fs/docs/document.h"
#include "fs/files/ingest.h"
#include "fs/files/plain_kind.h"
#include "fs/list/listing.h"
#include "fs/rows/rows.h"

const struct kind *kind_of_place(const struct place *place) {
	if (place->route == NULL)
		return &directory_kind;
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
		return node->control->kind;
	return node->type == NODE_PLAIN ? &plain_kind : kind_of_place(node->place);
}

static const struct kind *const naming[] = { &control_kind, NULL };

const struct kinds all_kinds = {
	.of_place = kind_of_place,
	.of_node = kind_of_node,
	.naming = naming,
};
