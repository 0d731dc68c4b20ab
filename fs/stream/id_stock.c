#include "fs/stream/id_stock.h"

#include "db/field.h"
#include "schema/statements/ingest_sql.h"
#include "util/clock.h"

#include <errno.h>
#include <stdlib.h>

enum {
	LAST_MS = 1000, /* how long a stock lasts */
	LEAST = 16,     /* ids drawn at once */
	MOST = 4096,    /* of them, those that are not needed yet */
};

void id_stock_free(struct id_stock *stock) {
	free(stock->ids);
	*stock = (struct id_stock){ 0 };
}

/* Forgets what was taken. */
static void tidy(struct id_stock *stock) {
	for (int i = stock->next; i < stock->n; i++)
		stock->ids[i - stock->next] = stock->ids[i];
	stock->n -= stock->next;
	stock->next = 0;
}

/* How many to draw where N are needed: twice as many as the last time, as long as they are used
 * up. */
static int how_many(const struct id_stock *stock, int n) {
	int ahead = stock->last * 2 < LEAST  ? LEAST
		    : stock->last * 2 < MOST ? stock->last * 2
					     : MOST;
	return n > ahead ? n : ahead;
}

/* Adds the ids of TEXT, "1,2,3". */
static int add_ids(struct id_stock *stock, const char *text, int count) {
	int64_t *ids = reallocarray(stock->ids, (size_t)stock->n + (size_t)count, sizeof(*ids));
	char *end;
	if (ids == NULL)
		return -ENOMEM;
	stock->ids = ids;
	for (int i = 0; i < count; i++, text = end + (*end == ',')) {
		ids[stock->n] = strtoll(text, &end, 10);
		if (end == text)
			return -EINVAL;
		stock->n++;
	}
	return 0;
}

int id_stock_fill(struct id_stock *stock, const struct ingest *in, int n, struct db_pool *pool,
		  struct db_conn *conn, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	char number[NUMBER_TEXT];
	if (clock_us() > stock->drawn_us + LAST_MS * US_PER_MS)
		stock->last = stock->n = stock->next = 0;
	if (stock->n - stock->next >= n)
		return 0;
	tidy(stock);
	int count = how_many(stock, n - stock->n);
	AUTO_FREE char *sql = ingest_ids_sql(in);
	if (sql == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	struct db_param param = db_number(number, count);
	int rc = conn != NULL ? db_query_on(conn, sql, &param, 1, &res, err)
			      : db_query_text(pool, sql, &param, 1, DB_REPEATABLE, NULL, &res, err);
	if (rc != 0)
		return rc;
	stock->last = count;
	stock->drawn_us = clock_us();
	rc = add_ids(stock, field_text(res, 0, 0), count);
	if (rc == -EINVAL)
		return db_error_set(err, EINVAL, "the key %s of %s has no sequence of its own",
				    in->key->name, in->rel->layout_name);
	return rc != 0 ? db_error_set(err, ENOMEM, "out of memory") : 0;
}

int64_t id_stock_take(struct id_stock *stock) {
	return stock->ids[stock->next++];
}
