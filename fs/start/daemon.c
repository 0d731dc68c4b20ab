#include "fs/start/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

static int status_pipe = -1; /* the child's end: set before there are threads */

/* What the child says, or how it died. */
static int wait_for_child(pid_t child, int fd) {
	unsigned char status;
	ssize_t n;
	do
		n = read(fd, &status, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return status;
	int how;
	if (waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) != 0)
		return WEXITSTATUS(how);
	return 1;
}

int daemon_begin(void) {
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0) {
		perror("rowfs: pipe");
		return 1;
	}
	pid_t child = fork();
	if (child < 0) {
		perror("rowfs: fork");
		close(ends[0]);
		close(ends[1]);
		return 1;
	}
	if (child > 0) {
		close(ends[1]);
		int status = wait_for_child(child, ends[0]);
		close(ends[0]);
		return status;
	}
	close(ends[0]);
	status_pipe = ends[1];
	setsid();
	return -1;
}

void daemon_ready(int status) {
	if (status_pipe < 0)
		return;
	if (status == 0) {
		AUTO_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0) {
			dup2(null, STDIN_FILENO);
			dup2(null, STDOUT_FILENO);
			dup2(null, STDERR_FILENO);
		}
		if (chdir("/") != 0)
			status = 1;
	}
	unsigned char byte = (unsigned char)status;
	if (write(status_pipe, &byte, 1) != 1)
		perror("rowfs: telling the caller");
	close(status_pipe);
	status_pipe = -1;
}
