/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/pools.h"
#include <rte_mbuf.h>
#include "dataplane/base/rt/chunk.h"
#include "dataplane/stack.h"

#define POOL_CACHE    128 /* mbufs an lcore keeps for itself; the TX burst is a quarter */
#define CONTROL_MBUFS 2047
#define CONTROL_BYTES POOL_FRAME_BYTES /* an answer to an echo request is as long as that */
#define RX_MBUFS_MIN                                                                               \
	8191 /* chosen: descriptors of any driver (af_xdp takes 4,096) and as many on their way */
#define TX_MBUFS_MIN    8191
#define TX_MBUFS_MAX    65535
#define CHUNKS_MIN      1024
#define MBUF_HEAD_BYTES (sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM + 64 + 64)

/* Memory per connection beyond the frames: control block, flow table, session. */
#define CONNECTION_BYTES 8192
#define ROOM_BYTES       (48ull << 20) /* rings, tables, fragmentation, the roles' pools */

static struct rte_mempool *pools[2 * CORES_MAX + PORTS_MAX];
static unsigned pool_count;

static uint32_t rx_mbufs(const struct dataplane_conf *conf)
{
	/* Packet rings to the other cores may be full of them. */
	return conf->mbufs ? conf->mbufs : RX_MBUFS_MIN + 1024 * (conf->core_count - 1);
}

static uint32_t tx_mbufs(const struct dataplane_conf *conf)
{
	uint32_t n = TX_MBUFS_MIN;

	if (conf->mbufs)
		return conf->mbufs;
	/* Four segments for each connection: an idle one has none, a busy one up to 180. */
	while (n < 4ull * conf->connections_max && n < TX_MBUFS_MAX)
		n = 2 * n + 1;
	return n;
}

uint32_t pools_chunks(const struct dataplane_conf *conf)
{
	return MAX(conf->chunks, CHUNKS_MIN);
}

uint32_t pools_memory_mb(const struct dataplane_conf *conf)
{
	uint64_t frame = MBUF_HEAD_BYTES + POOL_FRAME_BYTES;
	uint64_t bytes = ROOM_BYTES;

	bytes += conf->port_count * rx_mbufs(conf) * frame;
	bytes += conf->core_count * tx_mbufs(conf) * (frame + STACK_TX_PRIV);
	bytes += conf->core_count * CONTROL_MBUFS * (MBUF_HEAD_BYTES + CONTROL_BYTES);
	bytes += pools_chunks(conf) * (uint64_t)(sizeof(struct chunk) + 128);
	bytes += (uint64_t)conf->core_count * conf->connections_max * CONNECTION_BYTES;
	return (uint32_t)(bytes >> 20) + 1;
}

static struct rte_mempool *create(
	const char *name, uint32_t n, uint16_t priv, uint16_t room, int socket)
{
	/* Any core may free what another took, and cores may share a CPU: ring_mp_mc would make all
	 * wait for one that was preempted inside. */
	struct rte_mempool *mp = rte_pktmbuf_pool_create_by_ops(
		name, n, n >= 8 * POOL_CACHE ? POOL_CACHE : 0, priv, room, socket, "ring_mt_rts");

	if (mp)
		pools[pool_count++] = mp;
	return mp;
}

struct rte_mempool *pool_create_rx(const struct dataplane_conf *conf, unsigned port, int socket)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "rx%u.%.16s", port, conf->ports[port].name);
	return create(name, rx_mbufs(conf), 0, POOL_FRAME_BYTES + RTE_PKTMBUF_HEADROOM, socket);
}

struct rte_mempool *pool_create_tx(const struct dataplane_conf *conf, unsigned core, int socket)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "tx.core%u", core);
	return create(name, tx_mbufs(conf), STACK_TX_PRIV, POOL_FRAME_BYTES + RTE_PKTMBUF_HEADROOM,
		socket);
}

struct rte_mempool *pool_create_control(unsigned core, int socket)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "control.core%u", core);
	return create(
		name, CONTROL_MBUFS, STACK_TX_PRIV, CONTROL_BYTES + RTE_PKTMBUF_HEADROOM, socket);
}

void pools_free(void)
{
	while (pool_count > 0) {
		rte_mempool_free(pools[--pool_count]);
		pools[pool_count] = NULL;
	}
}

static void describe(const struct rte_mempool *mp, struct pool_info *out)
{
	*out = (struct pool_info){.size = mp->size,
		.in_use = rte_mempool_in_use_count(mp),
		.element_bytes = mp->elt_size};
	snprintf(out->name, sizeof(out->name), "%s", mp->name);
}

unsigned pool_get_info(struct pool_info *out, unsigned max)
{
	unsigned n = 0;
	struct rte_mempool *chunks = rte_mempool_lookup("chunks");

	if (chunks && n < max)
		describe(chunks, &out[n++]);
	for (unsigned i = 0; i < pool_count && n < max; i++)
		describe(pools[i], &out[n++]);
	return n;
}
