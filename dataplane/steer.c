/* SPDX-License-Identifier: BSD-3-Clause
 * Which core owns a frame: a pure function of its octets and a table made at start.  Any thread.
 * Looks at the first segment only; what is not wholly there is malformed and handled where it is.
 */
#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include "dataplane/icmp6.h"
#include "dataplane/ipv6.h"
#include "dataplane/rss.h"
#include "dataplane/stack.h"

#define ICMP_ERROR_HEADER 8
#define L4_PORTS          4 /* octets with both ports */

/* One direction of a flow as a frame to us has it. */
struct flow {
	struct ip_addr local, peer;
	uint16_t local_port, peer_port;
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The core whose queue the card puts the flow on. */
static unsigned rss_owner(const struct steer_table *t, const struct flow *f)
{
	struct endpoint peer = {f->peer, f->peer_port};
	struct endpoint local = {f->local, f->local_port};

	return t->rss_core[rss_queue(t->rss, rss_hash(t->rss, &peer, &local))];
}

static uint64_t flow_hash(const struct steer_table *t, const struct flow *f)
{
	struct {
		uint32_t local, peer;
		uint16_t local_port, peer_port;
	} v4;

	if (!ip_is_v4(&f->peer))
		return siphash13(t->key, f, sizeof(*f));
	v4.local = ip_to_v4(&f->local);
	v4.peer = ip_to_v4(&f->peer);
	v4.local_port = f->local_port;
	v4.peer_port = f->peer_port;
	return siphash13(t->key, &v4, sizeof(v4));
}

static unsigned flow_owner(const struct steer_table *t, const struct flow *f, unsigned here)
{
	if (f->local_port >= STACK_EPHEMERAL_FIRST) {
		unsigned core = (f->local_port - STACK_EPHEMERAL_FIRST) >> STACK_EPHEMERAL_SHIFT;
		return core < t->core_count ? core : here;
	}
	for (unsigned i = 0; i < t->service_count && i < ARRAY_LEN(t->service); i++) {
		if (t->service[i].port != f->local_port || t->service[i].cores_n == 0)
			continue;
		unsigned n = MIN(t->service[i].cores_n, ARRAY_LEN(t->service[i].cores));
		if (t->rss && n == t->core_count)
			return rss_owner(t, f);
		return t->service[i].cores[n > 1 ? flow_hash(t, f) % n : 0];
	}
	return here;
}

/* What an IP packet says of itself. */
struct packet {
	struct ip_addr from, to;
	uint8_t protocol;
	bool fragment;
	uint32_t id;   /* of a fragment's datagram */
	size_t header; /* octets before what it carries */
};

/* Where the pieces of a packet meet: any core, but for all of them the same. */
static unsigned fragment_owner(const struct steer_table *t, const struct packet *p)
{
	struct {
		struct ip_addr from, to;
		uint32_t id;
	} name = {p->from, p->to, p->id};

	return (unsigned)(siphash13(t->key, &name, sizeof(name)) % t->core_count);
}

static bool packet_v4(struct bytes in, struct packet *p)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)in.p;

	if (in.n < sizeof(*ip))
		return false;
	p->header = rte_ipv4_hdr_len(ip);
	p->protocol = ip->next_proto_id;
	p->from = ip_from_v4(ip->src_addr);
	p->to = ip_from_v4(ip->dst_addr);
	p->id = ip->packet_id;
	p->fragment = ip->fragment_offset &
		      rte_cpu_to_be_16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG);
	return p->header >= sizeof(*ip) && p->header <= in.n;
}

static bool packet_v6(struct bytes in, struct packet *p)
{
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)in.p;
	struct ipv6_walk w;

	if (in.n < sizeof(*ip) || ipv6_walk(in, &w) != IPV6_FAULT_NONE)
		return false;
	p->fragment = w.fragment_header;
	if (p->fragment)
		memcpy(&p->id, in.p + w.fragment_at + 4, sizeof(p->id));
	p->header = w.at;
	p->protocol = w.protocol;
	memcpy(p->from.octets, ip->src_addr, sizeof(p->from.octets));
	memcpy(p->to.octets, ip->dst_addr, sizeof(p->to.octets));
	return !ip_is_v4(&p->from) && !ip_is_v4(&p->to);
}

