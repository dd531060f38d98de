/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP errors that we send: few, and never where they could be turned against somebody (RFC 1122
 * 3.2.2, RFC 4443 2.4).  They go to the address the packet came from, from the one it was for. */
#include <netinet/in.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include "dataplane/csum.h"
#include "dataplane/icmp.h"
#include "dataplane/stack_priv.h"

#define ICMP_HEADER    8u
#define QUOTE4_MAX     (576u - IP4_HEADER - ICMP_HEADER)  /* RFC 1812 4.3.2.3 */
#define QUOTE6_MAX     (1280u - IP6_HEADER - ICMP_HEADER) /* RFC 4443 2.4 (c) */
#define ICMP6_INFO     0x80u /* RFC 4443 2.1: types from here on are no errors */
#define EXTENSIONS_MAX 8u    /* chosen: extension headers that are looked behind */

/* Type and code in each family; type 0: it has no such error. */
static const struct {
	uint8_t type4, code4, type6, code6;
} kinds[ICMP_SEND_N] = {
	[ICMP_SEND_PROTOCOL] = {3,  2, 0, 0},
	[ICMP_SEND_PORT] = {3,  3, 1, 4},
	[ICMP_SEND_REASSEMBLY_TIME] = {11, 1, 3, 1},
	[ICMP_SEND_BAD_HEADER] = {0,  0, 4, 0},
	[ICMP_SEND_NEXT_HEADER] = {0,  0, 4, 1},
	[ICMP_SEND_OPTION] = {0,  0, 4, 2},
};

/* ---- limits ---- */

void icmp_limits_init(struct stack *st)
{
	struct icmp_limits *l = &st->icmp;

	l->key.k0 = st->env.random64(st->env.ctx);
	l->key.k1 = st->env.random64(st->env.ctx);
	l->all = (struct icmp_bucket){.tokens = ICMP_SEND_BURST, .at_ms = stack_ms(st)};
	for (unsigned i = 0; i < ICMP_PREFIX_CELLS; i++)
		l->prefix[i] = (struct icmp_bucket){ICMP_PREFIX_RATE, stack_ms(st)};
}

/* Returns false: none is left.  A token comes back each 1/rate of a second, up to most. */
static bool bucket_take(struct icmp_bucket *b, uint32_t now_ms, uint32_t rate, uint32_t most)
{
	uint32_t back = (uint32_t)MIN((uint64_t)(now_ms - b->at_ms) * rate / 1000, (uint64_t)most);

	if (back) {
		b->tokens = MIN(b->tokens + back, most);
		b->at_ms = now_ms;
	}
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}

static struct icmp_bucket *prefix_bucket(struct stack *st, const struct ip_addr *to)
{
	size_t n = ip_is_v4(to) ? 15 : 8; /* octets of /24 in the mapped form, and of /64 */

	return &st->icmp.prefix[siphash13(&st->icmp.key, to, n) % ICMP_PREFIX_CELLS];
}

static bool allowed(struct stack *st, const struct ip_addr *to)
{
	if (bucket_take(prefix_bucket(st, to), stack_ms(st), ICMP_PREFIX_RATE, ICMP_PREFIX_RATE) &&
		bucket_take(&st->icmp.all, stack_ms(st), ICMP_SEND_RATE, ICMP_SEND_BURST))
		return true;
	counter_inc(CTR_ICMP_TX_LIMITED);
	return false;
}

/* ---- what is never answered ---- */

static bool is_error4(struct bytes in, size_t at)
{
	/* a message cut short counts as one: it cannot be told */
	return in.n <= at ||
	       (in.p[at] != RTE_IP_ICMP_ECHO_REQUEST && in.p[at] != RTE_IP_ICMP_ECHO_REPLY);
}

static bool answerable4(struct bytes in, struct ip_addr *from_r, struct ip_addr *to_r)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)in.p;

	if (in.n < sizeof(*ip) ||
		(ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_OFFSET_MASK)))
		return false;
	*from_r = ip_from_v4(ip->src_addr);
	*to_r = ip_from_v4(ip->dst_addr);
	return ip->next_proto_id != IPPROTO_ICMP || !is_error4(in, rte_ipv4_hdr_len(ip));
}

