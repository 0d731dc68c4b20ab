#include "tests/unit/check.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/list.h"
#include "util/log.h"
#include "util/thread.h"
#include "util/ticker.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>

static void test_buf_grows(void) {
	AUTO_BUF struct buf b = { 0 };
	buf_puts(&b, "");
	CHECK_STR(b.data, "");
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%03d,", i);
	CHECK_INT(b.len, 4000);
	CHECK(memcmp(b.data + 3996, "999,", 5) == 0);
	buf_putc(&b, '\0');
	buf_add(&b, "a\0b", 3);
	CHECK_INT(b.len, 4004);
	CHECK(memcmp(b.data + 4000, "\0a\0b", 5) == 0);
	CHECK(!b.failed);
}

static void test_buf_consume_and_resize(void) {
	AUTO_BUF struct buf b = { 0 };
	buf_consume(&b, 5);
	CHECK_INT(b.len, 0);
	buf_resize(&b, 0);
	buf_puts(&b, "hello world");
	buf_consume(&b, 6);
	CHECK_STR(b.data, "world");
	buf_resize(&b, 3);
	CHECK_STR(b.data, "wor");
	buf_resize(&b, 6);
	CHECK(memcmp(b.data, "wor\0\0\0", 7) == 0);
	buf_consume(&b, 100);
	CHECK_INT(b.len, 0);
	CHECK_STR(b.data, "");
}

static void test_buf_take(void) {
	struct buf b = { 0 };
	AUTO_FREE char *empty = buf_take(&b);
	CHECK_STR(empty, "");
	buf_puts(&b, "x");
	AUTO_FREE char *x = buf_take(&b);
	CHECK_STR(x, "x");
	CHECK(b.data == NULL && b.len == 0 && b.cap == 0);
}

static void test_buf_reserve(void) {
	AUTO_BUF struct buf b = { 0 };
	buf_reserve(&b, 1000);
	CHECK(b.cap > 1000);
	CHECK_INT(b.len, 0);
	const char *before = b.data;
	for (int i = 0; i < 1000; i++)
		buf_putc(&b, 'x');
	CHECK(b.data == before);
}

static void test_buf_parts(void) {
	AUTO_BUF struct buf b = { 0 };
	AUTO_FD int fd = memfd_create("test", 0);
	CHECK(write(fd, "hello world", 11) == 11);
	CHECK_INT(buf_pread(&b, fd, 0, 0), 0);
	CHECK_STR(b.data, "");
	CHECK_INT(buf_pread(&b, fd, 3, 6), 0);
	CHECK_STR(b.data, "wor");
	CHECK_INT(buf_pread(&b, fd, 100, 9), 0);
	CHECK_INT(buf_pread(&b, fd, 100, 11), 0);
	CHECK_STR(b.data, "world");
	CHECK_INT(buf_pread(&b, -1, 1, 0), -EBADF);
	CHECK_INT(buf_pread(&b, fd, SIZE_MAX / 2, 0), -ENOMEM);
	buf_free(&b);
	CHECK_INT(buf_add_part(&b, NULL, 0, 5, 0), 0);
	CHECK_INT(buf_add_part(&b, "hello", 5, 2, 3), 0);
	CHECK_INT(buf_add_part(&b, "hello", 5, 9, 4), 0);
	CHECK_INT(buf_add_part(&b, "hello", 5, 9, 5), 0);
	CHECK_INT(buf_add_part(&b, "hello", 5, SIZE_MAX, UINT64_MAX), 0);
	CHECK_STR(b.data, "loo");
}

/* A size that no memory holds fails the buf, and everything after is a no-op. */
static void test_buf_failure_is_sticky(void) {
	AUTO_BUF struct buf b = { 0 };
	buf_puts(&b, "kept");
	buf_reserve(&b, SIZE_MAX);
	CHECK(b.failed);
	buf_puts(&b, "lost");
	buf_printf(&b, "%d", 1);
	buf_resize(&b, 100);
	CHECK_STR(b.data, "kept");
	CHECK(buf_take(&b) == NULL);
	CHECK(b.failed);
}

static void test_list_room(void) {
	AUTO_FREE int *list = NULL;
	for (int n = 0; n < 1000; n++) {
		if (!CHECK(list_room(list, n)))
			return;
		list[n] = n;
	}
	for (int n = 0; n < 1000; n++)
		CHECK_INT(list[n], n);
	/* a list that was longer */
	CHECK(list_room(list, 3) && list_room(list, 2) && list_room(list, 0));
}

static void check_json(const char *s, size_t len, const char *want) {
	AUTO_BUF struct buf b = { 0 };
	buf_json_string(&b, s, len);
	CHECK_STR(b.data, want);
}

