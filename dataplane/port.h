/* SPDX-License-Identifier: BSD-3-Clause
 * DPDK ports: EAL arguments made from configuration, probing, queues, offloads, and the loops that
 * move frames between a port and the cores' stacks.  Main thread before the cores run; rx and tx on
 * the cores. */
#pragma once
#include "dataplane/base/netaddr.h"
#include "dataplane/core.h"
#include "dataplane/stack.h"

#define PORTS_MAX          8
#define PORT_ADDRESSES_MAX 8
#define EAL_ARGS_MAX       64

/* PORT_RING is for tests: device is the name of an existing ethdev, or empty for a loop. */
enum port_kind { PORT_TAP, PORT_AF_PACKET, PORT_AF_XDP, PORT_MEMIF, PORT_PCI, PORT_RING };

struct port_conf {
	char name[32]; /* key in the configuration; also in every error message */
	enum port_kind kind;
	char device[64]; /* interface name, memif socket (driver options may follow a comma), or
			  * PCI address */
	uint8_t mac[6];  /* all 0: the driver's */
	uint16_t mtu;    /* 0: 1500 */
	uint16_t vlan;   /* IEEE 802.1Q; 0: frames without a tag */
	struct ip_net
		address[PORT_ADDRESSES_MAX]; /* our addresses with their prefix; ip is the host */
	unsigned address_count;
	struct ip_addr gateway, gateway6; /* default routers; has_gateway, has_gateway6 */
	bool has_gateway, has_gateway6;
	bool discovery;  /* the stack asks whether others have its addresses, announces them, and
			  * looks for routers by itself */
	uint16_t queues; /* pairs of queues, at most one for each core; 0: port_queues_auto() */
	bool trust_rx_checksum; /* af_packet with peers on the same host: do not verify */
	bool software_offloads; /* for tests: use also those that a driver computes in software */
};

struct core_conf {
	uint32_t roles; /* enum core_role */
	char cpus[64];  /* CPU list the lcore may run on, "0" or "0-1"; empty: all of ours */
};

struct dataplane_conf {
	struct port_conf ports[PORTS_MAX];
	unsigned port_count;
	struct core_conf cores[CORES_MAX];
	unsigned core_count;
	enum core_idle idle;
	uint32_t connections_max;  /* per core */
	uint32_t rcv_buffer_bytes; /* of a connection, at most; 0: the stack's */
	struct stack_tcp_conf tcp;
	uint32_t mbufs;     /* per pool; 0: computed */
	uint32_t chunks;    /* chunk pool (limits.body_memory / 4096) */
	uint32_t memory_mb; /* 0: computed; EAL -m without hugepages */
	uint32_t ring_size; /* capacity of rings between threads; >= 2 */
	bool telemetry;     /* DPDK's telemetry socket */
	char eal_extra[256];
	char file_prefix[32];
};

/* Start EAL from conf: picks hugepages when enough are free, else --no-huge; prints the arguments
 * to the log.  Returns 0, or -errno with error[] naming the key. */
int dataplane_eal_start(const struct dataplane_conf *conf, char *error, size_t error_n) WARN_UNUSED;
/* Probe and start the ports, create pools, stacks and the steering between cores; fill cores[].
 * A port that did not probe is an error that names it. */
int dataplane_start(const struct dataplane_conf *conf, struct core cores[CORES_MAX], char *error,
	size_t error_n) WARN_UNUSED;
/* After dataplane_start, before dataplane_launch: connections to port belong to the cores that have
 * role, by hash among them.  Calling it again for a port replaces its cores.  Returns 0; -ENOENT:
 * no core has the role; -ENOSPC: table full. */
int dataplane_add_service(uint16_t port, uint32_t role) WARN_UNUSED;
/* Every 50 ms or so while the cores run: what main does for them (stack_tend). */
void dataplane_tend(void);
/* Launch the cores' loops on their lcores; dataplane_join waits until all have ended (call
 * core_stop on each before). */
int dataplane_launch(struct core cores[CORES_MAX], unsigned n) WARN_UNUSED;
void dataplane_join(void);
/* Stop ports, free pools, clean up EAL and its run directory. */
void dataplane_stop(void);

/* Pairs of queues that a port shall have: those asked for, else one for each core where they cost
 * nothing and flows come back on the queue they left from (tap), or the card spreads them. */
uint16_t port_queues_wanted(const struct dataplane_conf *conf, unsigned i);

struct port_info {
	char name[32], driver[32], device[64];
	uint8_t mac[6];
	bool link_up;
	uint16_t rx_queues, tx_queues;
	uint64_t rx_packets, rx_bytes, rx_missed, rx_errors, tx_packets, tx_bytes, tx_errors;
	char offloads[128]; /* what is used, in words */
};
/* Any thread.  Returns ports written. */
unsigned port_get_info(struct port_info *out, unsigned max);

struct pool_info {
	char name[32];
	uint32_t size, in_use, element_bytes;
};
unsigned pool_get_info(struct pool_info *out, unsigned max);
