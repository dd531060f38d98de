/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/pools.h"
#include <rte_mbuf.h>
#include "dataplane/base/rt/chunk.h"
#include "dataplane/eal_args.h"
#include "dataplane/io.h"

#define POOL_CACHE    128  /* mbufs an lcore keeps for itself; the TX burst is a quarter */
#define CONTROL_MBUFS 2047 /* whole frames: an answer to an echo request is as long as that */
#define RX_MBUFS_MIN                                                                               \
	4095 /* chosen: 8 MiB that wait for applications, or for a gap to be filled                \
	      */
#define TX_MBUFS_MIN 8191
#define TX_MBUFS_MAX 32767 /* chosen: 47 MB on their way, 10 Gbit/s for 38 ms, in 78 MB */
#define CHUNKS_MIN   1024

#define FRAME_OVERHEAD 18   /* Ethernet header, VLAN tag */
#define XDP_FILL       4096 /* af_xdp: frames that wait for the kernel, per queue */
#define XDP_SENDING    2048 /* and copies on their way out */
#define XDP_HEADROOM   256  /* XDP_PACKET_HEADROOM: the kernel's, before the frame */

/* Memory per connection beyond the frames: control block, flow table, session. */
#define CONNECTION_BYTES 8192
#define ROOM_BYTES       (48ull << 20) /* rings, tables, fragmentation, the roles' pools */

static struct rte_mempool *pools[2 * CORES_MAX + PORTS_MAX];
static unsigned pool_count;

uint32_t pools_rx_kept(enum port_kind kind, unsigned queues)
{
	static const uint32_t kept[] = {
		[PORT_AF_XDP] = XDP_FILL + XDP_SENDING, [PORT_PCI] = RX_DESCRIPTORS};

	return (unsigned)kind < ARRAY_LEN(kept) ? kept[kind] * queues : 0;
}

/* Packet rings to the other cores may be full of them. */
static uint32_t rx_mbufs(const struct dataplane_conf *conf, unsigned i)
{
	uint32_t kept = pools_rx_kept(conf->ports[i].kind, port_queues_wanted(conf, i));

	if (conf->mbufs)
		return conf->mbufs;
	return RX_MBUFS_MIN + PACKET_RING_SIZE * (conf->core_count - 1) + kept;
}

/* No chains: af_packet copies a frame into one mbuf or drops it, af_xdp sends from one only. */
uint32_t pools_frame_bytes(const struct dataplane_conf *conf, unsigned i)
{
	const struct port_conf *p = &conf->ports[i];
	uint32_t n = p->mtu + FRAME_OVERHEAD;

	if (p->kind == PORT_AF_XDP)
		n += XDP_HEADROOM;
	if (p->kind == PORT_AF_PACKET)
		n = MAX(n, eal_af_packet_frame_bytes(p));
	return RTE_ALIGN_CEIL(MAX(n, (uint32_t)POOL_FRAME_BYTES), 64u);
}

/* What is sent must fit any port's frames; also those of a port that copies it into its own. */
static uint32_t send_bytes(const struct dataplane_conf *conf)
{
	uint32_t n = POOL_FRAME_BYTES;

	for (unsigned i = 0; i < conf->port_count; i++)
		n = MAX(n, conf->ports[i].mtu + (uint32_t)FRAME_OVERHEAD);
	return RTE_ALIGN_CEIL(n, 64u);
}

static uint32_t tx_mbufs(const struct dataplane_conf *conf)
{
	uint32_t n = TX_MBUFS_MIN;

	if (conf->mbufs)
		return conf->mbufs;
	/* Two segments for each connection: an idle one has none, a busy one up to 180, and 22 when
	 * the pool gets full.  Each is written to at start, which without hugepages takes a second
	 * for 300,000. */
	while (n + 1 < 2ull * conf->connections_max && n < TX_MBUFS_MAX)
		n = 2 * n + 1;
	return n;
}

uint32_t pools_chunks(const struct dataplane_conf *conf)
{
	return MAX(conf->chunks, CHUNKS_MIN);
}

