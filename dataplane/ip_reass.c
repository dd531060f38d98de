/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/ip_reass.h"
#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include "dataplane/icmp.h"
#include "dataplane/stack_priv.h"

#define FRAGMENT_UNIT   8u  /* octets, RFC 791 3.1, RFC 8200 4.5 */
#define FRAGMENT_HEADER 8u  /* IPv6 */
#define TCP_FIRST_MIN   20u /* RFC 1858, RFC 7112: the first fragment has the whole header */
#define OTHER_FIRST_MIN 8u
#define ECN_CE          3u /* RFC 3168 5 */

/* ---- life ---- */

uint32_t ip_reass_octets(const struct stack *st)
{
	uint32_t most = REASS_OCTETS_MIN;
	uint32_t room = rte_pktmbuf_data_room_size(st->env.tx_pool);

	for (unsigned i = 0; i < st->conf.port_count; i++)
		most = MAX(most, (uint32_t)st->conf.ports[i].mtu);
	/* what is put together must fit one frame of the pool it comes from */
	return MIN(most, room - RTE_PKTMBUF_HEADROOM - REASS_HEADER_MAX);
}

static void timer_fire(struct timer *t, uint64_t now_us);

bool ip_reass_init(struct stack *st, int socket)
{
	struct ip_reass *r = &st->reass;
	size_t each;

	r->octets_n = ip_reass_octets(st);
	each = REASS_HEADER_MAX + r->octets_n;
	timer_init(&r->timer, timer_fire);
	list_init(&r->by_age);
	list_init(&r->unused);
	r->entries = rte_zmalloc_socket(
		"reass", REASS_ENTRIES * sizeof(struct reass_entry), CACHE_LINE, socket);
	r->octets = rte_malloc_socket("reass_octets", REASS_ENTRIES * each, CACHE_LINE, socket);
	r->tags = rte_zmalloc_socket(
		"reass_tags", 2 * REASS_ENTRIES * sizeof(uint32_t), CACHE_LINE, socket);
	if (!r->entries || !r->octets || !r->tags)
		return false;
	r->sources = r->tags + REASS_ENTRIES;
	for (unsigned i = 0; i < REASS_ENTRIES; i++)
		list_push_tail(&r->unused, &r->entries[i].node);
	r->key.k0 = st->env.random64(st->env.ctx);
	r->key.k1 = st->env.random64(st->env.ctx);
	return true;
}

void ip_reass_fini(struct stack *st)
{
	timer_cancel(st->env.wheel, &st->reass.timer);
	rte_free(st->reass.entries);
	rte_free(st->reass.octets);
	rte_free(st->reass.tags);
}

/* ---- the table ---- */

static unsigned index_of(const struct ip_reass *r, const struct reass_entry *e)
{
	return (unsigned)(e - r->entries);
}

static uint8_t *octets_of(const struct ip_reass *r, const struct reass_entry *e)
{
	return r->octets + index_of(r, e) * ((size_t)REASS_HEADER_MAX + r->octets_n);
}

/* RFC 791 names the protocol too; with a counter shared by all of them it tells nothing, and RFC
 * 8200 leaves it out. */
static uint32_t tag_of(const struct ip_reass *r, const struct ip_fragment *f)
{
	struct {
		struct ip_addr from, to;
		uint32_t id, protocol;
	} name = {f->from, f->to, f->id, ip_is_v4(&f->from) ? f->protocol : 0};
	uint32_t tag = (uint32_t)siphash13(&r->key, &name, sizeof(name));

	return tag ? tag : 1; /* 0: free */
}

static uint32_t source_of(const struct ip_reass *r, const struct ip_addr *from)
{
	return (uint32_t)siphash13(&r->key, from, ip_is_v4(from) ? sizeof(*from) : 8);
}

static struct reass_entry *entry_find(struct ip_reass *r, const struct ip_fragment *f, uint32_t tag)
{
	for (unsigned i = 0; i < REASS_ENTRIES; i++) {
		struct reass_entry *e = &r->entries[i];
		if (r->tags[i] == tag && e->id == f->id && ip_eq(&e->from, &f->from) &&
			ip_eq(&e->to, &f->to) &&
			(!ip_is_v4(&f->from) || e->protocol == f->protocol))
			return e;
	}
	return NULL;
}

