/* The options: sources and their order, values, connection strings, secrets. Needs no database. */
#include "fs/options/option_config.h"
#include "fs/options/options.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { MOST_ARGUMENTS = 16 };

/* A copy of the arguments that may be written to, as main()'s may. */
struct arguments {
	char *argv[MOST_ARGUMENTS + 1];
	int argc;
};

static struct arguments copy_arguments(const char *const *words) {
	struct arguments a = { .argc = 0 };
	for (; words[a.argc] != NULL && a.argc < MOST_ARGUMENTS; a.argc++)
		a.argv[a.argc] = strdup(words[a.argc]);
	return a;
}

static void free_arguments(struct arguments *a) {
	for (int i = 0; i < a->argc; i++)
		free(a->argv[i]);
}

static char dir[] = "/tmp/rowfs-test-options.XXXXXX";

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int parse(struct options *opt, enum command command, const char *const *words,
		 struct buf *err) {
	struct arguments a = copy_arguments(words);
	buf_resize(err, 0);
	int status = options_parse(opt, command, a.argc, a.argv, err);
	free_arguments(&a);
	return status;
}

/* Mounts with `-o WORD`, which must be refused with exit status 2 and a sentence that has PART. */
static void refused(const char *word, const char *part) {
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "-o", word, dir), &err), 2);
	CHECK_HAS(err.data, part);
	options_free(&opt);
}

static void test_defaults(void) {
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", dir), &err), 0);
	CHECK_STR(opt.mountpoint, dir);
	CHECK_STR(opt.conninfo, "");
	CHECK_STR(opt.fsname, "rowfs");
	CHECK(opt.layout == NULL && !opt.foreground && !opt.read_only && !opt.enable_auto_cleanup);
	CHECK_INT(opt.min_connections, 1);
	CHECK_INT(opt.max_connections, 10);
	CHECK_INT(opt.db.connect_timeout_s, 30);
	CHECK_INT(opt.command_timeout, 60);
	CHECK_INT(opt.transaction_timeout, 300);
	CHECK_INT(opt.db.retry_attempts, 3);
	CHECK(opt.retry_delay == 1 && opt.db.retry_backoff == 2 && opt.ttl == 0.1);
	CHECK_INT(opt.fetch_size, 1000);
	CHECK_INT(opt.batch_size, 5000);
	CHECK_INT(opt.slow_query_threshold, 1000);
	CHECK_INT(opt.health_check_interval, 300);
	CHECK_INT(opt.cleanup_interval, 3600);
	CHECK_INT((long long)opt.max_document, 16 << 20);
	CHECK_INT(opt.umask, 022);
	CHECK_INT(opt.uid, getuid());
	CHECK(opt.state_dir != NULL && opt.state_dir[0] == '/');
	options_free(&opt);
}

static void test_words(void) {
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	const char *words =
		"ro,,nosuid,noatime,x-systemd.automount,_netdev,comment=a b,user=me,max_document=1.5M,"
		"schema_name=a\\,b,coherence=none,log_queries,umask=077,uid=12,retry_delay=0.25";
	CHECK_INT(parse(&opt, COMMAND_MOUNT,
			WORDS("mount", "-f", "--layout", "/x/y.json", "-o", words, "-o",
			      "threads=3", "db", dir),
			&err),
		  0);
	CHECK(opt.read_only && opt.db.log_queries && opt.foreground &&
	      opt.coherence == COHERENCE_NONE);
	CHECK_STR(opt.mount_flags, "nosuid,noatime");
	CHECK_INT((long long)opt.max_document, 3 << 19);
	CHECK_STR(opt.schema_name, "a,b");
	CHECK_STR(opt.layout, "/x/y.json");
	CHECK_STR(opt.conninfo, "dbname='db'");
	CHECK_STR(opt.fsname, "db");
	CHECK_INT(opt.umask, 077);
	CHECK_INT(opt.uid, 12);
	CHECK_INT(opt.threads, 3);
	CHECK(opt.retry_delay == 0.25);
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "-o", "ro", "-o", "rw", dir), &err), 0);
	CHECK(!opt.read_only);
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "-s", "-o", "what=1,ro", dir), &err),
		  0);
	CHECK(opt.read_only);
	options_free(&opt);
}

