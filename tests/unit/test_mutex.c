/* util/mutex: the order of locks is kept, and a debug build aborts where it is not. */
#include "tests/unit/check.h"
#include "util/clock.h"
#include "util/mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static struct mutex upper = MUTEX_INIT(MUTEX_HANDLE), lower = MUTEX_INIT(MUTEX_NODES);

static void test_order(void) {
	uint64_t before = mutex_taken();
	{
		LOCK_SCOPE(&upper);
		LOCK_SCOPE(&lower);
	}
	mutex_lock(&lower);
	CHECK(mutex_trylock(&upper)); /* never waits */
	mutex_unlock(&lower);
	mutex_unlock(&upper); /* in any order */
#ifdef ROWFS_DEBUG
	CHECK_INT(mutex_taken() - before, 4);
#else
	CHECK_INT(mutex_taken() - before, 0);
#endif
}

static void *try_it(void *arg) {
	bool *taken = arg;
	*taken = mutex_trylock(&upper);
	if (!*taken)
		*taken = mutex_lock_until(&upper, clock_us() + US_PER_MS);
	return NULL;
}

static void test_taken_by_another(void) {
	pthread_t thread;
	bool taken = true;
	LOCK_SCOPE(&upper);
	if (CHECK_INT(pthread_create(&thread, NULL, try_it, &taken), 0))
		pthread_join(thread, NULL);
	CHECK(!taken);
}

static void test_wait(void) {
	pthread_cond_t condition;
	clock_condition(&condition);
	LOCK_SCOPE(&upper);
	CHECK_INT(mutex_wait_until(&condition, &upper, clock_us() + US_PER_MS), ETIMEDOUT);
	LOCK_SCOPE(&lower); /* UPPER counts as held again, and once */
	pthread_cond_destroy(&condition);
}

#ifdef ROWFS_DEBUG
static struct mutex same = MUTEX_INIT(MUTEX_HANDLE);

static void take_upper_with_lower(void) {
	mutex_lock(&lower);
	mutex_lock(&upper);
}

static void take_two_of_one_rank(void) {
	mutex_lock(&upper);
	mutex_lock(&same);
}

static void take_twice(void) {
	mutex_lock(&upper);
	mutex_lock(&upper);
}

static void take_upper_with_tried(void) {
	if (mutex_trylock(&lower))
		mutex_lock(&upper);
}

static void take_upper_until(void) {
	mutex_lock(&lower);
	if (mutex_lock_until(&upper, clock_us()))
		mutex_unlock(&upper);
}

static void wait_with_lower(void) {
	pthread_cond_t condition;
	clock_condition(&condition);
	mutex_lock(&upper);
	mutex_lock(&lower);
	mutex_wait_until(&condition, &upper, clock_us());
}

static void give_back_what_is_free(void) {
	mutex_unlock(&upper);
}

/* The signal that a process of its own dies of; its message is not shown. */
static int signal_of(void (*breaks)(void)) {
	pid_t child = fork();
	if (child == 0) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		breaks();
		_exit(0);
	}
	int status = 0;
	return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status)
		       ? WTERMSIG(status)
		       : 0;
}

static void test_broken_order(void) {
	static void (*const broken[])(void) = {
		take_upper_with_lower,  take_two_of_one_rank, take_twice,
		take_upper_with_tried,  take_upper_until,     wait_with_lower,
		give_back_what_is_free,
	};
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		CHECK_INT(signal_of(broken[i]), SIGABRT);
}

#endif

int main(void) {
	test_order();
	test_taken_by_another();
	test_wait();
#ifdef ROWFS_DEBUG
	test_broken_order();
#endif
	return check_end();
}
