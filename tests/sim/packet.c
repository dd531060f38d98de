/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/packet.h"

#define IP4_DONT_FRAGMENT 0x4000
#define IP4_FRAGMENT      0x3fff /* more fragments, or an offset */

uint32_t packet_be32(const uint8_t *octets)
{
	return (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 | (uint32_t)octets[2] << 8 |
	       octets[3];
}

static bool parse_ip4(struct packet *p)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)p->ip;
	size_t have = p->n - sizeof(struct rte_ether_hdr);

	if (have < sizeof(*ip) || rte_ipv4_hdr_len(ip) < sizeof(*ip))
		return false;
	uint16_t offset = rte_be_to_cpu_16(ip->fragment_offset);
	p->ip_header_n = rte_ipv4_hdr_len(ip);
	p->ip_n = rte_be_to_cpu_16(ip->total_length);
	p->protocol = ip->next_proto_id;
	p->from = ip_from_v4(ip->src_addr);
	p->to = ip_from_v4(ip->dst_addr);
	p->dont_fragment = offset & IP4_DONT_FRAGMENT;
	p->fragment = offset & IP4_FRAGMENT;
	return p->ip_n <= have && p->ip_header_n <= p->ip_n;
}

static bool parse_ip6(struct packet *p)
{
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)p->ip;
	size_t have = p->n - sizeof(struct rte_ether_hdr);

	if (have < sizeof(*ip))
		return false;
	p->v6 = true;
	p->ip_header_n = sizeof(*ip);
	p->ip_n = sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	p->protocol = ip->proto;
	memcpy(p->from.octets, ip->src_addr, 16);
	memcpy(p->to.octets, ip->dst_addr, 16);
	p->dont_fragment = true;
	p->fragment = ip->proto == IPPROTO_FRAGMENT;
	return p->ip_n <= have;
}

static void parse_tcp(struct packet *p)
{
	size_t n = p->ip_n - p->ip_header_n;
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(p->ip + p->ip_header_n);

	if (p->protocol != IPPROTO_TCP || p->fragment || n < sizeof(*tcp))
		return;
	size_t header = (tcp->data_off >> 4) * 4u;
	if (header < sizeof(*tcp) || header > n)
		return;
	p->tcp = tcp;
	p->options = (uint8_t *)(tcp + 1);
	p->options_n = header - sizeof(*tcp);
	p->payload = p->options + p->options_n;
	p->payload_n = n - header;
	p->sport = rte_be_to_cpu_16(tcp->src_port);
	p->dport = rte_be_to_cpu_16(tcp->dst_port);
	p->seq = rte_be_to_cpu_32(tcp->sent_seq);
	p->ack = rte_be_to_cpu_32(tcp->recv_ack);
	p->flags = tcp->tcp_flags;
	p->window = rte_be_to_cpu_16(tcp->rx_win);
}

bool packet_parse(uint8_t *frame, size_t n, struct packet *p_r)
{
	*p_r = (struct packet){.frame = frame, .n = n, .ip = frame + sizeof(struct rte_ether_hdr)};
	if (n < sizeof(struct rte_ether_hdr))
		return false;
	uint16_t type = (uint16_t)(frame[12] << 8 | frame[13]);
	bool ok = (type == RTE_ETHER_TYPE_IPV4 && parse_ip4(p_r)) ||
		  (type == RTE_ETHER_TYPE_IPV6 && parse_ip6(p_r));
	if (ok)
		parse_tcp(p_r);
	return ok;
}

static uint16_t tcp_csum(const struct packet *p)
{
	return p->v6 ? rte_ipv6_udptcp_cksum((const struct rte_ipv6_hdr *)p->ip, p->tcp)
		     : rte_ipv4_udptcp_cksum((const struct rte_ipv4_hdr *)p->ip, p->tcp);
}

bool packet_csum_ok(const struct packet *p)
{
	if (!p->v6 && rte_raw_cksum(p->ip, p->ip_header_n) != 0xffff)
		return false;
	/* the sum over a right one, with the field, is 0 */
	return !p->tcp || tcp_csum(p) == 0;
}

void packet_csum_set(struct packet *p)
{
	if (!p->v6) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)p->ip;
		ip->hdr_checksum = 0;
		ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, p->ip_header_n);
	}
	if (p->tcp) {
		p->tcp->cksum = 0;
		p->tcp->cksum = tcp_csum(p);
	}
}

/* Offset of an option and its length with kind and length, *n_r; -1: not there. */
static ptrdiff_t option_find(const struct packet *p, uint8_t kind, size_t *n_r)
{
	for (size_t i = 0; i < p->options_n && p->options[i];) {
		size_t n = p->options[i] == 1 ? 1 : 0;
		if (!n && i + 1 < p->options_n)
			n = p->options[i + 1];
		if (n == 0 || i + n > p->options_n)
			break;
		if (p->options[i] == kind && n >= 2) {
			*n_r = n;
			return (ptrdiff_t)i;
		}
		i += n;
	}
	return -1;
}

struct bytes packet_option(const struct packet *p, uint8_t kind)
{
	size_t n;
	ptrdiff_t at = option_find(p, kind, &n);

	return at < 0 ? BYTES_NONE : bytes_make(p->options + at + 2, n - 2);
}

void packet_option_strip(struct packet *p, uint8_t kind)
{
	size_t n;
	ptrdiff_t at = option_find(p, kind, &n);

	if (at < 0)
		return;
	memset(p->options + at, 1, n);
	packet_csum_set(p);
}

uint8_t packet_ecn(const struct packet *p)
{
	return p->v6 ? p->ip[1] >> 4 & PACKET_ECN_MASK : p->ip[1] & PACKET_ECN_MASK;
}

/* As routers do (RFC 1624): what was wrong with the header stays wrong. */
static void ip4_tos_set(struct rte_ipv4_hdr *ip, uint8_t tos)
{
	uint32_t sum = (uint16_t)~rte_be_to_cpu_16(ip->hdr_checksum);

	sum += (uint16_t)~ip->type_of_service + tos;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->type_of_service = tos;
	ip->hdr_checksum = rte_cpu_to_be_16((uint16_t)~sum);
}

void packet_ecn_set(struct packet *p, uint8_t ecn)
{
	unsigned shift = p->v6 ? 4 : 0;
	uint8_t octet = (uint8_t)((p->ip[1] & ~(PACKET_ECN_MASK << shift)) | ecn << shift);

	if (p->v6)
		p->ip[1] = octet;
	else
		ip4_tos_set((struct rte_ipv4_hdr *)p->ip, octet);
}