static void test_refusals(void) {
	refused("max_connections=abc", "max_connections=abc: a whole number from 1 to 1000");
	refused("max_connections=10x", "whole number");
	refused("max_connections=-1", "whole number");
	refused("max_connections=0x10", "whole number");
	refused("max_connections=1.5", "whole number");
	refused("max_connections=99999999999999999999", "whole number");
	refused("max_connections=", "whole number");
	refused("max_connections", "needs a value");
	refused("retry_backoff=0.5", "a number from 1 to 100");
	refused("retry_delay=inf", "a number");
	refused("max_document=1X", "a size from 1K to 1G");
	refused("max_document=1", "a size from 1K to 1G");
	refused("umask=8", "octal");
	refused("umask=1777", "octal");
	refused("ro=maybe", "true or false");
	refused("log_level=loud", "\"error\", \"warning\", \"info\", \"debug\"");
	refused("coherence=ttl", "ttl=SECONDS");
	refused("port=0", "a port from 1 to 65535");
	refused("port=1,port=1\\,x", "a port");
	refused("no_such_thing=1", "unknown option \"no_such_thing\"");
	refused("min_connections=11", "more than max_connections");
	refused("config=/nonexistent/file", "/nonexistent/file");
	refused("connection_string=host=a secret", "connection string");
}

static void test_operands(void) {
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount"), &err), 2);
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "a", "b", "c"), &err), 2);
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "-o"), &err), 2);
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "--wrong", dir), &err), 2);
	CHECK_HAS(err.data, "--wrong");
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "/nonexistent/dir"), &err), 1);
	CHECK_HAS(err.data, "/nonexistent/dir");
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "/dev/null"), &err), 1);
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_CHECK, WORDS("check", "/l.json", "host=h"), &err), 0);
	CHECK_STR(opt.layout, "/l.json");
	CHECK_STR(opt.conninfo, "host='h'");
	options_free(&opt);
	CHECK_INT(parse(&opt, COMMAND_CHECK, WORDS("check", "--layout=/l.json", "host=h"), &err),
		  0);
	CHECK_STR(opt.layout, "/l.json");
	CHECK_STR(opt.conninfo, "host='h'");
	options_free(&opt);
}

