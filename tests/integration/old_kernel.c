/* The kernel of Debian 12 (6.1), for a program that this is preloaded into: it knows neither
 * FUSE_NOTIFY_INC_EPOCH (6.16) nor FUSE_HAS_EXPIRE_ONLY (6.2), and asks for neither
 * FUSE_PASSTHROUGH (6.9) nor FUSE_DIRECT_IO_ALLOW_MMAP (6.6). */
#include <dlfcn.h>
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTIFY_INC_EPOCH = 8 };
enum { HAS_EXPIRE_ONLY = 1 << 3, DIRECT_MMAP = 1 << 4, PASSTHROUGH = 1 << 5 }; /* of flags2 */

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

/* The reply to INIT is the first one, and the only one of its size that is. */
ssize_t writev(int fd, const struct iovec *iov, int count) {
	static ssize_t (*next)(int, const struct iovec *, int);
	static int answered;
	if (!answered && count >= 2 && iov[0].iov_len == sizeof(struct fuse_out_header) &&
	    iov[1].iov_len == sizeof(struct fuse_init_out)) {
		answered = 1;
		((struct fuse_init_out *)iov[1].iov_base)->flags2 &=
			~(uint32_t)(DIRECT_MMAP | PASSTHROUGH);
	}
	if (next == NULL)
		next = (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
	return next(fd, iov, count);
}
