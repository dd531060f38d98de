/* SPDX-License-Identifier: BSD-3-Clause
 * Received frames for tests: each is an exact-size block of malloc attached to an mbuf as external
 * buffer, because AddressSanitizer sees nothing inside DPDK's memory.  A read beyond the frame is a
 * read beyond the block. */
#pragma once
#include <rte_mbuf.h>
#include "dataplane/base/bytes.h"

/* Pool of mbufs without data room of their own.  Aborts when there is no memory. */
struct rte_mempool *frame_pool_create(const char *name, unsigned n);
/* An mbuf with a copy of the octets and not one more.  Aborts when there is no memory. */
struct rte_mbuf *frame_make(struct rte_mempool *pool, struct bytes octets);
