#include "fs/kernel/kinds.h"

#include "fs/admin/control.h"
#include "fs/docs/document.h"
#include "fs/files/ingest.h"
#include "fs/files/misfit_kind.h"
#include "fs/files/plain_kind.h"
#include "fs/list/listing.h"
#include "fs/rows/rows.h"

static const struct kind *const by_route[] = {
	[KIND_ROW] = &row_kind,     [KIND_COLUMN] = &column_kind, [KIND_ROWS] = &rows_kind,
	[KIND_TABLE] = &table_kind, [KIND_QUERY] = &query_kind,   [KIND_FILE] = &plain_kind,
};

const struct kind *kind_of_place(const struct place *place) {
	if (place->route == NULL)
		return &directory_kind;
	if (place->misfit != NULL)
		return &misfit_kind;
	bool ingest = place->route->kind == KIND_FILE && place->ingest != NULL;
	return ingest ? &ingest_kind : by_route[place->route->kind];
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
