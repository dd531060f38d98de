/* SPDX-License-Identifier: BSD-3-Clause
 * Internet checksums (RFC 1071) of the headers we send and receive.  Any thread. */
#pragma once
#include <rte_ip.h>
#include <rte_tcp.h>
#include "dataplane/base/check.h"

/* Of an IPv4 header whose length field was checked against the memory there is. */
static inline bool csum_ip4_ok(const struct rte_ipv4_hdr *ip)
{
	return rte_raw_cksum(ip, rte_ipv4_hdr_len(ip)) == 0xffff;
}

/* ip->total_length must be the octets there are.  The sum over a right one, with the field, is 0.
 */
static inline bool csum_tcp4_ok(const struct rte_ipv4_hdr *ip, const void *l4)
{
	return rte_ipv4_udptcp_cksum(ip, l4) == 0;
}

/* Of n octets of an ICMP message, its checksum field 0. */
static inline uint16_t csum_fold(const void *p, size_t n)
{
	return (uint16_t)~rte_raw_cksum(p, n);
}
