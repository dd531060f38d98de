/* SPDX-License-Identifier: BSD-3-Clause
 * A flood of SYNs from invented sources (198.19.0.0/16), made by the client's core beside what its
 * stack does, into port 0.  It leaves the stack the greater part of the backlog, as if the flood
 * came by a wire of its own: what is measured is the port of who receives it.  OWNER: that core;
 * main gives the rate. */
#pragma once
#include <stdatomic.h>
#include "dataplane/io.h"

struct net_flood {
	struct core_io *io; /* the core's, whose port 0 it shares with the stack */
	struct rte_mempool *pool;
	uint8_t from_mac[6], to_mac[6];
	struct ip_addr to;
	uint16_t port_first, ports;
	uint64_t random, next_ns;
	/* orders and figures of main */
	_Atomic uint32_t rate; /* SYNs in a second; 0: none */
	_Atomic uint64_t sent;
};

/* In each lap; ctx is the flood.  Returns how many were sent. */
unsigned net_flood_poll(void *ctx, uint64_t now_us);