static void entry_free(struct stack *st, struct reass_entry *e)
{
	struct ip_reass *r = &st->reass;

	list_remove(&e->node);
	list_push_tail(&r->unused, &e->node);
	r->tags[index_of(r, e)] = 0;
	if (list_empty(&r->by_age))
		timer_cancel(st->env.wheel, &r->timer);
}

/* The oldest of the source if it has its share, else the oldest of all when none is free. */
static void make_room(struct stack *st, uint32_t source)
{
	struct ip_reass *r = &st->reass;
	struct reass_entry *oldest = NULL;
	unsigned n = 0;

	list_for_each(it, &r->by_age)
	{
		struct reass_entry *e = list_entry(it, struct reass_entry, node);
		if (r->sources[index_of(r, e)] != source)
			continue;
		if (n++ == 0)
			oldest = e;
	}
	if (n < REASS_PER_SOURCE)
		oldest = list_empty(&r->unused)
				 ? list_entry(r->by_age.next, struct reass_entry, node)
				 : NULL;
	if (!oldest)
		return;
	if (!oldest->dead)
		counter_inc(CTR_IP_REASS_EVICTED);
	entry_free(st, oldest);
}

static struct reass_entry *entry_add(
	struct stack *st, unsigned port, const struct ip_fragment *f, uint32_t tag)
{
	struct ip_reass *r = &st->reass;
	uint32_t source = source_of(r, &f->from);

	make_room(st, source);
	struct reass_entry *e = list_entry(list_pop_head(&r->unused), struct reass_entry, node);
	*e = (struct reass_entry){.from = f->from,
		.to = f->to,
		.id = f->id,
		.protocol = f->protocol,
		.port = (uint8_t)port,
		.until_us = st->now_us + REASS_US};
	list_init(&e->node);
	list_push_tail(&r->by_age, &e->node);
	r->tags[index_of(r, e)] = tag;
	r->sources[index_of(r, e)] = source;
	if (!timer_armed(&r->timer))
		timer_arm(st->env.wheel, &r->timer, e->until_us);
	return e;
}

/* RFC 8200 4.5, RFC 792: who sent the first fragment may know that the others did not come. */
static void tell_timeout(struct stack *st, const struct reass_entry *e)
{
	const uint8_t *octets = octets_of(&st->reass, e);
	uint8_t quote[REASS_HEADER_MAX + REASS_OCTETS_MIN];
	size_t n = 0;

	for (unsigned i = 0; i < e->fragments; i++) {
		if (e->fragment[i].start == 0)
			n = MIN((size_t)e->fragment[i].n, (size_t)REASS_OCTETS_MIN);
	}
	memcpy(quote, octets, e->header_n);
	memcpy(quote + e->header_n, octets + REASS_HEADER_MAX, n);
	icmp_error_send(
		st, e->port, ICMP_SEND_REASSEMBLY_TIME, bytes_make(quote, e->header_n + n), 0);
}

static void timer_fire(struct timer *t, uint64_t now_us)
{
	struct ip_reass *r = container_of(t, struct ip_reass, timer);
	struct stack *st = container_of(r, struct stack, reass);

	st->now_us = now_us;
	while (!list_empty(&r->by_age)) {
		struct reass_entry *e = list_entry(r->by_age.next, struct reass_entry, node);
		if (e->until_us > now_us) {
			timer_arm(st->env.wheel, t, e->until_us);
			return;
		}
		if (!e->dead)
			counter_inc(CTR_IP_REASS_TIMEOUT);
		if (!e->dead && e->first)
			tell_timeout(st, e);
		entry_free(st, e);
	}
}

/* ---- a datagram that is whole ---- */

/* m starts at the IP header; takes m.  Comes in again, here or on the core it belongs to. */
static void deliver(struct stack *st, unsigned port, struct rte_mbuf *m, bool v4)
{
	const struct stack_port *p = &st->conf.ports[port];

	eth_header_push(p, p->mac, p->mac, v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6, m);
	if (st->env.whole && st->env.whole(st->env.ctx, port, m))
		return;
	st->reass.again = true;
	eth_input(st, port, m);
	st->reass.again = false;
}

