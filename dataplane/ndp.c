/* SPDX-License-Identifier: BSD-3-Clause
 * Neighbour solicitations and advertisements (RFC 4861 7). */
#include "dataplane/ndp.h"
#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include "dataplane/icmp6.h"
#include "dataplane/stack_priv.h"

#define NDP_FIXED          24u /* octets of a solicitation or advertisement before its options */
#define NDP_OPTION_UNIT    8u
#define NDP_OPTION_SOURCE  1
#define NDP_OPTION_TARGET  2
#define NDP_OPTION_PREFIX  3
#define NDP_OPTION_MTU     5
#define NDP_OPTION_NONCE   14 /* RFC 3971 5.3.2 */
#define NDP_NONCE_OCTETS   6u
#define NDP_PREFIX_OCTETS  32u
#define NDP_MTU_OCTETS     8u
#define NDP_OPTIONS_MAX    32   /* chosen: options of one message that are looked at */
#define NDP_FLAG_ROUTER    0x80 /* first octet of the body */
#define NDP_FLAG_SOLICITED 0x40
#define NDP_FLAG_OVERRIDE  0x20

static const struct ip_addr unspecified;
static const uint8_t nobody[6]; /* a MAC that was not told */
static const struct ip_addr all_nodes = {
	{0xff, 2, [15] = 1}
};

/* A MAC in an option of Ethernet's length (RFC 2464 6). */
static const uint8_t *option_mac(struct bytes o)
{
	const struct rte_ether_addr *mac = (const struct rte_ether_addr *)(o.p + 2);

	return o.n == NDP_OPTION_UNIT && rte_is_unicast_ether_addr(mac) ? mac->addr_bytes : NULL;
}

static void option_take(struct ndp_options *out, struct bytes o)
{
	switch (o.p[0]) {
	case NDP_OPTION_SOURCE:
		out->source_mac = option_mac(o);
		break;
	case NDP_OPTION_TARGET:
		out->target_mac = option_mac(o);
		break;
	case NDP_OPTION_NONCE:
		out->nonce = bytes_skip(o, 2);
		break;
	case NDP_OPTION_MTU:
		if (o.n == NDP_MTU_OCTETS)
			out->mtu = (uint32_t)o.p[4] << 24 | (uint32_t)o.p[5] << 16 |
				   (uint32_t)o.p[6] << 8 | o.p[7];
		break;
	case NDP_OPTION_PREFIX:
		if (o.n == NDP_PREFIX_OCTETS && out->prefix_count < ARRAY_LEN(out->prefixes))
			out->prefixes[out->prefix_count++] = o;
		break;
	}
}

bool ndp_options_parse(struct bytes in, struct ndp_options *out)
{
	*out = (struct ndp_options){0};
	for (unsigned i = 0; in.n > 0; i++) {
		size_t n = in.n >= 2 ? in.p[1] * NDP_OPTION_UNIT : 0;
		if (n == 0 || n > in.n || i == NDP_OPTIONS_MAX)
			return false;
		option_take(out, bytes_first(in, n));
		in = bytes_skip(in, n);
	}
	return true;
}

/* ---- out ---- */

/* A message about target with one option: a MAC, ours, or a nonce, that of our questions for
 * addresses.  NULL: no memory. */
static struct rte_mbuf *message_new(struct stack *st, unsigned port, uint8_t type, uint8_t flags,
	const struct ip_addr *target, uint8_t option)
{
	size_t n = NDP_FIXED + NDP_OPTION_UNIT;
	const void *value = option == NDP_OPTION_NONCE ? (const void *)&st->conf.claim_nonce
						       : st->conf.ports[port].mac;
	struct rte_mbuf *m = stack_alloc(st, st->env.control_pool);

	if (!m)
		return NULL;
	uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)n);
	BUG_ON(!p);
	memset(p, 0, n);
	p[0] = type;
	p[4] = flags;
	memcpy(p + 8, target->octets, sizeof(target->octets));
	p[NDP_FIXED] = option;
	p[NDP_FIXED + 1] = 1;
	memcpy(p + NDP_FIXED + 2, value, NDP_NONCE_OCTETS);
	return m;
}

