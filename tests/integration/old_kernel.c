/* A kernel before Linux 6.16, for a program that this is preloaded into: it does not know FUSE_NOTIFY_INC_EPOCH. */
#include <dlfcn.h>
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

enum { NOTIFY_INC_EPOCH = 8 };

ssize_t write(int fd, const void *data, size_t size) {
	static ssize_t (*next)(int, const void *, size_t);
	struct fuse_out_header header;
	if (size == sizeof(header)) {
		memcpy(&header, data, sizeof(header));
		if (header.len == size && header.error == NOTIFY_INC_EPOCH && header.unique == 0) {
			errno = EINVAL;
			return -1;
		}
	}
	if (next == NULL)
		next = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	return next(fd, data, size);
}
