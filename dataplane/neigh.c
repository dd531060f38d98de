/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/neigh.h"
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include "dataplane/ndp.h"
#include "dataplane/stack_priv.h"

#define TIMER_STEP_US (10 * US_PER_MS) /* chosen: a flood makes no more looks through the table */

static struct list *neigh_bucket(struct stack *st, const struct ip_addr *ip)
{
	return &st->neigh.buckets[siphash13(&st->neigh.key, ip, sizeof(*ip)) % NEIGH_BUCKETS];
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

/* ---- the table ---- */

static void neigh_drop_queue(struct stack *st, struct neigh *n)
{
	st->neigh.queued -= n->queued;
	for (unsigned i = 0; i < n->queued; i++) {
		counter_inc(CTR_NEIGH_UNRESOLVED);
		rte_pktmbuf_free(n->queue[i]);
	}
	n->queued = 0;
}

static void neigh_remove(struct stack *st, struct neigh *n)
{
	neigh_drop_queue(st, n);
	list_remove(&n->hash_node);
	list_remove(&n->age_node);
	list_push_head(&st->neigh.unused, &n->hash_node);
	n->state = NEIGH_FREE;
	st->neigh.count--;
	st->neigh.count_of[n->kind]--;
}

/* To the end of its kind. */
static void neigh_set_kind(struct stack *st, struct neigh *n, enum neigh_kind kind)
{
	struct neigh_table *t = &st->neigh;

	t->count_of[n->kind]--;
	t->count_of[kind]++;
	n->kind = (uint8_t)kind;
	list_remove(&n->age_node);
	list_push_tail(&t->by_age[kind], &n->age_node);
}

static bool neigh_evict(struct stack *st, enum neigh_kind kind)
{
	struct neigh_table *t = &st->neigh;

	if (list_empty(&t->by_age[kind]))
		return false;
	counter_inc(CTR_NEIGH_EVICTED);
	neigh_remove(st, list_entry(t->by_age[kind].next, struct neigh, age_node));
	return true;
}

/* A place for an entry of kind; false: there is none.  Those that were confirmed make room only for
 * their like, or for somebody we want to send to. */
static bool neigh_make_room(struct stack *st, enum neigh_kind kind)
{
	static const uint32_t max[NEIGH_KIND_N] = {
		[NEIGH_KIND_INCOMPLETE] = NEIGH_INCOMPLETE_MAX,
		[NEIGH_KIND_GUEST] = NEIGH_GUESTS_MAX,
		[NEIGH_KIND_KNOWN] = NEIGH_MAX,
	};

	if (st->neigh.count_of[kind] == max[kind])
		return neigh_evict(st, kind);
	if (!list_empty(&st->neigh.unused) || neigh_evict(st, NEIGH_KIND_GUEST))
		return true;
	return kind != NEIGH_KIND_GUEST &&
	       (neigh_evict(st, NEIGH_KIND_KNOWN) || neigh_evict(st, NEIGH_KIND_INCOMPLETE));
}

static struct neigh *neigh_add(
	struct stack *st, unsigned port, const struct ip_addr *ip, enum neigh_kind kind)
{
	struct neigh_table *t = &st->neigh;

	if (!neigh_make_room(st, kind))
		return NULL;
	struct neigh *n = list_entry(list_pop_head(&t->unused), struct neigh, hash_node);
	n->ip = *ip;
	n->ether_type = ip_is_v4(ip) ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6;
	n->port = (uint8_t)port;
	n->tries = n->queued = 0;
	n->state = NEIGH_INCOMPLETE;
	n->kind = (uint8_t)kind;
	n->generation++; /* references to an earlier neighbour in this place end */
	list_push_head(neigh_bucket(st, ip), &n->hash_node);
	list_push_tail(&t->by_age[kind], &n->age_node);
	t->count++;
	t->count_of[kind]++;
	return n;
}

/* ---- asking ---- */

static bool ask_allowed(struct stack *st)
{
	struct neigh_table *t = &st->neigh;

	if (st->now_us >= t->asks_until_us) {
		t->asks_until_us = st->now_us + US_PER_SEC;
		t->asks_left = NEIGH_ASKS_PER_SEC;
	}
	if (t->asks_left == 0) {
		counter_inc(CTR_NEIGH_LIMITED);
		return false;
	}
	t->asks_left--;
	return true;
}

static void neigh_await(struct stack *st, struct neigh *n, uint64_t us)
{
	struct timer *t = &st->neigh.timer;

	n->at_us = st->now_us + us;
	if (!timer_armed(t) || n->at_us < t->at_us)
		timer_arm(st->env.wheel, t, n->at_us);
}

/* Ask, and be called again. */
static void neigh_ask(struct stack *st, struct neigh *n)
{
	const uint8_t *mac = n->state == NEIGH_PROBE ? n->mac : NULL;

	n->tries++;
	neigh_await(st, n, st->links[n->port].retrans_us);
	if (!ask_allowed(st))
		return;
	if (ip_is_v4(&n->ip))
		arp_solicit(st, n->port, &n->ip, mac);
	else
		ndp_solicit(st, n->port, &n->ip, mac);
}

/* The flow of a TCP segment that begins with its IP header. */
static bool flow_of(const struct rte_mbuf *m, struct tcp_key *key_r, uint32_t *seq_r)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct rte_ipv4_hdr *ip4 = (const struct rte_ipv4_hdr *)p;
	const struct rte_ipv6_hdr *ip6 = (const struct rte_ipv6_hdr *)p;
	const struct rte_tcp_hdr *tcp;

