/* SPDX-License-Identifier: BSD-3-Clause
 * Neighbours of both families: from the next hop's address to its MAC, and whether it still answers
 * (neighbour unreachability detection, RFC 4861 7.3).  One table and one state machine; ARP (arp.c)
 * and neighbour discovery (ndp.c) ask and tell.
 *
 * The table is bounded, and a flood of questions or of invented neighbours does not push out those
 * that were confirmed: entries are of three kinds (enum neigh_kind), and each gives way to its own
 * first.  Nobody is entered for an answer that was not asked for.  OWNER: one core. */
#pragma once
#include "dataplane/base/list.h"
#include "dataplane/base/netaddr.h"
#include "dataplane/base/siphash.h"
#include "dataplane/ip.h"
#include "dataplane/timer.h"

#define NEIGH_MAX            1024 /* chosen: a /22 of neighbours */
#define NEIGH_INCOMPLETE_MAX 256  /* chosen: of these, such as have not answered yet */
#define NEIGH_GUESTS_MAX     256  /* chosen: such as have asked for us and nothing more */
#define NEIGH_BUCKETS        256
#define NEIGH_QUEUE_MAX      16  /* frames that wait for one answer */
#define NEIGH_QUEUED_MAX     256 /* chosen: for all answers; a flood holds no more frames */
#define NEIGH_TRIES          3   /* RFC 4861 10: MAX_UNICAST_SOLICIT, MAX_MULTICAST_SOLICIT */
#define NEIGH_DELAY_US       (5 * US_PER_SEC) /* RFC 4861 10: DELAY_FIRST_PROBE_TIME */
#define NEIGH_DOUBT_US       (3 * US_PER_SEC) /* chosen: who was confirmed since then is not doubted */
#define NEIGH_ASKS_PER_SEC   1000 /* chosen: a flood makes no more questions (RFC 6583 6.2) */

struct stack;
struct rte_mbuf;

enum neigh_state {
	NEIGH_FREE,
	NEIGH_INCOMPLETE, /* asked for; frames wait */
	NEIGH_STALE,      /* was so once; used until the first packet goes there */
	NEIGH_REACHABLE,  /* confirmed lately, until at_us */
	NEIGH_DELAY,      /* in use again: the layer above may confirm it, until at_us */
	NEIGH_PROBE,      /* asked by unicast, next at at_us */
};

enum neigh_kind {
	NEIGH_KIND_INCOMPLETE,
	NEIGH_KIND_GUEST, /* never confirmed */
	NEIGH_KIND_KNOWN, /* confirmed at least once */
	NEIGH_KIND_N
};

struct neigh {
	struct list hash_node; /* or the free list */
	struct list age_node;  /* of its kind: longest unconfirmed first */
	struct ip_addr ip;
	uint8_t mac[6];
	uint8_t port;
	uint8_t state; /* enum neigh_state */
	uint8_t kind;  /* enum neigh_kind */
	uint8_t tries;
	uint8_t queued;
	uint16_t ether_type;
	uint16_t generation; /* of ip_hop_ref */
	uint64_t at_us;
	struct rte_mbuf *queue[NEIGH_QUEUE_MAX];
};

struct neigh_table {
	struct list buckets[NEIGH_BUCKETS];
	struct list by_age[NEIGH_KIND_N], unused;
	uint32_t count, count_of[NEIGH_KIND_N];
	uint32_t queued;
	struct timer timer; /* armed only while something is awaited */
	struct siphash_key key;
	uint64_t asks_until_us; /* asks_left holds until then */
	uint32_t asks_left;
	struct neigh entries[NEIGH_MAX];
};

void neigh_table_init(struct stack *st);
void neigh_table_fini(struct stack *st);
/* Send m (an IP packet with head room for Ethernet) to ip on port: now, or when it is resolved.
 * Takes m.  Returns a reference for the next packet to the same. */
ip_hop_ref neigh_output(
	struct stack *st, unsigned port, const struct ip_addr *ip, struct rte_mbuf *m);
/* The same without looking up.  Returns false, and m stays the caller's, when ref does not name a
 * neighbour on port that can be sent to without further thought. */
bool neigh_output_ref(struct stack *st, ip_hop_ref ref, unsigned port, struct rte_mbuf *m);
/* What is sent to it arrives: the layer above knows (RFC 4861 7.3.1). */
void neigh_confirm(struct stack *st, ip_hop_ref ref);
/* What is sent to it may not arrive: it is asked, unless it was confirmed lately. */
void neigh_doubt(struct stack *st, unsigned port, const struct ip_addr *ip);

/* ---- what was heard; who speaks for ip was checked to be on the link ---- */

/* ip asked for us from mac (RFC 4861 7.2.3): it is entered if there is room for a guest.  here:
 * this core has heard it, and tells the others. */
void neigh_asked(
	struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t mac[6], bool here);

struct neigh_advert {
	const uint8_t *mac; /* NULL: not told */
	bool solicited;     /* an answer to us */
	bool override;      /* replaces another MAC */
};
/* ip speaks of itself (RFC 4861 7.2.5).  Returns false: nobody here wanted to know. */
bool neigh_advertised(
	struct stack *st, unsigned port, const struct ip_addr *ip, const struct neigh_advert *a);
/* Another core has confirmed it. */
void neigh_told(struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t mac[6]);

/* ---- arp.c ---- */
/* m starts behind the Ethernet header; takes m. */
void arp_input(struct stack *st, unsigned port, struct rte_mbuf *m);
/* Does anybody have ip?  And: we have it (RFC 5227). */
void arp_probe(struct stack *st, unsigned port, const struct ip_addr *ip);
void arp_announce(struct stack *st, unsigned port, const struct ip_addr *ip);
/* Ask for ip; mac: only this one, NULL: all. */
void arp_solicit(struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t *mac);
