/* SPDX-License-Identifier: BSD-3-Clause
 * IPv4 (RFC 791, RFC 1122 3). */
#include <rte_ether.h>
#include "dataplane/csum.h"
#include "dataplane/stack_priv.h"

#define IPV4_TTL 64

static void checksum_fill(const struct stack_port *p, const struct ip_addr *from,
	const struct ip_addr *to, struct rte_ipv4_hdr *ip, struct rte_mbuf *m)
{
	struct rte_tcp_hdr *tcp = ip->next_proto_id == IPPROTO_TCP ? (void *)(ip + 1) : NULL;

	m->ol_flags &= ~(RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK);
	if (p->tx_csum_ip || (p->tx_csum_tcp && tcp)) {
		m->l2_len = p->vlan && !p->tx_vlan ? ETH_HEADER_MAX : RTE_ETHER_HDR_LEN;
		m->l3_len = sizeof(*ip);
		m->ol_flags |= RTE_MBUF_F_TX_IPV4;
	}
	if (tcp && p->tx_csum_tcp) {
		m->l4_len = (uint8_t)(tcp->data_off >> 2);
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
		tcp->cksum = rte_ipv4_phdr_cksum(ip, m->ol_flags);
	} else if (tcp) {
		tcp->cksum = csum_l4(from, to, IPPROTO_TCP, tcp, m->data_len - sizeof(*ip));
	}
	if (p->tx_csum_ip)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	else
		ip->hdr_checksum = csum_fold(ip, sizeof(*ip));
}

void ipv4_header_push(const struct stack_port *p, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t ecn, struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip =
		(struct rte_ipv4_hdr *)rte_pktmbuf_prepend(m, sizeof(struct rte_ipv4_hdr));

	BUG_ON(!ip);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.type_of_service = ecn & IP_ECN_MASK,
		.total_length = rte_cpu_to_be_16((uint16_t)m->pkt_len),
		.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG), /* id 0: RFC 6864 */
		.time_to_live = IPV4_TTL,
		.next_proto_id = protocol,
		.src_addr = ip_to_v4(from),
		.dst_addr = ip_to_v4(to),
	};
	checksum_fill(p, from, to, ip, m);
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

static void fragment_input(
	struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint16_t field = rte_be_to_cpu_16(ip->fragment_offset);
	struct ip_fragment f = {
		.from = pkt->from,
		.to = pkt->to,
		.id = ip->packet_id,
		.offset =
			(uint16_t)((field & RTE_IPV4_HDR_OFFSET_MASK) * RTE_IPV4_HDR_OFFSET_UNITS),
		.header_n = rte_ipv4_hdr_len(ip),
		.protocol = pkt->protocol,
		.ecn = pkt->ecn,
		.more = field & RTE_IPV4_HDR_MF_FLAG,
	};

	ip_reass_input(st, port, m, &f);
}

/* Nobody takes it (RFC 1122 3.2.2.1). */
static void refuse(struct stack *st, unsigned port, struct rte_mbuf *m, uint8_t protocol)
{
	icmp_error_send(st, port, protocol == IPPROTO_UDP ? ICMP_SEND_PORT : ICMP_SEND_PROTOCOL,
		bytes_make(rte_pktmbuf_mtod(m, const void *), m->data_len), 0);
}

void ipv4_input(struct stack *st, unsigned port, struct rte_mbuf *m)
{
	if (!header_ok(&st->conf.ports[port], m)) {
		counter_inc(CTR_IP_RX_BAD);
		rte_pktmbuf_free(m);
		return;
	}
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	struct ip_packet pkt = {
		.from = ip_from_v4(ip->src_addr),
		.to = ip_from_v4(ip->dst_addr),
		.protocol = ip->next_proto_id,
		.ecn = ip->type_of_service & IP_ECN_MASK,
		.hop_limit = ip->time_to_live,
	};
	if (!ip_is_ours(st, &pkt.to) || !ip_is_unicast(&pkt.from) || ip_is_ours(st, &pkt.from)) {
		/* not for us, or from nobody who could get an answer */
	} else if (is_fragment(ip)) {
		fragment_input(st, port, m, &pkt);
		return;
	} else if (pkt.protocol == IPPROTO_TCP) {
		rte_pktmbuf_adj(m, rte_ipv4_hdr_len(ip));
		tcp_input(st, port, m, &pkt);
		return;
	} else if (pkt.protocol == IPPROTO_ICMP) {
		rte_pktmbuf_adj(m, rte_ipv4_hdr_len(ip));
		icmp_input(st, port, m, &pkt);
		return;
	} else {
		refuse(st, port, m, pkt.protocol);
	}
	counter_inc(CTR_IP_RX_NOT_OURS);
	rte_pktmbuf_free(m);
}