static void test_json_string(void) {
	check_json("", 0, "\"\"");
	check_json("plain", 5, "\"plain\"");
	check_json("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
	check_json("\n\r\t\x01\x1f\x7f", 6, "\"\\n\\r\\t\\u0001\\u001f\\u007f\"");
	check_json("a\0b", 3, "\"a\\u0000b\"");
	check_json("Привет 😀/", strlen("Привет 😀/"), "\"Привет 😀/\"");
}

static void test_log_levels(void) {
	enum log_level level = LOG_LEVEL_ERROR;
	CHECK(log_level_parse("WARNING", &level) && level == LOG_LEVEL_WARNING);
	CHECK(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
	CHECK(!log_level_parse("loud", &level) && level == LOG_LEVEL_DEBUG);
	CHECK(!log_level_parse("", &level));
	log_setup(LOG_LEVEL_WARNING, false);
	CHECK(log_wants(LOG_LEVEL_ERROR) && log_wants(LOG_LEVEL_WARNING));
	CHECK(!log_wants(LOG_LEVEL_INFO) && !log_wants(LOG_LEVEL_DEBUG));
}

/* Reads back what log_message() wrote to stderr. */
static void test_log_is_one_line(void) {
	FILE *file = tmpfile();
	if (!CHECK(file != NULL))
		return;
	fflush(stderr);
	int saved = dup(2);
	dup2(fileno(file), 2);
	log_warning("first\nsecond\x1b[31m %s", "third");
	log_info("not wanted");
	dup2(saved, 2);
	close(saved);
	char text[256] = "";
	rewind(file);
	CHECK(fread(text, 1, sizeof(text) - 1, file) > 0);
	CHECK_HAS(text, "rowfs warning [");
	CHECK_HAS(text, "] first second [31m third\n");
	CHECK(strchr(text, '\n') == text + strlen(text) - 1);
	fclose(file);
}

static void test_clock(void) {
	int64_t a = clock_us();
	CHECK(deadline_after_ms(0) == NEVER_US);
	int64_t d = deadline_after_ms(1000);
	CHECK(d >= a + US_PER_S && d < a + 60 * (int64_t)US_PER_S);
	struct timespec t = timespec_of_us(1500001);
	CHECK(t.tv_sec == 1 && t.tv_nsec == 500001000);
	t = timespec_of_us(-1);
	CHECK(t.tv_sec == -1 && t.tv_nsec == 999999000);
	t = timespec_of_ns(-1000000000);
	CHECK(t.tv_sec == -1 && t.tv_nsec == 0);
	t = timespec_of_ns(INT64_MIN);
	CHECK(t.tv_nsec >= 0 && ns_of_timespec(t) == INT64_MIN);
	t = timespec_of_ns(INT64_MAX);
	CHECK(ns_of_timespec(t) == INT64_MAX);
	CHECK(ns_of_timespec((struct timespec){ .tv_sec = INT64_MAX }) == INT64_MAX);
	CHECK(ns_of_timespec((struct timespec){ .tv_sec = INT64_MIN }) == INT64_MIN);
	CHECK(ns_of_us(INT64_MAX) == INT64_MAX / 1000 * 1000);
	CHECK(ns_of_us(INT64_MIN) == INT64_MIN / 1000 * 1000);
}

static int64_t integer_of(const char *text) {
	AUTO_JSON cJSON *json = cJSON_Parse(text);
	return json_integer(json, -10, UINT32_MAX, 7);
}

static void test_json_integer(void) {
	CHECK_INT(integer_of("-10"), -10);
	CHECK_INT(integer_of("4294967295"), UINT32_MAX);
	static const char *const others[] = { "-11",   "4294967296", "1e300", "-1e300", "1e999",
					      "\"1\"", "null",       "[1]",   "" };
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK_INT(integer_of(others[i]), 7);
}

struct work {
	sem_t done;     /* posted each time */
	int64_t due_us; /* after which it is due again */
};

static int64_t do_work(void *arg) {
	struct work *work = arg;
	sem_post(&work->done);
	return work->due_us;
}

/* The work is done at once and when it is due, without a call. */
static void test_ticker_by_itself(void) {
	struct work work = { .due_us = 1 };
	CHECK_INT(sem_init(&work.done, 0, 0), 0);
	struct ticker *ticker = ticker_start(do_work, &work);
	CHECK(ticker != NULL);
	for (int i = 0; i < 3; i++)
		CHECK_INT(sem_wait(&work.done), 0);
	ticker_stop(ticker);
	sem_destroy(&work.done);
}

/* What is not due for an hour is done when it is called for; the end does not wait for it. */
static void test_ticker_called(void) {
	struct work work = { .due_us = (int64_t)3600 * US_PER_S };
	CHECK_INT(sem_init(&work.done, 0, 0), 0);
	struct ticker *ticker = ticker_start(do_work, &work);
	CHECK(ticker != NULL);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(sem_wait(&work.done), 0);
		ticker_call(ticker);
	}
	ticker_stop(ticker);
	ticker_stop(NULL);
	sem_destroy(&work.done);
}

/* What a thread says through a pipe: '1' if signals are blocked in it. */
static void *say_mask(void *arg) {
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	bool blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1;
	CHECK(write(*(int *)arg, blocked ? "1" : "0", 1) == 1);
	return NULL;
}

static void test_thread(void) {
	int ends[2];
	char said = '?';
	sigset_t mask;
	if (!CHECK(pipe(ends) == 0) || !CHECK_INT(thread_start(NULL, say_mask, &ends[1]), 0))
		return;
	CHECK(read(ends[0], &said, 1) == 1);
	CHECK_INT(said, '1');
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	CHECK_INT(sigismember(&mask, SIGTERM), 0);
	close(ends[0]);
	close(ends[1]);
}

int main(void) {
	test_buf_grows();
	test_buf_consume_and_resize();
	test_buf_take();
	test_buf_reserve();
	test_buf_parts();
	test_buf_failure_is_sticky();
	test_list_room();
	test_json_string();
	test_json_integer();
	test_log_levels();
	test_log_is_one_line();
	test_clock();
	test_ticker_by_itself();
	test_ticker_called();
	test_thread();
	return check_end();
}
