/* SPDX-License-Identifier: BSD-3-Clause
 * Blocks of a file that are given back to its file system. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

/* n octets from `at` on are zeros from now on and have no blocks, as far as those lie in there
 * whole; the file keeps its length.  0 or an errno; EOPNOTSUPP: the file system cannot. */
static inline int file_hole(int fd, uint64_t at, uint64_t n)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	return fallocate(fd, mode, (off_t)at, (off_t)n) < 0 ? errno : 0;
}
