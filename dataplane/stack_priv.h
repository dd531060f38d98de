/* SPDX-License-Identifier: BSD-3-Clause
 * Inside of the stack.  OWNER: one core. */
#pragma once
#include <rte_ether.h>
#include <rte_mbuf.h>
#include "dataplane/base/counters.h"
#include "dataplane/icmp.h"
#include "dataplane/ip.h"
#include "dataplane/ip_pmtu.h"
#include "dataplane/ip_reass.h"
#include "dataplane/ipv6.h"
#include "dataplane/link.h"
#include "dataplane/neigh.h"
#include "dataplane/stack.h"
#include "dataplane/tcp_priv.h"

#define STACK_LISTENERS_MAX        32
#define STACK_AHEAD                32 /* frames that are looked at ahead: a burst of a port */
#define STACK_BUFFER_DEFAULT       (256u * 1024)
#define STACK_POOL_RESERVE_PERCENT 15 /* of tx_pool: kept for retransmission */
#define STACK_RX_RESERVE_PERCENT   3  /* of the receive pool: below, nothing is held back */

/* How full the fullest pool of frames is. */
enum stack_pressure {
	STACK_PRESSURE_NONE,
	STACK_PRESSURE_WINDOWS, /* 70 %: windows and send queues are a twentieth by now */
	STACK_PRESSURE_OPENS,   /* 85 %: a SYN gets no state; who keeps us waiting goes */
	STACK_PRESSURE_RESETS,  /* 95 %: out-of-order data goes, then idle connections */
};
#define STACK_SHARE_ALL 4096u /* of a buffer: all of it */
#define STACK_PRESSURE_BUFFER_MIN                                                                  \
	4096 /* chosen: two segments; a window of less would stay shut (silly windows) */

struct stack {
	struct stack_env env;
	struct stack_conf conf;
	uint64_t now_us;
	/* connections */
	struct tcp_table
		table; /* references: connections, then TIME_WAIT from connections_max on */
	struct tcp_growth growth;
	struct tcp_memo *memo; /* of the frame in hand; one of memos */
	struct tcp_memo memos[STACK_AHEAD];
	struct tcp_conn *conns;
	struct tcp_cold *cold;  /* of conns, by index */
	struct tcp_note *notes; /* the same */
	struct tcp_tw *tws;
	uint32_t tw_max;
	struct list conn_unused; /* free slots, warmest first: their lines are still in the cache */
	struct list conn_dead;   /* slots that become free after this lap */
	struct list dirty;       /* connections with something to do at the end of the lap */
	struct list pool_waiters;
	struct list orphans; /* connections that the application has closed, oldest first */
	uint32_t tw_unused, tw_oldest, tw_newest; /* indices into tws */
	struct timer tw_timer, pool_timer;
	struct tcp_syn_cache syn;
	struct tcp_cookies cookies;
	struct tcp_sources sources;
	struct { /* challenge ACKs until then */
		uint64_t until_us;
		uint32_t left;
	} challenges;
	uint32_t connections, tw_count;
	uint32_t states[TCP_STATE_N]; /* connections, by state; CLOSED means nothing */
	uint32_t ephemeral_next;
	struct {
		uint16_t port; /* 0: free */
		struct listener *listener;
	} listeners[STACK_LISTENERS_MAX];
	struct siphash_key isn_key, port_key;
	/* send pool: segments that new payload may still take in this lap; asked once per lap */
	int64_t tx_allowance;
	bool tx_allowance_known;
	/* receive pool that was looked at in this lap */
	struct rte_mempool *rx_pool;
	bool rx_pool_low;
	/* how full the pools are; asked once per lap */
	bool pressure_known;
	enum stack_pressure pressure;
	uint32_t buffer_share;            /* of a buffer that may be used; STACK_SHARE_ALL: all */
	uint32_t pressure_at;             /* connection that is looked at next */
	struct tcp_conn *pressure_victim; /* idle, or kept us waiting, longest of those seen */
	struct neigh_table neigh;
	struct ip_reass reass;
	struct ip_pmtu pmtu;
	struct icmp_limits icmp;
	struct link links[STACK_PORTS_MAX]; /* [port] */
	struct ip_hop hops[IP_HOPS_KEPT];   /* by destination */
	uint32_t tentative;                 /* addresses of ours that may not be used (yet) */
	struct timer link_timer;            /* armed only while something is due on one */
};

static inline uint32_t stack_ms(const struct stack *st)
{
	return (uint32_t)(st->now_us / US_PER_MS);
}
static inline uint32_t stack_conn_index(const struct stack *st, const struct tcp_conn *c)
{
	return (uint32_t)(c - st->conns);
}

