#include "util/process.h"

#include "util/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pid_t process_of(pid_t tid) {
	char path[40], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	AUTO_FD int fd = tid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (n <= 0)
		return 0;
	text[n] = '\0';
	const char *line = strstr(text, "\nTgid:");
	return line != NULL ? (pid_t)strtol(line + strlen("\nTgid:"), NULL, 10) : 0;
}
