/* SPDX-License-Identifier: BSD-3-Clause
 * The pools of frames, and how much memory the whole takes.  Sizes are computed from configuration.
 * Main thread creates and frees them; they are safe against preemption of whoever is inside. */
#pragma once
#include "dataplane/port.h"

struct rte_mempool;

#define POOL_FRAME_BYTES 2048 /* octets of a frame in one mbuf, at least */
#define RX_DESCRIPTORS   512
#define TX_DESCRIPTORS   512

/* Megabytes that pools, tables and rings take in all, with room for the roles' own. */
uint32_t pools_memory_mb(const struct dataplane_conf *conf);
/* Octets of one mbuf that port i receives into: a whole frame and what its driver adds. */
uint32_t pools_frame_bytes(const struct dataplane_conf *conf, unsigned i);
/* Mbufs of a port's pool that are always with the driver. */
uint32_t pools_rx_kept(enum port_kind kind, unsigned queues);
/* Chunks in the pool of message bodies. */
uint32_t pools_chunks(const struct dataplane_conf *conf);

/* Frames received on a port.  NULL: no memory. */
struct rte_mempool *pool_create_rx(const struct dataplane_conf *conf, unsigned port, int socket);
/* Payload segments of core i, and its small frames (ACK, RST, ARP, ICMP). */
struct rte_mempool *pool_create_tx(const struct dataplane_conf *conf, unsigned core, int socket);
struct rte_mempool *pool_create_control(
	const struct dataplane_conf *conf, unsigned core, int socket);
/* All of the above. */
void pools_free(void);