static inline struct tcp_cold *tcp_cold(const struct tcp_conn *c)
{
	return &c->stack->cold[stack_conn_index(c->stack, c)];
}

static inline struct tcp_note *tcp_note(const struct tcp_conn *c)
{
	return &c->stack->notes[stack_conn_index(c->stack, c)];
}

/* The hash of key in the flow table.  A segment asks for it up to four times. */
static inline uint32_t stack_hash(struct stack *st, const struct tcp_key *key)
{
	struct tcp_memo *m = st->memo;

	if (!tcp_key_eq(&m->key, key)) {
		m->key = *key;
		m->hash = tcp_table_hash(&st->table, key);
	}
	return m->hash;
}

/* ahead.c */
/* Up to STACK_AHEAD frames that will be processed: what they need comes to the cache, and their
 * hashes to st->memos. */
void stack_look_ahead(struct stack *st, struct rte_mbuf **frames, unsigned n);

/* NULL: the application has closed, or not accepted yet. */
static inline const struct stream_options *tcp_stream_options(const struct tcp_conn *c)
{
	if (!c->stream)
		return NULL;
	return c->stream->options ? c->stream->options : &c->stack->conf.tcp.stream;
}

/* stack.c */
/* May new payload take another segment of tx_pool? */
bool stack_tx_allowed(struct stack *st);
/* Is the pool of a received mbuf nearly empty? */
bool stack_rx_low(struct stack *st, struct rte_mempool *pool);
/* An empty mbuf with head room for all headers; NULL is counted. */
struct rte_mbuf *stack_alloc(struct stack *st, struct rte_mempool *pool);

/* pressure.c */
enum stack_pressure stack_pressure_look(struct stack *st);
/* The same, once per lap. */
static inline enum stack_pressure stack_pressure(struct stack *st)
{
	return likely(st->pressure_known) ? st->pressure : stack_pressure_look(st);
}
/* End of lap: gives up what must go. */
void stack_relieve(struct stack *st);
/* Octets of a buffer of size that a connection may use now. */
static inline uint32_t stack_buffer(struct stack *st, uint32_t size)
{
	stack_pressure(st);
	if (likely(st->buffer_share == STACK_SHARE_ALL))
		return size;
	uint32_t share = (uint32_t)((uint64_t)size * st->buffer_share / STACK_SHARE_ALL);
	return MAX(share, MIN(size, STACK_PRESSURE_BUFFER_MIN));
}

/* eth.c */
#define ETH_HEADER_MAX 18u /* octets, with a VLAN tag (IEEE 802.1Q) */
void eth_input(struct stack *st, unsigned port, struct rte_mbuf *m);
/* Prepend the header and transmit.  Takes m. */
void eth_output(
	struct stack *st, unsigned port, const uint8_t mac[6], uint16_t type, struct rte_mbuf *m);
static inline unsigned eth_header_bytes(const struct stack_port *p)
{
	return p->vlan ? ETH_HEADER_MAX : RTE_ETHER_HDR_LEN;
}
/* Only the header, with the port's VLAN tag in it if it has one. */
void eth_header_push(const struct stack_port *p, const uint8_t to[6], const uint8_t from[6],
	uint16_t type, struct rte_mbuf *m);

/* ipv4.c */
/* m starts at the IPv4 header; takes m. */
void ipv4_input(struct stack *st, unsigned port, struct rte_mbuf *m);
/* Prepend the header, and fill in the checksums, TCP's too. */
void ipv4_header_push(const struct stack_port *p, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t ecn, struct rte_mbuf *m);

/* icmp.c */
/* m starts at the ICMP header; takes m. */
void icmp_input(struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt);

/* ipv6.c */
/* m starts at the IPv6 header; takes m. */
void ipv6_input(struct stack *st, unsigned port, struct rte_mbuf *m);
/* Prepend the header, and fill in TCP's checksum; ICMP's is there. */
void ipv6_header_push(const struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t ecn, struct rte_mbuf *m);
/* Send on the link itself: to a group, or to a neighbour whose MAC is known.  Takes m. */
void ipv6_output_link(struct stack *st, unsigned port, const struct ip_addr *from,
	const struct ip_addr *to, uint8_t protocol, uint8_t hop_limit, const uint8_t mac[6],
	struct rte_mbuf *m);
struct ip_addr ipv6_solicited_node(const struct ip_addr *ip);

/* icmp6.c */
/* m starts at the ICMP header; takes m. */
void icmp6_input(struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt);

/* link.c */
void link_timer_fire(struct timer *t, uint64_t now_us);
