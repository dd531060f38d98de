/* SPDX-License-Identifier: BSD-3-Clause
 * Datagrams that come in pieces (RFC 791 3.2, RFC 8200 4.5).  Octets are copied out of the frames
 * into places made at start, one for each datagram: however many fragments come, no frame is kept,
 * and the memory in use is what was taken at start.  When there is no free place the oldest
 * datagram gives way, that of the same source if the source has its share: of a flood, whatever
 * comes together in time is still put together.
 *
 * Fragments that overlap end their datagram (RFC 5722, for IPv4 as well); an exact duplicate is
 * dropped.  What is put together comes in a second time as if it had come whole, on the core that
 * owns its flow.  OWNER: one core. */
#pragma once
#include "dataplane/base/list.h"
#include "dataplane/base/siphash.h"
#include "dataplane/ip.h"
#include "dataplane/timer.h"

#define REASS_ENTRIES       128  /* chosen: datagrams at a time; 300 KiB with an MTU of 1500 */
#define REASS_PER_SOURCE    16   /* chosen: of one source (IPv4 address, IPv6 /64) */
#define REASS_FRAGMENTS_MAX 32   /* chosen: 1,500 octets over links of 68 (RFC 791 3.1) */
#define REASS_HEADER_MAX    128  /* chosen: IP header with options or extensions */
#define REASS_OCTETS_MIN    2048 /* chosen: RFC 8200 5 wants 1,500 with the header */
#define REASS_US            (60 * US_PER_SEC) /* RFC 8200 4.5; RFC 1122 3.3.2: 60 to 120 s */

struct stack;
struct rte_mbuf;

/* What the IP header, or the Fragment header behind it, says. */
struct ip_fragment {
	struct ip_addr from, to;
	uint32_t id;
	uint16_t offset;   /* octets */
	uint16_t header_n; /* octets before the payload, from the start of the IP header */
	uint16_t next_at;  /* IPv6: where the Next Header field stands that leads to the Fragment */
	uint8_t protocol;  /* of the payload */
	uint8_t ecn;
	bool more;
};

struct reass_entry {
	struct list node; /* by age, or unused */
	struct ip_addr from, to;
	uint32_t id;
	uint8_t protocol; /* of the fragment that begins the datagram */
	uint8_t port;
	uint8_t ecn_seen; /* bit for each codepoint */
	bool dead;        /* given up; swallows what is still on its way */
	bool first, last; /* have been seen */
	uint8_t fragments;
	uint16_t header_n, next_at;
	uint16_t have, total; /* octets of payload */
	uint64_t until_us;
	struct {
		uint16_t start, n;
	} fragment[REASS_FRAGMENTS_MAX];
};

struct ip_reass {
	struct reass_entry *entries;
	uint8_t *octets;    /* of each entry: REASS_HEADER_MAX, then the payload */
	uint32_t *tags;     /* [entry]: hash of what names the datagram; 0: free */
	uint32_t *sources;  /* [entry]: hash of its source */
	uint32_t octets_n;  /* of payload, at most */
	struct list by_age; /* oldest first */
	struct list unused;
	struct timer timer;
	struct siphash_key key;
	bool again; /* a datagram put together is being looked at: it is no fragment itself */
};

/* The largest payload that is put together: RFC 1122's EMTU_R less the header. */
uint32_t ip_reass_octets(const struct stack *st);
/* Returns false: no memory. */
bool ip_reass_init(struct stack *st, int socket);
void ip_reass_fini(struct stack *st);
/* m starts at the IP header, lengths were checked; takes m.  A fragment that is a whole datagram
 * (RFC 6946) goes on at once. */
void ip_reass_input(
	struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_fragment *f);
