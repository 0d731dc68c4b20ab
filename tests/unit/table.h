/* What the tests of tables of states share. */
#pragma once

#include "tests/unit/check.h"
#include "util/states.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* What a process of its own does with an undeclared event: the signal that it died of, or else the
 * state that it went to and 1000. Its message is not shown. */
static inline int undeclared(struct state_table *t, int from, int event) {
	pid_t child = fork();
	if (child == 0) {
		int nowhere = open("/dev/null", O_WRONLY);
		dup2(nowhere, STDERR_FILENO);
		_exit(state_move(t, from, event));
	}
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 1000 + WEXITSTATUS(status);
}

/* Every pair of a state and an event of T: a declared one leads where the table says; of the
 * others, a debug build dies and a release build goes where it is safe, or stays. Names stand for
 * all of them. */
static inline void check_table(struct state_table *t) {
	for (int from = 0; from < t->nstates; from++)
		CHECK(t->states[from] != NULL);
	for (int event = 0; event < t->nevents; event++)
		CHECK(t->events[event] != NULL);
	for (int from = 0; from < t->nstates; from++) {
		for (int event = 0; event < t->nevents; event++) {
			if (state_may(t, from, event)) {
				int next = t->moves[from * t->nevents + event] - 1;
				CHECK(next >= 0 && next < t->nstates);
				CHECK_INT(state_move(t, from, event), next);
				continue;
			}
#ifdef ROWFS_DEBUG
			CHECK_INT(undeclared(t, from, event), SIGABRT);
#else
			CHECK_INT(undeclared(t, from, event),
				  1000 + (t->safe != 0 ? t->safe - 1 : from));
#endif
		}
	}
}
