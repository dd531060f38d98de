/* SPDX-License-Identifier: BSD-3-Clause
 * What the router in the middle does with a packet that is larger than its next link: fragments
 * (RFC 791 3.2), or the error of RFC 1191 and RFC 4443 3.2, or nothing at all. */
#include <rte_icmp.h>
#include "tests/sim/wire.h"

#define QUOTE4_MAX       548u /* RFC 1812 4.3.2.3: the error is not beyond 576 octets */
#define ERROR6_MAX       1280u
#define ICMP6_PACKET_BIG 2
#define FRAGMENT6        8u
#define CUT6_MIN         128
#define IP4_MORE         0x2000
#define ICMP_UNREACHABLE 3
#define ICMP_FRAG_NEEDED 4
#define ROUTER_HOP_LIMIT 64

static const uint8_t router_ip6[16] = {0x20, 0x01, 0, 2, [15] = WIRE_LAST_MAC};

static size_t ether_answer(uint8_t *out, const struct packet *p)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)out;

	memcpy(eth, p->frame, sizeof(*eth));
	memcpy(&eth->dst_addr, p->frame + 6, 6);
	eth->src_addr.addr_bytes[5] = WIRE_LAST_MAC;
	return sizeof(*eth);
}

static size_t error4(uint8_t *out, const struct packet *p, uint16_t mtu)
{
	size_t quote = MIN(p->ip_n, QUOTE4_MAX), at = ether_answer(out, p);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(out + at);
	uint8_t *icmp = (uint8_t *)(ip + 1);

	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + 8 + quote)),
		.time_to_live = ROUTER_HOP_LIMIT,
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = rte_cpu_to_be_32(WIRE_ROUTER_IP),
		.dst_addr = ip_to_v4(&p->from),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	memset(icmp, 0, 8);
	icmp[0] = ICMP_UNREACHABLE;
	icmp[1] = ICMP_FRAG_NEEDED;
	icmp[6] = (uint8_t)(mtu >> 8);
	icmp[7] = (uint8_t)mtu;
	memcpy(icmp + 8, p->ip, quote);
	uint16_t sum = (uint16_t)~rte_raw_cksum(icmp, 8 + quote);
	memcpy(icmp + 2, &sum, sizeof(sum));
	return at + sizeof(*ip) + 8 + quote;
}

static size_t error6(uint8_t *out, const struct packet *p, uint16_t mtu)
{
	size_t quote = MIN(p->ip_n, ERROR6_MAX - sizeof(struct rte_ipv6_hdr) - 8);
	size_t at = ether_answer(out, p);
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(out + at);
	uint8_t *icmp = (uint8_t *)(ip + 1);

	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16((uint16_t)(8 + quote)),
		.proto = IPPROTO_ICMPV6,
		.hop_limits = ROUTER_HOP_LIMIT,
	};
	memcpy(ip->src_addr, router_ip6, 16);
	memcpy(ip->dst_addr, p->from.octets, 16);
	memset(icmp, 0, 8);
	icmp[0] = ICMP6_PACKET_BIG;
	icmp[6] = (uint8_t)(mtu >> 8);
	icmp[7] = (uint8_t)mtu;
	memcpy(icmp + 8, p->ip, quote);
	uint16_t sum = rte_ipv6_udptcp_cksum(ip, icmp);
	memcpy(icmp + 2, &sum, sizeof(sum));
	return at + sizeof(*ip) + 8 + quote;
}

/* Cut an IPv6 packet as its sender could have done it (RFC 8200 4.5). */
static void cut6(
	struct wire *w, unsigned from, const struct packet *p, uint16_t mtu, uint64_t now_us)
{
	uint8_t out[WIRE_FRAME_MAX];
	size_t head = sizeof(struct rte_ether_hdr) + p->ip_header_n, with = head + FRAGMENT6;
	size_t total = p->ip_n - p->ip_header_n;
	size_t most = (MAX(mtu, CUT6_MIN) - p->ip_header_n - FRAGMENT6) / 8 * 8;
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(out + sizeof(struct rte_ether_hdr));

	memcpy(out, p->frame, head);
	memset(out + head, 0, FRAGMENT6);
	out[head] = ip->proto;
	ip->proto = IPPROTO_FRAGMENT;
	w->fragment_id++;
	memcpy(out + head + 4, &w->fragment_id, sizeof(w->fragment_id));
	for (size_t at = 0; at < total; at += most) {
		size_t n = MIN(most, total - at);
		memcpy(out + with, p->ip + p->ip_header_n + at, n);
		ip->payload_len = rte_cpu_to_be_16((uint16_t)(FRAGMENT6 + n));
		out[head + 2] = (uint8_t)(at >> 8);
		out[head + 3] = (uint8_t)(at | (at + n < total));
		if (wire_loses(w, out, (unsigned)(total / most + 1)))
			w->lost++;
		else
			wire_forward(w, from, out, with + n, now_us);
		w->fragmented++;
	}
}

/* Fragments carry multiples of 8 octets, but for the last. */
void wire_cut(struct wire *w, unsigned from, const struct packet *p, uint16_t mtu, uint64_t now_us)
{
	uint8_t out[WIRE_FRAME_MAX];
	size_t head = sizeof(struct rte_ether_hdr) + p->ip_header_n;

	if (p->v6) {
		cut6(w, from, p, mtu, now_us);
		return;
	}
	size_t total = p->ip_n - p->ip_header_n, most = (mtu - p->ip_header_n) / 8 * 8;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(out + sizeof(struct rte_ether_hdr));

	memcpy(out, p->frame, head);
	/* a sender that wants no fragments needs no identification (RFC 6864) */
	if (p->dont_fragment)
		ip->packet_id = ++w->fragment_id;
	for (size_t at = 0; at < total; at += most) {
		size_t n = MIN(most, total - at);
		uint16_t more = at + n < total ? IP4_MORE : 0;
		memcpy(out + head, p->ip + p->ip_header_n + at, n);
		ip->total_length = rte_cpu_to_be_16((uint16_t)(p->ip_header_n + n));
		ip->fragment_offset = rte_cpu_to_be_16((uint16_t)(at / 8 | more));
		ip->hdr_checksum = 0;
		ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, p->ip_header_n);
		if (wire_loses(w, out, (unsigned)(total / most + 1)))
			w->lost++;
		else
			wire_forward(w, from, out, head + n, now_us);
		w->fragmented++;
	}
}

void wire_too_big(struct wire *w, unsigned from, const struct packet *p, uint64_t now_us)
{
	uint8_t out[WIRE_FRAME_MAX];

	if (!p->v6 && !p->dont_fragment && !p->fragment) {
		wire_cut(w, from, p, w->conf.mtu, now_us);
		return;
	}
	if (w->conf.black_hole)
		return;
	size_t n = p->v6 ? error6(out, p, w->conf.mtu) : error4(out, p, w->conf.mtu);
	if (w->pcap)
		pcap_add(w->pcap, now_us, bytes_make(out, n));
	wire_forward(w, WIRE_ANY, out, n, now_us);
}
