#include "util/thread.h"

#include <signal.h>

/* All but those that tell of a fault: a debugger or a sanitizer is to see where it was. */
static void fill(sigset_t *set) {
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	sigfillset(set);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(set, faults[i]);
}

int thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg) {
	sigset_t blocked, before;
	pthread_t own;

	fill(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	int rc = pthread_create(&own, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0 && thread == NULL)
		pthread_detach(own);
	else if (rc == 0)
		*thread = own;
	return -rc;
}
