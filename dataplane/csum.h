/* SPDX-License-Identifier: BSD-3-Clause
 * Internet checksums (RFC 1071) of the headers we send and receive.  Any thread. */
#pragma once
#include <rte_ip.h>
#include <rte_tcp.h>
#include "dataplane/base/check.h"
#include "dataplane/base/netaddr.h"

/* Of an IPv4 header whose length field was checked against the memory there is. */
static inline bool csum_ip4_ok(const struct rte_ipv4_hdr *ip)
{
	return rte_raw_cksum(ip, rte_ipv4_hdr_len(ip)) == 0xffff;
}

/* Sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1), not folded.  n: octets of the upper
 * layer. */
static inline uint32_t csum_pseudo(
	const struct ip_addr *from, const struct ip_addr *to, uint8_t protocol, uint32_t n)
{
	/* the mapped prefix of both addresses adds ffff twice, which is 0 */
	uint32_t sum = rte_cpu_to_be_16(protocol) + rte_cpu_to_be_16((uint16_t)n) +
		       rte_cpu_to_be_16((uint16_t)(n >> 16));

	sum = __rte_raw_cksum(from->octets, sizeof(from->octets), sum);
	return __rte_raw_cksum(to->octets, sizeof(to->octets), sum);
}

/* Checksum field of a message of n octets with a pseudo header, the field being 0; over a right
 * message with its field: 0. */
static inline uint16_t csum_l4(const struct ip_addr *from, const struct ip_addr *to,
	uint8_t protocol, const void *l4, size_t n)
{
	uint32_t sum = __rte_raw_cksum(l4, n, csum_pseudo(from, to, protocol, (uint32_t)n));

	return (uint16_t)~__rte_raw_cksum_reduce(sum);
}

/* Of n octets of an ICMP message, its checksum field 0. */
static inline uint16_t csum_fold(const void *p, size_t n)
{
	return (uint16_t)~rte_raw_cksum(p, n);
}