	if (m->data_len >= sizeof(*ip4) + sizeof(*tcp) && p[0] >> 4 == 4 &&
		ip4->next_proto_id == IPPROTO_TCP) {
		key_r->local = ip_from_v4(ip4->src_addr);
		key_r->peer = ip_from_v4(ip4->dst_addr);
		tcp = (const struct rte_tcp_hdr *)(ip4 + 1);
	} else if (m->data_len >= sizeof(*ip6) + sizeof(*tcp) && p[0] >> 4 == 6 &&
		   ip6->proto == IPPROTO_TCP) {
		memcpy(key_r->local.octets, ip6->src_addr, sizeof(ip6->src_addr));
		memcpy(key_r->peer.octets, ip6->dst_addr, sizeof(ip6->dst_addr));
		tcp = (const struct rte_tcp_hdr *)(ip6 + 1);
	} else {
		return false;
	}
	key_r->local_port = rte_be_to_cpu_16(tcp->src_port);
	key_r->peer_port = rte_be_to_cpu_16(tcp->dst_port);
	*seq_r = rte_be_to_cpu_32(tcp->sent_seq);
	return true;
}

/* It is silent: a connection being opened learns it from the SYN that waited. */
static void neigh_fail(struct stack *st, struct neigh *n)
{
	struct rte_mbuf *queue[NEIGH_QUEUE_MAX];
	unsigned queued = n->queued;
	struct tcp_key key = {0};
	uint32_t seq;

	memcpy(queue, n->queue, sizeof(queue));
	n->queued = 0;
	st->neigh.queued -= queued;
	link_router_silent(st, n->port, &n->ip, true);
	neigh_remove(st, n); /* before the upcalls, which may send to it again */
	for (unsigned i = 0; i < queued; i++) {
		counter_inc(CTR_NEIGH_UNRESOLVED);
		if (flow_of(queue[i], &key, &seq))
			tcp_unreachable(st, &key, seq, false);
		rte_pktmbuf_free(queue[i]);
	}
}

static bool neigh_waits(const struct neigh *n)
{
	return n->state == NEIGH_INCOMPLETE || n->state == NEIGH_DELAY || n->state == NEIGH_PROBE;
}

/* Its time has come. */
static void neigh_step(struct stack *st, struct neigh *n)
{
	if (n->state == NEIGH_DELAY) {
		n->state = NEIGH_PROBE;
		n->tries = 0;
	}
	if (n->tries >= NEIGH_TRIES)
		neigh_fail(st, n);
	else
		neigh_ask(st, n);
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
		if (neigh_waits(n) && n->at_us <= now_us)
			neigh_step(st, n);
		if (neigh_waits(n))
			next = MIN(next, n->at_us);
	}
	if (timer_armed(t)) /* by an upcall */
		next = MIN(next, t->at_us);
	if (next != UINT64_MAX)
		timer_arm(st->env.wheel, t, MAX(next, now_us + TIMER_STEP_US));
}

void neigh_table_init(struct stack *st)
{
	struct neigh_table *t = &st->neigh;

	t->key.k0 = st->env.random64(st->env.ctx);
	t->key.k1 = st->env.random64(st->env.ctx);
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++)
		list_init(&t->buckets[i]);
	for (unsigned i = 0; i < NEIGH_KIND_N; i++)
		list_init(&t->by_age[i]);
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
		neigh_drop_queue(st, &st->neigh.entries[i]);
	timer_cancel(st->env.wheel, &st->neigh.timer);
}

/* ---- out ---- */

static void neigh_enqueue(struct stack *st, struct neigh *n, struct rte_mbuf *m)
{
	if (n->queued == NEIGH_QUEUE_MAX || st->neigh.queued == NEIGH_QUEUED_MAX) {
		counter_inc(CTR_NEIGH_UNRESOLVED);
		rte_pktmbuf_free(m);
		return;
	}
	n->queue[n->queued++] = m;
	st->neigh.queued++;
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

	if (!n || n->state < NEIGH_REACHABLE || n->port != port ||
		(n->state == NEIGH_REACHABLE && st->now_us >= n->at_us))
		return false;
	eth_output(st, port, n->mac, n->ether_type, m);
	return true;
}

static void neigh_set_reachable(struct stack *st, struct neigh *n)
{
	n->state = NEIGH_REACHABLE;
	n->tries = 0;
	n->at_us = st->now_us + st->links[n->port].reachable_us;
}

void neigh_confirm(struct stack *st, ip_hop_ref ref)
{
	struct neigh *n = neigh_of_ref(st, ref);

	if (!n || n->state < NEIGH_STALE)
		return;
	neigh_set_reachable(st, n);
	if (unlikely(n->kind != NEIGH_KIND_KNOWN))
		neigh_set_kind(st, n, NEIGH_KIND_KNOWN);
}

