/* Who is missed when sessions end, and who is not. The sessions are real ones. */
#include "schema/embedded.h"
#include "schema/notice/notice.h"
#include "schema/notice/peers.h"
#include "tests/unit/dbkit.h"

static const char us[] = "00000000-0000-4000-8000-000000000001";
static const char others[][37] = { "10000000-0000-4000-8000-000000000002",
				   "20000000-0000-4000-8000-000000000003",
				   "30000000-0000-4000-8000-000000000004" };

static struct db_pool *admin;

/* One session of mount ME. */
static struct db_pool *session(const char *me, bool listens) {
	AUTO_BUF struct buf greeting = { 0 };
	struct db_config cfg = kit_config();
	peers_put_greeting(&greeting, me, listens);
	cfg.greeting = greeting.data;
	cfg.max_connections = 1;
	struct db_pool *pool = kit_pool(&cfg);
	kit_run(pool, "SELECT 1");
	return pool;
}

static void end(struct db_pool *pool) {
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(&sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %ld", backend_of(pool));
	db_pool_free(pool);
	WAIT_UNTIL(kit_number(admin, sql.data) == 0);
}

static void survey(struct peers *p) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	if (CHECK_INT(db_query_text(admin, embedded_peers_survey_sql, NULL, 0, 0, NULL, &res, &err),
		      0))
		peers_survey(p, res);
}

/* Asks once; true if somebody is missed. */
static bool missed(struct peers *p) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	AUTO_BUF struct buf list = { 0 };
	const char *sql = peers_put_question(p, &list);
	struct db_param param = { .data = list.data, .len = list.len };
	return CHECK_INT(db_query_text(admin, sql, &param, list.len > 0, 0, NULL, &res, &err), 0) &&
	       peers_answer(p, res);
}

/* Asks until it has been looked up who holds the locks; true if somebody was missed. */
static bool missed_by_survey(struct peers *p) {
	bool any = false;
	for (int i = 0; i < 5; i++)
		any = missed(p) || any;
	return any;
}

static bool hear(struct peers *p, void (*put)(struct buf *, const char *), const char *from) {
	AUTO_BUF struct buf payload = { 0 };
	put(&payload, from);
	return peers_hear(p, payload.data);
}

static void test_steps(void) {
	struct peers *p = peers_new(us);
	struct db_pool *own = session(us, true), *listens = session(others[0], true);
	struct db_pool *works = session(others[0], false), *second = session(others[1], true);
	survey(p);
	CHECK_INT(peers_count(p), 2); /* not ourselves */
	CHECK(!missed(p));
	end(works);
	CHECK(!missed(p)); /* another session of it is there */
	works = session(others[0], false);
	end(listens);
	CHECK(missed(p));  /* nobody passes on what it changes */
	CHECK(!missed(p)); /* which is known now */
	CHECK_INT(peers_count(p), 2);
	end(works);
	CHECK(missed(p)); /* what it had begun may have been committed meanwhile */
	CHECK_INT(peers_count(p), 1);
	CHECK(!missed(p));
	end(own);
	CHECK(!missed(p));
	end(second);
	CHECK(missed(p)); /* both at once: one is enough */
	CHECK(!peers_watched(p));
	peers_free(p);
}

/* The farewell of NAME, if SECRET is its own. */
static bool part(struct peers *p, const char *name, const char *secret) {
	AUTO_BUF struct buf payload = { 0 };
	peers_put_farewell(&payload, name, secret);
	return peers_hear(p, payload.data);
}