static void clear_environment(void) {
	static const char *const names[] = { "DATABASE_URL", "DB_HOST",      "DB_PORT",
					     "DB_NAME",      "DB_USER",      "DB_PASSWORD",
					     "DB_SSLMODE",   "DB_POOL_SIZE", "DB_BATCH_SIZE" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
}

static void check_conninfo(const char *const *words, const char *want) {
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	CHECK_INT(parse(&opt, COMMAND_MOUNT, words, &err), 0);
	CHECK_STR(opt.conninfo, want);
	options_free(&opt);
}

static void test_environment(void) {
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	setenv("DB_HOST", "/run/pg", 1);
	setenv("DB_NAME", "it's", 1);
	setenv("DB_POOL_SIZE", "4", 1);
	check_conninfo(WORDS("mount", dir), "host='/run/pg' dbname='it\\'s'");
	check_conninfo(WORDS("mount", "-o", "database=b", dir), "host='/run/pg' dbname='b'");
	check_conninfo(WORDS("mount", "dbname=c", dir), "host='/run/pg' dbname='c'");
	check_conninfo(WORDS("mount", "service=s", dir), "service='s'");
	setenv("DATABASE_URL", "postgresql://me@far:5433/d?sslmode=require", 1);
	check_conninfo(WORDS("mount", dir),
		       "user='me' dbname='d' host='far' port='5433' sslmode='require'");
	check_conninfo(WORDS("mount", "host=near", dir), "dbname='it\\'s' host='near'");
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", dir), &err), 0);
	CHECK_INT(opt.max_connections, 4);
	options_free(&opt);
	setenv("DB_POOL_SIZE", "many", 1);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", dir), &err), 2);
	CHECK_HAS(err.data, "DB_POOL_SIZE");
	options_free(&opt);
	clear_environment();
}

static void write_file(const char *path, const char *text) {
	AUTO_FILE FILE *f = fopen(path, "we");
	CHECK(f != NULL && fputs(text, f) >= 0);
}

static void test_config(void) {
	AUTO_BUF struct buf err = { 0 };
	AUTO_BUF struct buf path = { 0 };
	struct options opt;
	buf_printf(&path, "%s/config.json", dir);
	setenv("DB_HOST", "weak", 1);
	setenv("ROWFS_TEST_NAME", "named", 1);
	write_file(
		path.data,
		"{\"host\": \"${ROWFS_TEST_NONE:-/sock}\", \"port\": \"${ROWFS_TEST_NONE:5433}\",\n"
		" \"database\": \"${ROWFS_TEST_NAME}_$${x}\", \"batch_size\": 7, \"retry_delay\": 0.5,\n"
		" \"isolation_level\": \"REPEATABLE_READ\", \"log_queries\": true, \"password\": null,\n"
		" \"fetch_size\": 50}");
	CHECK_INT(parse(&opt, COMMAND_MOUNT,
			WORDS("mount", "-o", "fetch_size=60", "--config", path.data, "user=u", dir),
			&err),
		  0);
	CHECK_STR(opt.conninfo, "host='/sock' port='5433' dbname='named_${x}' user='u'");
	CHECK_STR(opt.isolation_level, "repeatable read");
	CHECK(opt.batch_size == 7 && opt.retry_delay == 0.5 && opt.db.log_queries &&
	      opt.fetch_size == 60);
	options_free(&opt);
	clear_environment();

	static const char *const bad[][2] = {
		{ "{\"a\": 1}", "a: there is no such option" },
		{ "{\"config\": \"x\"}", "config: there is no such option" },
		{ "{\"port\":\n1,}", "line 2: this is not JSON" },
		{ "[]", "no JSON object" },
		{ "", "not JSON" },
		{ "{\"port\": [1]}", "port: a string, a number" },
		{ "{\"port\": \"${ROWFS_TEST_NONE}\"}", "ROWFS_TEST_NONE is not set" },
		{ "{\"port\": \"${ROWFS_TEST_NONE\"}", "begins neither" },
		{ "{\"threads\": 1.5}", "threads: a whole number" },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(path.data, bad[i][0]);
		CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "--config", path.data, dir),
				&err),
			  2);
		CHECK_HAS(err.data, bad[i][1]);
		options_free(&opt);
	}
	unlink(path.data);
}

/* Whatever names a password, no argument, text or error may show it afterwards. */
static void check_secret(const char *const *words, int want) {
	struct arguments a = copy_arguments(words);
	AUTO_BUF struct buf err = { 0 };
	AUTO_BUF struct buf json = { 0 };
	struct options opt;
	CHECK_INT(options_parse(&opt, COMMAND_MOUNT, a.argc, a.argv, &err), want);
	for (int i = 0; i < a.argc; i++)
		CHECK(strstr(a.argv[i], "sEcReT") == NULL);
	options_to_json(&opt, &json);
	CHECK(strstr(json.data, "sEcReT") == NULL);
	CHECK(opt.fsname == NULL || strstr(opt.fsname, "sEcReT") == NULL);
	CHECK(err.data == NULL || strstr(err.data, "sEcReT") == NULL);
	CHECK(want != 0 || strstr(opt.conninfo, "sEcReT") != NULL);
	free_arguments(&a);
	options_free(&opt);
}

