/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/rt/pool.h"
#include <rte_mempool.h>

#define POOL_CACHE 64 /* objects an lcore keeps for itself */

struct rte_mempool *pool_create_shared(const char *name, uint32_t n, uint32_t octets, int socket)
{
	/* No device reads these.  Without the flag and without hugepages each object would take
	 * whole pages. */
	struct rte_mempool *mp = rte_mempool_create_empty(name, n, octets,
		n > 4 * POOL_CACHE ? POOL_CACHE : 0, 0, socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);

	if (!mp)
		return NULL;
	if (rte_mempool_set_ops_byname(mp, "ring_mt_rts", NULL) < 0 ||
		rte_mempool_populate_default(mp) < 0) {
		rte_mempool_free(mp);
		return NULL;
	}
	return mp;
}
