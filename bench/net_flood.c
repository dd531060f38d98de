/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/net_flood.h"
#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include "dataplane/base/clock.h"
#include "dataplane/csum.h"

#define SOURCES     0xc6130000u /* 198.19.0.0/16, of RFC 2544's */
#define LAP_MAX     64          /* chosen: two bursts; more would be late for the stack beside it */
#define LATE_MAX_US US_PER_MS   /* of what is due, more is not made up for */
#define ROOM_MIN    (TX_BACKLOG_MAX * 3 / 4)
#define WINDOW      64240

/* splitmix64 */
static uint64_t next_random(struct net_flood *f)
{
	uint64_t z = (f->random += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* A SYN as a host sends it: with an MSS. */
static void tcp_fill(struct net_flood *f, struct rte_tcp_hdr *tcp, uint64_t random)
{
	uint8_t *options = (uint8_t *)(tcp + 1);

	*tcp = (struct rte_tcp_hdr){
		.src_port = rte_cpu_to_be_16((uint16_t)(1024 + random % 60000)),
		.dst_port = rte_cpu_to_be_16((uint16_t)(f->port_first + (random >> 16) % f->ports)),
		.sent_seq = rte_cpu_to_be_32((uint32_t)(random >> 32)),
		.data_off = (sizeof(*tcp) + 4) / 4 << 4,
		.tcp_flags = RTE_TCP_SYN_FLAG,
		.rx_win = rte_cpu_to_be_16(WINDOW),
	};
	options[0] = 2; /* MSS */
	options[1] = 4;
	options[2] = 1460 >> 8;
	options[3] = 1460 & 0xff;
}

static void send_one(struct net_flood *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->pool);
	uint64_t random = next_random(f);
	size_t tcp_n = sizeof(struct rte_tcp_hdr) + 4, ip_n = sizeof(struct rte_ipv4_hdr) + tcp_n;

	if (!m)
		return;
	struct rte_ether_hdr *eth =
		(struct rte_ether_hdr *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*eth) + ip_n));
	BUG_ON(!eth);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
	struct ip_addr from =
		ip_from_v4(rte_cpu_to_be_32(SOURCES + (uint32_t)(next_random(f) & UINT16_MAX)));
	memcpy(&eth->src_addr, f->from_mac, sizeof(f->from_mac));
	memcpy(&eth->dst_addr, f->to_mac, sizeof(f->to_mac));
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)ip_n),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = ip_to_v4(&from),
		.dst_addr = ip_to_v4(&f->to)};
	ip->hdr_checksum = csum_fold(ip, sizeof(*ip));
	tcp_fill(f, tcp, random);
	tcp->cksum = csum_l4(&from, &f->to, IPPROTO_TCP, tcp, tcp_n);
	tx_backlog_push(f->io, 0, m);
}

unsigned net_flood_poll(void *ctx, uint64_t now_us)
{
	struct net_flood *f = ctx;
	uint32_t rate = atomic_load_explicit(&f->rate, memory_order_relaxed);
	unsigned n = 0;

	if (rate == 0) {
		f->next_ns = 0;
		return 0;
	}
	/* time in nanoseconds: a SYN takes less than a microsecond */
	uint64_t now_ns = now_us * 1000, step = 1000000000u / rate;
	f->next_ns = MAX(f->next_ns, now_ns - LATE_MAX_US * 1000);
	for (; n < LAP_MAX && f->next_ns <= now_ns && tx_backlog_room(f->io, 0) > ROOM_MIN; n++) {
		send_one(f);
		f->next_ns += step;
	}
	atomic_store_explicit(&f->sent, atomic_load_explicit(&f->sent, memory_order_relaxed) + n,
		memory_order_relaxed);
	return n;
}
