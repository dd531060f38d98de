/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/link.h"
#include "dataplane/base/log.h"
#include "dataplane/mld.h"
#include "dataplane/ndp.h"
#include "dataplane/stack_priv.h"

#define REACHABLE_US (30 * US_PER_SEC) /* RFC 4861 10: REACHABLE_TIME */
#define RETRANS_US   (1 * US_PER_SEC)  /* RFC 4861 10: RETRANS_TIMER */
#define HOP_LIMIT    64                /* RFC 1700, as for IPv4 */
#define LOCAL_PREFIX 64                /* RFC 4291 2.5.6 */
/* chosen: a router that was silent is left alone for so long while there is another */
#define SILENT_US (30 * US_PER_SEC)

static void address_add(struct stack *st, unsigned port, const struct ip_net *net)
{
	struct link *l = &st->links[port];
	bool ask = st->conf.ports[port].discovery;

	st->tentative += ask;
	l->address[l->address_count++] = (struct link_address){.net = *net,
		.state = ask ? LINK_ADDRESS_TENTATIVE : LINK_ADDRESS_USED,
		.at_us = ask ? st->now_us : 0};
}

/* RFC 4291 appendix A: the interface identifier from the MAC. */
static struct ip_net local_net(const uint8_t mac[6])
{
	struct ip_net net = {.prefix = LOCAL_PREFIX};
	uint8_t *o = net.ip.octets;

	o[0] = 0xfe;
	o[1] = 0x80;
	memcpy(o + 8, mac, 3);
	o[8] ^= 2;
	o[11] = 0xff;
	o[12] = 0xfe;
	memcpy(o + 13, mac + 3, 3);
	return net;
}

static void addresses_init(struct stack *st, unsigned port)
{
	struct link *l = &st->links[port];
	const struct stack_port *p = &st->conf.ports[port];
	bool local = false;

	for (unsigned i = 0; i < p->address_count; i++) {
		const struct ip_addr *ip = &p->address[i].ip;
		l->v4 |= ip_is_v4(ip);
		l->v6 |= !ip_is_v4(ip);
		local |= ip_is_link_local(ip);
		address_add(st, port, &p->address[i]);
	}
	if (l->v6 && !local) {
		struct ip_net net = local_net(p->mac);
		address_add(st, port, &net);
	}
}

static void routers_init(struct link *l, const struct stack_port *p)
{
	unsigned n = 0;

	if (p->has_gateway)
		l->router[n++] = (struct link_router){.ip = p->gateway, .until_us = UINT64_MAX};
	if (p->has_gateway6)
		l->router[n++] = (struct link_router){.ip = p->gateway6, .until_us = UINT64_MAX};
}

void link_reachable_draw(struct stack *st, struct link *l)
{
	uint32_t half = l->reachable_base_us / 2;

	l->reachable_us = half + (uint32_t)(st->env.random64(st->env.ctx) % (2 * half + 1));
}

void link_init(struct stack *st, unsigned port)
{
	const struct stack_port *p = &st->conf.ports[port];
	struct link *l = &st->links[port];

	*l = (struct link){.hop_limit = HOP_LIMIT,
		.mtu6 = MAX(p->mtu, IP6_MTU_MIN),
		.reachable_base_us = REACHABLE_US,
		.retrans_us = RETRANS_US};
	addresses_init(st, port);
	routers_init(l, p);
	link_reachable_draw(st, l);
	if (!p->discovery)
		return;
	if (l->v6) {
		mld_report_begin(st, port);
		if (!p->has_gateway6)
			ndp_router_solicit_begin(st, port);
	}
	link_await(st, st->now_us);
}

void link_await(struct stack *st, uint64_t at_us)
{
	struct timer *t = &st->link_timer;

	if (at_us != UINT64_MAX && (!timer_armed(t) || at_us < t->at_us))
		timer_arm(st->env.wheel, t, at_us);
}

void link_timer_fire(struct timer *t, uint64_t now_us)
{
	struct stack *st = container_of(t, struct stack, link_timer);
	uint64_t next = UINT64_MAX;

	st->now_us = now_us;
	for (unsigned i = 0; i < st->conf.port_count; i++) {
		struct link *l = &st->links[i];
		/* who is asked for an address answers to groups: these first (RFC 4862 5.4.2) */
		next = MIN(next, mld_report_step(st, i));
		for (unsigned k = 0; k < l->address_count; k++)
			next = MIN(next, link_claim_step(st, i, &l->address[k]));
		next = MIN(next, ndp_router_solicit_step(st, i));
	}
	link_await(st, next);
}

void link_fini(struct stack *st)
{
	timer_cancel(st->env.wheel, &st->link_timer);
}

