/* SPDX-License-Identifier: BSD-3-Clause
 * Errors injected below and inside the store: system calls that LMDB makes (interposed, for liblmdb
 * is a shared object) and LMDB calls that the store makes (--wrap).  Only one plan at a time. */
#pragma once
#include <stdbool.h>

enum fault_kind {
	FAULT_PWRITE, /* -1 with errno */
	FAULT_WRITEV,
	FAULT_SHORT, /* a short write, pwritev or writev */
	FAULT_SYNC,
	FAULT_PWRITEV,
	FAULT_PUT,                  /* mdb_put returns code */
	FAULT_COMMIT,               /* mdb_txn_commit aborts and returns code */
	FAULT_COMMON_N,             /* those above are what test_store_model draws from */
	FAULT_DEL = FAULT_COMMON_N, /* mdb_del, mdb_cursor_del, mdb_get ... return code */
	FAULT_GET,
	FAULT_CURSOR_OPEN,
	FAULT_CURSOR_GET,
	FAULT_BEGIN,
	FAULT_OPEN,            /* LMDB's files: -1 with errno */
	FAULT_MMAP,            /* MAP_FAILED with errno */
	FAULT_ALLOCATE,        /* posix_fallocate returns code */
	FAULT_HOLE,            /* fallocate: -1 with errno */
	FAULT_SYNC_CHECKPOINT, /* fdatasync of the thread that makes checkpoints */
	FAULT_SYNC_JOURNAL,    /* of the thread that syncs beside the writer, 50 ms later */
	FAULT_N
};

/* The n-th call (1: the next) of this kind, and the `times` - 1 calls after it, fail. */
void fault_arm(enum fault_kind kind, int code, unsigned n, unsigned times);
void fault_disarm(void);
/* Calls that failed since the process began. */
unsigned fault_hits(void);
/* Calls of this kind since then, failed or not. */
unsigned fault_calls(enum fault_kind kind);
/* As long as it is set, and beside any plan: posix_fallocate finds no room. */
void fault_no_room(bool set);
