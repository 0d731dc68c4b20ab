/* What the privileges of the mount's role allow, as far as the catalog tells: for the modes of
 * files and for sentences. Nothing is refused because of it: the server decides. */
#pragma once

#include "schema/layout/place.h"

struct db_error;

/* Sets PLACE's may_read and may_write. */
void rights_set(struct place *place, const struct catalog *catalog);

/* Where ERR is a missing privilege, adds which columns of REL the role may change, or insert. */
void rights_explain(const struct relation *rel, struct db_error *err);
