/* SPDX-License-Identifier: BSD-3-Clause
 * Pools of fixed-size objects that several threads take from and give back to. */
#pragma once
#include "dataplane/base/check.h"

struct rte_mempool;

/* n objects of `octets`, safe against a thread that is preempted inside (with ring_mp_mc it would
 * stall all others).  Each lcore caches 64 when the pool is large enough for that.  Main thread;
 * NULL: no memory.  Freed by rte_mempool_free. */
struct rte_mempool *pool_create_shared(const char *name, uint32_t n, uint32_t octets, int socket);
