/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/neigh.h"
#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

static const uint8_t mac_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* Addresses are on our own links, one bucket holds few: the low octets are a good hash. */
static struct list *neigh_bucket(struct stack *st, const struct ip_addr *ip)
{
	return &st->neigh.buckets[(uint8_t)(ip->octets[15] ^ ip->octets[14] * 7)];
}

static struct neigh *neigh_lookup(struct stack *st, unsigned port, const struct ip_addr *ip)
{
	list_for_each(it, neigh_bucket(st, ip))
	{
		struct neigh *n = list_entry(it, struct neigh, hash_node);
		if (n->port == port && ip_eq(&n->ip, ip))
			return n;
	}
	return NULL;
}

static void neigh_drop_queue(struct neigh *n)
{
	for (unsigned i = 0; i < n->queued; i++) {
		counter_inc(CTR_NEIGH_UNRESOLVED);
		rte_pktmbuf_free(n->queue[i]);
	}
	n->queued = 0;
}

static void neigh_remove(struct stack *st, struct neigh *n)
{
	neigh_drop_queue(n);
	list_remove(&n->hash_node);
	list_remove(&n->age_node);
	list_push_head(&st->neigh.unused, &n->hash_node);
	n->state = NEIGH_FREE;
	st->neigh.count--;
}

/* A full table gives up the entry that was confirmed the longest time ago. */
static struct neigh *neigh_add(struct stack *st, unsigned port, const struct ip_addr *ip)
{
	struct neigh_table *t = &st->neigh;

	if (list_empty(&t->unused))
		neigh_remove(st, list_entry(t->by_age.next, struct neigh, age_node));
	struct neigh *n = list_entry(list_pop_head(&t->unused), struct neigh, hash_node);
	n->ip = *ip;
	n->port = (uint8_t)port;
	n->tries = n->queued = 0;
	n->state = NEIGH_INCOMPLETE;
	n->generation++; /* references to an earlier neighbour in this place end */
	list_push_head(neigh_bucket(st, ip), &n->hash_node);
	list_push_tail(&t->by_age, &n->age_node);
	t->count++;
	return n;
}

/* Our address on the link of ip. */
static const struct ip_addr *source_for(
	const struct stack *st, unsigned port, const struct ip_addr *ip)
{
	const struct stack_port *p = &st->conf.ports[port];

	for (unsigned i = 0; i < p->address_count; i++) {
		if (ip_prefix_eq(&p->address[i].ip, ip, p->address[i].prefix))
			return &p->address[i].ip;
	}
	return p->address_count ? &p->address[0].ip : NULL;
}

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

/* Ask, and be called again: the first probe of a known neighbour goes to it alone (RFC 1122
 * 2.3.2.1 (2)), later ones to all. */
static void neigh_ask(struct stack *st, struct neigh *n)
{
	const struct ip_addr *from = source_for(st, n->port, &n->ip);
	bool unicast = n->state == NEIGH_PROBE && n->tries == 0;

	n->tries++;
	n->retry_at = st->now_us + NEIGH_RETRY_US;
	if (!timer_armed(&st->neigh.timer) || n->retry_at < st->neigh.timer.at_us)
		timer_arm(st->env.wheel, &st->neigh.timer, n->retry_at);
	if (!from)
		return;
	counter_inc(CTR_ARP_TX_REQUESTS);
	arp_send(st, n->port, RTE_ARP_OP_REQUEST, from, &n->ip, unicast ? n->mac : mac_broadcast);
}

/* The next hop is silent: a connection being opened learns it from the SYN that waited. */
static void neigh_tell_unreachable(struct stack *st, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	if (m->data_len < sizeof(*ip) + sizeof(struct rte_tcp_hdr) ||
		ip->next_proto_id != IPPROTO_TCP)
		return;
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(ip + 1);
	struct tcp_key key = {
		.local = ip_from_v4(ip->src_addr),
		.peer = ip_from_v4(ip->dst_addr),
		.local_port = rte_be_to_cpu_16(tcp->src_port),
		.peer_port = rte_be_to_cpu_16(tcp->dst_port),
	};
	tcp_unreachable(st, &key, rte_be_to_cpu_32(tcp->sent_seq), false);
}

static void neigh_fail(struct stack *st, struct neigh *n)
{
	struct rte_mbuf *queue[NEIGH_QUEUE_MAX];
	unsigned queued = n->queued;

	memcpy(queue, n->queue, sizeof(queue));
	n->queued = 0;
	neigh_remove(st, n); /* before the upcalls, which may send to it again */
	for (unsigned i = 0; i < queued; i++) {
		counter_inc(CTR_NEIGH_UNRESOLVED);
		neigh_tell_unreachable(st, queue[i]);
		rte_pktmbuf_free(queue[i]);
	}
}

static bool neigh_waits(const struct neigh *n)
{
	return n->state == NEIGH_INCOMPLETE || n->state == NEIGH_PROBE;
}

static void neigh_timer_fire(struct timer *t, uint64_t now_us)
{
	struct neigh_table *table = container_of(t, struct neigh_table, timer);
	struct stack *st = container_of(table, struct stack, neigh);
	uint64_t next = UINT64_MAX;

	st->now_us = now_us;
	/* The table is small and an upcall may change it: by index, not along a list. */
	for (unsigned i = 0; i < NEIGH_MAX; i++) {
		struct neigh *n = &table->entries[i];
		if (!neigh_waits(n))
			continue;
		if (n->retry_at <= now_us && n->tries >= NEIGH_TRIES) {
			neigh_fail(st, n);
			continue;
		}
		if (n->retry_at <= now_us)
			neigh_ask(st, n);
		next = MIN(next, n->retry_at);
	}
	if (next != UINT64_MAX && (!timer_armed(t) || next < t->at_us))
		timer_arm(st->env.wheel, t, next);
}