static void message_send(struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, const uint8_t *mac, struct rte_mbuf *m)
{
	icmp6_checksum(from, to, m);
	ipv6_output_link(st, port, from, to, IPPROTO_ICMPV6, NDP_HOP_LIMIT, mac, m);
}

void ndp_solicit(struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t *mac)
{
	struct ip_addr group = ipv6_solicited_node(ip);
	const struct ip_addr *from = link_source(&st->links[port], ip, ip);
	struct rte_mbuf *m;

	if (!from)
		from = link_source_local(&st->links[port]);
	if (!from)
		return;
	m = message_new(st, port, ICMP6_NEIGHBOR_SOLICIT, 0, ip, NDP_OPTION_SOURCE);
	if (!m)
		return;
	counter_inc(CTR_NDP_TX_SOLICITS);
	message_send(st, port, from, mac ? ip : &group, mac, m);
}

void ndp_probe(struct stack *st, unsigned port, const struct ip_addr *ip)
{
	struct ip_addr group = ipv6_solicited_node(ip);
	struct rte_mbuf *m = message_new(st, port, ICMP6_NEIGHBOR_SOLICIT, 0, ip, NDP_OPTION_NONCE);

	if (!m)
		return;
	counter_inc(CTR_NDP_TX_SOLICITS);
	message_send(st, port, &unspecified, &group, NULL, m);
}

void ndp_announce(struct stack *st, unsigned port, const struct ip_addr *ip)
{
	struct rte_mbuf *m = message_new(
		st, port, ICMP6_NEIGHBOR_ADVERT, NDP_FLAG_OVERRIDE, ip, NDP_OPTION_TARGET);

	if (m)
		message_send(st, port, ip, &all_nodes, NULL, m);
}

/* ---- in ---- */

static struct ip_addr target_of(struct bytes in)
{
	struct ip_addr a;

	memcpy(a.octets, in.p + 8, sizeof(a.octets));
	return a;
}

/* RFC 4861 7.2.4 */
static void answer(struct stack *st, unsigned port, const struct ip_addr *target,
	const struct ip_packet *pkt, const uint8_t *mac)
{
	bool known = !ip_eq(&pkt->from, &unspecified);
	uint8_t flags = NDP_FLAG_OVERRIDE | (known ? NDP_FLAG_SOLICITED : 0);
	struct rte_mbuf *m =
		message_new(st, port, ICMP6_NEIGHBOR_ADVERT, flags, target, NDP_OPTION_TARGET);

	if (!m)
		return;
	if (!known) {
		message_send(st, port, target, &all_nodes, NULL, m);
	} else if (mac) {
		message_send(st, port, target, &pkt->from, mac, m);
	} else { /* asked by unicast, without its MAC: by the table */
		icmp6_checksum(target, &pkt->from, m);
		ipv6_header_push(st, port, target, &pkt->from, IPPROTO_ICMPV6, 0, m);
		rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *)->hop_limits = NDP_HOP_LIMIT;
		neigh_output(st, port, &pkt->from, m);
	}
}

static bool solicit_ok(
	const struct ip_packet *pkt, const struct ip_addr *target, const struct ndp_options *o)
{
	struct ip_addr group = ipv6_solicited_node(target);

	if (!ip_is_unicast(target) || ip_is_v4(target))
		return false;
	/* RFC 4861 7.1.1: who has no address yet asks the group and has no MAC to tell */
	return !ip_eq(&pkt->from, &unspecified) || (ip_eq(&pkt->to, &group) && !o->source_mac);
}

/* A question for an address of ours that has come back to us (RFC 7527). */
static bool is_our_nonce(const struct stack *st, struct bytes nonce)
{
	return nonce.n == NDP_NONCE_OCTETS &&
	       memcmp(nonce.p, &st->conf.claim_nonce, NDP_NONCE_OCTETS) == 0;
}

