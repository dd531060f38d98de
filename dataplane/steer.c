/* SPDX-License-Identifier: BSD-3-Clause
 * Which core owns a frame: a pure function of its octets and a table made at start.  Any thread.
 * Looks at the first segment only; what is not wholly there is malformed and handled where it is.
 */
#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include "dataplane/rss.h"
#include "dataplane/stack.h"

#define ICMP_ERROR_HEADER 8
#define L4_PORTS          4 /* octets with both ports */

/* One direction of a flow as a frame to us has it. */
struct flow {
	uint32_t local, peer; /* network byte order */
	uint16_t local_port, peer_port;
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The core whose queue the card puts the flow on. */
static unsigned rss_owner(const struct steer_table *t, const struct flow *f)
{
	struct endpoint peer = {ip_from_v4(f->peer), f->peer_port};
	struct endpoint local = {ip_from_v4(f->local), f->local_port};

	return t->rss_core[rss_queue(t->rss, rss_hash(t->rss, &peer, &local))];
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
		return t->service[i].cores[n > 1 ? siphash13(t->key, f, sizeof(*f)) % n : 0];
	}
	return here;
}

/* Where the pieces of a packet meet: any core, but for all of them the same. */
static unsigned fragment_owner(const struct steer_table *t, const struct rte_ipv4_hdr *ip)
{
	struct {
		uint32_t from, to, id;
	} name = {ip->src_addr, ip->dst_addr, ip->packet_id};

	return (unsigned)(siphash13(t->key, &name, sizeof(name)) % t->core_count);
}

static bool is_fragment(struct bytes in)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)in.p;

	return in.n >= sizeof(*ip) && ip->version_ihl >> 4 == 4 &&
	       (ip->fragment_offset &
		       rte_cpu_to_be_16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG));
}

/* The IPv4 header at the start of in, whole, of an unfragmented TCP packet?  Returns its length. */
static size_t ip_header(struct bytes in, uint8_t *protocol_r)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)in.p;

	if (in.n < sizeof(*ip) || ip->version_ihl >> 4 != 4)
		return 0;
	size_t n = rte_ipv4_hdr_len(ip);
	bool fragment = ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_OFFSET_MASK);
	*protocol_r = ip->next_proto_id;
	return n >= sizeof(*ip) && n <= in.n && !fragment ? n : 0;
}

/* An ICMP error belongs to the flow of the packet it quotes, which we sent. */
static unsigned icmp_owner(const struct steer_table *t, struct bytes icmp, unsigned here)
{
	struct bytes in = bytes_skip(icmp, ICMP_ERROR_HEADER);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)in.p;
	uint8_t protocol;

	if (icmp.n < ICMP_ERROR_HEADER || (icmp.p[0] != 3 && icmp.p[0] != 11 && icmp.p[0] != 12))
		return here;
	size_t header = ip_header(in, &protocol);
	if (!header || protocol != IPPROTO_TCP || in.n < header + L4_PORTS)
		return here;
	struct flow f = {
		ip->src_addr, ip->dst_addr, get16(in.p + header), get16(in.p + header + 2)};
	return flow_owner(t, &f, here);
}

unsigned steer_owner(const struct steer_table *t, const struct rte_mbuf *frame, unsigned here)
{
	struct bytes in = bytes_make(rte_pktmbuf_mtod(frame, const uint8_t *), frame->data_len);
	uint8_t protocol;

	if (t->core_count < 2 || in.n < sizeof(struct rte_ether_hdr) ||
		get16(in.p + 12) != RTE_ETHER_TYPE_IPV4)
		return here;
	in = bytes_skip(in, sizeof(struct rte_ether_hdr));
	if (unlikely(is_fragment(in)))
		return fragment_owner(t, (const struct rte_ipv4_hdr *)in.p);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)in.p;
	size_t header = ip_header(in, &protocol);
	if (!header)
		return here;
	if (protocol == IPPROTO_ICMP)
		return icmp_owner(t, bytes_skip(in, header), here);
	if (protocol != IPPROTO_TCP || in.n < header + L4_PORTS)
		return here;
	struct flow f = {
		ip->dst_addr, ip->src_addr, get16(in.p + header + 2), get16(in.p + header)};
	return flow_owner(t, &f, here);
}
