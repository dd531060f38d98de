/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/lone.h"
#include <rte_arp.h>
#include <rte_ether.h>
#include "dataplane/csum.h"

static const uint8_t lone_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};

static void lone_tx(struct host *h, struct bytes frame)
{
	struct lone *l = h->ctx;

	BUG_ON(frame.n > sizeof(l->sent[0].octets));
	if (l->sent_n == LONE_SENT)
		l->sent_n = l->taken = 0; /* nobody looks */
	memcpy(l->sent[l->sent_n].octets, frame.p, frame.n);
	l->sent[l->sent_n++].n = frame.n;
}

void lone_init(struct lone *l, struct host_pools *pools, const struct host_conf *conf)
{
	l->host.tx = lone_tx;
	l->host.ctx = l;
	l->sent_n = l->taken = 0;
	host_init(&l->host, conf, pools, 1, 1000 * US_PER_SEC);
}

void lone_fini(struct lone *l)
{
	struct host_pools *pools = l->host.pools;

	host_fini(&l->host);
	BUG_ON(!host_pools_full(pools));
}

void lone_arp(struct lone *l)
{
	struct ip_addr ip = ip_from_v4(rte_cpu_to_be_32(LONE_PEER));

	stack_neigh_add(l->host.stack, 0, &ip, peer_mac, true);
}

size_t lone_build(uint8_t *frame, const struct seg *s)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)frame;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
	size_t options_n = (s->options_n + 3) / 4 * 4;
	size_t n = sizeof(*ip) + sizeof(*tcp) + options_n + s->payload_n;

	memcpy(&eth->dst_addr, lone_mac, 6);
	memcpy(&eth->src_addr, peer_mac, 6);
	eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)n),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = rte_cpu_to_be_32(LONE_PEER),
		.dst_addr = rte_cpu_to_be_32(LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*tcp = (struct rte_tcp_hdr){
		.src_port = rte_cpu_to_be_16(s->sport),
		.dst_port = rte_cpu_to_be_16(s->dport),
		.sent_seq = rte_cpu_to_be_32(s->seq),
		.recv_ack = rte_cpu_to_be_32(s->ack),
		.data_off = (uint8_t)((20 + options_n) / 4 << 4),
		.tcp_flags = s->flags,
		.rx_win = rte_cpu_to_be_16(s->window),
	};
	memset(tcp + 1, 0, options_n);
	memcpy(tcp + 1, s->options, s->options_n);
	if (s->payload_n)
		memcpy((uint8_t *)(tcp + 1) + options_n, s->payload, s->payload_n);
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	return sizeof(*eth) + n;
}

void lone_send(struct lone *l, const struct seg *s)
{
	uint8_t frame[2048];

	host_input(&l->host, bytes_make(frame, lone_build(frame, s)));
	host_lap(&l->host, l->host.now_us);
	host_check(&l->host);
}

void lone_wait(struct lone *l, uint64_t us)
{
	uint64_t until = l->host.now_us + us;

	while (l->host.now_us < until) {
		if (l->host.now_us % US_PER_SEC == 0)
			lone_arp(l); /* as if ARP were answered */
		host_lap(&l->host, MIN(l->host.now_us + US_PER_MS, until));
		host_check(&l->host);
	}
}

bool lone_next(struct lone *l, struct seg *s)
{
	while (l->taken < l->sent_n) {
		const uint8_t *f = l->sent[l->taken].octets;
		size_t n = l->sent[l->taken++].n;
		const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(f + 14);
		const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(ip + 1);
		if (n < 54 || f[12] != 8 || f[13] != 0 || ip->next_proto_id != IPPROTO_TCP)
			continue;
		BUG_ON(!csum_ip4_ok(ip) || rte_ipv4_udptcp_cksum(ip, tcp) != 0);
		size_t header = (tcp->data_off >> 4) * 4u;
		*s = (struct seg){
			.sport = rte_be_to_cpu_16(tcp->src_port),
			.dport = rte_be_to_cpu_16(tcp->dst_port),
			.seq = rte_be_to_cpu_32(tcp->sent_seq),
			.ack = rte_be_to_cpu_32(tcp->recv_ack),
			.flags = tcp->tcp_flags & (FIN | SYN | RST | ACK),
			.window = rte_be_to_cpu_16(tcp->rx_win),
			.options_n = header - 20,
			.payload = f + 34 + header,
			.payload_n = n - 34 - header,
		};
		memcpy(s->options, tcp + 1, s->options_n);
		return true;
	}
	return false;
}
