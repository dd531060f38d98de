/* SPDX-License-Identifier: BSD-3-Clause
 * IPv6 (RFC 8200).  The chain of extension headers is walked with limits (RFC 8504 5.3): a packet
 * beyond them is malformed, as are routing headers that want us to forward (RFC 5095). */
#include <netinet/in.h>
#include <rte_ether.h>
#include "dataplane/csum.h"
#include "dataplane/stack_priv.h"

#define IP6_VERSION      (6u << 28)
#define IP6_ECN_SHIFT    20 /* of the traffic class's low bits in the first word */
#define IP6_HEADERS_MAX  8  /* chosen: extension headers of one packet; real ones have two */
#define IP6_OPTIONS_MAX  8  /* RFC 8504 5.3: options of one header */
#define IP6_PADS_MAX     7  /* RFC 4942 2.1.9.5: to align, never more */
#define IP6_UNIT         8u /* octets that lengths of extension headers count */
#define IP6_OPTION_PAD1  0
#define IP6_OPTION_PADN  1
#define IP6_ROUTER_ALERT 5    /* RFC 2711 */
#define IP6_UNKNOWN      0xc0 /* RFC 8200 4.2: what to do with an option we do not know; 0: skip */

/* ---- out ---- */

static void checksum_fill(const struct stack_port *p, const struct ip_addr *from,
	const struct ip_addr *to, struct rte_ipv6_hdr *ip, struct rte_mbuf *m)
{
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);

	m->ol_flags &= ~(RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_IP_CKSUM |
			 RTE_MBUF_F_TX_L4_MASK);
	if (ip->proto != IPPROTO_TCP)
		return;
	if (p->tx_csum_tcp) {
		m->l2_len = p->vlan && !p->tx_vlan ? ETH_HEADER_MAX : RTE_ETHER_HDR_LEN;
		m->l3_len = sizeof(*ip);
		m->l4_len = (uint8_t)(tcp->data_off >> 2);
		m->ol_flags |= RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_CKSUM;
		tcp->cksum = rte_ipv6_phdr_cksum(ip, m->ol_flags);
	} else {
		tcp->cksum = csum_l4(from, to, IPPROTO_TCP, tcp, m->data_len - sizeof(*ip));
	}
}

static struct rte_ipv6_hdr *header_push(const struct ip_addr *from, const struct ip_addr *to,
	uint8_t protocol, uint8_t hop_limit, struct rte_mbuf *m)
{
	uint16_t n = (uint16_t)m->pkt_len;
	struct rte_ipv6_hdr *ip =
		(struct rte_ipv6_hdr *)rte_pktmbuf_prepend(m, sizeof(struct rte_ipv6_hdr));

	BUG_ON(!ip);
	ip->vtc_flow = rte_cpu_to_be_32(IP6_VERSION);
	ip->payload_len = rte_cpu_to_be_16(n);
	ip->proto = protocol;
	ip->hop_limits = hop_limit;
	memcpy(ip->src_addr, from->octets, sizeof(ip->src_addr));
	memcpy(ip->dst_addr, to->octets, sizeof(ip->dst_addr));
	return ip;
}

void ipv6_header_push(const struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t ecn, struct rte_mbuf *m)
{
	struct rte_ipv6_hdr *ip = header_push(from, to, protocol, st->links[port].hop_limit, m);

	ip->vtc_flow |= rte_cpu_to_be_32((uint32_t)(ecn & IP_ECN_MASK) << IP6_ECN_SHIFT);
	checksum_fill(&st->conf.ports[port], from, to, ip, m);
}

void ipv6_output_link(struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t hop_limit, const uint8_t mac[6],
	struct rte_mbuf *m)
{
	uint8_t group[6] = {0x33, 0x33}; /* RFC 2464 7 */

	header_push(from, to, protocol, hop_limit, m);
	m->ol_flags &= ~RTE_MBUF_F_TX_OFFLOAD_MASK;
	memcpy(group + 2, to->octets + 12, 4);
	eth_output(st, port, ip_is_multicast6(to) ? group : mac, RTE_ETHER_TYPE_IPV6, m);
}

/* ---- in ---- */

/* Options of a hop-by-hop or destination header, of which we need none. */
static enum ipv6_fault options_check(struct ipv6_walk *w, struct bytes in, size_t at)
{
	unsigned options = 0;

	while (at < in.n) {
		uint8_t type = in.p[at];
		w->fault_at = at;
		if (type == IP6_OPTION_PAD1) {
			at++;
			continue;
		}
		if (in.n - at < 2 || in.n - at - 2 < in.p[at + 1])
			return IPV6_FAULT_SILENT;
		uint8_t n = in.p[at + 1];
		if (type == IP6_OPTION_PADN ? n + 2u > IP6_PADS_MAX : ++options > IP6_OPTIONS_MAX)
			return IPV6_FAULT_SILENT;
		if (type != IP6_OPTION_PADN && type != IP6_ROUTER_ALERT && (type & IP6_UNKNOWN))
			return (type & IP6_UNKNOWN) == 0x40   ? IPV6_FAULT_SILENT
			       : (type & IP6_UNKNOWN) == 0x80 ? IPV6_FAULT_OPTION
							      : IPV6_FAULT_OPTION_UNICAST;
		w->router_alert |= type == IP6_ROUTER_ALERT;
		at += 2u + n;
	}
	return IPV6_FAULT_NONE;
}

