/* SPDX-License-Identifier: BSD-3-Clause */
/* liblmdb calls pwrite by its plain name; with this set the one below would be pwrite64. */
#undef _FILE_OFFSET_BITS
#include "tests/model/fault.h"
#include <dlfcn.h>
#include <errno.h>
#include <lmdb.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int kind = -1, code, wait_calls, times_left;
static atomic_uint hits, calls[FAULT_N];
static atomic_bool no_room;

void fault_arm(enum fault_kind k, int c, unsigned n, unsigned times)
{
	atomic_store(&kind, -1);
	atomic_store(&code, c);
	atomic_store(&wait_calls, (int)n - 1);
	atomic_store(&times_left, (int)times);
	atomic_store(&kind, (int)k);
}

void fault_disarm(void)
{
	atomic_store(&kind, -1);
}

unsigned fault_hits(void)
{
	return atomic_load(&hits);
}

unsigned fault_calls(enum fault_kind k)
{
	return atomic_load(&calls[k]);
}

void fault_no_room(bool set)
{
	atomic_store(&no_room, set);
}

static bool strikes(enum fault_kind k)
{
	atomic_fetch_add(&calls[k], 1);
	if (atomic_load(&kind) != (int)k)
		return false;
	if (atomic_fetch_sub(&wait_calls, 1) > 0)
		return false;
	if (atomic_fetch_sub(&times_left, 1) <= 0) {
		fault_disarm();
		return false;
	}
	atomic_fetch_add(&hits, 1);
	return true;
}

#define REAL(name, type)                                                                           \
	static __typeof__(type) real;                                                              \
	if (!real)                                                                                 \
	real = (type)dlsym(RTLD_NEXT, name)

/* LMDB's is pwrite, the store's own pwrite64. */
#define PWRITE(name, offset_t)                                                                     \
	ssize_t name(int fd, const void *p, size_t n, offset_t at)                                 \
	{                                                                                          \
		REAL(#name, ssize_t (*)(int, const void *, size_t, offset_t));                     \
		if (strikes(FAULT_PWRITE)) {                                                       \
			errno = atomic_load(&code);                                                \
			return -1;                                                                 \
		}                                                                                  \
		return real(fd, p, n > 64 && strikes(FAULT_SHORT) ? n / 2 : n, at);                \
	}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, offset_t)                                                                    \
	ssize_t name(int fd, const struct iovec *iov, int n, offset_t at)                          \
	{                                                                                          \
		REAL(#name, ssize_t (*)(int, const struct iovec *, int, offset_t));                \
		if (strikes(FAULT_PWRITEV)) {                                                      \
			errno = atomic_load(&code);                                                \
			return -1;                                                                 \
		}                                                                                  \
		return real(fd, iov, n > 1 && strikes(FAULT_SHORT) ? n / 2 : n, at);               \
	}
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define FALLOCATE(name, offset_t)                                                                  \
	int name(int fd, offset_t at, offset_t n)                                                  \
	{                                                                                          \
		REAL(#name, int (*)(int, offset_t, offset_t));                                     \
		if (atomic_load(&no_room))                                                         \
			return ENOSPC;                                                             \
		return strikes(FAULT_ALLOCATE) ? atomic_load(&code) : real(fd, at, n);             \
	}
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)

#define HOLE(name, offset_t)                                                                       \
	int name(int fd, int mode, offset_t at, offset_t n)                                        \
	{                                                                                          \
		REAL(#name, int (*)(int, int, offset_t, offset_t));                                \
		if (strikes(FAULT_HOLE)) {                                                         \
			errno = atomic_load(&code);                                                \
			return -1;                                                                 \
		}                                                                                  \
		return real(fd, mode, at, n);                                                      \
	}
HOLE(fallocate, off_t)
HOLE(fallocate64, off64_t)

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	REAL("writev", ssize_t(*)(int, const struct iovec *, int));
	if (strikes(FAULT_WRITEV)) {
		errno = atomic_load(&code);
		return -1;
	}
	if (strikes(FAULT_SHORT))
		return real(fd, iov, n / 2);
	return real(fd, iov, n);
}

/* LMDB's, not those of the store: they are open64. */
int open(const char *path, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	int mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	REAL("open", int (*)(const char *, int, ...));
	if (strikes(FAULT_OPEN)) {
		errno = atomic_load(&code);
		return -1;
	}
	return real(path, flags, mode);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	REAL("mmap", void *(*)(void *, size_t, int, int, int, off_t));
	if (fd >= 0 && strikes(FAULT_MMAP)) {
		errno = atomic_load(&code);
		return MAP_FAILED;
	}
	return real(at, n, prot, flags, fd, offset);
}

static bool sync_strikes(void)
{
	char name[16] = "";

	if (strikes(FAULT_SYNC))
		return true;
	pthread_getname_np(pthread_self(), name, sizeof(name));
	if (strcmp(name, "checkpoint") == 0)
		return strikes(FAULT_SYNC_CHECKPOINT);
	if (strcmp(name, "journal") != 0 || !strikes(FAULT_SYNC_JOURNAL))
		return false;
	usleep(50000);
	return true;
}

int fdatasync(int fd)
{
	REAL("fdatasync", int (*)(int));
	if (sync_strikes()) {
		errno = atomic_load(&code);
		return -1;
	}
	return real(fd);
}

int __real_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *k, MDB_val *v, unsigned flags);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *k, MDB_val *v, unsigned flags);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *k, MDB_val *v, unsigned flags)
{
	return strikes(FAULT_PUT) ? atomic_load(&code) : __real_mdb_put(txn, dbi, k, v, flags);
}

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
	if (!strikes(FAULT_COMMIT))
		return __real_mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return atomic_load(&code);
}

#define WRAP(kind, name, declaration, call)                                                        \
	int __real_##name declaration;                                                             \
	int __wrap_##name declaration;                                                             \
	int __wrap_##name declaration                                                              \
	{                                                                                          \
		return strikes(kind) ? atomic_load(&code) : __real_##name call;                    \
	}

WRAP(FAULT_DEL, mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *k, MDB_val *v), (txn, dbi, k, v))
WRAP(FAULT_DEL, mdb_cursor_del, (MDB_cursor * c, unsigned flags), (c, flags))
WRAP(FAULT_GET, mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *k, MDB_val *v), (txn, dbi, k, v))
WRAP(FAULT_CURSOR_OPEN, mdb_cursor_open, (MDB_txn * txn, MDB_dbi dbi, MDB_cursor **c),
	(txn, dbi, c))
WRAP(FAULT_CURSOR_GET, mdb_cursor_get, (MDB_cursor * c, MDB_val *k, MDB_val *v, MDB_cursor_op op),
	(c, k, v, op))
WRAP(FAULT_BEGIN, mdb_txn_begin, (MDB_env * env, MDB_txn *parent, unsigned flags, MDB_txn **txn),
	(env, parent, flags, txn))
