/* SPDX-License-Identifier: BSD-3-Clause
 * Ethernet II frames. */
#include <rte_ether.h>
#include "dataplane/stack_priv.h"

void eth_output(
	struct stack *st, unsigned port, const uint8_t mac[6], uint16_t type, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth =
		(struct rte_ether_hdr *)rte_pktmbuf_prepend(m, sizeof(struct rte_ether_hdr));

	BUG_ON(!eth); /* stack_alloc leaves the head room */
	memcpy(&eth->dst_addr, mac, 6);
	memcpy(&eth->src_addr, st->conf.ports[port].mac, 6);
	eth->ether_type = rte_cpu_to_be_16(type);
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

void eth_input(struct stack *st, unsigned port, struct rte_mbuf *m)
{
	if (!frame_prepare(st, port, m)) {
		rte_pktmbuf_free(m);
		return;
	}
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint16_t type = rte_be_to_cpu_16(eth->ether_type);
	bool to_us = memcmp(&eth->dst_addr, st->conf.ports[port].mac, 6) == 0;
	bool broadcast = rte_is_broadcast_ether_addr(&eth->dst_addr);

	rte_pktmbuf_adj(m, sizeof(*eth));
	if (type == RTE_ETHER_TYPE_IPV4 && to_us)
		ipv4_input(st, port, m);
	else if (type == RTE_ETHER_TYPE_ARP && (to_us || broadcast))
		arp_input(st, port, m);
	else
		rte_pktmbuf_free(m);
}
