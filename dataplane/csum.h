/* SPDX-License-Identifier: BSD-3-Clause
 * Internet checksums (RFC 1071) of the headers we send and receive.  Any thread. */
#pragma once
#include <rte_ip.h>
#include <rte_tcp.h>
#include "dataplane/base/check.h"
#include "dataplane/base/netaddr.h"

/* Sum in one's complement of a and b. */
static inline uint64_t csum_plus(uint64_t a, uint64_t b)
{
	a += b;
	return a + (a < b);
}

#define CSUM_BLOCK     32  /* octets */
#define CSUM_BLOCKS_IN 256 /* octets from which the call is worth it */

/* Sum of n octets at p, of whatever alignment; not folded.  n: a multiple of CSUM_BLOCK, at most
 * 4 GiB. */
uint64_t csum_blocks(const void *p, size_t n);

/* Sum of n octets at p, of whatever alignment, added to sum; not folded.  What is short eight
 * octets at a time, in two chains, because each addition waits for the carry of the one before. */
static inline uint64_t csum_add(const void *p, size_t n, uint64_t sum)
{
	const uint8_t *at = p;
	uint64_t word[4], other = 0;

	if (n >= CSUM_BLOCKS_IN) {
		size_t whole = n & ~(size_t)(CSUM_BLOCK - 1);
		other = csum_blocks(at, whole);
		at += whole;
		n -= whole;
	}
	for (; n >= sizeof(word); n -= sizeof(word), at += sizeof(word)) {
		memcpy(word, at, sizeof(word));
		sum = csum_plus(csum_plus(sum, word[0]), word[2]);
		other = csum_plus(csum_plus(other, word[1]), word[3]);
	}
	for (; n >= sizeof(word[0]); n -= sizeof(word[0]), at += sizeof(word[0])) {
		memcpy(word, at, sizeof(word[0]));
		sum = csum_plus(sum, word[0]);
	}
	/* what is left, as if octets of 0 followed */
	word[0] = 0;
	if (n & 4)
		memcpy(word, at, 4);
	if (n & 2)
		memcpy((uint8_t *)word + (n & 4), at + (n & 4), 2);
	if (n & 1)
		((uint8_t *)word)[n - 1] = at[n - 1];
	return csum_plus(csum_plus(sum, word[0]), other);
}

static inline uint16_t csum_reduce(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16 & UINT16_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)((sum & UINT16_MAX) + (sum >> 16));
}

/* Checksum field of n octets, the field in them being 0; over right ones with their field: 0. */
static inline uint16_t csum_fold(const void *p, size_t n)
{
	return (uint16_t)~csum_reduce(csum_add(p, n, 0));
}

/* Of an IPv4 header whose length field was checked against the memory there is. */
static inline bool csum_ip4_ok(const struct rte_ipv4_hdr *ip)
{
	return csum_fold(ip, rte_ipv4_hdr_len(ip)) == 0;
}

/* Sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1), not folded.  n: octets of the upper
 * layer. */
static inline uint64_t csum_pseudo(
	const struct ip_addr *from, const struct ip_addr *to, uint8_t protocol, uint32_t n)
{
	/* the mapped prefix of both addresses adds ffff twice, which is 0 */
	uint64_t sum = (uint64_t)rte_cpu_to_be_16(protocol) + rte_cpu_to_be_32(n);

	sum = csum_add(from->octets, sizeof(from->octets), sum);
	return csum_add(to->octets, sizeof(to->octets), sum);
}

/* Checksum field of a message of n octets with a pseudo header, the field being 0; over a right
 * message with its field: 0. */
static inline uint16_t csum_l4(const struct ip_addr *from, const struct ip_addr *to,
	uint8_t protocol, const void *l4, size_t n)
{
	return (uint16_t)~csum_reduce(
		csum_add(l4, n, csum_pseudo(from, to, protocol, (uint32_t)n)));
}
