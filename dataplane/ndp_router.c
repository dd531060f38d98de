/* SPDX-License-Identifier: BSD-3-Clause
 * Routers that advertise themselves (RFC 4861 6.3).  They are taken only on a port whose
 * configuration names no IPv6 router.  Addresses are not made from their prefixes: ours are
 * configured. */
#include <netinet/in.h>
#include "dataplane/base/log.h"
#include "dataplane/icmp6.h"
#include "dataplane/ndp.h"
#include "dataplane/stack_priv.h"

#define SOLICIT_DELAY_US (1 * US_PER_SEC)    /* RFC 4861 10: MAX_RTR_SOLICITATION_DELAY */
#define SOLICIT_FIRST_US (4 * US_PER_SEC)    /* RFC 7559 2: IRT */
#define SOLICIT_MOST_US  (3600 * US_PER_SEC) /* RFC 7559 2: MRT */
#define REACHABLE_MS_MAX 3600000u            /* RFC 4861 6.2.1 */
#define RETRANS_MS_MIN   100u   /* chosen: below, whoever advertises could make us shout */
#define RETRANS_MS_MAX   10000u /* chosen: above, nobody would be found missing */
#define PREFIX_MIN       32u    /* chosen: the shortest that a provider has; ::/0 would be a trap */
#define PREFIX_ON_LINK   0x80
#define FOREVER          UINT32_MAX /* RFC 4861 4.6.2 */

/* ---- asking ---- */

void ndp_router_solicit_begin(struct stack *st, unsigned port)
{
	struct link *l = &st->links[port];

	l->solicit_wait_us = SOLICIT_FIRST_US;
	l->solicit_at_us = st->now_us + 1 + st->env.random64(st->env.ctx) % SOLICIT_DELAY_US;
}

static void solicit_send(struct stack *st, unsigned port)
{
	static const struct ip_addr unspecified, routers = {
							 {0xff, 2, [15] = 2}
        };
	const struct ip_addr *from = link_source_local(&st->links[port]);
	struct rte_mbuf *m = stack_alloc(st, st->env.control_pool);
	uint8_t option[8] = {1, 1};

	if (!m)
		return;
	struct icmp6_header *h = (struct icmp6_header *)rte_pktmbuf_append(
		m, (uint16_t)(sizeof(*h) + (from ? sizeof(option) : 0)));
	BUG_ON(!h);
	*h = (struct icmp6_header){.type = ICMP6_ROUTER_SOLICIT};
	if (from) {
		memcpy(option + 2, st->conf.ports[port].mac, 6);
		memcpy(h + 1, option, sizeof(option));
	} else {
		from = &unspecified;
	}
	icmp6_checksum(from, &routers, m);
	ipv6_output_link(st, port, from, &routers, IPPROTO_ICMPV6, NDP_HOP_LIMIT, NULL, m);
}

uint64_t ndp_router_solicit_step(struct stack *st, unsigned port)
{
	struct link *l = &st->links[port];

	if (!l->solicit_at_us)
		return UINT64_MAX;
	if (l->solicit_at_us <= st->now_us) {
		if (st->conf.core_index == 0)
			solicit_send(st, port);
		l->solicit_at_us = st->now_us + l->solicit_wait_us;
		l->solicit_wait_us = MIN(2 * l->solicit_wait_us, SOLICIT_MOST_US);
	}
	return l->solicit_at_us;
}

/* ---- what they say ---- */

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void router_log(
	const struct stack *st, unsigned port, const struct ip_addr *ip, const char *what)
{
	char text[IP_TEXT_MAX];

	if (st->conf.core_index == 0)
		log_info("port", "router %s port=%s address=%s", what, st->conf.ports[port].name,
			ip_format(ip, text));
}

/* The place of ip, else a free one; NULL: there is none. */
static struct link_router *router_place(
	const struct stack *st, struct link *l, const struct ip_addr *ip)
{
	struct link_router *place = NULL;

	for (unsigned i = 0; i < LINK_ROUTERS_MAX; i++) {
		struct link_router *r = &l->router[i];
		if (r->until_us > st->now_us && ip_eq(&r->ip, ip))
			return r;
		if (r->until_us <= st->now_us && !place)
			place = r;
	}
	return place;
}

