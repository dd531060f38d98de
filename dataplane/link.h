/* SPDX-License-Identifier: BSD-3-Clause
 * What a port is attached to, as one stack knows it: our addresses there and whether they may be
 * used, the routers, the networks on the link and its parameters.  Begins as the configuration says
 * and learns from router advertisements.  OWNER: one core. */
#pragma once
#include "dataplane/ip.h"
#include "dataplane/stack.h"
#include "dataplane/timer.h"

#define LINK_ADDRESSES_MAX (STACK_ADDRESSES_MAX + 1) /* and the one that is made for the link */
#define LINK_ROUTERS_MAX   4 /* chosen: more than a link has; the first to speak stay */
#define LINK_PREFIXES_MAX  8 /* chosen: the same */

enum link_address_state {
	LINK_ADDRESS_TENTATIVE, /* being asked for: nobody may have it (RFC 4862 5.4, RFC 5227) */
	LINK_ADDRESS_USED,
	LINK_ADDRESS_DUPLICATE, /* somebody has it */
};

/* An address of ours.  state tells whether packets may come to it and go from it. */
struct link_address {
	struct ip_net net;    /* ip is the host, prefix its network */
	uint8_t state;        /* enum link_address_state */
	uint8_t sent;         /* probes in this state, or announcements */
	uint64_t at_us;       /* of the next step; 0: none */
	uint64_t defended_us; /* announced because somebody else claimed it; 0: never */
};

struct link_router {
	struct ip_addr ip;
	uint64_t until_us;  /* UINT64_MAX: configured; 0: no router */
	uint64_t silent_us; /* it did not answer at that time; 0: it did */
};

struct link_prefix {
	struct ip_net net;
	uint64_t until_us; /* 0: free */
};

struct link {
	struct link_address address[LINK_ADDRESSES_MAX];
	uint8_t address_count;
	bool v4, v6;           /* has an address of the family */
	uint8_t hop_limit;     /* of what we send over IPv6 */
	uint16_t mtu6;         /* IP6_MTU_MIN .. the port's */
	uint32_t reachable_us; /* RFC 4861 6.3.2: neighbours are believed for so long */
	uint32_t retrans_us;   /* and asked so often */
	uint32_t reachable_base_us;
	/* looking for routers (RFC 4861 6.3.7, RFC 7559) */
	uint64_t solicit_at_us; /* 0: not */
	uint64_t solicit_wait_us;
	/* reports of our groups (RFC 3810) */
	uint64_t report_at_us;                       /* 0: none is due */
	uint8_t report_left;                         /* how many of a change are to come */
	bool report_v1;                              /* asked for in the old form (RFC 2710) */
	struct link_router router[LINK_ROUTERS_MAX]; /* configured ones first */
	struct link_prefix prefix[LINK_PREFIXES_MAX];
};

void link_init(struct stack *st, unsigned port);
/* Cancels what is timed.  For all ports. */
void link_fini(struct stack *st);
/* Something is due on a port at at_us. */
void link_await(struct stack *st, uint64_t at_us);
/* Is ip an address of ours on port, in any state?  NULL: no. */
struct link_address *link_address_find(struct link *l, const struct ip_addr *ip);
/* The address to send from to `to`, by way of `hop`, on this link; NULL: none is of its family
 * and scope and in use. */
const struct ip_addr *link_source(
	const struct link *l, const struct ip_addr *to, const struct ip_addr *hop);
/* The same, or one that is still being asked for: ip_output drops what goes from that, and who
 * sends again will come through. */
const struct ip_addr *link_source_soon(
	const struct link *l, const struct ip_addr *to, const struct ip_addr *hop);
/* The address made for the link itself (fe80::/64) if it is in use, else one that is; NULL: none.
 */
const struct ip_addr *link_source_local(const struct link *l);
/* The router for destinations of a family; NULL: none.  One that was silent lately is used only
 * when there is no other (RFC 4861 6.3.6). */
const struct ip_addr *link_router(const struct stack *st, unsigned port, bool v4);
/* A neighbour does not answer, or does again: a router is not chosen, or is. */
void link_router_silent(struct stack *st, unsigned port, const struct ip_addr *ip, bool silent);
/* Is ip on the link, by its prefixes? */
bool link_has(const struct stack *st, unsigned port, const struct ip_addr *ip);
/* ip is no router any more, if it was one that has advertised itself. */
void link_router_gone(struct stack *st, unsigned port, const struct ip_addr *ip);
/* Draw the time for which neighbours are believed anew (RFC 4861 6.3.2). */
void link_reachable_draw(struct stack *st, struct link *l);

/* ---- link_claim.c: addresses of ours and others who have them ---- */
/* Ask for and announce an address; what is due at st->now_us.  Returns when to be called again;
 * UINT64_MAX: nothing is to come. */
uint64_t link_claim_step(struct stack *st, unsigned port, struct link_address *a);
/* Somebody with this MAC says that the address is his. */
void link_claim_conflict(
	struct stack *st, unsigned port, struct link_address *a, const uint8_t mac[6]);