static void test_secrets(void) {
	check_secret(WORDS("mount", "postgresql://u:sEcReT@h/db", dir), 0);
	check_secret(WORDS("mount", "postgresql://h/db?passw%6frd=sEcReT", dir), 0);
	check_secret(WORDS("mount", "host=h password = 'sEcReT'", dir), 0);
	check_secret(WORDS("mount", "host=h sslpassword=sEcReT", dir), 0);
	check_secret(WORDS("mount", "-o", "ro,password=sEcReT", "host=h", dir), 0);
	check_secret(WORDS("mount", "-opassword=sEcReT", "host=h", dir), 0);
	check_secret(WORDS("mount", "-o", "connection_string=postgresql://u:sEcReT@h/db", dir), 0);
	check_secret(WORDS("mount", "host=h password=a sEcReT", dir), 2);
	check_secret(WORDS("mount", "postgresql://u:sEcReT@[h/db", dir), 2);
	check_secret(WORDS("mount", "-o", "password=sEcReT,threads=no", dir), 2);
	check_secret(WORDS("mount", "postgresql://u:sEcReT@h/db", "/nonexistent"), 1);
}

/* Variables are overwritten where they stand, all of one name, and what is found in them is in
 * the connection string. */
static void check_variable(const char *name, const char *value, const char *want) {
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	CHECK(setenv(name, value, 1) == 0);
	char *stands = getenv(name);
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "host=h", dir), &err), 0);
	CHECK(getenv(name) == NULL && stands[0] == '\0');
	CHECK_STR(opt.conninfo, want);
	CHECK(opt.password == NULL && opt.connection_string == NULL);
	options_free(&opt);
}

static void test_variables(void) {
	check_variable("PGPASSWORD", "it's", "host='h' password='it\\'s'");
	check_variable("DB_PASSWORD", "p", "password='p' host='h'");
	check_variable("DATABASE_URL", "postgresql://u:p@far/d", "host='h'");
	check_variable("PGPASSWORD", "", "host='h'");
}

/* What holds no secret stays readable for ps. */
static void test_arguments_without_secrets(void) {
	struct arguments a = copy_arguments(WORDS("mount", "-o", "ro", "host=h password=p", dir));
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	CHECK_INT(options_parse(&opt, COMMAND_MOUNT, a.argc, a.argv, &err), 0);
	CHECK_STR(a.argv[2], "ro");
	CHECK_STR(a.argv[3], "xxxxxxxxxxxxxxxxx");
	CHECK_STR(a.argv[4], dir);
	free_arguments(&a);
	options_free(&opt);
}

static void test_texts(void) {
	AUTO_BUF struct buf help = { 0 };
	AUTO_BUF struct buf man = { 0 };
	AUTO_BUF struct buf json = { 0 };
	AUTO_BUF struct buf err = { 0 };
	struct options opt;
	options_help(&help, false);
	options_help(&man, true);
	CHECK_HAS(help.data, "  max_connections=N ");
	CHECK_HAS(man.data, "\\fBmax_connections\\fR=\\fIN\\fR");
	CHECK_INT(parse(&opt, COMMAND_MOUNT, WORDS("mount", "host=h", dir), &err), 0);
	options_to_json(&opt, &json);
	AUTO_JSON cJSON *parsed = cJSON_Parse(json.data);
	CHECK(cJSON_IsObject(parsed));
	CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(parsed, "connection_string")), "host=h");
	CHECK(options_interval(&opt, "cleanup_interval") == 3600);
	CHECK(options_interval(&opt, "threads") < 0 && options_interval(&opt, "nothing") < 0);
	CHECK_INT(options_db_config(&opt).retry_delay_ms, 1000);
	options_free(&opt);
}

int main(void) {
	clear_environment();
	CHECK(mkdtemp(dir) != NULL);
	test_defaults();
	test_words();
	test_refusals();
	test_operands();
	test_environment();
	test_config();
	test_secrets();
	test_variables();
	test_arguments_without_secrets();
	test_texts();
	rmdir(dir);
	return check_end();
}
