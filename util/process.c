#include "util/process.h"

#include "util/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROOM = 2048 }; /* the fields that are asked for are among the first */

size_t process_read(pid_t tid, const char *file, char *text, size_t room) {
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, file);
	AUTO_FD int fd = tid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = fd >= 0 ? read(fd, text, room - 1) : -1;
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* The text behind LABEL ("\nTgid:", 0) in the status of thread TID, which is read to TEXT; NULL if
 * there is none. */
static const char *read_field(pid_t tid, const char *label, char text[ROOM]) {
	if (process_read(tid, "status", text + 1, ROOM - 1) == 0)
		return NULL;
	text[0] = '\n';
	const char *line = strstr(text, label);
	return line != NULL ? line + strlen(label) : NULL;
}

static pid_t read_number(pid_t tid, const char *label, pid_t otherwise) {
	char text[ROOM];
	const char *field = read_field(tid, label, text);
	return field != NULL ? (pid_t)strtol(field, NULL, 10) : otherwise;
}

pid_t process_of(pid_t tid) {
	return read_number(tid, "\nTgid:", 0);
}

pid_t process_session(pid_t tid) {
	return read_number(tid, "\nNSsid:", SESSION_UNKNOWN);
}

void process_name(pid_t tid, char name[PROCESS_NAME]) {
	char text[ROOM];
	const char *field = read_field(process_of(tid), "\nName:\t", text);
	snprintf(name, PROCESS_NAME, "%.*s", field != NULL ? (int)strcspn(field, "\n") : 0,
		 field != NULL ? field : "");
}
