/* SPDX-License-Identifier: BSD-3-Clause
 * IP addresses, networks and endpoints.  IPv4 is kept as an IPv4-mapped IPv6 address, so that
 * comparing and masking have one form.  Ports are in host byte order.  Any thread. */
#pragma once
#include "dataplane/base/buf.h"

struct ip_addr {
	uint8_t octets[16]; /* network byte order; ::ffff:a.b.c.d for IPv4 */
};

struct endpoint {
	struct ip_addr ip;
	uint16_t port; /* host byte order */
};

struct ip_net {
	struct ip_addr ip;
	uint8_t prefix; /* 0..128, counted over the mapped form */
};

#define IP_TEXT_MAX 46 /* INET6_ADDRSTRLEN */

static inline bool ip_is_v4(const struct ip_addr *a)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(a->octets, mapped, sizeof(mapped)) == 0;
}
/* From the four octets in network byte order, as they stand in an IPv4 header. */
static inline struct ip_addr ip_from_v4(uint32_t be)
{
	struct ip_addr a = {
		{[10] = 0xff, [11] = 0xff}
        };

	memcpy(a.octets + 12, &be, 4);
	return a;
}
/* The four octets in network byte order; a must be IPv4. */
static inline uint32_t ip_to_v4(const struct ip_addr *a)
{
	uint32_t be;

	memcpy(&be, a->octets + 12, 4);
	return be;
}
/* All 0, which is no address of anybody. */
static inline bool ip_is_none(const struct ip_addr *a)
{
	static const struct ip_addr none;

	return memcmp(a, &none, sizeof(none)) == 0;
}
static inline bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
/* Returns 0 or -EINVAL. */
int ip_parse(struct bytes text, struct ip_addr *out) WARN_UNUSED;
/* "a.b.c.d" or "a.b.c.d/24" or IPv6; bits beyond the prefix must be 0.  Returns 0 or -EINVAL. */
int ip_net_parse(struct bytes text, struct ip_net *out) WARN_UNUSED;
bool ip_net_has(const struct ip_net *net, const struct ip_addr *a);
/* Writes a NUL-terminated text and returns text. */
const char *ip_format(const struct ip_addr *a, char text[IP_TEXT_MAX]);
/* Do a and b agree in their first prefix bits? */
bool ip_prefix_eq(const struct ip_addr *a, const struct ip_addr *b, unsigned prefix);
/* Can a packet be sent to or come from ip: one host, and neither loopback nor unspecified? */
bool ip_is_unicast(const struct ip_addr *ip);
static inline bool ip_is_link_local(const struct ip_addr *ip)
{
	return ip->octets[0] == 0xfe && (ip->octets[1] & 0xc0) == 0x80; /* RFC 4291 2.5.6 */
}
static inline bool ip_is_multicast6(const struct ip_addr *ip)
{
	return ip->octets[0] == 0xff;
}
