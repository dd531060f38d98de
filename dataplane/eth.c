/* SPDX-License-Identifier: BSD-3-Clause
 * Ethernet II frames. */
#include <rte_ether.h>
#include <rte_ip.h>
#include "dataplane/stack_priv.h"

#define VLAN_ID_MASK 0xfffu /* IEEE 802.1Q 9.6 */

void eth_header_push(const struct stack_port *p, const uint8_t to[6], const uint8_t from[6],
	uint16_t type, struct rte_mbuf *m)
{
	size_t tag_n = p->vlan ? sizeof(struct rte_vlan_hdr) : 0;
	struct rte_ether_hdr *eth =
		(struct rte_ether_hdr *)rte_pktmbuf_prepend(m, (uint16_t)(sizeof(*eth) + tag_n));

	BUG_ON(!eth); /* stack_alloc leaves the head room */
	memcpy(&eth->dst_addr, to, 6);
	memcpy(&eth->src_addr, from, 6);
	eth->ether_type = rte_cpu_to_be_16(tag_n ? RTE_ETHER_TYPE_VLAN : type);
	if (!tag_n)
		return;
	struct rte_vlan_hdr *tag = (struct rte_vlan_hdr *)(eth + 1);
	tag->vlan_tci = rte_cpu_to_be_16(p->vlan); /* priority 0 */
	tag->eth_proto = rte_cpu_to_be_16(type);
}

/* The port inserts the tag. */
static void header_push_untagged(
	const struct stack_port *p, const uint8_t to[6], uint16_t type, struct rte_mbuf *m)
{
	struct stack_port plain = {0};

	eth_header_push(&plain, to, p->mac, type, m);
	m->vlan_tci = p->vlan;
	m->ol_flags |= RTE_MBUF_F_TX_VLAN;
}

void eth_output(
	struct stack *st, unsigned port, const uint8_t mac[6], uint16_t type, struct rte_mbuf *m)
{
	const struct stack_port *p = &st->conf.ports[port];

	if (unlikely(p->tx_vlan && p->vlan))
		header_push_untagged(p, mac, type, m);
	else
		eth_header_push(p, mac, p->mac, type, m);
	st->env.tx(st->env.ctx, port, m);
}

/* One segment from here on: the parsers below look at contiguous octets. */
static bool frame_prepare(const struct stack *st, unsigned port, struct rte_mbuf *m)
{
	if (port >= st->conf.port_count)
		return false;
	if (m->nb_segs > 1 && rte_pktmbuf_linearize(m) < 0)
		return false;
	return m->data_len >= sizeof(struct rte_ether_hdr);
}

/* The VLAN that the frame says, and its type, from the header or from the port that has taken the
 * tag off.  A tag of VLAN 0 is a priority alone.  Returns octets of header; 0: cut short. */
static size_t header_parse(const struct rte_mbuf *m, uint16_t *vlan_r, uint16_t *type_r)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct rte_vlan_hdr *tag = (const struct rte_vlan_hdr *)(eth + 1);

	*type_r = rte_be_to_cpu_16(eth->ether_type);
	*vlan_r = m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED ? m->vlan_tci & VLAN_ID_MASK : 0;
	if (likely(*type_r != RTE_ETHER_TYPE_VLAN))
		return sizeof(*eth);
	if (m->data_len < sizeof(*eth) + sizeof(*tag))
		return 0;
	*type_r = rte_be_to_cpu_16(tag->eth_proto);
	if (*vlan_r == 0)
		*vlan_r = rte_be_to_cpu_16(tag->vlan_tci) & VLAN_ID_MASK;
	return sizeof(*eth) + sizeof(*tag);
}

/* A frame for a group of the link has a packet for a group: one for a single host in it is
 * nobody's, or its answers would be asked of many (RFC 4443 2.4 (e)). */
static bool is_for_group6(const struct rte_mbuf *m)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);

	return m->data_len >= sizeof(*ip) && ip->dst_addr[0] == 0xff;
}

void eth_input(struct stack *st, unsigned port, struct rte_mbuf *m)
{
	if (!frame_prepare(st, port, m)) {
		rte_pktmbuf_free(m);
		return;
	}
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint16_t vlan, type;
	size_t header_n = header_parse(m, &vlan, &type);
	bool to_us = memcmp(&eth->dst_addr, st->conf.ports[port].mac, 6) == 0;
	bool broadcast = rte_is_broadcast_ether_addr(&eth->dst_addr);
	bool group6 = eth->dst_addr.addr_bytes[0] == 0x33 && eth->dst_addr.addr_bytes[1] == 0x33;

	if (header_n == 0 || vlan != st->conf.ports[port].vlan) {
		counter_inc(CTR_ETH_RX_VLAN);
		rte_pktmbuf_free(m);
		return;
	}
	rte_pktmbuf_adj(m, (uint16_t)header_n);
	if (type == RTE_ETHER_TYPE_IPV4 && to_us)
		ipv4_input(st, port, m);
	else if (type == RTE_ETHER_TYPE_IPV6 && (to_us || (group6 && is_for_group6(m))))
		ipv6_input(st, port, m);
	else if (type == RTE_ETHER_TYPE_ARP && (to_us || broadcast))
		arp_input(st, port, m);
	else
		rte_pktmbuf_free(m);
}
