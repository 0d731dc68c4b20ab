/* The kernel of Debian 12 (6.1), for a program that this is preloaded into: it knows neither
 * FUSE_NOTIFY_INC_EPOCH (6.16) nor FUSE_HAS_EXPIRE_ONLY (6.2). */
#include <dlfcn.h>
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

enum { NOTIFY_INC_EPOCH = 8, HAS_EXPIRE_ONLY = 1 << 3 /* of flags2 */ };

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

ssize_t read(int fd, void *data, size_t size) {
	static ssize_t (*next)(int, void *, size_t);
	if (next == NULL)
		next = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
	ssize_t n = next(fd, data, size);
	struct fuse_in_header *header = data;
	struct fuse_init_in *init = (struct fuse_init_in *)(header + 1);
	if (n == sizeof(*header) + sizeof(*init) && header->opcode == FUSE_INIT &&
	    header->len == (size_t)n)
		init->flags2 &= ~(uint32_t)HAS_EXPIRE_ONLY;
	return n;
}
