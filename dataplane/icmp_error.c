/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP errors that come in.  Anybody can send one, so nothing in them is believed but what only
 * somebody on the path can know: they must quote a segment of a connection of ours that is in
 * flight (RFC 5927 4.1), under an address of ours, as we send it. */
#include <netinet/in.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include "dataplane/icmp.h"
#include "dataplane/stack_priv.h"

#define QUOTED_L4 8u /* octets of TCP that an error carries at least: ports and sequence number */

enum icmp4_type { ICMP4_UNREACHABLE = 3, ICMP4_TIME_EXCEEDED = 11, ICMP4_PARAMETER = 12 };
enum icmp6_type {
	ICMP6_ERROR_UNREACHABLE = 1,
	ICMP6_ERROR_TOO_BIG = 2,
	ICMP6_ERROR_TIME = 3,
	ICMP6_ERROR_PARAMETER = 4
};

/* RFC 1122 4.2.3.9, RFC 1812 5.2.7.1 */
enum icmp_error icmp4_error_of(uint8_t type, uint8_t code)
{
	static const uint8_t unreachable[] = {
		[0] = ICMP_ERROR_SOFT,    /* network */
		[1] = ICMP_ERROR_SOFT,    /* host */
		[2] = ICMP_ERROR_HARD,    /* protocol */
		[3] = ICMP_ERROR_HARD,    /* port */
		[4] = ICMP_ERROR_TOO_BIG, /* fragmentation needed and DF set */
		[5] = ICMP_ERROR_SOFT,    /* source route failed */
		[6] = ICMP_ERROR_SOFT,
		[7] = ICMP_ERROR_SOFT,
		[8] = ICMP_ERROR_SOFT,
		[9] = ICMP_ERROR_HARD, /* prohibited */
		[10] = ICMP_ERROR_HARD,
		[11] = ICMP_ERROR_SOFT,
		[12] = ICMP_ERROR_SOFT,
		[13] = ICMP_ERROR_HARD,
	};

	if (type == ICMP4_UNREACHABLE)
		return code < ARRAY_LEN(unreachable) ? unreachable[code] : ICMP_ERROR_SOFT;
	return type == ICMP4_TIME_EXCEEDED || type == ICMP4_PARAMETER ? ICMP_ERROR_SOFT
								      : ICMP_ERROR_NONE;
}

/* RFC 4443 3 */
enum icmp_error icmp6_error_of(uint8_t type, uint8_t code)
{
	static const uint8_t unreachable[] = {
		[0] = ICMP_ERROR_SOFT, /* no route */
		[1] = ICMP_ERROR_HARD, /* prohibited */
		[2] = ICMP_ERROR_SOFT, /* beyond scope */
		[3] = ICMP_ERROR_SOFT, /* address */
		[4] = ICMP_ERROR_HARD, /* port */
		[5] = ICMP_ERROR_HARD, /* policy */
		[6] = ICMP_ERROR_HARD, /* rejected route */
	};

	switch (type) {
	case ICMP6_ERROR_UNREACHABLE:
		return code < ARRAY_LEN(unreachable) ? unreachable[code] : ICMP_ERROR_SOFT;
	case ICMP6_ERROR_TOO_BIG:
		return ICMP_ERROR_TOO_BIG;
	case ICMP6_ERROR_TIME:
	case ICMP6_ERROR_PARAMETER:
		return ICMP_ERROR_SOFT;
	default:
		return ICMP_ERROR_NONE;
	}
}

/* A packet of ours, as somebody quotes it. */
struct quote {
	struct tcp_key key;
	uint32_t seq;
	uint32_t packet_n; /* octets that it had */
};

/* What we send has no options, is no fragment, and may not be made into some. */
static size_t quote4(struct bytes in, struct quote *q)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)in.p;

	if (in.n < sizeof(*ip) || ip->version_ihl != RTE_IPV4_VHL_DEF ||
		ip->next_proto_id != IPPROTO_TCP ||
		(ip->fragment_offset & ~rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG)))
		return 0;
	q->key.local = ip_from_v4(ip->src_addr);
	q->key.peer = ip_from_v4(ip->dst_addr);
	q->packet_n = rte_be_to_cpu_16(ip->total_length);
	return sizeof(*ip);
}

/* Nor extension headers. */
static size_t quote6(struct bytes in, struct quote *q)
{
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)in.p;

	if (in.n < sizeof(*ip) || in.p[0] >> 4 != 6 || ip->proto != IPPROTO_TCP)
		return 0;
	memcpy(q->key.local.octets, ip->src_addr, 16);
	memcpy(q->key.peer.octets, ip->dst_addr, 16);
	q->packet_n = (uint32_t)sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	return sizeof(*ip);
}

static bool quote_parse(const struct stack *st, struct bytes in, struct quote *q)
{
	size_t header = in.n && in.p[0] >> 4 == 6 ? quote6(in, q) : quote4(in, q);

	if (!header || in.n < header + QUOTED_L4 ||
		q->packet_n < header + sizeof(struct rte_tcp_hdr))
		return false;
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(in.p + header);
	q->key.local_port = rte_be_to_cpu_16(tcp->src_port);
	q->key.peer_port = rte_be_to_cpu_16(tcp->dst_port);
	q->seq = rte_be_to_cpu_32(tcp->sent_seq);
	return ip_is_ours(st, &q->key.local);
}

void icmp_error_input(struct stack *st, enum icmp_error error, uint32_t mtu, struct bytes quoted)
{
	struct quote q = {0};
	bool believed = false;

	if (error == ICMP_ERROR_NONE)
		return;
	counter_inc(CTR_ICMP_RX_ERRORS);
	if (!quote_parse(st, quoted, &q)) {
		/* not a segment of ours */
	} else if (error != ICMP_ERROR_TOO_BIG) {
		believed = tcp_unreachable(st, &q.key, q.seq, error == ICMP_ERROR_HARD);
	} else if (mtu < q.packet_n) { /* what is larger than the packet did not stop it */
		believed = tcp_packet_too_big(st, &q.key, q.seq,
			mtu ? (uint16_t)MIN(mtu, (uint32_t)UINT16_MAX)
			    : ip_pmtu_plateau(q.packet_n));
	}
	if (!believed)
		counter_inc(CTR_ICMP_RX_ERRORS_IGNORED);
}
