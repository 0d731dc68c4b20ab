#include "schema/layout/place_sql.h"

#include <stdint.h>
#include <stdlib.h>

static void statement_free(struct db_statement *st) {
	free((char *)(uintptr_t)st->sql);
	st->sql = NULL;
}

void place_sql_free(struct place_sql *sql) {
	struct db_statement *all[] = { &sql->find,         &sql->find_by_id,  &sql->list_first,
				       &sql->list_next,    &sql->names_first, &sql->names_next,
				       &sql->body,         &sql->page_first,  &sql->page_next,
				       &sql->check,        &sql->set,         &sql->append,
				       &sql->clear,        &sql->row,         &sql->remove,
				       &sql->remove_empty, &sql->insert,      &sql->rename };
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		statement_free(all[i]);
	statement_free(&sql->page_last);
	statement_free(&sql->glance);
	free(sql->pieces);
	free(sql->copy_first);
	free(sql->copy_next);
	free(sql->copy_before);
	free(sql->cursor_nullable);
	free(sql->cursor_field);
	free(sql->header);
	*sql = (struct place_sql){ 0 };
}