static void test_greeting_and_farewell(void) {
	char secret[PEER_SECRET + 1], name[PEER_NAME + 1], secret2[PEER_SECRET + 1],
		name2[PEER_NAME + 1];
	peers_make_name(secret, name);
	peers_make_name(secret2, name2);
	CHECK(strcmp(name, name2) != 0 && strcmp(secret, secret2) != 0);
	struct peers *p = peers_new(us);
	survey(p);
	CHECK_INT(peers_count(p), 0);
	CHECK(!missed(p)); /* asked of nobody */
	CHECK(hear(p, notice_put_test, us));
	CHECK_INT(peers_count(p), 0);
	struct db_pool *listens = session(name, true);
	CHECK(hear(p, notice_put_test, name));
	CHECK(hear(p, notice_put_test, name));
	CHECK_INT(peers_count(p), 1);
	CHECK(!missed(p));
	CHECK(part(p, name2, secret2)); /* nobody knows it */
	CHECK(!part(p, name, secret2)); /* somebody else says so */
	CHECK(!part(p, name, "short") && !part(p, name, ""));
	CHECK(part(p, name, secret));
	CHECK(!missed(p));
	CHECK_INT(peers_count(p), 1);
	end(listens);
	CHECK(!missed(p));
	CHECK_INT(peers_count(p), 0);
	/* gone before we could ask */
	CHECK(hear(p, notice_put_test, others[2]));
	CHECK(missed(p));
	CHECK(!hear(p, notice_put_all, others[2]));
	CHECK(!peers_hear(p, "") && !peers_hear(p, "{\"m\": null, \"n\": {}}"));
	peers_free(p);
}

/* Who sends farewells in the name of others does not keep us from missing them. */
static void test_farewell_of_a_stranger(void) {
	char secret[PEER_SECRET + 1], name[PEER_NAME + 1], other[PEER_NAME + 1];
	AUTO_BUF struct buf old = { 0 };
	peers_make_name(secret, name);
	peers_make_name(secret, other);
	struct peers *p = peers_new(us);
	struct db_pool *listens = session(name, true);
	survey(p);
	CHECK(!part(p, name, secret));
	buf_printf(&old, "{\"m\": \"%s\", \"bye\": true}", name);
	CHECK(!peers_hear(p, old.data));
	end(listens);
	CHECK(missed(p));
	peers_free(p);
}

/* Greetings of nobody take no memory without end, and are forgotten with the next question. */
static void test_greetings_of_nobody(void) {
	struct peers *p = peers_new(us);
	char name[PEER_NAME + 1];
	for (int i = 0; i < PEERS_MOST + 100; i++) {
		snprintf(name, sizeof(name), "50000000-0000-4000-8000-%012d", i);
		CHECK(hear(p, notice_put_test, name));
	}
	CHECK(peers_count(p) <= PEERS_MOST);
	for (int i = 0; i < PEERS_MOST / PEERS_ASKED && peers_count(p) > 0; i++)
		CHECK(missed(p));
	CHECK_INT(peers_count(p), 0);
	CHECK(!missed(p) && !peers_watched(p));
	peers_free(p);
}

/* A pool of a role that may do nothing but connect. */
static struct db_pool *stranger(void) {
	AUTO_BUF struct buf conninfo = { 0 };
	struct db_config cfg = kit_config();
	buf_printf(&conninfo, "%s user=stranger", cfg.conninfo);
	cfg.conninfo = conninfo.data;
	cfg.max_connections = 1;
	return kit_pool(&cfg);
}

static void lock_as(struct db_pool *pool, const char *how, const char *of) {
	AUTO_BUF struct buf sql = { 0 };
	buf_printf(&sql,
		   "SELECT %s(classid::int, objid::int) FROM pg_locks WHERE locktype = 'advisory' "
		   "AND %s",
		   how, of);
	kit_run(pool, sql.data);
}

/* Who holds the locks of a mount that is gone does not hide that. */
static void test_a_stranger_holds_the_locks(void) {
	struct peers *p = peers_new(us);
	struct db_pool *other = stranger();
	struct db_pool *listens = session(others[0], true), *works = session(others[0], false);
	survey(p);
	CHECK_INT(peers_count(p), 1);
	lock_as(other, "pg_advisory_lock_shared", "pid <> pg_backend_pid()");
	CHECK(!missed_by_survey(p));
	end(listens);
	CHECK(missed_by_survey(p));
	CHECK(!missed_by_survey(p));
	CHECK_INT(peers_count(p), 1);
	end(works);
	CHECK(missed_by_survey(p));
	CHECK_INT(peers_count(p), 0);
	survey(p);
	CHECK_INT(peers_count(p), 0);
	end(other);
	peers_free(p);
}

