/* SPDX-License-Identifier: BSD-3-Clause
 * The TCP/IP stack of one core, as its driver sees it (core.c, the simulator, fuzzers).  Time,
 * randomness, the wire and the memory of frames are injected, so that the same sources run under
 * DPDK, in the simulator and under a fuzzer.  Applications use dataplane.h instead.
 *
 * Frames: who calls stack_input gives the mbufs away.  env.tx takes the mbuf it is given; payload
 * segments stay on the retransmission queue with a reference of their own, so a driver may hold a
 * frame as long as it likes and the stack rewrites a header only when nobody else holds it. */
#pragma once
#include "dataplane/base/siphash.h"
#include "dataplane/dataplane.h"

struct rte_mbuf;
struct rte_mempool;

#define STACK_PORTS_MAX     8
#define STACK_ADDRESSES_MAX 8

/* What the stack needs to know about one port. */
struct stack_port {
	const char *name; /* for the log; lives as long as the stack */
	uint8_t mac[6];
	uint16_t mtu;
	struct ip_net
		address[STACK_ADDRESSES_MAX]; /* ours; ip is the host, prefix the on-link network */
	unsigned address_count;
	struct ip_addr gateway, gateway6; /* default routers */
	bool has_gateway, has_gateway6;
	/* Ask whether others have our addresses before they are used, announce them, report the
	 * groups we are in, look for routers.  Core 0 speaks, the others listen. */
	bool discovery;
	bool tx_csum_ip, tx_csum_tcp; /* the port computes them: set mbuf ol_flags */
	/* Segmentation by the port, which then computes both checksums and takes chains: at most so
	 * many segments and octets of payload in a frame; 0: none. */
	uint32_t tso_segments, tso_octets;
	bool rx_csum; /* the port verifies: RTE_MBUF_F_RX_*_CKSUM_* are to be believed */
	struct rte_mempool *rx_pool; /* where received frames come from; NULL: not watched */
	uint32_t rx_kept;            /* mbufs of it that are always with the driver */
	uint16_t vlan;               /* ID of IEEE 802.1Q; 0: frames have no tag */
	bool tx_vlan;                /* the port inserts it: set mbuf ol_flags */
	bool trust_rx_csum;          /* do not verify at all (af_packet, peers on the same host) */
};

struct rss;

struct stack_env {
	void *ctx;
	/* Queue one frame for transmission at the end of the lap.  Takes m, also when it must drop.
	 */
	void (*tx)(void *ctx, unsigned port, struct rte_mbuf *m);
	uint64_t (*random64)(void *ctx);
	/* A neighbour was learned on this core: tell the others (NULL: there are none).  confirmed:
	 * it has answered us, not only asked. */
	void (*neigh_learned)(void *ctx, unsigned port, const struct ip_addr *ip,
		const uint8_t mac[6], bool confirmed);
	/* A packet was put together from fragments: give the frame to the core that owns its flow.
	 * Returns false, and m stays the stack's, when that is this one (NULL: there are no
	 * others).
	 */
	bool (*whole)(void *ctx, unsigned port, struct rte_mbuf *m);
	/* Do frames from peer to local come in on a queue of this core?  NULL: any port is as good
	 * as another.  For choosing local ports. */
	bool (*comes_back)(void *ctx, unsigned port, const struct endpoint *local,
		const struct endpoint *peer);
	struct rte_mempool *tx_pool;      /* payload segments: private area >= STACK_TX_PRIV */
	struct rte_mempool *control_pool; /* ACK, RST, ARP, ICMP: small, never used for payload */
	struct timer_wheel *wheel;        /* run by the driver */
	uint64_t now_us;                  /* at creation */
};

#define STACK_TX_PRIV 64 /* octets of mbuf private area in tx_pool */

enum stack_congestion { STACK_CUBIC, STACK_NEWRENO };
enum stack_ecn { STACK_ECN_PASSIVE, STACK_ECN_ACTIVE, STACK_ECN_OFF }; /* RFC 3168 */
/* SYN cookies (RFC 4987): when there is no room for a half-open connection, or no frame to spare.
 */
enum stack_cookies { STACK_COOKIES_OVERFLOW, STACK_COOKIES_ALWAYS, STACK_COOKIES_OFF };

