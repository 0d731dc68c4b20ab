#include "init/differ.h"

#include "db/field.h"
#include "schema/embedded.h"

#include <stdio.h>

int differ_print(struct db_pool *pool, const char *pack, enum differ when, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param param = db_text(pack);
	int rc = db_ask(pool,
			when == DIFFER_NOW ? embedded_differ_now_sql : embedded_differ_deployed_sql,
			&param, 1, ROWS_ANY, "tttt?", &res, err);
	for (int row = 0; rc == 0 && row < PQntuples(res); row++)
		printf("    %s %s %s%s%s\n", field_text(res, row, 0), field_text(res, row, 1),
		       field_text(res, row, 2),
		       field_is_null(res, row, 3) ? "" : "; so this does not hold: ",
		       field_text(res, row, 3));
	return rc;
}

int differ_print_all(struct db_pool *pool, struct db_error *err) {
	AUTO_RESULT PGresult *readable = NULL, *packs = NULL;
	int rc = db_ask(pool, embedded_differ_readable_sql, NULL, 0, ROWS_ONE, "b", &readable, err);
	if (rc != 0 || !field_is_true(readable, 0, 0))
		return rc;
	rc = db_ask(pool, embedded_differ_packs_sql, NULL, 0, ROWS_ANY, "tn", &packs, err);
	for (int row = 0; rc == 0 && row < PQntuples(packs); row++) {
		const char *pack = field_text(packs, row, 0), *n = field_text(packs, row, 1);
		printf("pack %s: %s object%s otherwise than it needs\n", pack, n,
		       field_number(packs, row, 1) == 1 ? " is" : "s are");
		rc = differ_print(pool, pack, DIFFER_NOW, err);
	}
	return rc;
}