/* Who has the lock for himself alone keeps no session from coming, and none is overlooked. */
static void test_a_stranger_keeps_the_locks(void) {
	AUTO_BUF struct buf sql = { 0 };
	struct peers *p = peers_new(us);
	struct db_pool *other = stranger(), *sessions[3];
	struct db_pool *first = session(others[0], false);
	lock_as(other, "pg_advisory_lock_shared", "pid <> pg_backend_pid()");
	end(first);
	lock_as(other, "pg_advisory_lock", "pid = pg_backend_pid()");
	buf_puts(&sql, "SELECT pg_advisory_lock(1919316738, objid::int) FROM pg_locks "
		       "WHERE locktype = 'advisory' AND classid = 1919316737");
	kit_run(other, sql.data);
	for (int i = 0; i < 3; i++)
		sessions[i] = session(others[0], i == 0);
	survey(p);
	CHECK_INT(peers_count(p), 3);
	CHECK(!missed_by_survey(p));
	for (int i = 0; i < 3; i++) {
		end(sessions[i]);
		CHECK(missed_by_survey(p));
		CHECK_INT(peers_count(p), 2 - i);
	}
	end(other);
	peers_free(p);
}

/* What such a session sends tells its key. */
static void test_a_greeting_with_a_key(void) {
	struct peers *p = peers_new(us);
	CHECK(hear(p, notice_put_test, "#00000000000000000000000000000000007"));
	CHECK(hear(p, notice_put_test, "#00000000000000000000000000000000007"));
	CHECK(hear(p, notice_put_test, "#00000000000000000000000002147483647"));
	CHECK_INT(peers_count(p), 2);
	/* no keys: names of nobody */
	CHECK(hear(p, notice_put_test, "#00000000000000000000000002147483648"));
	CHECK(hear(p, notice_put_test, "#99999999999999999999999999999999999"));
	CHECK(hear(p, notice_put_test, "#-0000000000000000000000000000000001"));
	CHECK_INT(peers_count(p), 5);
	CHECK(missed(p));
	CHECK_INT(peers_count(p), 0);
	peers_free(p);
}

/* Many come and go: the right ones stay. */
static void test_many(void) {
	enum { MANY = 15 };
	struct peers *p = peers_new(us);
	struct db_pool *pools[MANY];
	char name[37];
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "40000000-0000-4000-8000-%012d", i);
		pools[i] = session(name, true);
		CHECK(hear(p, notice_put_test, name));
	}
	CHECK_INT(peers_count(p), MANY);
	CHECK(!missed(p));
	for (int i = 0; i < MANY; i += 3)
		end(pools[i]);
	CHECK(missed(p));
	CHECK_INT(peers_count(p), MANY - (MANY + 2) / 3);
	CHECK(!missed(p));
	for (int i = 0; i < MANY; i++)
		if (i % 3 != 0)
			end(pools[i]);
	CHECK(missed(p));
	CHECK_INT(peers_count(p), 0);
	peers_free(p);
}

int main(void) {
	log_setup(LOG_LEVEL_ERROR, false);
	admin = kit_default_pool();
	/* what greetings and surveys read of the schema */
	kit_run(admin, "CREATE SCHEMA rowfs");
	kit_run(admin, "CREATE TABLE rowfs.notice ()");
	kit_run(admin, "CREATE ROLE stranger LOGIN");
	kit_run(admin, "CREATE TABLE rowfs.secret AS SELECT 'rowfs_channel'::text AS channel");
	test_steps();
	test_greeting_and_farewell();
	test_farewell_of_a_stranger();
	test_greetings_of_nobody();
	test_a_stranger_holds_the_locks();
	test_a_stranger_keeps_the_locks();
	test_a_greeting_with_a_key();
	test_many();
	db_pool_free(admin);
	return check_end();
}
