#include "fs/pace.h"

#include "fs/intent.h"

#include <dirent.h>
#include <fcntl.h>

int64_t pace_waited_us(pid_t tid) {
	char path[64], text[128];
	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)tid);
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	char *at = text;
	text[n > 0 ? n : 0] = '\0';
	(void)strtoll(at, &at, 10); /* the time that it has run */
	return strtoll(at, NULL, 10) / 1000;
}

bool pace_waits(pid_t tgid) {
	char path[64];
	bool waits = false;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)tgid);
	DIR *tasks = opendir(path);
	const struct dirent *task;
	while (tasks != NULL && !waits && (task = readdir(tasks)) != NULL)
		waits = task->d_name[0] != '.' &&
			intent_is_on_path((pid_t)strtol(task->d_name, NULL, 10));
	if (tasks != NULL)
		closedir(tasks);
	return waits;
}
