/* Ids for rows that are sent with them: drawn from the table's sequence many at a time, before they
 * are needed. A stock is one stream's. It does not last: rows whose ids were drawn long ago would
 * come in behind those of others, and be missed by who asks for what is behind the largest id that
 * he has seen. What is left of it is never used. One thread at a time. */
#pragma once

#include "db/query.h"
#include "schema/layout/ingest.h"

#include <stdint.h>

struct id_stock {
	int64_t *ids; /* owned */
	int n, next;  /* how many there are, and were taken */
	int last;     /* how many were drawn at once the last time */
	int64_t drawn_us;
};

void id_stock_free(struct id_stock *stock);

/* Sees to it that at least N ids can be taken. Asks on CONN, inside a transaction, or with CONN
 * NULL by POOL. Returns 0 or -errno. */
MUST_USE int id_stock_fill(struct id_stock *stock, const struct ingest *in, int n,
			   struct db_pool *pool, struct db_conn *conn, struct db_error *err);

/* The next one. */
int64_t id_stock_take(struct id_stock *stock);
