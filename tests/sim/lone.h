/* SPDX-License-Identifier: BSD-3-Clause
 * One stack alone against segments made by hand, for unit tests and fuzzers. */
#pragma once
#include <rte_tcp.h>
#include "tests/sim/host.h"

#define LONE_IP   0xc6120001u /* 198.18.0.1, the stack */
#define LONE_PEER 0xc6120002u /* 198.18.0.2, we */
#define LONE_SENT 256

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define ACK RTE_TCP_ACK_FLAG

/* A segment, either way, in host byte order. */
struct seg {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t window;
	uint8_t options[40];
	size_t options_n;
	const uint8_t *payload;
	size_t payload_n;
};

struct lone {
	struct host host;
	struct { /* what the stack sent, oldest first */
		uint8_t octets[2048];
		size_t n;
	} sent[LONE_SENT];
	unsigned sent_n, taken;
};

void lone_init(struct lone *l, struct host_pools *pools, const struct host_conf *conf);
/* Also checks that every mbuf is back in its pool. */
void lone_fini(struct lone *l);
/* Let the stack know our MAC. */
void lone_arp(struct lone *l);
size_t lone_build(uint8_t *frame, const struct seg *s);
/* A segment of ours, then the end of the lap. */
void lone_send(struct lone *l, const struct seg *s);
void lone_wait(struct lone *l, uint64_t us);
/* The next TCP segment it sent; false: none. */
bool lone_next(struct lone *l, struct seg *s);
