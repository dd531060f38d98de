/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP for IPv4 (RFC 792): echo is answered; errors go where both families' do. */
#include <rte_icmp.h>
#include <rte_ether.h>
#include "dataplane/csum.h"
#include "dataplane/stack_priv.h"

#define ICMP_ERROR_HEADER 8 /* octets before the packet quoted */
#define ICMP_MTU_AT       6 /* RFC 1191 4 */

/* The request becomes the reply: a receive mbuf lent to the driver, so no pool can run dry.  One
 * that was put together from fragments may be too large to go back whole, and we make none: it is
 * cut (RFC 1122 3.2.2.6). */
static void echo_reply(
	struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt)
{
	struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);
	uint16_t most = (uint16_t)(ip_link_mtu(st, port, &pkt->from) - IP4_HEADER);

	if (unlikely(m->data_len > most))
		rte_pktmbuf_trim(m, (uint16_t)(m->data_len - most));
	counter_inc(CTR_ICMP_RX_ECHO);
	icmp->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
	icmp->icmp_cksum = 0;
	icmp->icmp_cksum = csum_fold(icmp, m->data_len);
	m->ol_flags &= ~RTE_MBUF_F_TX_OFFLOAD_MASK;
	ip_output(st, port, &pkt->to, &pkt->from, IPPROTO_ICMP, pkt->ecn, m);
}

static void error_input(struct stack *st, struct bytes in)
{
	enum icmp_error error = icmp4_error_of(in.p[0], in.p[1]);
	uint32_t mtu = (uint32_t)in.p[ICMP_MTU_AT] << 8 | in.p[ICMP_MTU_AT + 1];

	icmp_error_input(st, error, mtu, bytes_skip(in, ICMP_ERROR_HEADER));
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
			sizeof(struct rte_ipv4_hdr) + eth_header_bytes(&st->conf.ports[port])) {
		echo_reply(st, port, m, pkt);
		return;
	}
	error_input(st, bytes_make(icmp, m->data_len));
	rte_pktmbuf_free(m);
}
