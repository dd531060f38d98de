/* SPDX-License-Identifier: BSD-3-Clause
 * What packets pass on the way to a destination, where that is less than our link takes (RFC 1191,
 * RFC 8201).  A bounded cache: only errors about segments in flight, and black holes that were
 * proved, put something in.  It forgets, because routes change.  OWNER: one core. */
#pragma once
#include "dataplane/base/clock.h"
#include "dataplane/base/siphash.h"
#include "dataplane/ip.h"

#define PMTU_SETS 64u /* chosen: 256 destinations with a narrow path */
#define PMTU_WAYS 4u
#define PMTU_US   (10 * 60 * US_PER_SEC) /* RFC 1191 6.3, RFC 8201 4: ten minutes */
#define PMTU_MIN4 552u  /* chosen, as is common: below, an error is an attack (RFC 5927 7) */
#define PMTU_MIN6 1280u /* RFC 8201 4: every link takes them */

struct pmtu_entry {
	struct ip_addr to;
	uint32_t at_ms; /* stack milliseconds, when it was learned */
	uint16_t mtu;   /* 0: free */
};

struct ip_pmtu {
	struct pmtu_entry entries[PMTU_SETS][PMTU_WAYS];
	struct siphash_key key;
	uint32_t used; /* 0: nobody looks */
};

void ip_pmtu_init(struct stack *st);
/* As known of the way to `to`; 0: nothing. */
uint16_t ip_pmtu_get(struct stack *st, const struct ip_addr *to);
/* No more than mtu octets pass.  Never raises; not below the family's minimum.  Returns what is
 * known now. */
uint16_t ip_pmtu_lower(struct stack *st, const struct ip_addr *to, uint16_t mtu);
/* The next size below a packet that was too big, from a router that does not say (RFC 1191 7). */
uint16_t ip_pmtu_plateau(uint32_t packet_n);
