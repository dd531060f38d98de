/* SPDX-License-Identifier: BSD-3-Clause
 * What both families share: our addresses, routes, and the way out.  OWNER: one core. */
#include "dataplane/ip.h"
#include "dataplane/stack_priv.h"

bool ip_prefix_eq(const struct ip_addr *a, const struct ip_addr *b, unsigned prefix)
{
	unsigned whole = prefix / 8, bits = prefix % 8;

	if (memcmp(a->octets, b->octets, whole) != 0)
		return false;
	return bits == 0 || ((a->octets[whole] ^ b->octets[whole]) & (0xff00u >> bits) & 0xff) == 0;
}

bool ip_is_ours(const struct stack *st, const struct ip_addr *ip)
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

bool ip_on_link(const struct stack *st, unsigned port, const struct ip_addr *ip)
{
	const struct stack_port *p = &st->conf.ports[port];

	for (unsigned i = 0; i < p->address_count; i++) {
		if (ip_prefix_eq(&p->address[i].ip, ip, p->address[i].prefix))
			return true;
	}
	return false;
}

bool ip_is_unicast(const struct ip_addr *ip)
{
	return ip_is_v4(ip) && ipv4_unicast_ok(ip_to_v4(ip));
}

/* The address on the network of hop, else the first of its family. */
static bool source_address(
	const struct stack_port *p, const struct ip_addr *hop, struct ip_addr *from_r)
{
	const struct ip_addr *found = NULL;

	for (unsigned i = 0; i < p->address_count; i++) {
		const struct ip_net *net = &p->address[i];
		if (ip_is_v4(&net->ip) != ip_is_v4(hop))
			continue;
		if (ip_prefix_eq(&net->ip, hop, net->prefix)) {
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

bool ip_route(const struct stack *st, const struct ip_addr *to, struct ip_route *route_r)
{
	if (!ip_is_unicast(to) || ip_is_ours(st, to))
		return false;
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		if (ip_on_link(st, i, to) &&
			source_address(&st->conf.ports[i], to, &route_r->from)) {
			route_r->hop = *to;
			route_r->port = (uint8_t)i;
			return true;
		}
	}
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		const struct stack_port *p = &st->conf.ports[i];
		if (p->has_gateway && ip_is_v4(&p->gateway) == ip_is_v4(to) &&
			source_address(p, &p->gateway, &route_r->from)) {
			route_r->hop = p->gateway;
			route_r->port = (uint8_t)i;
			return true;
		}
	}
	return false;
}

uint16_t ip_path_mtu(struct stack *st, const struct ip_addr *to)
{
	struct ip_route route;

	if (!ip_route(st, to, &route))
		return IP_MTU_MIN;
	uint16_t mtu = st->conf.ports[route.port].mtu, path = ip_pmtu_get(st, to);
	return path ? MIN(mtu, path) : mtu;
}

/* The next hop of a packet that leaves by port. */
static const struct ip_addr *next_hop(
	const struct stack *st, unsigned port, const struct ip_addr *to)
{
	const struct stack_port *p = &st->conf.ports[port];

	if (ip_on_link(st, port, to))
		return to;
	return p->has_gateway ? &p->gateway : NULL;
}

void ip_output_hop(struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t ecn, struct rte_mbuf *m,
	ip_hop_ref *hop)
{
	ipv4_header_push(&st->conf.ports[port], from, to, protocol, ecn, m);
	if (likely(neigh_output_ref(st, *hop, port, m)))
		return;
	const struct ip_addr *next = next_hop(st, port, to);
	if (next)
		*hop = neigh_output(st, port, next, m);
	else
		rte_pktmbuf_free(m);
}

void ip_output(struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t ecn, struct rte_mbuf *m)
{
	ip_hop_ref hop = IP_HOP_NONE;

	ip_output_hop(st, port, from, to, protocol, ecn, m, &hop);
}

void ip_confirm(struct stack *st, ip_hop_ref hop)
{
	neigh_confirm(st, hop);
}