void neigh_table_init(struct stack *st)
{
	struct neigh_table *t = &st->neigh;

	for (unsigned i = 0; i < NEIGH_BUCKETS; i++)
		list_init(&t->buckets[i]);
	list_init(&t->by_age);
	list_init(&t->unused);
	for (unsigned i = 0; i < NEIGH_MAX; i++) {
		list_init(&t->entries[i].age_node);
		list_push_tail(&t->unused, &t->entries[i].hash_node);
	}
	timer_init(&t->timer, neigh_timer_fire);
}

void neigh_table_fini(struct stack *st)
{
	for (unsigned i = 0; i < NEIGH_MAX; i++)
		neigh_drop_queue(&st->neigh.entries[i]);
	timer_cancel(st->env.wheel, &st->neigh.timer);
}

static void neigh_enqueue(struct neigh *n, struct rte_mbuf *m)
{
	if (n->queued == NEIGH_QUEUE_MAX) {
		counter_inc(CTR_NEIGH_UNRESOLVED);
		rte_pktmbuf_free(m);
		return;
	}
	n->queue[n->queued++] = m;
}

static ip_hop_ref neigh_ref(const struct stack *st, const struct neigh *n)
{
	return (ip_hop_ref)n->generation << 16 | (ip_hop_ref)(n - st->neigh.entries + 1);
}

/* NULL: none, or not the neighbour that ref was made for. */
static struct neigh *neigh_of_ref(struct stack *st, ip_hop_ref ref)
{
	unsigned index = ref & UINT16_MAX;
	struct neigh *n;

	if (index == 0 || index > NEIGH_MAX)
		return NULL;
	n = &st->neigh.entries[index - 1];
	return n->generation == ref >> 16 ? n : NULL;
}

bool neigh_output_ref(struct stack *st, ip_hop_ref ref, unsigned port, struct rte_mbuf *m)
{
	const struct neigh *n = neigh_of_ref(st, ref);

	if (!n || n->state != NEIGH_REACHABLE || st->now_us >= n->fresh_until || n->port != port)
		return false;
	eth_output(st, port, n->mac, RTE_ETHER_TYPE_IPV4, m);
	return true;
}

void neigh_confirm(struct stack *st, ip_hop_ref ref)
{
	struct neigh *n = neigh_of_ref(st, ref);

	if (n && n->state == NEIGH_REACHABLE)
		n->fresh_until = st->now_us + NEIGH_FRESH_US;
}

ip_hop_ref neigh_output(
	struct stack *st, unsigned port, const struct ip_addr *ip, struct rte_mbuf *m)
{
	struct neigh *n = neigh_lookup(st, port, ip);

	if (!n) {
		n = neigh_add(st, port, ip);
		neigh_enqueue(n, m);
		neigh_ask(st, n);
		return neigh_ref(st, n);
	}
	if (n->state == NEIGH_INCOMPLETE) {
		neigh_enqueue(n, m);
		return neigh_ref(st, n);
	}
	if (n->state == NEIGH_REACHABLE && st->now_us >= n->fresh_until) {
		n->state = NEIGH_PROBE;
		n->tries = 0;
		neigh_ask(st, n);
	}
	eth_output(st, port, n->mac, RTE_ETHER_TYPE_IPV4, m);
	return neigh_ref(st, n);
}

void neigh_learn(struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t mac[6],
	bool create, bool tell)
{
	struct neigh *n = neigh_lookup(st, port, ip);
	bool news = !n || n->state != NEIGH_REACHABLE || memcmp(n->mac, mac, 6) != 0;

	if (!n) {
		if (!create)
			return;
		n = neigh_add(st, port, ip);
	}
	memcpy(n->mac, mac, 6);
	n->state = NEIGH_REACHABLE;
	n->tries = 0;
	n->fresh_until = st->now_us + NEIGH_FRESH_US;
	list_remove(&n->age_node);
	list_push_tail(&st->neigh.by_age, &n->age_node);
	for (unsigned i = 0; i < n->queued; i++)
		eth_output(st, port, n->mac, RTE_ETHER_TYPE_IPV4, n->queue[i]);
	n->queued = 0;
	if (news && tell && st->env.neigh_learned)
		st->env.neigh_learned(st->env.ctx, port, ip, mac);
}

static bool arp_ok(const struct rte_mbuf *m)
{
	const struct rte_arp_hdr *arp = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);

	return m->data_len >= sizeof(*arp) &&
	       arp->arp_hardware == rte_cpu_to_be_16(RTE_ARP_HRD_ETHER) &&
	       arp->arp_protocol == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) && arp->arp_hlen == 6 &&
	       arp->arp_plen == 4 && rte_is_unicast_ether_addr(&arp->arp_data.arp_sha);
}

static bool port_has(const struct stack_port *p, const struct ip_addr *ip)
{
	for (unsigned i = 0; i < p->address_count; i++) {
		if (ip_eq(&p->address[i].ip, ip))
			return true;
	}
	return false;
}

void arp_input(struct stack *st, unsigned port, struct rte_mbuf *m)
{
	const struct stack_port *p = &st->conf.ports[port];

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
	bool for_us = port_has(p, &to);

	/* RFC 826: update whom we know; add only who talks to us.  An address that is ours or not
	 * on this link is nobody's to announce (a probe has sender 0.0.0.0, RFC 5227). */
	if (!ip_is_ours(st, &from) && ip_on_link(st, port, &from))
		neigh_learn(st, port, &from, mac, for_us && op == RTE_ARP_OP_REQUEST, true);
	if (for_us && op == RTE_ARP_OP_REQUEST)
		arp_send(st, port, RTE_ARP_OP_REPLY, &to, &from, mac);
}
