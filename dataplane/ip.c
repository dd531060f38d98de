/* SPDX-License-Identifier: BSD-3-Clause
 * What both families share: our addresses, routes, and the way out.  OWNER: one core. */
#include "dataplane/ip.h"
#include "dataplane/stack_priv.h"

bool ip_is_ours(const struct stack *st, const struct ip_addr *ip)
{
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		const struct link *l = &st->links[i];
		for (unsigned k = 0; k < l->address_count; k++) {
			if (ip_eq(&l->address[k].net.ip, ip))
				return l->address[k].state == LINK_ADDRESS_USED;
		}
	}
	return false;
}

bool ip_on_link(const struct stack *st, unsigned port, const struct ip_addr *ip)
{
	return link_has(st, port, ip);
}

static bool route_by(const struct stack *st, unsigned port, const struct ip_addr *to,
	const struct ip_addr *hop, struct ip_route *route_r)
{
	const struct ip_addr *from = link_source_soon(&st->links[port], to, hop);

	if (!from)
		return false;
	*route_r = (struct ip_route){.from = *from, .hop = *hop, .port = (uint8_t)port};
	return true;
}

bool ip_route(const struct stack *st, const struct ip_addr *to, struct ip_route *route_r)
{
	if (!ip_is_unicast(to) || ip_is_ours(st, to))
		return false;
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		if (ip_on_link(st, i, to) && route_by(st, i, to, to, route_r))
			return true;
	}
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		const struct ip_addr *router = link_router(st, i, ip_is_v4(to));
		if (router && !ip_is_link_local(to) && route_by(st, i, to, router, route_r))
			return true;
	}
	return false;
}

uint16_t ip_link_mtu(const struct stack *st, unsigned port, const struct ip_addr *ip)
{
	return ip_is_v4(ip) ? st->conf.ports[port].mtu : st->links[port].mtu6;
}

uint16_t ip_path_mtu(struct stack *st, const struct ip_addr *to)
{
	struct ip_route route;

	if (!ip_route(st, to, &route))
		return ip_is_v4(to) ? IP_MTU_MIN : IP6_MTU_MIN;
	uint16_t mtu = ip_link_mtu(st, route.port, to), path = ip_pmtu_get(st, to);
	return path ? MIN(mtu, path) : mtu;
}

/* The next hop of a packet that leaves by port. */
static const struct ip_addr *next_hop(
	const struct stack *st, unsigned port, const struct ip_addr *to)
{
	if (ip_on_link(st, port, to))
		return to;
	return ip_is_link_local(to) ? NULL : link_router(st, port, ip_is_v4(to));
}

/* Any will do: who makes two destinations meet has them looked up. */
static struct ip_hop *hop_kept(struct stack *st, const struct ip_addr *to)
{
	uint32_t low, middle;

	memcpy(&low, to->octets + 12, sizeof(low));
	memcpy(&middle, to->octets + 8, sizeof(middle));
	low = (low ^ middle) * 0x9e3779b1u;
	return &st->hops[low >> 24 & (IP_HOPS_KEPT - 1)];
}

void ip_output(struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t ecn, struct rte_mbuf *m)
{
	struct ip_hop *kept = hop_kept(st, to);

	if (unlikely(st->tentative && !ip_is_ours(st, from))) {
		rte_pktmbuf_free(m); /* it may be another's */
		return;
	}
	if (ip_is_v4(to))
		ipv4_header_push(&st->conf.ports[port], from, to, protocol, ecn, m);
	else
		ipv6_header_push(st, port, from, to, protocol, ecn, m);
	if (likely(kept->ref && ip_eq(&kept->to, to) && neigh_output_ref(st, kept->ref, port, m)))
		return;
	const struct ip_addr *next = next_hop(st, port, to);
	if (!next) {
		rte_pktmbuf_free(m);
		return;
	}
	*kept = (struct ip_hop){
		.to = *to, .ref = neigh_output(st, port, next, m), .port = (uint8_t)port};
}

void ip_confirm(struct stack *st, unsigned port, const struct ip_addr *to)
{
	const struct ip_hop *kept = hop_kept(st, to);

	if (kept->ref && kept->port == port && ip_eq(&kept->to, to))
		neigh_confirm(st, kept->ref);
}

void ip_hops_forget(struct stack *st)
{
	memset(st->hops, 0, sizeof(st->hops));
}

void ip_doubt(struct stack *st, unsigned port, const struct ip_addr *to)
{
	const struct ip_addr *hop = next_hop(st, port, to);

	if (hop)
		neigh_doubt(st, port, hop);
}
