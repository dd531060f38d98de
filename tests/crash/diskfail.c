/* SPDX-License-Identifier: BSD-3-Clause
 * diskfail.so: stands between a process and libc.  As long as the file BYPOST_DISKFAIL_WHEN exists,
 * each write and sync of a file below the directory BYPOST_DISKFAIL fails with EIO, as those of a
 * dying disk do; reads go on. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static bool fails(int fd)
{
	const char *directory = getenv("BYPOST_DISKFAIL"), *when = getenv("BYPOST_DISKFAIL_WHEN");
	char link[64], path[PATH_MAX];
	int before = errno;

	if (!directory || !when || access(when, F_OK) != 0) {
		errno = before;
		return false;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	size_t prefix = strlen(directory);
	bool ours =
		n > (ssize_t)prefix && strncmp(path, directory, prefix) == 0 && path[prefix] == '/';
	errno = ours ? EIO : before;
	return ours;
}

#define WRAP(type, name, parameters, ...)                                                          \
	type name parameters;                                                                      \
	type name parameters                                                                       \
	{                                                                                          \
		static type(*real) parameters;                                                     \
		if (!real)                                                                         \
			real = (type(*) parameters)(uintptr_t)dlsym(RTLD_NEXT, #name);             \
		return fails(fd) ? -1 : real(__VA_ARGS__);                                         \
	}

WRAP(ssize_t, write, (int fd, const void *p, size_t n), fd, p, n)
WRAP(ssize_t, writev, (int fd, const struct iovec *v, int n), fd, v, n)
WRAP(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), fd, p, n, at)
WRAP(ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t at), fd, p, n, at)
WRAP(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), fd, v, n, at)
WRAP(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t at), fd, v, n, at)
WRAP(int, fsync, (int fd), fd)
WRAP(int, fdatasync, (int fd), fd)