static bool packet_of(struct bytes in, struct packet *p)
{
	if (in.n == 0)
		return false;
	return in.p[0] >> 4 == 4 ? packet_v4(in, p) : in.p[0] >> 4 == 6 && packet_v6(in, p);
}

static bool is_icmp_error(const struct packet *p, uint8_t type)
{
	if (p->protocol == IPPROTO_ICMPV6)
		return type >= 1 && type <= 4;
	return p->protocol == IPPROTO_ICMP && (type == 3 || type == 11 || type == 12);
}

/* An ICMP error belongs to the flow of the packet it quotes, which we sent. */
static unsigned icmp_owner(
	const struct steer_table *t, const struct packet *outer, struct bytes icmp, unsigned here)
{
	struct bytes in = bytes_skip(icmp, ICMP_ERROR_HEADER);
	struct packet p;

	if (icmp.n < ICMP_ERROR_HEADER || !is_icmp_error(outer, icmp.p[0]) || !packet_of(in, &p) ||
		p.fragment || p.protocol != IPPROTO_TCP || in.n < p.header + L4_PORTS)
		return here;
	struct flow f = {p.from, p.to, get16(in.p + p.header), get16(in.p + p.header + 2)};
	return flow_owner(t, &f, here);
}

/* What an Ethernet frame carries, and its type; 0: nothing.  Tags of VLANs are off by now. */
static struct bytes frame_payload(const struct rte_mbuf *frame, uint16_t *type_r)
{
	struct bytes in = bytes_make(rte_pktmbuf_mtod(frame, const uint8_t *), frame->data_len);

	*type_r = 0;
	if (in.n < sizeof(struct rte_ether_hdr))
		return BYTES_NONE;
	*type_r = get16(in.p + 12);
	return bytes_skip(in, sizeof(struct rte_ether_hdr));
}

unsigned steer_owner(const struct steer_table *t, const struct rte_mbuf *frame, unsigned here)
{
	struct packet p;
	uint16_t type;

	if (t->core_count < 2)
		return here;
	struct bytes in = frame_payload(frame, &type);
	if ((type != RTE_ETHER_TYPE_IPV4 && type != RTE_ETHER_TYPE_IPV6) || !packet_of(in, &p))
		return here;
	if (unlikely(p.fragment))
		return fragment_owner(t, &p);
	if (p.protocol == IPPROTO_ICMP || p.protocol == IPPROTO_ICMPV6)
		return icmp_owner(t, &p, bytes_skip(in, p.header), here);
	if (p.protocol != IPPROTO_TCP || in.n < p.header + L4_PORTS)
		return here;
	struct flow f = {p.to, p.from, get16(in.p + p.header + 2), get16(in.p + p.header)};
	return flow_owner(t, &f, here);
}

/* ---- what every core must see ---- */

static bool arp_for_all(struct bytes in)
{
	const struct rte_arp_hdr *arp = (const struct rte_arp_hdr *)in.p;

	/* An answer, to whoever has asked; a probe for an address or its announcement (RFC 5227),
	 * which may be one of ours. */
	return in.n >= sizeof(*arp) && (arp->arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REPLY) ||
					       arp->arp_data.arp_sip == 0 ||
					       arp->arp_data.arp_sip == arp->arp_data.arp_tip);
}

static bool ndp_for_all(struct bytes in)
{
	static const struct ip_addr unspecified;
	struct packet p;

	if (!packet_of(in, &p) || p.fragment || p.protocol != IPPROTO_ICMPV6 || in.n <= p.header)
		return false;
	uint8_t type = in.p[p.header];
	return type == ICMP6_NEIGHBOR_ADVERT || type == ICMP6_ROUTER_ADVERT ||
	       (type == ICMP6_NEIGHBOR_SOLICIT && ip_eq(&p.from, &unspecified));
}

bool steer_for_all(const struct rte_mbuf *frame)
{
	uint16_t type;
	struct bytes in = frame_payload(frame, &type);

	return type == RTE_ETHER_TYPE_ARP ? arp_for_all(in)
					  : type == RTE_ETHER_TYPE_IPV6 && ndp_for_all(in);
}
