/* SPDX-License-Identifier: BSD-3-Clause
 * One stack with its pools and clock, for tests: what it sends is given to a callback as octets. */
#pragma once
#include "dataplane/stack_priv.h"
#include "tests/sim/packet.h"

#define HOST_HELD_MAX 256 /* frames the "driver" holds back */

struct host;
typedef void (*host_tx_fn)(struct host *h, struct bytes frame);

/* Pools of a process; each host uses one set. */
struct host_pools {
	struct rte_mempool *rx, *tx, *control;
};

struct host_conf {
	uint32_t address; /* host byte order; the network is /24 */
	uint8_t mac;      /* last octet */
	uint16_t mtu, vlan;
	uint32_t connections_max, rcv_buffer, snd_buffer;
	uint32_t table_slots; /* of the flow table at first; 0: all */
	bool v6;              /* has host_ip6() as well; the network is /64 */
	uint8_t router;       /* last octet of the default router's addresses; 0: there is none */
	bool trust_csum;
	bool discovery; /* asks for its addresses before it uses them, and so on */
	bool hold_tx;   /* keep sent mbufs for a while, as drivers do */
	bool card;      /* checksums and segmentation are the port's */
	struct stack_tcp_conf tcp;
};

struct host {
	struct stack *stack;
	struct timer_wheel wheel;
	struct host_pools *pools;
	struct host_conf conf;
	uint64_t now_us;
	uint64_t random;
	host_tx_fn tx;
	void *ctx;
	struct rte_mbuf *held[HOST_HELD_MAX];
	unsigned held_n;
	unsigned laps;
	bool untended; /* main does not come */
};

uint64_t host_random(uint64_t *state); /* splitmix64 */
void host_pools_init(struct host_pools *p, const char *name, unsigned rx, unsigned tx);
/* Aborts unless all mbufs are back. */
bool host_pools_full(const struct host_pools *p);

void host_init(struct host *h, const struct host_conf *conf, struct host_pools *pools,
	uint64_t seed, uint64_t now_us);
void host_fini(struct host *h);
/* Give a frame to the stack. */
void host_input(struct host *h, struct bytes frame);
/* Timers and end of lap at time now. */
unsigned host_lap(struct host *h, uint64_t now_us);
struct ip_addr host_ip(const struct host *h);
struct ip_addr host_ip6(const struct host *h); /* 2001:2::x, x the last octet of the MAC */
/* Has the stack a connection for a segment that it sent? */
bool host_has_conn(const struct host *h, const struct packet *sent);
/* una <= nxt, sacked and lost within flight, and so on; aborts when not. */
void host_check(const struct host *h);