/* The upper layer's protocol and place; a later fragment has none. */
static bool upper6(struct bytes in, uint8_t *protocol_r, size_t *at_r)
{
	uint8_t next = in.p[offsetof(struct rte_ipv6_hdr, proto)];
	size_t at = sizeof(struct rte_ipv6_hdr);

	for (unsigned i = 0; i < EXTENSIONS_MAX; i++) {
		bool fragment = next == IPPROTO_FRAGMENT;
		*protocol_r = next;
		*at_r = at;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
			!fragment)
			return true;
		if (in.n < at + 8)
			return true; /* cut short within: no ICMP that could be one */
		if (fragment && ((in.p[at + 2] << 8 | in.p[at + 3]) & ~7) != 0)
			return false;
		next = in.p[at];
		at += fragment ? 8 : (in.p[at + 1] + 1u) * 8;
	}
	return false;
}

static bool answerable6(struct bytes in, struct ip_addr *from_r, struct ip_addr *to_r)
{
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)in.p;
	uint8_t protocol;
	size_t at;

	if (in.n < sizeof(*ip) || !upper6(in, &protocol, &at))
		return false;
	memcpy(from_r->octets, ip->src_addr, 16);
	memcpy(to_r->octets, ip->dst_addr, 16);
	return protocol != IPPROTO_ICMPV6 || (in.n > at && (in.p[at] & ICMP6_INFO));
}

/* ---- sending ---- */

static void message_fill(
	struct rte_mbuf *m, uint8_t type, uint8_t code, uint32_t pointer, struct bytes quote)
{
	uint8_t *icmp = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(ICMP_HEADER + quote.n));

	BUG_ON(!icmp); /* error_send asks for no more than there is */
	memset(icmp, 0, ICMP_HEADER);
	icmp[0] = type;
	icmp[1] = code;
	icmp[4] = (uint8_t)(pointer >> 24);
	icmp[5] = (uint8_t)(pointer >> 16);
	icmp[6] = (uint8_t)(pointer >> 8);
	icmp[7] = (uint8_t)pointer;
	memcpy(icmp + ICMP_HEADER, quote.p, quote.n);
}

static void checksum_fill(struct rte_mbuf *m, const struct ip_addr *from, const struct ip_addr *to)
{
	uint8_t *icmp = rte_pktmbuf_mtod(m, uint8_t *);
	uint16_t sum = ip_is_v4(from) ? csum_fold(icmp, m->data_len)
				      : csum_l4(from, to, IPPROTO_ICMPV6, icmp, m->data_len);

	memcpy(icmp + 2, &sum, sizeof(sum));
}

void icmp_error_send(
	struct stack *st, unsigned port, enum icmp_send what, struct bytes packet, uint32_t pointer)
{
	bool v4 = packet.n && packet.p[0] >> 4 == 4;
	uint8_t type = v4 ? kinds[what].type4 : kinds[what].type6;
	uint8_t code = v4 ? kinds[what].code4 : kinds[what].code6;
	struct ip_addr from, to;

	if (!type || !(v4 ? answerable4(packet, &from, &to) : answerable6(packet, &from, &to)))
		return;
	if (!ip_is_unicast(&from) || !ip_is_ours(st, &to) || ip_is_ours(st, &from) ||
		!allowed(st, &from))
		return;
	struct rte_mbuf *m = stack_alloc(st, st->env.control_pool);
	if (!m)
		return;
	size_t room = (size_t)rte_pktmbuf_tailroom(m) - ICMP_HEADER;
	struct bytes quote = bytes_first(packet, MIN(v4 ? QUOTE4_MAX : QUOTE6_MAX, room));
	message_fill(m, type, code, v4 ? 0 : pointer, quote);
	checksum_fill(m, &to, &from);
	counter_inc(CTR_ICMP_TX_ERRORS);
	ip_output(st, port, &to, &from, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, 0, m);
}