struct link_address *link_address_find(struct link *l, const struct ip_addr *ip)
{
	for (unsigned i = 0; i < l->address_count; i++) {
		if (ip_eq(&l->address[i].net.ip, ip))
			return &l->address[i];
	}
	return NULL;
}

/* RFC 6724 5 as far as there is a choice: a larger one is better, 0 is none.  IPv4: on the network
 * of the next hop; IPv6: the longest common prefix with the destination (rule 8). */
static unsigned source_rank(const struct link_address *a, enum link_address_state state,
	const struct ip_addr *to, const struct ip_addr *hop)
{
	const struct ip_addr *ip = &a->net.ip;

	if (a->state != state || ip_is_v4(ip) != ip_is_v4(to) ||
		ip_is_link_local(ip) != ip_is_link_local(to))
		return 0;
	if (ip_is_v4(ip))
		return ip_prefix_eq(ip, hop, a->net.prefix) ? 2 : 1;
	unsigned same = 0;
	while (same < a->net.prefix && ip_prefix_eq(ip, to, same + 1))
		same++;
	return 1 + same;
}

static const struct ip_addr *source_in_state(const struct link *l, enum link_address_state state,
	const struct ip_addr *to, const struct ip_addr *hop)
{
	const struct ip_addr *best = NULL;
	unsigned best_rank = 0;

	for (unsigned i = 0; i < l->address_count; i++) {
		unsigned rank = source_rank(&l->address[i], state, to, hop);
		if (rank > best_rank) {
			best = &l->address[i].net.ip;
			best_rank = rank;
		}
	}
	return best;
}

const struct ip_addr *link_source(
	const struct link *l, const struct ip_addr *to, const struct ip_addr *hop)
{
	return source_in_state(l, LINK_ADDRESS_USED, to, hop);
}

const struct ip_addr *link_source_soon(
	const struct link *l, const struct ip_addr *to, const struct ip_addr *hop)
{
	const struct ip_addr *used = link_source(l, to, hop);

	return used ? used : source_in_state(l, LINK_ADDRESS_TENTATIVE, to, hop);
}

const struct ip_addr *link_source_local(const struct link *l)
{
	const struct ip_addr *found = NULL;

	for (unsigned i = 0; i < l->address_count; i++) {
		const struct link_address *a = &l->address[i];
		if (a->state != LINK_ADDRESS_USED || ip_is_v4(&a->net.ip))
			continue;
		if (ip_is_link_local(&a->net.ip))
			return &a->net.ip;
		if (!found)
			found = &a->net.ip;
	}
	return found;
}

const struct ip_addr *link_router(const struct stack *st, unsigned port, bool v4)
{
	const struct link *l = &st->links[port];
	const struct link_router *silent = NULL;

	for (unsigned i = 0; i < LINK_ROUTERS_MAX; i++) {
		const struct link_router *r = &l->router[i];
		if (r->until_us <= st->now_us || ip_is_v4(&r->ip) != v4)
			continue;
		if (!r->silent_us || st->now_us - r->silent_us >= SILENT_US)
			return &r->ip;
		if (!silent || r->silent_us < silent->silent_us)
			silent = r;
	}
	return silent ? &silent->ip : NULL;
}

void link_router_silent(struct stack *st, unsigned port, const struct ip_addr *ip, bool silent)
{
	struct link *l = &st->links[port];

	for (unsigned i = 0; i < LINK_ROUTERS_MAX; i++) {
		if (l->router[i].until_us && ip_eq(&l->router[i].ip, ip))
			l->router[i].silent_us = silent ? st->now_us : 0;
	}
}

void link_router_gone(struct stack *st, unsigned port, const struct ip_addr *ip)
{
	struct link *l = &st->links[port];

	for (unsigned i = 0; i < LINK_ROUTERS_MAX; i++) {
		struct link_router *r = &l->router[i];
		if (r->until_us == UINT64_MAX || r->until_us == 0 || !ip_eq(&r->ip, ip))
			continue;
		r->until_us = 0;
		ip_hops_forget(st);
		log_info("port", "router gone port=%s", st->conf.ports[port].name);
	}
}

bool link_has(const struct stack *st, unsigned port, const struct ip_addr *ip)
{
	const struct link *l = &st->links[port];

	for (unsigned i = 0; i < l->address_count; i++) {
		if (ip_prefix_eq(&l->address[i].net.ip, ip, l->address[i].net.prefix))
			return true;
	}
	for (unsigned i = 0; i < LINK_PREFIXES_MAX; i++) {
		const struct link_prefix *p = &l->prefix[i];
		if (p->until_us > st->now_us && ip_prefix_eq(&p->net.ip, ip, p->net.prefix))
			return true;
	}
	return false;
}
