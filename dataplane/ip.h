/* SPDX-License-Identifier: BSD-3-Clause
 * Between IP and what it carries, for both families.  Addresses are struct ip_addr, IPv4 in mapped
 * form, so that TCP and ICMP errors never ask which family they ride on.  OWNER: one core. */
#pragma once
#include <rte_mbuf.h>
#include "dataplane/base/netaddr.h"

struct stack;
struct stack_port;

#define IP4_HEADER  20u /* octets, without options: we send none */
#define IP6_HEADER  40u
#define IP_MTU_MIN  576u  /* RFC 1122 3.3.3: what every host takes */
#define IP6_MTU_MIN 1280u /* RFC 8200 5: what every link carries */
#define IP_ECN_MASK 3u    /* RFC 3168 5: of the type of service or traffic class */

/* What a received packet said of itself. */
struct ip_packet {
	struct ip_addr from, to;
	uint8_t protocol;  /* of what m starts with */
	uint8_t ecn;       /* codepoint, RFC 3168 5 */
	uint8_t hop_limit; /* or time to live, as received */
	bool fragment;     /* it came in a packet with a fragment header */
	bool router_alert; /* with that option (RFC 2711) */
};

/* Where packets to an address go. */
struct ip_route {
	struct ip_addr from; /* our address */
	struct ip_addr hop;  /* the destination itself, or a router */
	uint8_t port;
};

/* A neighbour that was found once, kept for who sends to the same destination again.  It is a hint:
 * a stale one is noticed and replaced. */
typedef uint32_t ip_hop_ref;
#define IP_HOPS_KEPT 256u /* chosen: destinations in use at a time; a power of two */

struct ip_hop {
	struct ip_addr to;
	ip_hop_ref ref; /* 0: none */
	uint8_t port;
};

/* Octets of header that IP puts before a segment to or from a. */
static inline unsigned ip_header_bytes(const struct ip_addr *a)
{
	return ip_is_v4(a) ? IP4_HEADER : IP6_HEADER;
}

/* Is ip an address of ours that is in use, on any port? */
bool ip_is_ours(const struct stack *st, const struct ip_addr *ip);
/* Does ip belong to a network that port is attached to? */
bool ip_on_link(const struct stack *st, unsigned port, const struct ip_addr *ip);
/* Octets of the largest packet, with its IP header, that port takes to or from ip's family. */
uint16_t ip_link_mtu(const struct stack *st, unsigned port, const struct ip_addr *ip);
/* Returns false: no route. */
bool ip_route(const struct stack *st, const struct ip_addr *to, struct ip_route *route_r);
/* Octets of the largest packet, with its IP header, that is known to reach to. */
uint16_t ip_path_mtu(struct stack *st, const struct ip_addr *to);
/* Prepend the header to the TCP segment or ICMP message in m, fill in the segment's checksum, and
 * send it.  ecn: codepoint.  Takes m; drops it when there is no route. */
void ip_output(struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t ecn, struct rte_mbuf *m);
/* `to` answers: its connection makes progress, so the next hop is there (RFC 4861 7.3.1). */
void ip_confirm(struct stack *st, unsigned port, const struct ip_addr *to);
/* Routes have changed: next hops are looked up anew. */
void ip_hops_forget(struct stack *st);
/* What was sent to `to` gets no answer: perhaps its next hop is not there any more (RFC 1122
 * 3.3.1.4). */
void ip_doubt(struct stack *st, unsigned port, const struct ip_addr *to);
