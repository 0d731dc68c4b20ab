/* The routes of a layout as an import sees them. */
#ifndef ROWFS_IMPORT_ROUTE_H
#define ROWFS_IMPORT_ROUTE_H

#include "import/plan.h"

/* The route of PATH (below the mount, without a slash in front), or NULL. Literal names win, from
 * the left; then the first route. */
const struct route *route_match(const struct plan *plan, const char *path);
void route_free(struct route *route);

#endif