static void solicit_input(struct stack *st, unsigned port, struct bytes in,
	const struct ip_packet *pkt, const struct ndp_options *o)
{
	struct ip_addr target = target_of(in);

	if (!solicit_ok(pkt, &target, o)) {
		counter_inc(CTR_NDP_RX_BAD);
		return;
	}
	struct link_address *a = link_address_find(&st->links[port], &target);
	bool claim = ip_eq(&pkt->from, &unspecified);
	if (a && a->state == LINK_ADDRESS_TENTATIVE && claim && !is_our_nonce(st, o->nonce))
		link_claim_conflict(st, port, a, nobody);
	if (!a || a->state != LINK_ADDRESS_USED || ip_is_ours(st, &pkt->from))
		return;
	bool neighbour = ip_is_unicast(&pkt->from) && ip_on_link(st, port, &pkt->from);
	if (neighbour && o->source_mac)
		neigh_asked(st, port, &pkt->from, o->source_mac, true);
	if (neighbour || claim || o->source_mac)
		answer(st, port, &target, pkt, o->source_mac);
}

static void advert_input(struct stack *st, unsigned port, struct bytes in,
	const struct ip_packet *pkt, const struct ndp_options *o)
{
	struct ip_addr target = target_of(in);
	uint8_t flags = in.p[4];
	bool group = ip_is_multicast6(&pkt->to);
	struct neigh_advert advert = {.mac = o->target_mac,
		.solicited = flags & NDP_FLAG_SOLICITED,
		.override = flags & NDP_FLAG_OVERRIDE};

	/* RFC 4861 7.1.2: an answer goes to one; and whoever speaks has an address */
	if (!ip_is_unicast(&target) || ip_is_v4(&target) || (group && advert.solicited) ||
		!ip_is_unicast(&pkt->from)) {
		counter_inc(CTR_NDP_RX_BAD);
		return;
	}
	struct link_address *own = link_address_find(&st->links[port], &target);
	if (own) {
		const uint8_t *mac = o->target_mac ? o->target_mac : nobody;
		if (memcmp(mac, st->conf.ports[port].mac, 6) != 0)
			link_claim_conflict(st, port, own, mac);
		return;
	}
	neigh_advertised(st, port, &target, &advert);
	if (!(flags & NDP_FLAG_ROUTER))
		link_router_gone(st, port, &target);
}

/* Octets of each kind of message before its options; 0: not ours to take. */
static size_t fixed_part(uint8_t type)
{
	switch (type) {
	case ICMP6_NEIGHBOR_SOLICIT:
	case ICMP6_NEIGHBOR_ADVERT:
		return NDP_FIXED;
	case ICMP6_ROUTER_ADVERT:
		return NDP_ROUTER_FIXED;
	default:
		return 0;
	}
}

void ndp_input(struct stack *st, unsigned port, struct bytes in, const struct ip_packet *pkt)
{
	struct ndp_options o;
	uint8_t type = in.p[0];
	size_t fixed = fixed_part(type);

	if (type == ICMP6_REDIRECT)
		counter_inc(CTR_NDP_REDIRECTS_IGNORED);
	if (fixed == 0)
		return;
	counter_inc(CTR_NDP_RX);
	/* RFC 4861 6.1, 7.1, RFC 6980: from this link, and never in fragments */
	if (pkt->hop_limit != NDP_HOP_LIMIT || in.p[1] != 0 || in.n < fixed || pkt->fragment ||
		!ndp_options_parse(bytes_skip(in, fixed), &o)) {
		counter_inc(CTR_NDP_RX_BAD);
		return;
	}
	if (type == ICMP6_NEIGHBOR_SOLICIT)
		solicit_input(st, port, in, pkt, &o);
	else if (type == ICMP6_NEIGHBOR_ADVERT)
		advert_input(st, port, in, pkt, &o);
	else
		ndp_router_input(st, port, in, pkt, &o);
}
