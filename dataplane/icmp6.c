/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP for IPv6 (RFC 4443): echo is answered; errors go where both families' do; the rest is
 * neighbour discovery (ndp.c) and listeners (mld.c). */
#include <netinet/in.h>
#include <rte_ether.h>
#include "dataplane/csum.h"
#include "dataplane/icmp6.h"
#include "dataplane/mld.h"
#include "dataplane/ndp.h"
#include "dataplane/stack_priv.h"

void icmp6_checksum(const struct ip_addr *from, const struct ip_addr *to, struct rte_mbuf *m)
{
	struct icmp6_header *h = rte_pktmbuf_mtod(m, struct icmp6_header *);

	h->checksum = 0;
	h->checksum = csum_l4(from, to, IPPROTO_ICMPV6, h, m->data_len);
}

/* The request becomes the reply: a receive mbuf lent to the driver, so no pool can run dry.  One to
 * a group is answered from an address of ours (RFC 4443 4.2). */
static void echo_reply(
	struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt)
{
	struct icmp6_header *h = rte_pktmbuf_mtod(m, struct icmp6_header *);
	const struct ip_addr *from = &pkt->to;

	if (ip_is_multicast6(from))
		from = link_source(&st->links[port], &pkt->from, &pkt->from);
	/* what was put together from fragments may be too large to go back: we make none */
	if (!from || !ip_is_unicast(&pkt->from) || ip_is_ours(st, &pkt->from) ||
		m->data_len + IP6_HEADER > ip_link_mtu(st, port, &pkt->from)) {
		rte_pktmbuf_free(m);
		return;
	}
	counter_inc(CTR_ICMP_RX_ECHO);
	h->type = ICMP6_ECHO_REPLY;
	icmp6_checksum(from, &pkt->from, m);
	m->ol_flags &= ~RTE_MBUF_F_TX_OFFLOAD_MASK;
	ip_output(st, port, from, &pkt->from, IPPROTO_ICMPV6, pkt->ecn, m);
}

static void error_input(struct stack *st, const struct icmp6_header *h, size_t n)
{
	icmp_error_input(st, icmp6_error_of(h->type, h->code), rte_be_to_cpu_32(h->body),
		bytes_skip(bytes_make(h, n), sizeof(*h)));
}

static bool message_ok(const struct rte_mbuf *m, const struct ip_packet *pkt)
{
	const struct icmp6_header *h = rte_pktmbuf_mtod(m, const struct icmp6_header *);

	return m->data_len >= sizeof(*h) &&
	       csum_l4(&pkt->from, &pkt->to, IPPROTO_ICMPV6, h, m->data_len) == 0;
}

void icmp6_input(struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt)
{
	const struct icmp6_header *h = rte_pktmbuf_mtod(m, const struct icmp6_header *);

	if (!message_ok(m, pkt)) {
		counter_inc(CTR_IP_RX_BAD);
		rte_pktmbuf_free(m);
		return;
	}
	if (h->type == ICMP6_ECHO_REQUEST && h->code == 0 &&
		rte_pktmbuf_headroom(m) >=
			sizeof(struct rte_ipv6_hdr) + eth_header_bytes(&st->conf.ports[port])) {
		echo_reply(st, port, m, pkt);
		return;
	}
	if (h->type < ICMP6_ECHO_REQUEST)
		error_input(st, h, m->data_len);
	else if (h->type == ICMP6_MLD_QUERY)
		mld_query_input(st, port, bytes_make(h, m->data_len), pkt);
	else
		ndp_input(st, port, bytes_make(h, m->data_len), pkt);
	rte_pktmbuf_free(m);
}
