/* SPDX-License-Identifier: BSD-3-Clause
 * A burst of frames is looked at before it is processed, in three passes, so that the memory that
 * one frame waits for arrives while others are looked at: the headers, then the slots of the flow
 * table, then the connections.  All this is a hint: nothing here is checked beyond what reading
 * needs, and whoever processes a frame compares.  OWNER: one core. */
#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_prefetch.h>
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

static void key_ports(const struct rte_tcp_hdr *tcp, struct tcp_key *key_r)
{
	key_r->local_port = rte_be_to_cpu_16(tcp->dst_port);
	key_r->peer_port = rte_be_to_cpu_16(tcp->src_port);
}

static bool key_v4(const struct rte_ipv4_hdr *ip, size_t n, struct tcp_key *key_r)
{
	size_t header = n >= sizeof(*ip) ? rte_ipv4_hdr_len(ip) : sizeof(*ip);

	if (n < header + sizeof(struct rte_tcp_hdr) || ip->next_proto_id != IPPROTO_TCP)
		return false;
	key_r->local = ip_from_v4(ip->dst_addr);
	key_r->peer = ip_from_v4(ip->src_addr);
	key_ports((const struct rte_tcp_hdr *)((const uint8_t *)ip + header), key_r);
	return true;
}

static bool key_v6(const struct rte_ipv6_hdr *ip, size_t n, struct tcp_key *key_r)
{
	if (n < sizeof(*ip) + sizeof(struct rte_tcp_hdr) || ip->proto != IPPROTO_TCP)
		return false;
	memcpy(key_r->local.octets, ip->dst_addr, sizeof(key_r->local.octets));
	memcpy(key_r->peer.octets, ip->src_addr, sizeof(key_r->peer.octets));
	key_ports((const struct rte_tcp_hdr *)(ip + 1), key_r);
	return true;
}

static bool key_of(const struct rte_mbuf *m, struct tcp_key *key_r)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if (m->data_len < sizeof(*eth))
		return false;
	size_t n = m->data_len - sizeof(*eth);
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
		return key_v4((const struct rte_ipv4_hdr *)(eth + 1), n, key_r);
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6))
		return key_v6((const struct rte_ipv6_hdr *)(eth + 1), n, key_r);
	return false;
}

/* The lines of a connection that a segment touches: looking up, receiving, sending, timers. */
static void prefetch_conn(const struct tcp_conn *c)
{
	for (size_t line = 0; line < sizeof(*c); line += CACHE_LINE)
		rte_prefetch0((const uint8_t *)c + line);
}

void stack_look_ahead(struct stack *st, struct rte_mbuf **frames, unsigned n)
{
	bool known[STACK_AHEAD];

	for (unsigned i = 0; i < n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(frames[i], const void *));
	for (unsigned i = 0; i < n; i++) {
		struct tcp_memo *m = &st->memos[i];
		struct tcp_key key;
		known[i] = key_of(frames[i], &key);
		if (!known[i])
			continue;
		st->memo = m;
		tcp_table_prefetch(&st->table, stack_hash(st, &key));
	}
	for (unsigned i = 0; i < n; i++) {
		uint32_t pos = 0;
		uint32_t ref = known[i] ? tcp_table_next(&st->table, st->memos[i].hash, &pos)
					: TCP_REF_NONE;
		if (ref < st->conf.connections_max)
			prefetch_conn(&st->conns[ref]);
	}
}