static void take_router(
	struct stack *st, unsigned port, const struct ip_addr *ip, uint32_t lifetime_s)
{
	struct link *l = &st->links[port];
	struct link_router *r = router_place(st, l, ip);

	if (!r)
		return;
	bool known = r->until_us > st->now_us;
	if (lifetime_s == 0) {
		if (known)
			link_router_gone(st, port, ip);
		return;
	}
	if (!known) {
		*r = (struct link_router){.ip = *ip};
		ip_hops_forget(st);
		router_log(st, port, ip, "found");
	}
	r->until_us = st->now_us + lifetime_s * US_PER_SEC;
	l->solicit_at_us = 0;
}

static void take_times(struct stack *st, struct link *l, uint32_t reachable_ms, uint32_t retrans_ms)
{
	if (reachable_ms && reachable_ms <= REACHABLE_MS_MAX &&
		reachable_ms * 1000u != l->reachable_base_us) {
		l->reachable_base_us = reachable_ms * 1000u;
		link_reachable_draw(st, l);
	}
	if (retrans_ms)
		l->retrans_us =
			MIN(MAX(retrans_ms, RETRANS_MS_MIN), RETRANS_MS_MAX) * (uint32_t)US_PER_MS;
}

/* RFC 4861 6.3.4: networks on the link. */
static void take_prefix(struct stack *st, struct link *l, struct bytes o)
{
	struct ip_net net = {.prefix = o.p[2]};
	uint32_t valid_s = get32(o.p + 4);
	struct link_prefix *place = NULL;

	memcpy(net.ip.octets, o.p + 16, sizeof(net.ip.octets));
	if (!(o.p[3] & PREFIX_ON_LINK) || net.prefix < PREFIX_MIN || net.prefix > 128 ||
		!ip_is_unicast(&net.ip) || ip_is_v4(&net.ip) || ip_is_link_local(&net.ip))
		return;
	for (unsigned i = 0; i < LINK_PREFIXES_MAX; i++) {
		struct link_prefix *p = &l->prefix[i];
		bool live = p->until_us > st->now_us;
		if (live && p->net.prefix == net.prefix &&
			ip_prefix_eq(&p->net.ip, &net.ip, net.prefix)) {
			place = p;
			break;
		}
		if (!live && !place)
			place = p;
	}
	if (!place)
		return;
	if (place->until_us <= st->now_us || valid_s == 0)
		ip_hops_forget(st);
	place->net = net;
	place->until_us = valid_s == FOREVER ? UINT64_MAX
			  : valid_s          ? st->now_us + valid_s * US_PER_SEC
					     : 0;
}

void ndp_router_input(struct stack *st, unsigned port, struct bytes in, const struct ip_packet *pkt,
	const struct ndp_options *o)
{
	struct link *l = &st->links[port];
	const struct stack_port *p = &st->conf.ports[port];

	if (!ip_is_link_local(&pkt->from) || link_address_find(l, &pkt->from)) {
		counter_inc(CTR_NDP_RX_BAD);
		return;
	}
	if (o->source_mac)
		neigh_asked(st, port, &pkt->from, o->source_mac, true);
	if (p->has_gateway6)
		return;
	counter_inc(CTR_NDP_RX_ROUTERS);
	if (in.p[4])
		l->hop_limit = in.p[4];
	take_router(st, port, &pkt->from, (uint32_t)in.p[6] << 8 | in.p[7]);
	take_times(st, l, get32(in.p + 8), get32(in.p + 12));
	if (o->mtu >= IP6_MTU_MIN && o->mtu <= p->mtu)
		l->mtu6 = (uint16_t)o->mtu;
	for (unsigned i = 0; i < o->prefix_count; i++)
		take_prefix(st, l, o->prefixes[i]);
}