/* The header of the datagram from that of its first fragment: n octets, and total of payload.
 * IPv6: without the Fragment header, which is the last of them. */
static void header_mend(uint8_t *header, size_t n, const struct reass_entry *e, uint8_t ecn)
{
	if (ip_is_v4(&e->from)) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)header;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(n + e->total));
		ip->fragment_offset = 0;
		ip->type_of_service = (uint8_t)((ip->type_of_service & ~IP_ECN_MASK) | ecn);
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		return;
	}
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)header;
	size_t rest = n - sizeof(*ip);
	ip->payload_len = rte_cpu_to_be_16((uint16_t)(rest + e->total));
	header[1] = (uint8_t)((header[1] & ~(IP_ECN_MASK << 4)) | ecn << 4);
	header[e->next_at] = e->protocol;
}

/* RFC 3168 5.3: a mark is kept; a mark and a fragment that cannot be marked are a contradiction.
 * Returns -1 then. */
static int ecn_of(const struct reass_entry *e)
{
	if (e->ecn_seen & 1u << ECN_CE)
		return e->ecn_seen & 1 ? -1 : (int)ECN_CE;
	if (e->ecn_seen & 1)
		return 0;
	return e->ecn_seen & 2 ? 1 : 2;
}

static struct rte_mbuf *join(struct stack *st, const struct reass_entry *e, uint8_t ecn)
{
	const uint8_t *octets = octets_of(&st->reass, e);
	size_t header_n = e->header_n - (ip_is_v4(&e->from) ? 0 : FRAGMENT_HEADER);
	struct rte_mbuf *m = stack_tx_allowed(st) ? stack_alloc(st, st->env.tx_pool) : NULL;

	if (!m)
		return NULL;
	uint8_t *out = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(header_n + e->total));
	BUG_ON(!out); /* ip_reass_octets */
	memcpy(out, octets, header_n);
	memcpy(out + header_n, octets + REASS_HEADER_MAX, e->total);
	header_mend(out, header_n, e, ecn);
	return m;
}

static void complete(struct stack *st, struct reass_entry *e)
{
	unsigned port = e->port;
	bool v4 = ip_is_v4(&e->from);
	int ecn = ecn_of(e);
	struct rte_mbuf *m = ecn < 0 ? NULL : join(st, e, (uint8_t)ecn);

	counter_inc(m ? CTR_IP_REASS_OK : CTR_IP_REASS_BAD);
	entry_free(st, e);
	if (m)
		deliver(st, port, m, v4);
}

/* RFC 6946: a Fragment header and no fragment.  It does not wait for others of its name. */
static void atomic(struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_fragment *f)
{
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	struct reass_entry e = {.from = f->from,
		.protocol = f->protocol,
		.next_at = f->next_at,
		.total = (uint16_t)(m->data_len - f->header_n)};
	size_t n = f->header_n - FRAGMENT_HEADER;

	header_mend(ip, n, &e, f->ecn);
	memmove(ip + FRAGMENT_HEADER, ip, n);
	rte_pktmbuf_adj(m, FRAGMENT_HEADER);
	if (rte_pktmbuf_headroom(m) < ETH_HEADER_MAX) {
		counter_inc(CTR_IP_REASS_BAD);
		rte_pktmbuf_free(m);
		return;
	}
	deliver(st, port, m, false);
}

/* ---- a fragment ---- */

static void give_up(struct reass_entry *e, enum counter why)
{
	counter_inc(why);
	e->dead = true;
}

/* Returns true when the octets are there already, in a fragment with the same ends; the others end
 * the datagram. */
static bool overlaps(struct ip_reass *r, struct reass_entry *e, const struct ip_fragment *f,
	struct bytes payload)
{
	const uint8_t *octets = octets_of(r, e) + REASS_HEADER_MAX;