/* One extension header at w->at of type w->protocol. */
static enum ipv6_fault header_walk(struct ipv6_walk *w, struct bytes in, unsigned nth)
{
	size_t left = in.n - w->at;
	const uint8_t *h = in.p + w->at;
	enum ipv6_fault fault = IPV6_FAULT_NONE;

	if (w->protocol == IPPROTO_HOPOPTS && nth > 0) {
		w->fault_at = w->next_at;
		return IPV6_FAULT_PROTOCOL; /* only right behind the IPv6 header */
	}
	if (left < IP6_UNIT)
		return IPV6_FAULT_SILENT;
	size_t n = w->protocol == IPPROTO_FRAGMENT ? IP6_UNIT : (h[1] + 1u) * IP6_UNIT;
	if (left < n)
		return IPV6_FAULT_SILENT;
	if (w->protocol == IPPROTO_ROUTING && h[3] != 0) {
		w->fault_at = w->at + 2; /* the type: RFC 5095, RFC 8200 4.4 */
		return IPV6_FAULT_HEADER;
	}
	if (w->protocol == IPPROTO_HOPOPTS || w->protocol == IPPROTO_DSTOPTS)
		fault = options_check(w, bytes_first(in, w->at + n), w->at + 2);
	if (w->protocol == IPPROTO_FRAGMENT) {
		w->fragment_at = w->at;
		w->fragment_next_at = w->next_at;
		w->fragment = (h[2] << 8 | h[3]) & IPV6_FRAGMENT_MASK;
		w->fragment_header = true;
	}
	w->next_at = w->at;
	w->protocol = h[0];
	w->at += n;
	return fault;
}

static bool is_extension(uint8_t protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_FRAGMENT;
}

enum ipv6_fault ipv6_walk(struct bytes in, struct ipv6_walk *w)
{
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)in.p;
	enum ipv6_fault fault = IPV6_FAULT_NONE;

	*w = (struct ipv6_walk){.protocol = ip->proto,
		.at = sizeof(*ip),
		.next_at = offsetof(struct rte_ipv6_hdr, proto)};
	for (unsigned nth = 0; is_extension(w->protocol) && !w->fragment_header; nth++) {
		if (nth == IP6_HEADERS_MAX)
			return IPV6_FAULT_SILENT;
		fault = header_walk(w, in, nth);
		if (fault != IPV6_FAULT_NONE)
			return fault;
	}
	return IPV6_FAULT_NONE;
}

/* Lengths agree with the octets there are.  Cuts padding. */
static bool header_ok(struct rte_mbuf *m)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);

	if (m->data_len < sizeof(*ip) || rte_be_to_cpu_32(ip->vtc_flow) >> 28 != 6)
		return false;
	size_t total = sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	if (total > m->data_len)
		return false;
	rte_pktmbuf_trim(m, (uint16_t)(m->data_len - total));
	return true;
}

static struct ip_addr address_of(const uint8_t octets[16])
{
	struct ip_addr a;

	memcpy(a.octets, octets, sizeof(a.octets));
	return a;
}

/* RFC 4291 2.7.1: the group of all hosts whose address ends in the same 24 bits. */
struct ip_addr ipv6_solicited_node(const struct ip_addr *ip)
{
	struct ip_addr group = {
		{0xff, 2, [11] = 1, [12] = 0xff}
        };

	memcpy(group.octets + 13, ip->octets + 13, 3);
	return group;
}

static bool is_all_nodes(const struct ip_addr *ip)
{
	static const struct ip_addr all =
					    {
						    {0xff, 2, [15] = 1}
        },
				    own = {{0xff, 1, [15] = 1}};

	return ip_eq(ip, &all) || ip_eq(ip, &own);
}

/* A group we are in, on port; also by addresses that are still being asked for. */
static bool is_our_group(const struct stack *st, unsigned port, const struct ip_addr *ip)
{
	const struct link *l = &st->links[port];

	if (is_all_nodes(ip))
		return true;
	for (unsigned i = 0; i < l->address_count; i++) {
		const struct ip_addr *own = &l->address[i].net.ip;
		struct ip_addr group = ipv6_solicited_node(own);
		if (!ip_is_v4(own) && ip_eq(&group, ip))
			return true;
	}
	return false;
}

/* Is it for us, from somebody who could get an answer?  An IPv4 address in IPv6's form is nobody's
 * on the wire (RFC 4942 2.2); neighbour discovery may come from :: (RFC 4862). */
