/* SPDX-License-Identifier: BSD-3-Clause
 * Neighbours: from the next hop's address to its MAC, with ARP (RFC 826).  A bounded table; a few
 * frames wait for each answer.  An entry serves NEIGH_FRESH_US after it was last confirmed, then it
 * is asked again while still in use, and dropped when it does not answer.  OWNER: one core. */
#pragma once
#include "dataplane/base/list.h"
#include "dataplane/base/netaddr.h"
#include "dataplane/ip.h"
#include "dataplane/timer.h"

#define NEIGH_MAX       1024 /* chosen: a /22 of neighbours */
#define NEIGH_BUCKETS   256
#define NEIGH_QUEUE_MAX 8 /* frames that wait for one answer */
#define NEIGH_TRIES     3
#define NEIGH_RETRY_US  (1 * US_PER_SEC) /* RFC 1122 2.3.2.1: not more than one a second */
#define NEIGH_FRESH_US  (60 * US_PER_SEC)

struct stack;
struct rte_mbuf;

enum neigh_state { NEIGH_FREE, NEIGH_INCOMPLETE, NEIGH_REACHABLE, NEIGH_PROBE };

struct neigh {
	struct list hash_node; /* or the free list */
	struct list age_node;  /* least recently confirmed first */
	struct ip_addr ip;
	uint8_t mac[6];
	uint8_t port;
	uint8_t state;
	uint8_t tries;
	uint8_t queued;
	uint16_t generation; /* of ip_hop_ref */
	uint64_t retry_at;
	uint64_t fresh_until;
	struct rte_mbuf *queue[NEIGH_QUEUE_MAX];
};

struct neigh_table {
	struct list buckets[NEIGH_BUCKETS];
	struct list by_age, unused;
	struct timer timer; /* armed only while an answer is awaited */
	uint32_t count;
	struct neigh entries[NEIGH_MAX];
};

void neigh_table_init(struct stack *st);
void neigh_table_fini(struct stack *st);
/* Send m (an IP packet with head room for Ethernet) to ip on port: now, or when it is resolved.
 * Takes m.  Returns a reference for the next packet to the same. */
ip_hop_ref neigh_output(
	struct stack *st, unsigned port, const struct ip_addr *ip, struct rte_mbuf *m);
/* The same without looking up.  Returns false, and m stays the caller's, when ref does not name a
 * neighbour on port that was confirmed lately. */
bool neigh_output_ref(struct stack *st, ip_hop_ref ref, unsigned port, struct rte_mbuf *m);
/* What is sent to it arrives: the layer above knows (RFC 4861 7.3.1). */
void neigh_confirm(struct stack *st, ip_hop_ref ref);
/* m starts behind the Ethernet header; takes m. */
void arp_input(struct stack *st, unsigned port, struct rte_mbuf *m);
/* Enter what was learned; create: also when it is new. */
void neigh_learn(struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t mac[6],
	bool create, bool tell);
