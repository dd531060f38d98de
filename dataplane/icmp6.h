/* SPDX-License-Identifier: BSD-3-Clause
 * Messages of ICMPv6 (RFC 4443) and their checksum.  OWNER: one core. */
#pragma once
#include <rte_mbuf.h>
#include "dataplane/ip.h"

#define ICMP6_ECHO_REQUEST     128
#define ICMP6_ECHO_REPLY       129
#define ICMP6_MLD_QUERY        130 /* RFC 2710, RFC 3810 */
#define ICMP6_MLD_REPORT       131
#define ICMP6_ROUTER_SOLICIT   133 /* RFC 4861 */
#define ICMP6_ROUTER_ADVERT    134
#define ICMP6_NEIGHBOR_SOLICIT 135
#define ICMP6_NEIGHBOR_ADVERT  136
#define ICMP6_REDIRECT         137
#define ICMP6_MLD2_REPORT      143

struct icmp6_header {
	uint8_t type, code;
	uint16_t checksum;
	uint32_t body;           /* of each type its own */
} __rte_packed __rte_aligned(2); /* as it stands behind an Ethernet header */
static_assert(sizeof(struct icmp6_header) == 8, "RFC 4443 2.1, with the word that all types have");

/* Fill in the checksum of the message that m is. */
void icmp6_checksum(const struct ip_addr *from, const struct ip_addr *to, struct rte_mbuf *m);
