/* SPDX-License-Identifier: BSD-3-Clause
 * What `status` shows of the ports.  Any thread, while the ports are open. */
#include <rte_ethdev.h>
#include "dataplane/io.h"

static const struct net *registered;

void port_info_register(const struct net *net)
{
	registered = net;
}

static void fill_counts(const struct port *p, struct port_info *out)
{
	struct rte_eth_stats s;
	struct rte_eth_link link;

	if (rte_eth_stats_get(p->id, &s) == 0) {
		out->rx_packets = s.ipackets;
		out->rx_bytes = s.ibytes;
		out->rx_missed = s.imissed;
		out->rx_errors = s.ierrors + s.rx_nombuf;
		out->tx_packets = s.opackets;
		out->tx_bytes = s.obytes;
		out->tx_errors = s.oerrors;
	}
	out->link_up = rte_eth_link_get_nowait(p->id, &link) < 0 || link.link_status;
}

unsigned port_get_info(struct port_info *out, unsigned max)
{
	unsigned n = registered ? MIN(registered->port_count, max) : 0;

	for (unsigned i = 0; i < n; i++) {
		const struct port *p = &registered->ports[i];
		out[i] = (struct port_info){.rx_queues = p->queues, .tx_queues = p->queues};
		snprintf(out[i].name, sizeof(out[i].name), "%s", p->conf.name);
		snprintf(out[i].driver, sizeof(out[i].driver), "%s", p->driver);
		snprintf(out[i].device, sizeof(out[i].device), "%s", p->conf.device);
		snprintf(out[i].offloads, sizeof(out[i].offloads), "%s", p->offloads);
		memcpy(out[i].mac, p->mac, sizeof(out[i].mac));
		fill_counts(p, &out[i]);
	}
	return n;
}
