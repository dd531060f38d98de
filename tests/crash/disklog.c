/* SPDX-License-Identifier: BSD-3-Clause
 * disklog.so: stands between a process and libc and logs what happens to the files of one directory
 * and of those below it (disklog.h).  Each call is logged when it begins and when it ends: a crash
 * may fall between.  The lock files are left out, for nothing in them outlives a process. */
/* Callers use the plain names as well as those with 64: both are below. */
#undef _FILE_OFFSET_BITS
#include "tests/crash/disklog.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX   1024
#define FILES_MAX 64
#define OCTETS    (16u << 20) /* of one write, at most */

void crash_mark(uint64_t value);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char directory[PATH_MAX];
static char files[FILES_MAX][128];
static uint32_t file_count;
static struct {
	uint32_t file; /* 0: not ours */
	bool dsync, is_directory;
} fds[FDS_MAX];

#define REAL(name, type)                                                                           \
	static __typeof__(type) real;                                                              \
	if (!real)                                                                                 \
	real = (type)dlsym(RTLD_NEXT, name)

static void fatal(const char *what)
{
	fprintf(stderr, "disklog: %s: %s\n", what, strerror(errno));
	abort();
}

void disklog_begin(const char *log, const char *dir)
{
	snprintf(directory, sizeof(directory), "%s", dir);
	file_count = 0;
	log_fd = open(log, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		fatal(log);
}

void disklog_end(void)
{
	close(log_fd);
	log_fd = -1;
}

__attribute__((constructor)) static void start(void)
{
	const char *log = getenv("BYPOST_DISKLOG"), *dir = getenv("BYPOST_DISKLOG_DIR");

	if (log && dir)
		disklog_begin(log, dir);
}

/* Called with the lock held. */
static void put(const struct disklog_record *r, const struct iovec *data, int n)
{
	struct iovec head = {(void *)(uintptr_t)r, sizeof(*r)};
	REAL("writev", ssize_t(*)(int, const struct iovec *, int));

	/* The pieces may be as many as one call takes: the head has one of its own. */
	if (real(log_fd, &head, 1) != sizeof(*r) || (n && real(log_fd, data, n) != (ssize_t)r->n))
		fatal("cannot write the log");
}

static void put_name(enum disklog_type type, uint32_t file, uint64_t value, const char *name)
{
	struct iovec v = {(void *)(uintptr_t)name, strlen(name)};
	struct disklog_record r = {.type = type, .file = file, .value = value, .n = v.iov_len};

	put(&r, &v, 1);
}

static void put_plain(enum disklog_type type, uint32_t file, uint64_t value)
{
	struct disklog_record r = {.type = type, .file = file, .value = value};

	put(&r, NULL, 0);
}

void crash_mark(uint64_t value)
{
	if (log_fd < 0)
		return;
	pthread_mutex_lock(&lock);
	put_plain(DISKLOG_MARK, 0, value);
	pthread_mutex_unlock(&lock);
}

/* Name within the directory; NULL: elsewhere, or a lock file. */
static const char *name_of(const char *path)
{
	size_t n = strlen(directory);

	if (log_fd < 0 || n == 0 || strncmp(path, directory, n) != 0 || path[n] != '/')
		return NULL;
	path += n + 1;
	const char *last = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	return strcmp(last, "lock") == 0 || strcmp(last, "lock.mdb") == 0 ? NULL : path;
}

static uint32_t file_of(const char *name)
{
	for (uint32_t i = 0; i < file_count; i++) {
		if (strcmp(files[i], name) == 0)
			return i + 1;
	}
	if (file_count == FILES_MAX || strlen(name) >= sizeof(files[0]))
		fatal("too many files");
	strcpy(files[file_count], name);
	return ++file_count;
}

static void opened(int fd, const char *path, int flags, bool was_there)
{
	const char *name = name_of(path);
	bool top = log_fd >= 0 && strcmp(path, directory) == 0;

	if (fd < 0 || fd >= FDS_MAX || (!name && !top))
		return;
	fds[fd].file = file_of(top ? "." : name);
	fds[fd].is_directory = top || flags & O_DIRECTORY;
	fds[fd].dsync = (flags & O_DSYNC) != 0;
	if (!fds[fd].is_directory)
		put_name(was_there ? DISKLOG_OPEN : DISKLOG_CREATE, fds[fd].file, (uint64_t)flags,
			name);
}

static int open_any(const char *symbol, const char *path, int flags, mode_t mode)
{
	int (*real)(const char *, int, ...) =
		(int (*)(const char *, int, ...))dlsym(RTLD_NEXT, symbol);
	struct stat st;

	pthread_mutex_lock(&lock);
	bool was_there = stat(path, &st) == 0;
	int fd = real(path, flags, mode), err = errno;
	opened(fd, path, flags, was_there);
	pthread_mutex_unlock(&lock);
	errno = err;
	return fd;
}

#define OPEN(name)                                                                                 \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		va_list ap;                                                                        \
		va_start(ap, flags);                                                               \
		mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;                            \
		va_end(ap);                                                                        \
		return open_any(#name, path, flags, mode);                                         \
	}
OPEN(open)
OPEN(open64)

int close(int fd)
{
	REAL("close", int (*)(int));

	pthread_mutex_lock(&lock);
	if (fd >= 0 && fd < FDS_MAX)
		memset(&fds[fd], 0, sizeof(fds[fd]));
	int r = real(fd);
	pthread_mutex_unlock(&lock);
	return r;
}

static bool is_ours(int fd)
{
	return log_fd >= 0 && fd >= 0 && fd < FDS_MAX && fds[fd].file && !fds[fd].is_directory;
}

static void write_begins(int fd, const struct iovec *iov, int n, off64_t at)
{
	struct disklog_record r = {.type = DISKLOG_WRITE,
		.file = fds[fd].file,
		.offset = (uint64_t)at,
		.value = fds[fd].dsync};

	for (int i = 0; i < n; i++)
		r.n += iov[i].iov_len;
	if (r.n > OCTETS)
		fatal("a write beyond what the log takes");
	pthread_mutex_lock(&lock);
	put(&r, iov, n);
	pthread_mutex_unlock(&lock);
}

/* which: the offset of a write, the thread of a sync: others may be under way. */
static void ended(enum disklog_type type, int fd, uint64_t which, ssize_t result)
{
	int err = errno;
	struct disklog_record r = {.type = type,
		.file = fds[fd].file,
		.offset = which,
		.value = (uint64_t)(result < 0 ? -err : result)};

	pthread_mutex_lock(&lock);
	put(&r, NULL, 0);
	pthread_mutex_unlock(&lock);
	errno = err;
}

#define PWRITE(name, offset_t)                                                                     \
	ssize_t name(int fd, const void *p, size_t n, offset_t at)                                 \
	{                                                                                          \
		REAL(#name, ssize_t (*)(int, const void *, size_t, offset_t));                     \
		struct iovec v = {(void *)(uintptr_t)p, n};                                        \
		if (!is_ours(fd))                                                                  \
			return real(fd, p, n, at);                                                 \
		write_begins(fd, &v, 1, at);                                                       \
		ssize_t r = real(fd, p, n, at);                                                    \
		ended(DISKLOG_WRITE_END, fd, (uint64_t)at, r);                                     \
		return r;                                                                          \
	}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, offset_t)                                                                    \
	ssize_t name(int fd, const struct iovec *iov, int n, offset_t at)                          \
	{                                                                                          \
		REAL(#name, ssize_t (*)(int, const struct iovec *, int, offset_t));                \
		if (!is_ours(fd))                                                                  \
			return real(fd, iov, n, at);                                               \
		write_begins(fd, iov, n, at);                                                      \
		ssize_t r = real(fd, iov, n, at);                                                  \
		ended(DISKLOG_WRITE_END, fd, (uint64_t)at, r);                                     \
		return r;                                                                          \
	}
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define FALLOCATE(name, offset_t)                                                                  \
	int name(int fd, offset_t at, offset_t n)                                                  \
	{                                                                                          \
		REAL(#name, int (*)(int, offset_t, offset_t));                                     \
		int r = real(fd, at, n);                                                           \
		if (r == 0 && is_ours(fd)) {                                                       \
			pthread_mutex_lock(&lock);                                                 \
			struct disklog_record rec = {.type = DISKLOG_ALLOCATE,                     \
				.file = fds[fd].file,                                              \
				.value = (uint64_t)(at + n)};                                      \
			put(&rec, NULL, 0);                                                        \
			pthread_mutex_unlock(&lock);                                               \
		}                                                                                  \
		return r;                                                                          \
	}
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)

static void hole_made(int fd, uint64_t at, uint64_t n)
{
	struct disklog_record r = {.type = DISKLOG_HOLE, .file = fds[fd].file, .offset = at};
	struct stat st;

	if (fstat(fd, &st) < 0)
		fatal("fstat");
	uint64_t size = (uint64_t)st.st_size;
	r.value = at >= size ? 0 : at + n > size ? size - at : n; /* the size is kept */
	pthread_mutex_lock(&lock);
	put(&r, NULL, 0);
	pthread_mutex_unlock(&lock);
}

#define HOLE(name, offset_t)                                                                       \
	int name(int fd, int mode, offset_t at, offset_t n)                                        \
	{                                                                                          \
		REAL(#name, int (*)(int, int, offset_t, offset_t));                                \
		if (is_ours(fd) && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))           \
			fatal("a mode of fallocate");                                              \
		if (is_ours(fd))                                                                   \
			hole_made(fd, (uint64_t)at, (uint64_t)n);                                  \
		return real(fd, mode, at, n);                                                      \
	}
HOLE(fallocate, off_t)
HOLE(fallocate64, off64_t)

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	REAL("writev", ssize_t(*)(int, const struct iovec *, int));

	if (!is_ours(fd))
		return real(fd, iov, n);
	off64_t at = lseek64(fd, 0, SEEK_CUR);
	write_begins(fd, iov, n, at);
	ssize_t r = real(fd, iov, n);
	ended(DISKLOG_WRITE_END, fd, (uint64_t)at, r);
	return r;
}

ssize_t write(int fd, const void *p, size_t n)
{
	REAL("write", ssize_t(*)(int, const void *, size_t));
	struct iovec v = {(void *)(uintptr_t)p, n};

	if (!is_ours(fd))
		return real(fd, p, n);
	off64_t at = lseek64(fd, 0, SEEK_CUR);
	write_begins(fd, &v, 1, at);
	ssize_t r = real(fd, p, n);
	ended(DISKLOG_WRITE_END, fd, (uint64_t)at, r);
	return r;
}

static void directory_synced(int fd)
{
	pthread_mutex_lock(&lock);
	put_name(DISKLOG_DIRSYNC_END, fds[fd].file, 0, files[fds[fd].file - 1]);
	pthread_mutex_unlock(&lock);
}

static int sync_any(int fd, int (*real)(int))
{
	bool directory_itself = log_fd >= 0 && fd >= 0 && fd < FDS_MAX && fds[fd].is_directory;

	if (!is_ours(fd) && !directory_itself)
		return real(fd);
	uint64_t thread = (uint64_t)syscall(SYS_gettid);
	if (!directory_itself)
		ended(DISKLOG_SYNC, fd, thread, 0);
	int r = real(fd);
	if (!directory_itself)
		ended(DISKLOG_SYNC_END, fd, thread, r);
	else if (r == 0)
		directory_synced(fd);
	return r;
}

int fdatasync(int fd)
{
	REAL("fdatasync", int (*)(int));
	return sync_any(fd, real);
}

int fsync(int fd)
{
	REAL("fsync", int (*)(int));
	return sync_any(fd, real);
}

#define FTRUNCATE(name, offset_t)                                                                  \
	int name(int fd, offset_t n)                                                               \
	{                                                                                          \
		REAL(#name, int (*)(int, offset_t));                                               \
		int r = real(fd, n);                                                               \
		if (is_ours(fd)) {                                                                 \
			pthread_mutex_lock(&lock);                                                 \
			put_plain(DISKLOG_TRUNCATE, fds[fd].file, (uint64_t)n);                    \
			pthread_mutex_unlock(&lock);                                               \
		}                                                                                  \
		return r;                                                                          \
	}
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to)
{
	REAL("rename", int (*)(const char *, const char *));
	const char *a = name_of(from), *b = name_of(to);

	pthread_mutex_lock(&lock);
	int r = real(from, to), err = errno;
	if (r == 0 && a && b) {
		/* It keeps its number under the new name; who had that name is nobody any more. */
		uint32_t number = file_of(a);
		for (uint32_t i = 0; i < file_count; i++) {
			if (strcmp(files[i], b) == 0)
				files[i][0] = '\0';
		}
		snprintf(files[number - 1], sizeof(files[0]), "%s", b);
		struct iovec v[] = {
			{(void *)(uintptr_t)a, strlen(a) + 1},
			{(void *)(uintptr_t)b, strlen(b) + 1}
                };
		struct disklog_record rec = {
			.type = DISKLOG_RENAME, .n = v[0].iov_len + v[1].iov_len};
		put(&rec, v, 2);
	}
	pthread_mutex_unlock(&lock);
	errno = err;
	return r;
}

int unlink(const char *path)
{
	REAL("unlink", int (*)(const char *));
	const char *name = name_of(path);

	pthread_mutex_lock(&lock);
	int r = real(path), err = errno;
	if (r == 0 && name)
		put_name(DISKLOG_UNLINK, 0, 0, name);
	pthread_mutex_unlock(&lock);
	errno = err;
	return r;
}

/* A shared writable map would let octets reach the disk that the log does not show. */
#define MMAP(name, offset_t)                                                                       \
	void *name(void *p, size_t n, int prot, int flags, int fd, offset_t at)                    \
	{                                                                                          \
		REAL(#name, void *(*)(void *, size_t, int, int, int, offset_t));                   \
		if (is_ours(fd) && prot & PROT_WRITE && flags & MAP_SHARED) {                      \
			errno = ENOTSUP;                                                           \
			fatal("a writable shared map");                                            \
		}                                                                                  \
		return real(p, n, prot, flags, fd, at);                                            \
	}
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)