/* Of n objects: with the padding the library adds, their ring, and the caches of all lcores. */
static uint64_t pool_bytes(uint64_t n, size_t object)
{
	size_t each = rte_mempool_calc_obj_size((uint32_t)object, 0, NULL);

	return n * (each + 2 * sizeof(void *)) + sizeof(struct rte_mempool) +
	       RTE_MAX_LCORE * sizeof(struct rte_mempool_cache);
}

uint32_t pools_memory_mb(const struct dataplane_conf *conf)
{
	size_t mbuf = sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM;
	size_t sent = mbuf + STACK_TX_PRIV + send_bytes(conf);
	uint64_t bytes = ROOM_BYTES;

	for (unsigned i = 0; i < conf->port_count; i++)
		bytes += pool_bytes(rx_mbufs(conf, i), mbuf + pools_frame_bytes(conf, i));
	bytes += conf->core_count * pool_bytes(tx_mbufs(conf), sent);
	bytes += conf->core_count * pool_bytes(CONTROL_MBUFS, sent);
	bytes += pool_bytes(pools_chunks(conf), sizeof(struct chunk));
	bytes += (uint64_t)conf->core_count *
		 (sizeof(struct core_io) + (uint64_t)conf->connections_max * CONNECTION_BYTES);
	return (uint32_t)(bytes >> 20) + 1;
}

static bool has_pci(const struct dataplane_conf *conf)
{
	for (unsigned i = 0; i < conf->port_count; i++) {
		if (conf->ports[i].kind == PORT_PCI)
			return true;
	}
	return false;
}

/* What rte_pktmbuf_pool_create_by_ops() does, and two things more.  Any core may free what another
 * took, and cores may share a CPU: ring_mp_mc would make all wait for one that was preempted
 * inside. And without a device that reads memory by itself, a frame may lie across pages: without
 * hugepages each would take a page of its own, and af_xdp wants the pool in one piece, each object
 * in at most a page. */
static struct rte_mempool *create(const struct dataplane_conf *conf, const char *name, uint32_t n,
	uint32_t frame, uint16_t priv, int socket)
{
	struct rte_pktmbuf_pool_private private = {
		.mbuf_data_room_size = (uint16_t)(frame + RTE_PKTMBUF_HEADROOM),
		.mbuf_priv_size = priv,
	};
	unsigned element = (unsigned)sizeof(struct rte_mbuf) + priv + private.mbuf_data_room_size;
	struct rte_mempool *mp = rte_mempool_create_empty(name, n, element,
		n >= 8 * POOL_CACHE ? POOL_CACHE : 0, sizeof(private), socket,
		has_pci(conf) ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG | RTE_MEMPOOL_F_NO_SPREAD);

	if (!mp)
		return NULL;
	if (rte_mempool_set_ops_byname(mp, "ring_mt_rts", NULL) < 0)
		goto fail;
	rte_pktmbuf_pool_init(mp, &private);
	if (rte_mempool_populate_default(mp) < 0)
		goto fail;
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	pools[pool_count++] = mp;
	return mp;
fail:
	rte_mempool_free(mp);
	return NULL;
}

struct rte_mempool *pool_create_rx(const struct dataplane_conf *conf, unsigned port, int socket)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "rx%u.%.16s", port, conf->ports[port].name);
	return create(conf, name, rx_mbufs(conf, port), pools_frame_bytes(conf, port), 0, socket);
}

struct rte_mempool *pool_create_tx(const struct dataplane_conf *conf, unsigned core, int socket)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "tx.core%u", core);
	return create(conf, name, tx_mbufs(conf), send_bytes(conf), STACK_TX_PRIV, socket);
}

struct rte_mempool *pool_create_control(
	const struct dataplane_conf *conf, unsigned core, int socket)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "control.core%u", core);
	return create(conf, name, CONTROL_MBUFS, send_bytes(conf), STACK_TX_PRIV, socket);
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
