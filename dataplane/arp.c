/* SPDX-License-Identifier: BSD-3-Clause
 * ARP (RFC 826): questions and answers for the table of neighbours. */
#include <rte_arp.h>
#include <rte_ether.h>
#include "dataplane/stack_priv.h"

static const uint8_t mac_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void arp_send(struct stack *st, unsigned port, uint16_t op, const struct ip_addr *from,
	const struct ip_addr *to, const uint8_t to_mac[6])
{
	const struct stack_port *p = &st->conf.ports[port];
	struct rte_mbuf *m = stack_alloc(st, st->env.control_pool);

	if (!m)
		return;
	struct rte_arp_hdr *arp =
		(struct rte_arp_hdr *)rte_pktmbuf_append(m, sizeof(struct rte_arp_hdr));
	BUG_ON(!arp);
	arp->arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
	arp->arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	arp->arp_hlen = 6;
	arp->arp_plen = 4;
	arp->arp_opcode = rte_cpu_to_be_16(op);
	memcpy(&arp->arp_data.arp_sha, p->mac, 6);
	arp->arp_data.arp_sip = ip_to_v4(from);
	if (op == RTE_ARP_OP_REPLY)
		memcpy(&arp->arp_data.arp_tha, to_mac, 6);
	else
		memset(&arp->arp_data.arp_tha, 0, 6);
	arp->arp_data.arp_tip = ip_to_v4(to);
	eth_output(st, port, to_mac, RTE_ETHER_TYPE_ARP, m);
}

void arp_solicit(struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t *mac)
{
	const struct ip_addr *from = link_source(&st->links[port], ip, ip);

	if (!from)
		return;
	counter_inc(CTR_ARP_TX_REQUESTS);
	arp_send(st, port, RTE_ARP_OP_REQUEST, from, ip, mac ? mac : mac_broadcast);
}

static const struct ip_addr nobody = {
	{[10] = 0xff, [11] = 0xff}
};

void arp_probe(struct stack *st, unsigned port, const struct ip_addr *ip)
{
	counter_inc(CTR_ARP_TX_REQUESTS);
	arp_send(st, port, RTE_ARP_OP_REQUEST, &nobody, ip, mac_broadcast);
}

void arp_announce(struct stack *st, unsigned port, const struct ip_addr *ip)
{
	counter_inc(CTR_ARP_TX_REQUESTS);
	arp_send(st, port, RTE_ARP_OP_REQUEST, ip, ip, mac_broadcast);
}

/* Does somebody else speak for an address of ours, or want one that we are asking for (RFC 5227
 * 2.1.1)? */
static void arp_check_conflict(struct stack *st, unsigned port, uint16_t op,
	const struct ip_addr *from, struct link_address *to, const uint8_t mac[6])
{
	struct link_address *own = link_address_find(&st->links[port], from);

	if (memcmp(mac, st->conf.ports[port].mac, 6) == 0)
		return;
	if (own)
		link_claim_conflict(st, port, own, mac);
	else if (to && to->state == LINK_ADDRESS_TENTATIVE && op == RTE_ARP_OP_REQUEST &&
		 ip_eq(from, &nobody))
		link_claim_conflict(st, port, to, mac);
}

static bool arp_ok(const struct rte_mbuf *m)
{
	const struct rte_arp_hdr *arp = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);

	return m->data_len >= sizeof(*arp) &&
	       arp->arp_hardware == rte_cpu_to_be_16(RTE_ARP_HRD_ETHER) &&
	       arp->arp_protocol == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) && arp->arp_hlen == 6 &&
	       arp->arp_plen == 4 && rte_is_unicast_ether_addr(&arp->arp_data.arp_sha);
}

void arp_input(struct stack *st, unsigned port, struct rte_mbuf *m)
{
	if (!arp_ok(m)) {
		rte_pktmbuf_free(m);
		return;
	}
	counter_inc(CTR_ARP_RX);
	const struct rte_arp_hdr *arp = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);
	struct ip_addr from = ip_from_v4(arp->arp_data.arp_sip);
	struct ip_addr to = ip_from_v4(arp->arp_data.arp_tip);
	uint16_t op = rte_be_to_cpu_16(arp->arp_opcode);
	uint8_t mac[6];
	memcpy(mac, &arp->arp_data.arp_sha, 6);
	rte_pktmbuf_free(m);
	struct link_address *a = link_address_find(&st->links[port], &to);
	bool for_us = a && a->state == LINK_ADDRESS_USED;
	arp_check_conflict(st, port, op, &from, a, mac);

	/* RFC 826: update whom we know; add only who talks to us.  An address that is ours or not
	 * on this link is nobody's to announce (a probe has sender 0.0.0.0, RFC 5227). */
	if (!ip_is_ours(st, &from) && ip_is_unicast(&from) && ip_on_link(st, port, &from)) {
		struct neigh_advert advert = {.mac = mac,
			.solicited = for_us && op == RTE_ARP_OP_REPLY,
			.override = true};
		if (!neigh_advertised(st, port, &from, &advert) && for_us &&
			op == RTE_ARP_OP_REQUEST)
			neigh_asked(st, port, &from, mac, true);
	}
	if (for_us && op == RTE_ARP_OP_REQUEST && !link_address_find(&st->links[port], &from))
		arp_send(st, port, RTE_ARP_OP_REPLY, &to, &from, mac);
}
