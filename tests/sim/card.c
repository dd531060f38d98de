/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/card.h"
#include <netinet/in.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#define FRAME_MAX 66000

/* One frame that is about to leave. */
struct cut {
	uint8_t *frame;
	size_t n;
	size_t l2, l3, l4; /* octets of headers */
	bool v6;
};

static struct rte_tcp_hdr *tcp_of(const struct cut *c)
{
	return (struct rte_tcp_hdr *)(c->frame + c->l2 + c->l3);
}

/* Lengths and checksums by the octets there are. */
static void finish(const struct cut *c, bool ip_csum, bool tcp_csum)
{
	uint8_t *ip = c->frame + c->l2;
	struct rte_ipv4_hdr *four = (struct rte_ipv4_hdr *)ip;
	struct rte_ipv6_hdr *six = (struct rte_ipv6_hdr *)ip;

	if (c->v6)
		six->payload_len = rte_cpu_to_be_16((uint16_t)(c->n - c->l2 - c->l3));
	else
		four->total_length = rte_cpu_to_be_16((uint16_t)(c->n - c->l2));
	if (ip_csum && !c->v6) {
		BUG_ON(four->hdr_checksum != 0); /* as DPDK wants it */
		four->hdr_checksum = rte_ipv4_cksum(four);
	}
	if (!tcp_csum)
		return;
	tcp_of(c)->cksum = 0;
	tcp_of(c)->cksum = c->v6 ? rte_ipv6_udptcp_cksum(six, tcp_of(c))
				 : rte_ipv4_udptcp_cksum(four, tcp_of(c));
}

/* The pseudo header's sum, where the stack has left it, is what the device starts from. */
static void check_pseudo(const struct cut *c, uint64_t ol_flags)
{
	const void *ip = c->frame + c->l2;

	BUG_ON(tcp_of(c)->cksum !=
		(c->v6 ? rte_ipv6_phdr_cksum(ip, ol_flags) : rte_ipv4_phdr_cksum(ip, ol_flags)));
}

static void cut_and_send(const struct cut *whole, uint16_t size, card_send_fn send, void *ctx)
{
	static uint8_t piece[FRAME_MAX];
	size_t headers = whole->l2 + whole->l3 + whole->l4, at = 0, all = whole->n - headers;
	uint32_t seq = rte_be_to_cpu_32(tcp_of(whole)->sent_seq);
	struct cut c = *whole;

	BUG_ON(size == 0 || all <= size);
	for (c.frame = piece; at < all; at += size) {
		size_t n = MIN((size_t)size, all - at);
		memcpy(piece, whole->frame, headers);
		memcpy(piece + headers, whole->frame + headers + at, n);
		c.n = headers + n;
		tcp_of(&c)->sent_seq = rte_cpu_to_be_32(seq + (uint32_t)at);
		if (at + n < all)
			tcp_of(&c)->tcp_flags &= (uint8_t) ~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
		finish(&c, true, true);
		send(ctx, bytes_make(piece, c.n));
	}
}

void card_send(const struct rte_mbuf *m, card_send_fn send, void *ctx)
{
	static uint8_t frame[FRAME_MAX];
	struct cut c = {
		frame, 0, m->l2_len, m->l3_len, m->l4_len, m->ol_flags & RTE_MBUF_F_TX_IPV6};
	unsigned segments = 0;

	for (const struct rte_mbuf *s = m; s; s = s->next, segments++) {
		BUG_ON(c.n + s->data_len > sizeof(frame) || s->data_len == 0);
		memcpy(frame + c.n, rte_pktmbuf_mtod(s, const uint8_t *), s->data_len);
		c.n += s->data_len;
	}
	BUG_ON(segments != m->nb_segs || c.n != m->pkt_len);
	bool cut = m->ol_flags & RTE_MBUF_F_TX_TCP_SEG;
	bool tcp_csum = cut || (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM;
	BUG_ON(!cut && segments > 1);
	if (tcp_csum)
		check_pseudo(&c, m->ol_flags);
	if (cut) {
		cut_and_send(&c, m->tso_segsz, send, ctx);
		return;
	}
	if (m->ol_flags & (RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK))
		finish(&c, m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM, tcp_csum);
	send(ctx, bytes_make(frame, c.n));
}
