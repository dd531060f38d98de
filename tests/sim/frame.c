/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/frame.h"

struct block {
	struct rte_mbuf_ext_shared_info shared;
	void *octets;
};

static void block_free(void *octets, void *opaque)
{
	struct block *b = opaque;

	(void)octets;
	free(b->octets);
	free(b);
}

struct rte_mempool *frame_pool_create(const char *name, unsigned n)
{
	struct rte_mempool *mp = rte_pktmbuf_pool_create(name, n, 0, 0, 0, SOCKET_ID_ANY);

	BUG_ON(!mp);
	return mp;
}

struct rte_mbuf *frame_make(struct rte_mempool *pool, struct bytes octets)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct block *b = malloc(sizeof(*b));

	BUG_ON(!m || !b || octets.n > UINT16_MAX);
	b->octets = malloc(octets.n);
	BUG_ON(!b->octets);
	if (octets.n)
		memcpy(b->octets, octets.p, octets.n);
	b->shared.free_cb = block_free;
	b->shared.fcb_opaque = b;
	rte_mbuf_ext_refcnt_set(&b->shared, 1);
	rte_pktmbuf_attach_extbuf(m, b->octets, 0, (uint16_t)octets.n, &b->shared);
	m->data_len = (uint16_t)octets.n;
	m->pkt_len = (uint32_t)octets.n;
	return m;
}
