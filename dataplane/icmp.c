/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP for IPv4 (RFC 792): echo is answered; errors about a SYN of ours end the attempt. */
#include <rte_icmp.h>
#include <rte_ether.h>
#include "dataplane/csum.h"
#include "dataplane/stack_priv.h"

#define ICMP_DEST_UNREACHABLE 3
#define ICMP_FRAG_NEEDED      4 /* code */
#define ICMP_ERROR_HEADER     8 /* octets before the embedded packet */
#define ICMP_EMBEDDED_L4      8 /* octets of TCP that an error carries at least */

/* The request becomes the reply: a receive mbuf lent to the driver, so no pool can run dry. */
static void echo_reply(
	struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt)
{
	struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);

	counter_inc(CTR_ICMP_RX_ECHO);
	icmp->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
	icmp->icmp_cksum = 0;
	icmp->icmp_cksum = csum_fold(icmp, m->data_len);
	m->ol_flags &= ~RTE_MBUF_F_TX_OFFLOAD_MASK;
	ip_output(st, port, &pkt->to, &pkt->from, IPPROTO_ICMP, pkt->ecn, m);
}

/* RFC 5927: believed only for a segment that is in flight; tcp_unreachable checks that. */
static void error_input(struct stack *st, struct bytes in)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)in.p;

	if (in.n < sizeof(*ip) || ip->version_ihl >> 4 != 4 || ip->next_proto_id != IPPROTO_TCP)
		return;
	size_t header = rte_ipv4_hdr_len(ip);
	if (header < sizeof(*ip) || in.n < header + ICMP_EMBEDDED_L4)
		return;
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(in.p + header);
	struct tcp_key key = {
		.local = ip_from_v4(ip->src_addr),
		.peer = ip_from_v4(ip->dst_addr),
		.local_port = rte_be_to_cpu_16(tcp->src_port),
		.peer_port = rte_be_to_cpu_16(tcp->dst_port),
	};
	tcp_unreachable(st, &key, rte_be_to_cpu_32(tcp->sent_seq), false);
}

void icmp_input(struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt)
{
	const struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(m, const struct rte_icmp_hdr *);

	if (m->data_len < ICMP_ERROR_HEADER || csum_fold(icmp, m->data_len) != 0) {
		counter_inc(CTR_IP_RX_BAD);
		rte_pktmbuf_free(m);
		return;
	}
	if (icmp->icmp_type == RTE_IP_ICMP_ECHO_REQUEST && icmp->icmp_code == 0 &&
		rte_pktmbuf_headroom(m) >=
			sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_ether_hdr)) {
		echo_reply(st, port, m, pkt);
		return;
	}
	if (icmp->icmp_type == ICMP_DEST_UNREACHABLE && icmp->icmp_code != ICMP_FRAG_NEEDED)
		error_input(st, bytes_skip(bytes_make(icmp, m->data_len), ICMP_ERROR_HEADER));
	rte_pktmbuf_free(m);
}
