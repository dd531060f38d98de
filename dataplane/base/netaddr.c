/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/netaddr.h"
#include <arpa/inet.h>
#include <errno.h>

int ip_parse(struct bytes text, struct ip_addr *out)
{
	char s[IP_TEXT_MAX];
	uint32_t v4;

	if (text.n == 0 || text.n >= sizeof(s) || bytes_find(text, 0, 0) >= 0)
		return -EINVAL;
	memcpy(s, text.p, text.n);
	s[text.n] = '\0';
	if (inet_pton(AF_INET, s, &v4) == 1) {
		*out = ip_from_v4(v4);
		return 0;
	}
	return inet_pton(AF_INET6, s, out->octets) == 1 ? 0 : -EINVAL;
}

static void ip_mask(struct ip_addr *a, unsigned prefix)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = prefix > i * 8 ? MIN(prefix - i * 8, 8u) : 0;
		a->octets[i] &= (uint8_t)(0xff00u >> bits);
	}
}

int ip_net_parse(struct bytes text, struct ip_net *out)
{
	ptrdiff_t slash = bytes_find(text, '/', 0);
	struct bytes address = slash < 0 ? text : bytes_first(text, (size_t)slash);
	uint64_t prefix;
	struct ip_addr masked;

	if (ip_parse(address, &out->ip) < 0)
		return -EINVAL;
	unsigned base = ip_is_v4(&out->ip) ? 96 : 0;
	if (slash < 0)
		prefix = 128 - base;
	else if (bytes_to_u64(bytes_skip(text, (size_t)slash + 1), &prefix) < 0 ||
		 prefix > 128 - base)
		return -EINVAL;
	out->prefix = (uint8_t)(prefix + base);
	masked = out->ip;
	ip_mask(&masked, out->prefix);
	return ip_eq(&masked, &out->ip) ? 0 : -EINVAL;
}

bool ip_net_has(const struct ip_net *net, const struct ip_addr *a)
{
	struct ip_addr masked = *a;

	ip_mask(&masked, net->prefix);
	return ip_eq(&masked, &net->ip);
}

/* inet_ntop() goes through printf(); one or two addresses are written for each message. */
static char *octet_format(char *out, unsigned v)
{
	if (v >= 100)
		*out++ = (char)('0' + v / 100);
	if (v >= 10)
		*out++ = (char)('0' + v / 10 % 10);
	*out++ = (char)('0' + v % 10);
	return out;
}

const char *ip_format(const struct ip_addr *a, char text[IP_TEXT_MAX])
{
	char *out = text;

	if (!ip_is_v4(a))
		return inet_ntop(AF_INET6, a->octets, text, IP_TEXT_MAX);
	for (unsigned i = 12; i < sizeof(a->octets); i++) {
		if (i > 12)
			*out++ = '.';
		out = octet_format(out, a->octets[i]);
	}
	*out = '\0';
	return text;
}

bool ip_prefix_eq(const struct ip_addr *a, const struct ip_addr *b, unsigned prefix)
{
	unsigned whole = prefix / 8, bits = prefix % 8;

	if (memcmp(a->octets, b->octets, whole) != 0)
		return false;
	return bits == 0 || ((a->octets[whole] ^ b->octets[whole]) & (0xff00u >> bits) & 0xff) == 0;
}

bool ip_is_unicast(const struct ip_addr *ip)
{
	static const struct ip_addr unspecified, loopback = {{[15] = 1}};
	uint8_t v4 = ip->octets[12];

	if (ip_is_v4(ip))
		return v4 != 0 && v4 != 127 && v4 < 224; /* RFC 1122 3.2.1.3 */
	return !ip_is_multicast6(ip) && !ip_eq(ip, &unspecified) && !ip_eq(ip, &loopback);
}