/* TCP of one stack.  All 0 is the default. */
struct stack_tcp_conf {
	struct stream_options stream; /* of streams that have none of their own */
	uint8_t congestion;           /* enum stack_congestion */
	uint8_t ecn;                  /* enum stack_ecn: passive takes what peers offer */
	bool no_timestamps;           /* RFC 7323 is neither offered nor taken */
	bool no_sack;                 /* nor RFC 2018 */
	uint8_t initial_window;       /* segments; 0: 10 (RFC 6928) */
	uint16_t delack_ms;           /* delayed ACK; 0: 40 */
	/* So many octets at the start of a connection are acknowledged without delay, for a peer in
	 * slow start that counts ACKs; 0: none. */
	uint32_t quick_ack_bytes;
	uint8_t syn_cookies; /* enum stack_cookies */
	/* Of one source (IPv4 address, IPv6 /64), passive: 0: no limit. */
	uint16_t source_half_open; /* more get SYN cookies */
	uint16_t source_syns;      /* in a second */
	uint32_t source_connections;
	uint32_t challenge_acks; /* RFC 5961, in a second, about; 0: 1000 */
	uint16_t syn_cache;      /* half-open connections; 0: a quarter of connections_max */
};

struct stack_conf {
	uint32_t core_index; /* owner bits of our ephemeral ports */
	uint32_t connections_max;
	uint32_t rcv_buffer_bytes, snd_buffer_bytes; /* per connection, at most; 0: 256 KiB */
	struct stack_port ports[STACK_PORTS_MAX];
	unsigned port_count;
	/* Marks our own questions for addresses, should they come back (RFC 7527); the same on all
	 * cores.  0: each its own. */
	uint64_t claim_nonce;
	struct stack_tcp_conf tcp;
	uint32_t table_slots; /* the flow table's at first, a power of 2; 0: 65536 */
};

/* Main thread.  Memory from rte_malloc on socket; NULL: none. */
struct stack *stack_create(const struct stack_conf *conf, const struct stack_env *env, int socket);
/* Main thread, every 50 ms or so while the core runs: memory that the flow table will want is made
 * ready, and what it gave back is freed. */
void stack_tend(struct stack *st);
/* Drops all connections without a packet and frees every mbuf. */
void stack_destroy(struct stack **st);

/* Process received frames (Ethernet header first).  Takes the mbufs. */
void stack_input(
	struct stack *st, unsigned port, struct rte_mbuf **frames, unsigned n, uint64_t now_us);
/* End of lap: segments, ACKs and window updates of the flows touched in this lap; pending upcalls
 * (resume, writable).  Returns work done; 0: nothing was due. */
unsigned stack_flush(struct stack *st, uint64_t now_us);
/* Another core learned it. */
void stack_neigh_add(struct stack *st, unsigned port, const struct ip_addr *ip,
	const uint8_t mac[6], bool confirmed);

/* ---- steering: which core owns a frame; a pure function of the frame and the table ---- */

#define STACK_EPHEMERAL_FIRST 32768
#define STACK_EPHEMERAL_SHIFT 11 /* 2048 local ports per core and remote endpoint */

/* Built by main before the cores run; read-only afterwards. */
struct steer_table {
	unsigned core_count;
	struct {
		uint16_t port; /* service port */
		uint16_t cores_n;
		uint8_t cores[16]; /* by hash of the 4-tuple among them */
	} service[32];
	unsigned service_count;
	struct siphash_key *key; /* of the 4-tuple hash */
	/* Every port spreads flows as rss.h predicts: a service of all cores is owned by the core
	 * whose queue the card chose.  NULL: by our hash. */
	const struct rss *rss;
	uint8_t rss_core[16]; /* [queue] */
};
/* Returns the owner's core index; `here` for everything that is handled where it arrives (ARP, ICMP
 * echo, malformed frames, unknown ports). */
unsigned steer_owner(const struct steer_table *t, const struct rte_mbuf *frame, unsigned here);
/* Must every core see the frame, besides the one that has received it?  Answers to whoever has
 * asked for a neighbour, what routers say, and claims to addresses that may be ours. */
bool steer_for_all(const struct rte_mbuf *frame);