void neigh_doubt(struct stack *st, unsigned port, const struct ip_addr *ip)
{
	struct neigh *n = neigh_lookup(st, port, ip);

	if (!n || n->state != NEIGH_REACHABLE ||
		st->now_us + st->links[port].reachable_us < n->at_us + NEIGH_DOUBT_US)
		return;
	n->state = NEIGH_PROBE;
	n->tries = 0;
	neigh_ask(st, n);
}

ip_hop_ref neigh_output(
	struct stack *st, unsigned port, const struct ip_addr *ip, struct rte_mbuf *m)
{
	struct neigh *n = neigh_lookup(st, port, ip);

	if (!n) {
		n = neigh_add(st, port, ip, NEIGH_KIND_INCOMPLETE);
		BUG_ON(!n); /* these always find room */
		neigh_enqueue(st, n, m);
		neigh_ask(st, n);
		return neigh_ref(st, n);
	}
	if (n->state == NEIGH_INCOMPLETE) {
		neigh_enqueue(st, n, m);
		return neigh_ref(st, n);
	}
	if (n->state == NEIGH_REACHABLE && st->now_us >= n->at_us)
		n->state = NEIGH_STALE;
	if (n->state == NEIGH_STALE) {
		n->state = NEIGH_DELAY;
		neigh_await(st, n, NEIGH_DELAY_US);
	}
	eth_output(st, port, n->mac, n->ether_type, m);
	return neigh_ref(st, n);
}

/* ---- what was heard ---- */

/* It has a MAC now: what waited goes. */
static void neigh_flush(struct stack *st, struct neigh *n)
{
	for (unsigned i = 0; i < n->queued; i++)
		eth_output(st, n->port, n->mac, n->ether_type, n->queue[i]);
	st->neigh.queued -= n->queued;
	n->queued = 0;
}

static void neigh_set_mac(struct stack *st, struct neigh *n, const uint8_t mac[6])
{
	memcpy(n->mac, mac, sizeof(n->mac));
	n->state = NEIGH_STALE;
	if (n->kind == NEIGH_KIND_INCOMPLETE)
		neigh_set_kind(st, n, NEIGH_KIND_GUEST);
	if (n->queued) {
		n->state = NEIGH_DELAY;
		neigh_await(st, n, NEIGH_DELAY_US);
		neigh_flush(st, n);
	}
}

void neigh_asked(
	struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t mac[6], bool here)
{
	struct neigh *n = neigh_lookup(st, port, ip);

	if (!n) {
		n = neigh_add(st, port, ip, NEIGH_KIND_GUEST);
		if (!n) {
			counter_inc(CTR_NEIGH_REFUSED);
			return;
		}
	}
	if (n->state != NEIGH_INCOMPLETE && memcmp(n->mac, mac, sizeof(n->mac)) == 0)
		return;
	neigh_set_mac(st, n, mac);
	if (here && st->env.neigh_learned)
		st->env.neigh_learned(st->env.ctx, port, ip, mac, false);
}

/* It answers us: what we send arrives. */
static void neigh_answered(struct stack *st, struct neigh *n)
{
	bool news = n->kind != NEIGH_KIND_KNOWN || n->state == NEIGH_PROBE;

	neigh_set_reachable(st, n);
	neigh_set_kind(st, n, NEIGH_KIND_KNOWN);
	link_router_silent(st, n->port, &n->ip, false);
	if (news && st->env.neigh_learned)
		st->env.neigh_learned(st->env.ctx, n->port, &n->ip, n->mac, true);
}

bool neigh_advertised(
	struct stack *st, unsigned port, const struct ip_addr *ip, const struct neigh_advert *a)
{
	struct neigh *n = neigh_lookup(st, port, ip);

	if (!n || (n->state == NEIGH_INCOMPLETE && !a->mac))
		return false;
	bool other = a->mac && memcmp(n->mac, a->mac, sizeof(n->mac)) != 0;
	if (n->state == NEIGH_INCOMPLETE) {
		memcpy(n->mac, a->mac, sizeof(n->mac));
		if (a->solicited)
			neigh_answered(st, n);
		else
			neigh_set_mac(st, n, a->mac);
		neigh_flush(st, n);
		return true;
	}
	if (other && !a->override) {
		if (n->state == NEIGH_REACHABLE)
			n->state = NEIGH_STALE; /* who is right, will show */
		return true;
	}
	if (other)
		neigh_set_mac(st, n, a->mac);
	if (a->solicited)
		neigh_answered(st, n);
	return true;
}

void neigh_told(struct stack *st, unsigned port, const struct ip_addr *ip, const uint8_t mac[6])
{
	struct neigh *n = neigh_lookup(st, port, ip);

	if (!n)
		n = neigh_add(st, port, ip, NEIGH_KIND_KNOWN);
	if (!n)
		return;
	memcpy(n->mac, mac, sizeof(n->mac));
	neigh_set_kind(st, n, NEIGH_KIND_KNOWN);
	neigh_set_reachable(st, n);
	neigh_flush(st, n);
}
