#include "schema/snapshot/reach.h"

#include "db/field.h"
#include "db/probe.h"
#include "schema/embedded.h"
#include "util/text/array.h"

#include <errno.h>
#include <string.h>

enum { PARAMS = 3 };

/* What it takes to serve REL: to read it, where the role could at the begin; a collector only adds
 * rows. */
static const char *rights_for(const struct relation *rel) {
	return rel->readable ? "SELECT" : "SELECT, INSERT";
}

int reach_ask(const struct db_config *cfg, int allowed_ms, const struct catalog *cat,
	      struct buf *reasons, struct db_error *err) {
	AUTO_BUF struct buf names = { 0 }, relations = { 0 }, rights = { 0 };
	struct buf *texts[PARAMS] = { &names, &relations, &rights };
	struct db_param params[PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	for (int i = 0; i < cat->nrelations; i++) {
		const struct relation *rel = &cat->relations[i];
		array_add(&names, rel->layout_name, strlen(rel->layout_name));
		array_add(&relations, rel->full_name, strlen(rel->full_name));
		array_add(&rights, rights_for(rel), strlen(rights_for(rel)));
	}
	for (int i = 0; i < PARAMS; i++) {
		array_end(texts[i]);
		if (texts[i]->failed)
			return db_error_set(err, ENOMEM, "out of memory");
		params[i] = (struct db_param){ .data = texts[i]->data, .len = texts[i]->len };
	}
	int rc = db_probe(cfg, allowed_ms, embedded_health_routes_sql, params, PARAMS, &res, err);
	if (rc == 0)
		rc = field_judge(res, ROWS_ANY, "tt", err);
	for (int row = 0; rc == 0 && row < PQntuples(res); row++)
		buf_printf(reasons, "%s %s\n", field_text(res, row, 0), field_text(res, row, 1));
	return rc;
}
