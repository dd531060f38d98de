/* SPDX-License-Identifier: BSD-3-Clause
 * IPv4 (RFC 791, RFC 1122 3).  Fragments are counted and dropped: TCP peers do not make them while
 * we advertise our MSS and send with DF. */
#include <rte_ether.h>
#include "dataplane/csum.h"
#include "dataplane/stack_priv.h"

#define IPV4_TTL 64

static uint32_t v4_mask(const struct ip_net *net)
{
	unsigned bits = net->prefix > 96 ? MIN(net->prefix - 96u, 32u) : 0;

	return rte_cpu_to_be_32(bits ? UINT32_MAX << (32 - bits) : 0);
}

bool ipv4_on_link(const struct stack_port *p, const struct ip_addr *ip)
{
	uint32_t v4 = ip_to_v4(ip);

	for (unsigned i = 0; i < p->address_count; i++) {
		const struct ip_net *net = &p->address[i];
		if (ip_is_v4(&net->ip) && ((ip_to_v4(&net->ip) ^ v4) & v4_mask(net)) == 0)
			return true;
	}
	return false;
}

bool ipv4_is_ours(const struct stack *st, const struct ip_addr *ip)
{
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		const struct stack_port *p = &st->conf.ports[i];
		for (unsigned k = 0; k < p->address_count; k++) {
			if (ip_eq(&p->address[k].ip, ip))
				return true;
		}
	}
	return false;
}

/* The address on the network of hop, else the first. */
static bool source_address(
	const struct stack_port *p, const struct ip_addr *hop, struct ip_addr *from_r)
{
	uint32_t v4 = ip_to_v4(hop);
	const struct ip_addr *found = NULL;

	for (unsigned i = 0; i < p->address_count; i++) {
		const struct ip_net *net = &p->address[i];
		if (!ip_is_v4(&net->ip))
			continue;
		if (((ip_to_v4(&net->ip) ^ v4) & v4_mask(net)) == 0) {
			found = &net->ip;
			break;
		}
		if (!found)
			found = &net->ip;
	}
	if (found)
		*from_r = *found;
	return found;
}

/* Unicast, and neither ours nor loopback nor this network. */
static bool unicast_ok(uint32_t be)
{
	uint32_t a = rte_be_to_cpu_32(be);

	return a >> 24 != 0 && a >> 24 != 127 && a >> 24 < 224;
}

bool ipv4_route(
	const struct stack *st, const struct ip_addr *to, unsigned *port_r, struct ip_addr *from_r)
{
	if (!ip_is_v4(to) || !unicast_ok(ip_to_v4(to)) || ipv4_is_ours(st, to))
		return false;
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		const struct stack_port *p = &st->conf.ports[i];
		if (ipv4_on_link(p, to) && source_address(p, to, from_r)) {
			*port_r = i;
			return true;
		}
	}
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		const struct stack_port *p = &st->conf.ports[i];
		if (p->has_gateway && ip_is_v4(&p->gateway) &&
			source_address(p, &p->gateway, from_r)) {
			*port_r = i;
			return true;
		}
	}
	return false;
}

static void checksum_fill(const struct stack_port *p, struct rte_ipv4_hdr *ip, struct rte_mbuf *m)
{
	struct rte_tcp_hdr *tcp = ip->next_proto_id == IPPROTO_TCP ? (void *)(ip + 1) : NULL;

	m->ol_flags &= ~(RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK);
	if (p->tx_csum_ip || (p->tx_csum_tcp && tcp)) {
		m->l2_len = sizeof(struct rte_ether_hdr);
		m->l3_len = sizeof(*ip);
		m->ol_flags |= RTE_MBUF_F_TX_IPV4;
	}
	if (tcp && p->tx_csum_tcp) {
		m->l4_len = (uint8_t)(tcp->data_off >> 2);
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
		tcp->cksum = rte_ipv4_phdr_cksum(ip, m->ol_flags);
	} else if (tcp) {
		tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	}
	if (p->tx_csum_ip)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	else
		ip->hdr_checksum = rte_ipv4_cksum(ip);
}

void ipv4_output(struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, struct rte_mbuf *m)
{
	const struct stack_port *p = &st->conf.ports[port];
	const struct ip_addr *hop = to;

	if (!ipv4_on_link(p, to)) {
		if (!p->has_gateway) {
			rte_pktmbuf_free(m);
			return;
		}
		hop = &p->gateway;
	}
	struct rte_ipv4_hdr *ip =
		(struct rte_ipv4_hdr *)rte_pktmbuf_prepend(m, sizeof(struct rte_ipv4_hdr));
	BUG_ON(!ip);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(m->data_len),
		.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG), /* id 0: RFC 6864 */
		.time_to_live = IPV4_TTL,
		.next_proto_id = protocol,
		.src_addr = ip_to_v4(from),
		.dst_addr = ip_to_v4(to),
	};
	checksum_fill(p, ip, m);
	neigh_output(st, port, hop, m);
}

/* Lengths agree with the octets there are, and the header's checksum is right.  Cuts padding. */
static bool header_ok(const struct stack_port *p, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	if (m->data_len < sizeof(*ip) || ip->version_ihl >> 4 != 4)
		return false;
	unsigned header = rte_ipv4_hdr_len(ip), total = rte_be_to_cpu_16(ip->total_length);
	if (header < sizeof(*ip) || total < header || total > m->data_len)
		return false;
	rte_pktmbuf_trim(m, (uint16_t)(m->data_len - total));
	if (p->rx_csum &&
		(m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		return true;
	return csum_ip4_ok(ip);
}

static bool is_fragment(const struct rte_ipv4_hdr *ip)
{
	return ip->fragment_offset &
	       rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK);
}

void ipv4_input(struct stack *st, unsigned port, struct rte_mbuf *m)
{
	if (!header_ok(&st->conf.ports[port], m)) {
		counter_inc(CTR_IP_RX_BAD);
		rte_pktmbuf_free(m);
		return;
	}
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	struct ip_addr to = ip_from_v4(ip->dst_addr), from = ip_from_v4(ip->src_addr);
	enum counter dropped = CTR_IP_RX_NOT_OURS;

	if (!ipv4_is_ours(st, &to) || !unicast_ok(ip->src_addr) || ipv4_is_ours(st, &from)) {
		/* not for us, or from nobody who could get an answer */
	} else if (is_fragment(ip)) {
		dropped = CTR_IP_RX_FRAGMENTS;
	} else if (ip->next_proto_id == IPPROTO_TCP) {
		tcp_input(st, port, m);
		return;
	} else if (ip->next_proto_id == IPPROTO_ICMP) {
		icmp_input(st, port, m);
		return;
	}
	counter_inc(dropped);
	rte_pktmbuf_free(m);
}