	for (unsigned i = 0; i < e->fragments; i++) {
		unsigned start = e->fragment[i].start, n = e->fragment[i].n;
		if (f->offset >= start + n || start >= f->offset + payload.n)
			continue;
		if (start == f->offset && n == payload.n &&
			memcmp(octets + start, payload.p, n) == 0)
			return true;
		give_up(e, CTR_IP_REASS_OVERLAP);
		return true;
	}
	return false;
}

/* Does the end of the datagram agree with what else is known of it? */
static bool end_ok(const struct reass_entry *e, const struct ip_fragment *f, size_t end)
{
	if (e->last)
		return f->more ? end < e->total : end == e->total;
	for (unsigned i = 0; !f->more && i < e->fragments; i++) {
		if (e->fragment[i].start + e->fragment[i].n > end)
			return false;
	}
	return true;
}

/* The first fragment has the ports and flags that filters on the way have looked at (RFC 1858, RFC
 * 7112), and the header that is kept. */
static bool first_ok(const struct ip_fragment *f, size_t n)
{
	size_t least = f->protocol == IPPROTO_TCP ? TCP_FIRST_MIN : OTHER_FIRST_MIN;

	return n >= least && f->header_n <= REASS_HEADER_MAX;
}

static void store(struct stack *st, struct reass_entry *e, const struct ip_fragment *f,
	const uint8_t *header, struct bytes payload)
{
	uint8_t *octets = octets_of(&st->reass, e);

	if (f->offset == 0) {
		e->first = true;
		e->protocol = f->protocol; /* RFC 8200 4.5: that of the first counts */
		e->header_n = f->header_n;
		e->next_at = f->next_at;
		memcpy(octets, header, f->header_n);
	}
	if (!f->more) {
		e->last = true;
		e->total = (uint16_t)(f->offset + payload.n);
	}
	memcpy(octets + REASS_HEADER_MAX + f->offset, payload.p, payload.n);
	e->fragment[e->fragments].start = f->offset;
	e->fragment[e->fragments++].n = (uint16_t)payload.n;
	e->have = (uint16_t)(e->have + payload.n);
	e->ecn_seen |= (uint8_t)(1u << f->ecn);
}

static void entry_input(struct stack *st, unsigned port, const struct ip_fragment *f,
	const uint8_t *header, struct bytes payload)
{
	struct ip_reass *r = &st->reass;
	uint32_t tag = tag_of(r, f);
	struct reass_entry *e = entry_find(r, f, tag);
	size_t end = f->offset + payload.n;

	if (!e)
		e = entry_add(st, port, f, tag);
	if (e->dead || overlaps(r, e, f, payload))
		return;
	if (end > r->octets_n || !end_ok(e, f, end) || e->fragments == REASS_FRAGMENTS_MAX ||
		(f->offset == 0 && !first_ok(f, payload.n))) {
		give_up(e, CTR_IP_REASS_BAD);
		return;
	}
	store(st, e, f, header, payload);
	/* nothing overlaps: as many octets as the end says are all of them */
	if (e->last && e->have == e->total)
		complete(st, e);
}

void ip_reass_input(
	struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_fragment *f)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct bytes payload = bytes_skip(bytes_make(ip, m->data_len), f->header_n);
	bool v4 = ip_is_v4(&f->from), bad = payload.n == 0 || st->reass.again;

	counter_inc(CTR_IP_RX_FRAGMENTS);
	if (!bad && f->more && payload.n % FRAGMENT_UNIT) {
		bad = true;
		icmp_error_send(st, port, ICMP_SEND_BAD_HEADER, bytes_make(ip, m->data_len),
			offsetof(struct rte_ipv6_hdr, payload_len));
	} else if (!bad && f->offset + payload.n > UINT16_MAX) {
		bad = true; /* RFC 8200 4.5: the pointer is to the Fragment Offset */
		icmp_error_send(st, port, ICMP_SEND_BAD_HEADER, bytes_make(ip, m->data_len),
			f->header_n - FRAGMENT_HEADER + 2);
	}
	if (!bad && !v4 && f->offset == 0 && !f->more) {
		atomic(st, port, m, f);
		return;
	}
	if (bad)
		counter_inc(CTR_IP_REASS_BAD);
	else
		entry_input(st, port, f, ip, payload);
	rte_pktmbuf_free(m);
}