static bool addresses_ok(const struct stack *st, unsigned port, const struct ip_packet *pkt)
{
	static const struct ip_addr unspecified;
	bool group = ip_is_multicast6(&pkt->to);

	if (!st->links[port].v6 || ip_is_v4(&pkt->from) || ip_is_v4(&pkt->to))
		return false;
	if (!ip_is_unicast(&pkt->from) && !(group && ip_eq(&pkt->from, &unspecified)))
		return false;
	return group ? is_our_group(st, port, &pkt->to) : ip_is_ours(st, &pkt->to);
}

/* The sender is told as RFC 8200 4 wants it; to whom wrote to a group, some of it is not said. */
static void fault_tell(struct stack *st, unsigned port, enum ipv6_fault fault, bool group,
	struct bytes packet, size_t at)
{
	static const enum icmp_send kinds[] = {
		[IPV6_FAULT_PROTOCOL] = ICMP_SEND_NEXT_HEADER,
		[IPV6_FAULT_HEADER] = ICMP_SEND_BAD_HEADER,
		[IPV6_FAULT_OPTION] = ICMP_SEND_OPTION,
		[IPV6_FAULT_OPTION_UNICAST] = ICMP_SEND_OPTION,
	};

	if (fault != IPV6_FAULT_SILENT && !group)
		icmp_error_send(st, port, kinds[fault], packet, (uint32_t)at);
}

static void fragment_input(struct stack *st, unsigned port, struct rte_mbuf *m,
	const struct ip_packet *pkt, const struct ipv6_walk *w)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *) + w->fragment_at;
	struct ip_fragment f = {
		.from = pkt->from,
		.to = pkt->to,
		.offset = w->fragment & (uint16_t)~IPV6_FRAGMENT_MORE,
		.header_n = (uint16_t)w->at,
		.next_at = (uint16_t)w->fragment_next_at,
		.protocol = w->protocol,
		.ecn = pkt->ecn,
		.more = w->fragment & IPV6_FRAGMENT_MORE,
	};

	memcpy(&f.id, h + 4, sizeof(f.id));
	ip_reass_input(st, port, m, &f);
}

/* To whoever takes what the headers carry; takes m. */
static void deliver(struct stack *st, unsigned port, struct rte_mbuf *m, struct ip_packet *pkt,
	const struct ipv6_walk *w)
{
	bool group = ip_is_multicast6(&pkt->to);

	pkt->protocol = w->protocol;
	pkt->fragment = st->reass.again;
	pkt->router_alert = w->router_alert;
	if (w->protocol == IPPROTO_TCP && !group && !ip_is_ours(st, &pkt->from)) {
		rte_pktmbuf_adj(m, (uint16_t)w->at);
		tcp_input(st, port, m, pkt);
		return;
	}
	if (w->protocol == IPPROTO_ICMPV6) {
		rte_pktmbuf_adj(m, (uint16_t)w->at);
		icmp6_input(st, port, m, pkt);
		return;
	}
	struct bytes packet = bytes_make(rte_pktmbuf_mtod(m, const void *), m->data_len);
	if (w->protocol == IPPROTO_UDP)
		icmp_error_send(st, port, ICMP_SEND_PORT, packet, 0);
	else if (w->protocol != IPPROTO_NONE && w->protocol != IPPROTO_TCP)
		icmp_error_send(st, port, ICMP_SEND_NEXT_HEADER, packet, (uint32_t)w->next_at);
	counter_inc(CTR_IP_RX_NOT_OURS);
	rte_pktmbuf_free(m);
}

void ipv6_input(struct stack *st, unsigned port, struct rte_mbuf *m)
{
	struct ipv6_walk w;

	if (!header_ok(m)) {
		counter_inc(CTR_IP_RX_BAD);
		rte_pktmbuf_free(m);
		return;
	}
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);
	struct ip_packet pkt = {
		.from = address_of(ip->src_addr),
		.to = address_of(ip->dst_addr),
		.ecn = (rte_be_to_cpu_32(ip->vtc_flow) >> IP6_ECN_SHIFT) & IP_ECN_MASK,
		.hop_limit = ip->hop_limits,
	};
	if (!addresses_ok(st, port, &pkt)) {
		counter_inc(CTR_IP_RX_NOT_OURS);
		rte_pktmbuf_free(m);
		return;
	}
	struct bytes packet = bytes_make(ip, m->data_len);
	enum ipv6_fault fault = ipv6_walk(packet, &w);
	if (fault == IPV6_FAULT_NONE && w.fragment_header) {
		fragment_input(st, port, m, &pkt, &w);
		return;
	}
	if (fault == IPV6_FAULT_NONE) {
		deliver(st, port, m, &pkt, &w);
		return;
	}
	fault_tell(st, port, fault, ip_is_multicast6(&pkt.to), packet, w.fault_at);
	counter_inc(CTR_IP6_RX_HEADERS);
	rte_pktmbuf_free(m);
}
