/* SPDX-License-Identifier: BSD-3-Clause
 * Neighbour discovery (RFC 4861).  Messages are octets in checked views; nothing is kept of them.
 * OWNER: one core. */
#pragma once
#include "dataplane/base/bytes.h"
#include "dataplane/ip.h"

#define NDP_ROUTER_FIXED 16u /* octets of a router advertisement before its options */
#define NDP_HOP_LIMIT    255 /* RFC 4861 4: it has passed no router */

struct stack;

/* What the options of a message say, as far as we want to know (RFC 4861 4.6, RFC 7527). */
struct ndp_options {
	const uint8_t *source_mac, *target_mac; /* NULL: not there */
	struct bytes nonce;                     /* n 0: not there */
	uint32_t mtu;                           /* 0: not there */
	struct bytes prefixes[8]; /* whole options, in order; more are not looked at */
	unsigned prefix_count;
};
/* in: behind the fixed part.  Returns false: malformed, the message is to be dropped. */
bool ndp_options_parse(struct bytes in, struct ndp_options *o);

/* in: a whole ICMPv6 message with a right checksum, of type 130 or more. */
void ndp_input(struct stack *st, unsigned port, struct bytes in, const struct ip_packet *pkt);
/* Ask for ip; mac: only this one, NULL: the group of the address. */
void ndp_solicit(struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t *mac);
/* Does anybody have ip?  And: we have it. */
void ndp_probe(struct stack *st, unsigned port, const struct ip_addr *ip);
void ndp_announce(struct stack *st, unsigned port, const struct ip_addr *ip);

/* ---- ndp_router.c ---- */
/* in: a router advertisement whose length, hop limit and options were checked. */
void ndp_router_input(struct stack *st, unsigned port, struct bytes in, const struct ip_packet *pkt,
	const struct ndp_options *o);
/* Ask for routers until one answers (RFC 4861 6.3.7, RFC 7559). */
void ndp_router_solicit_begin(struct stack *st, unsigned port);
/* What is due at st->now_us; returns when to be called again, UINT64_MAX: not. */
uint64_t ndp_router_solicit_step(struct stack *st, unsigned port);
