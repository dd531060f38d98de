/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/capture.h"
#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <time.h>

#define IPV4_FRAGMENT_MASK 0x1fff

/* ---- the filter ---- */

/* What the filter compares. */
struct flow {
	struct ip_addr from, to;
	bool ports; /* known */
	uint16_t from_port, to_port;
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static struct ip_addr v4(const uint8_t *p)
{
	uint32_t be;

	memcpy(&be, p, sizeof(be));
	return ip_from_v4(be);
}

static void read_ports(const uint8_t *p, const uint8_t *end, uint8_t protocol, struct flow *f)
{
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || end - p < 4)
		return;
	f->ports = true;
	f->from_port = be16(p);
	f->to_port = be16(p + 2);
}

static bool read_ipv4(const uint8_t *p, const uint8_t *end, struct flow *f)
{
	if (end - p < (ptrdiff_t)sizeof(struct rte_ipv4_hdr))
		return false;
	unsigned header = (p[0] & 0xfu) * 4;
	f->from = v4(p + 12);
	f->to = v4(p + 16);
	if (header >= sizeof(struct rte_ipv4_hdr) && header <= (size_t)(end - p) &&
		!(be16(p + 6) & IPV4_FRAGMENT_MASK))
		read_ports(p + header, end, p[9], f);
	return true;
}

static bool read_ipv6(const uint8_t *p, const uint8_t *end, struct flow *f)
{
	if (end - p < (ptrdiff_t)sizeof(struct rte_ipv6_hdr))
		return false;
	memcpy(f->from.octets, p + 8, 16);
	memcpy(f->to.octets, p + 24, 16);
	read_ports(p + sizeof(struct rte_ipv6_hdr), end, p[6], f);
	return true;
}

static bool read_arp(const uint8_t *p, const uint8_t *end, struct flow *f)
{
	const struct rte_arp_hdr *arp = (const struct rte_arp_hdr *)p;

	if (end - p < (ptrdiff_t)sizeof(*arp))
		return false;
	f->from = ip_from_v4(arp->arp_data.arp_sip);
	f->to = ip_from_v4(arp->arp_data.arp_tip);
	return true;
}

static bool read_flow(const struct rte_mbuf *m, struct flow *f)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *), *end = p + m->data_len;

	*f = (struct flow){.ports = false};
	if (end - p < RTE_ETHER_HDR_LEN)
		return false;
	uint16_t type = be16(p + 12);
	p += RTE_ETHER_HDR_LEN;
	if (type == RTE_ETHER_TYPE_VLAN && end - p >= RTE_VLAN_HLEN) {
		type = be16(p + 2);
		p += RTE_VLAN_HLEN;
	}
	switch (type) {
	case RTE_ETHER_TYPE_IPV4:
		return read_ipv4(p, end, f);
	case RTE_ETHER_TYPE_IPV6:
		return read_ipv6(p, end, f);
	case RTE_ETHER_TYPE_ARP:
		return read_arp(p, end, f);
	default:
		return false;
	}
}

static bool is_pair(const struct flow *f, const struct endpoint *from, const struct endpoint *to)
{
	return ip_eq(&f->from, &from->ip) && ip_eq(&f->to, &to->ip) && f->ports &&
	       f->from_port == from->port && f->to_port == to->port;
}

bool capture_matches(const struct capture_filter *filter, const struct rte_mbuf *m)
{
	struct flow f;

	if (!read_flow(m, &f))
		return false;
	if (filter->exact)
		return is_pair(&f, &filter->local, &filter->peer) ||
		       is_pair(&f, &filter->peer, &filter->local);
	return ip_net_has(&filter->net, &f.from) || ip_net_has(&filter->net, &f.to);
}

/* ---- the core's side ---- */

static void add(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(
		v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

/* A multiple of a record's head, so that behind every record a CAPTURE_SKIP has room. */
static uint32_t record_bytes(uint32_t n)
{
	return (uint32_t)(sizeof(struct capture_record) +
			  RTE_ALIGN_CEIL(n, sizeof(struct capture_record)));
}

/* Octets that a record of n takes at head, with what must be skipped before it. */
static uint32_t skip_bytes(uint64_t head, uint32_t n)
{
	uint32_t at = (uint32_t)head & (CAPTURE_RING_BYTES - 1), left = CAPTURE_RING_BYTES - at;

	return left < record_bytes(n) ? left : 0;
}

static struct capture_record *record_at(struct capture_ring *r, uint64_t place)
{
	return (struct capture_record *)(void *)(r->octets + (place & (CAPTURE_RING_BYTES - 1)));
}

/* Copy one frame at head; returns the head behind it, or the same when there is no room. */
static uint64_t put(struct capture_ring *r, uint64_t head, const struct rte_mbuf *m, unsigned port,
	bool out, uint64_t ns)
{
	uint32_t n = MIN(m->pkt_len, MIN(r->filter.snap, CAPTURE_SNAP_MAX));
	uint32_t skip = skip_bytes(head, n);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);

	add(&r->seen, 1);
	if (head - tail + skip + record_bytes(n) > CAPTURE_RING_BYTES) {
		add(&r->drops, 1);
		return head;
	}
	if (skip)
		record_at(r, head)->n = CAPTURE_SKIP;
	head += skip;
	struct capture_record *record = record_at(r, head);
	*record = (struct capture_record){
		.ns = ns, .size = m->pkt_len, .n = (uint16_t)n, .port = (uint8_t)port, .out = out};
	const void *octets = rte_pktmbuf_read(m, 0, n, record + 1);
	if (octets && octets != record + 1)
		memcpy(record + 1, octets, n);
	return head + record_bytes(n);
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void capture_received(struct capture_ring *r, unsigned port, struct rte_mbuf **frames, unsigned n)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	for (unsigned i = 0; i < n; i++) {
		if (capture_matches(&r->filter, frames[i]))
			head = put(r, head, frames[i], port, false, wall_ns());
	}
	atomic_store_explicit(&r->head, head, memory_order_release);
}

void capture_sending(struct capture_sending *s, struct capture_ring *r, unsigned port,
	struct rte_mbuf **frames, unsigned n)
{
	s->ring = r;
	s->n = MIN(n, (unsigned)CAPTURE_BURST_MAX);
	s->head[0] = atomic_load_explicit(&r->head, memory_order_relaxed);
	for (unsigned i = 0; i < s->n; i++) {
		s->head[i + 1] = s->head[i];
		if (capture_matches(&r->filter, frames[i]))
			s->head[i + 1] = put(r, s->head[i], frames[i], port, true, wall_ns());
	}
}

void capture_sent(struct capture_sending *s, unsigned done)
{
	atomic_store_explicit(&s->ring->head, s->head[MIN(done, s->n)], memory_order_release);
}

/* ---- the other side ---- */

const struct capture_record *capture_peek(struct capture_ring *r)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (tail == head)
		return NULL;
	const struct capture_record *record = record_at(r, tail);
	if (record->n != CAPTURE_SKIP)
		return record;
	tail += CAPTURE_RING_BYTES - ((uint32_t)tail & (CAPTURE_RING_BYTES - 1));
	atomic_store_explicit(&r->tail, tail, memory_order_release);
	return tail == head ? NULL : record_at(r, tail);
}

void capture_take(struct capture_ring *r)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	atomic_store_explicit(
		&r->tail, tail + record_bytes(record_at(r, tail)->n), memory_order_release);
}
