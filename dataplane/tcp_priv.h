/* SPDX-License-Identifier: BSD-3-Clause
 * TCP inside the stack: the connection, its queues, and who calls whom:
 *
 *   tcp_in.c     segments by state (RFC 9293 3.10.7)   tcp_out.c   building and sending
 *   tcp_ack.c    what an ACK means                     tcp_sendq.c the retransmission queue
 *   tcp_recovery.c losses, and those that were none    tcp_ecn.c   congestion marks
 *   tcp_reass.c  the receive queue                     tcp_timer.c timeouts
 *   tcp_tso.c    several segments in one frame
 *   tcp_listen.c listeners and passive opens           tcp_tw.c    TIME_WAIT
 *   tcp_source.c limits for each source
 *   tcp_syn.c    half-open passive connections         tcp_cookie.c when there is no room for them
 *   tcp_conn.c   life of a connection, upcalls         tcp_stream.c calls of the application
 *   tcp_mtu.c    how large segments may be
 *
 * OWNER of everything: the core whose stack it is. */
#pragma once
#include "dataplane/ip.h"
#include "dataplane/stack.h"
#include "dataplane/tcp_cc.h"
#include "dataplane/tcp_table.h"

#define TCP_MSS_DEFAULT    536u              /* RFC 9293 3.7.1: IPv4 */
#define TCP_MSS_DEFAULT6   1220u             /* RFC 9293 3.7.1: IPv6 */
#define TCP_MSS_MIN        64u               /* chosen: a peer that asks for less gets this */
#define TCP_RTO_INITIAL_US (1 * US_PER_SEC)  /* RFC 6298 2.1 */
#define TCP_RTO_MIN_US     (200 * US_PER_MS) /* chosen, as is common; RFC 6298 says 1 s */
#define TCP_RTO_MAX_US     (60 * US_PER_SEC) /* RFC 6298 2.5 */
#define TCP_PROBE_ORPHAN_US                                                                        \
	(20 * US_PER_SEC) /* chosen: of a closed window, nine times in TCP_LINGER_US */
#define TCP_DELACK_US       (40 * US_PER_MS)   /* chosen; RFC 9293: below 500 ms */
#define TCP_PROBE_SLACK_US  (2 * US_PER_MS)    /* chosen: two ticks of the timer wheel */
#define TCP_PEER_DELACK_US  (200 * US_PER_MS)  /* chosen: the longest that is common */
#define TCP_RETRIES_MAX     12                 /* chosen: minutes; RFC 1122 R2: at least 100 s */
#define TCP_RETRIES_ORPHAN  8                  /* chosen: nobody waits for the data any more */
#define TCP_STALLED_US      (900 * US_PER_SEC) /* chosen: the peer answers, but takes nothing */
#define TCP_SYN_ACK_RETRIES 5                  /* chosen: about a minute */
#define TCP_LINGER_US                                                                              \
	(180 * US_PER_SEC) /* chosen: closed, and what is queued makes no progress                 \
			    */
#define TCP_FIN_WAIT_2_US         (60 * US_PER_SEC) /* chosen: closed, and the peer is not */
#define TCP_TIME_WAIT_US          (60 * US_PER_SEC) /* chosen: 2 MSL of 30 s */
#define TCP_TIME_WAIT_REUSE_US    (1 * US_PER_SEC)  /* chosen: own ports, when none is left */
#define TCP_CHALLENGE_US          (500 * US_PER_MS) /* chosen: one for each connection in this time */
#define TCP_KEEPALIVE_INTERVAL_US (75 * US_PER_SEC) /* chosen, as is common */
#define TCP_KEEPALIVE_PROBES      9                 /* the same */
#define TCP_CHALLENGES            1000 /* chosen, as is common: challenge ACKs in a second */
#define TCP_DUP_ACKS              3    /* RFC 5681 */
#define TCP_WSCALE_MAX            14   /* RFC 7323 2.3 */
#define TCP_SACK_BLOCKS           3
#define TCP_TS_OCTETS             12 /* of a segment: the option and two NOPs (RFC 7323 A) */
#define TCP_SENDQ_SEG_OCTETS                                                                       \
	512u /* chosen: less of the send buffer no segment counts for, so that a peer with a tiny  \
	      * MSS, or one that acknowledges nothing small, pins no more frames than others */
#define TCP_OOO_BUFFERS_MAX 192 /* chosen: out-of-order buffers of one connection */
#define TCP_HEADERS_MAX     118 /* Ethernet 14, VLAN 4, IPv6 40, TCP 20, options 40 */

enum tcp_state {
	TCP_CLOSED,
	TCP_SYN_SENT,
	TCP_SYN_RCVD,
	TCP_ESTABLISHED,
	TCP_FIN_WAIT_1,
	TCP_FIN_WAIT_2,
	TCP_CLOSE_WAIT,
	TCP_CLOSING,
	TCP_LAST_ACK,
	TCP_STATE_N
};

/* By bits, up to 30: an int. */
enum tcp_flag {
	CF_ACK_NOW = 1 << 0,        /* an ACK goes out at the end of the lap */
	CF_ACTIVE = 1 << 1,         /* opened by us */
	CF_FIN_QUEUED = 1 << 2,     /* FIN follows the send queue */
	CF_FIN_SENT = 1 << 3,       /* snd_nxt is beyond our FIN */
	CF_FIN_SEEN = 1 << 4,       /* the peer's FIN is at rcv_fin */
	CF_FIN_RCVD = 1 << 5,       /* and rcv_nxt is beyond it */
	CF_EOF_TOLD = 1 << 6,       /* on_eof was called */
	CF_RX_STOPPED = 1 << 7,     /* the application left data; waits for stream_resume */
	CF_RESUMED = 1 << 8,        /* stream_resume was called: deliver in the next flush */
	CF_WANT_WRITE = 1 << 9,     /* a send was short: on_writable is due */
	CF_TELL_WRITABLE = 1 << 10, /* call on_writable in the next flush */
	CF_SACK = 1 << 11,          /* both ends permit SACK */
	CF_RECOVERY = 1 << 12,      /* fast recovery until `recover` */
	CF_LOSS = 1 << 13,          /* after a timeout, until `recover` */
	CF_PERSIST = 1 << 14,       /* rto_at is the persist timer */
	CF_PROBE = 1 << 15,         /* send into a window that is too small */
	CF_POOL_WAIT = 1 << 16,     /* a send was short for want of mbufs */
	CF_ORPHAN = 1 << 17,        /* the application has closed; no upcalls */
	CF_FORCE_RETX = 1 << 18,    /* the next retransmission goes out whatever cwnd says */
	CF_WSCALE = 1 << 20,        /* both ends scale windows */
	CF_TLP = 1 << 21,           /* rto_at is the probe timeout of RFC 8985 */
	CF_TLP_SENT = 1 << 22,      /* a probe is out, and nothing new acknowledged since */
	CF_REORDER = 1 << 23,       /* rto_at is the reordering timer of RFC 8985 */
	CF_TS = 1 << 24,            /* both ends send timestamps (RFC 7323) */
	CF_UNREACHABLE = 1 << 29,   /* ICMP said so, and nothing has been acknowledged since */
	CF_MTU_BELOW = 1 << 30,     /* mss is less than the ends would take */
	CF_SYN_DUE = 1 << 19, /* SYN goes out in the next flush; life_at is still an interval */
	CF_ECN = 1 << 25,     /* both ends know of congestion marks (RFC 3168) */
	CF_ECE = 1 << 26,     /* a mark came: ACKs say so until the peer answers with CWR */
	CF_CWR_DUE = 1 << 27, /* the window was reduced: the next new data says so */
	CF_CWR = 1 << 28,     /* reduced without a loss under repair, until `recover` */
};

/* One TCP connection.  Line 0 and 1: looking up, receiving.  Line 2 and 3: sending.  Then timers
 * and what is cold.  No buffer is attached unless there is data. */
struct tcp_conn {
	struct tcp_key key;
	uint32_t flags;         /* enum tcp_flag */
	uint32_t ts_recent;     /* RFC 7323: to be echoed, and the floor of PAWS */
	uint32_t last_ack_sent; /* RFC 7323 */
	uint8_t state;          /* enum tcp_state */
	uint8_t port;
	uint8_t rcv_wscale, snd_wscale;
	uint8_t segs_unacked;  /* data segments since our last ACK */
	bool in_table : 1;     /* not any more when TIME_WAIT has taken over */
	bool dsack_due : 1;    /* octets came twice: the next ACK says so (RFC 2883) */
	uint16_t ts_recent_at; /* when, in units of TCP_TS_AGE_SHIFT */
	uint32_t rcv_nxt;
	uint32_t rcv_adv; /* right edge we have advertised; never moves left */
	/* line 1 */
	alignas(CACHE_LINE) struct stack *stack;
	struct stream *stream;                 /* NULL: not accepted yet, or closed */
	struct rte_mbuf *unread, *unread_tail; /* in order, not taken by the application */
	struct rte_mbuf *ooo;                  /* out of order, by sequence number */
	uint32_t unread_bytes;
	uint32_t charged;  /* octets of memory that unread and ooo pin */
	uint32_t ooo_last; /* sequence number of the newest arrival, for the first SACK block */
	uint8_t ooo_count; /* buffers, TCP_OOO_BUFFERS_MAX at most */
	uint8_t retries;   /* timeouts without any sign of life from the peer */
	uint16_t rcv_mss;  /* largest payload seen: what a full segment of the peer's is */
	uint32_t rcv_fin;
	uint32_t irs;
	/* line 2 */
	alignas(CACHE_LINE) struct rte_mbuf *sendq; /* oldest unacknowledged first */
	struct rte_mbuf *sendq_tail;
	struct rte_mbuf *unsent; /* first of sendq never sent; NULL: none */
	uint32_t snd_una, snd_nxt, snd_wnd, snd_wl1, snd_wl2;
	uint32_t snd_end;      /* sequence number behind the last octet queued */
	uint32_t sacked, lost; /* octets in flight that are SACKed / lost and not sent again */
	uint32_t recover;
	uint32_t ts_offset; /* of our clock, against the peer's guessing */
	struct tcp_cc cc;
	uint16_t mss;     /* octets of payload at most */
	uint8_t dup_acks; /* counted up to UINT8_MAX */
	uint8_t backoff;  /* doublings of the RTO */
	uint16_t sacked_segs;
	uint16_t sendq_segs; /* in sendq */
	/* timers, and what is cold */
	struct list lap;    /* on the stack's dirty list, or its free list */
	struct timer timer; /* at the earliest of the three; re-files itself when early */
	uint64_t rto_at;
	uint64_t life_at;    /* connect timeout, or an orphan's end */
	uint32_t delack_ms;  /* stack milliseconds; 0: no ACK is delayed */
	uint32_t generation; /* of the slot; 0 names no connection */
	union {
		struct listener *listener; /* SYN_RCVD of a passive open */
		uint64_t
			rack_us; /* later: when the latest segment known to have arrived was sent */
	};
	uint64_t last_send_us;
	uint32_t srtt_us, rttvar_us, iss, snd_wnd_max;
	uint32_t rack_end;    /* its right edge */
	uint32_t rack_rtt_us; /* and how long it took */
	uint32_t heard_ms;    /* stack milliseconds of the last acceptable segment */
	uint32_t min_rtt_us;  /* RFC 8985; 0: none was measured */
	struct list pending;  /* those that wait for the pool; of an orphan: the orphans */
};
static_assert(offsetof(struct tcp_conn, stack) == 64, "receiving is lines 0 and 1");
static_assert(offsetof(struct tcp_conn, sendq) == 128, "sending starts line 2");
static_assert(sizeof(struct tcp_conn) <= 384, "no further cache line without measuring");

/* Sequence numbers, end not included. */
struct tcp_range {
	uint32_t start, end;
};

/* Data segments without an ACK, after which there is one (RFC 9293 3.8.6.3). */
#define TCP_ACK_EVERY 2

/* What a connection needs only while something is wrong, or rarely: in an array parallel to conns,
 * so that the lines of the hot path stay few.  The same core touches it. */
struct tcp_cold {
	/* proportional rate reduction (RFC 6937): octets, of the recovery under way */
	uint32_t prr_delivered, prr_out, recover_fs;
	/* the window before it was reduced, in case the loss was none; undo_cwnd 0: no such case */
	uint32_t undo_cwnd, undo_ssthresh;
	uint32_t undo_ts;       /* our clock when the first segment went again (RFC 3522) */
	uint32_t undo_retrans;  /* segments sent again that no D-SACK has told of */
	struct tcp_range dsack; /* came twice: to be told once; empty: none (RFC 2883) */
	uint32_t fack;          /* right edge of all that is known to have arrived */
	uint32_t tlp_end;       /* snd_nxt when the probe was sent */
	uint32_t reo_round;     /* a D-SACK widens the reordering window once until then */
	uint8_t reo_mult;       /* quarters of min_rtt_us, beyond the first */
	uint8_t reo_persist;    /* recoveries for which it stays */
	uint8_t flags;          /* enum tcp_cold_flag */
	uint8_t silent;         /* timeouts in a row after which nothing was heard */
	uint32_t stalled_ms;    /* nothing was acknowledged since then; 0: not so */
	/* path MTU, as octets of payload */
	uint16_t mss_max;   /* what both ends and our link take */
	uint16_t mss_high;  /* does not pass, as far as is known; beyond mss_max: nothing known */
	uint16_t mss_probe; /* size of a larger segment under way; 0: none */
	uint16_t mtu_probe_at; /* when one may be tried; about seconds */
};
static_assert(sizeof(struct tcp_cold) <= 64, "with the TCB at most 448 octets");

/* What hardly anybody but who looks on wants to know; the third array. */
struct tcp_note {
	uint32_t began_s; /* when the connection was made, in seconds of the stack's clock */
	uint16_t in_wraps, out_wraps; /* times that rcv_nxt and snd_una went through 0 */
	uint32_t retransmits;
	uint32_t challenge_ms; /* stack milliseconds of the last challenge ACK */
	uint32_t untaken_ms;   /* the same, since when the application takes nothing of what is
				* unread; 0: nothing is.  Of an orphan: since when it is one */
	uint32_t gap_ms;       /* since when nothing came in order, if something waits for it */
};

/* All that an idle connection takes when all have come; the table's slots are then used to 3/8 at
 * least, so there are up to 8/3. */
#define TCP_IDLE_OCTETS                                                                            \
	(sizeof(struct tcp_conn) + sizeof(struct tcp_cold) + sizeof(struct tcp_note) +             \
		sizeof(struct tcp_slot) * 8 / 3)
static_assert(TCP_IDLE_OCTETS <= 512, "a million idle connections in half a gigabyte");

enum tcp_cold_flag {
	COLD_REORDERING = 1,  /* segments have overtaken each other on this path */
	COLD_TLP_RETRANS = 2, /* the probe was a segment sent again */
	COLD_BLACK_HOLE = 4,  /* full segments have timed out, smaller ones were tried */
	COLD_CORK = 8,        /* the application has more: no short segment yet */
};

/* A segment of the retransmission queue, in the private area of its mbuf.  The driver may hold the
 * mbuf, so where the payload is stands here and not in data_off. */
struct tcp_txseg {
	struct rte_mbuf *next;
	uint64_t sent_us; /* last time; 0: never */
	uint32_t seq;
	uint16_t len;         /* octets of payload */
	uint16_t payload_off; /* from buf_addr */
	uint8_t flags;        /* enum tcp_txseg_flag */
};
static_assert(sizeof(struct tcp_txseg) <= STACK_TX_PRIV, "fits the private area");

enum tcp_txseg_flag {
	TXS_SACKED = 1, /* the peer has it */
	TXS_LOST = 2,   /* to be sent again */
	TXS_RETX = 4,   /* was sent more than once: no RTT sample (Karn) */
	TXS_FIN = 8,    /* was sent with FIN */
	TXS_PROBE = 16, /* larger than mss, to find out whether it passes */
};

struct tcp_options {
	uint16_t mss; /* 0: absent */
	uint8_t wscale;
	bool has_wscale, sack_permitted, has_ts;
	uint8_t sack_n;
	uint32_t ts_val, ts_ecr;
	struct tcp_range sack[4];
};

/* A received segment, in host byte order.  m is trimmed to the payload. */
struct tcp_segment {
	struct rte_mbuf *m;
	struct tcp_key key;
	uint32_t seq, ack;
	uint32_t len; /* octets of payload */
	uint16_t window;
	uint8_t flags; /* RTE_TCP_*_FLAG */
	uint8_t port;
	uint8_t ecn; /* codepoint of its packet */
	struct tcp_options opt;
};

#define TCP_SYN_BUCKET      8u
#define TCP_SYN_ENTRIES_MAX 32768u /* indices are of 16 bits */

enum tcp_syn_flag {
	TCP_SYN_WSCALE = 1,
	TCP_SYN_SACK = 2,
	TCP_SYN_TS = 4,
	TCP_SYN_TWICE = 8,       /* the SYN came again, and was answered: no RTT sample (Karn) */
	TCP_SYN_CHALLENGED = 16, /* since the last answer */
	TCP_SYN_ECN = 32,
};

/* A half-open passive connection. */
struct tcp_syn {
	struct tcp_key key;
	uint32_t irs, iss;
	uint32_t ts_recent;
	uint32_t due;        /* of the microseconds' low bits: the answer goes out again */
	uint16_t next, prev; /* of those answered equally often, oldest first */
	uint16_t mss;        /* the peer's; 0: it did not say */
	uint16_t window;
	uint8_t flags;   /* enum tcp_syn_flag */
	uint8_t wscale;  /* the peer's */
	uint8_t repeats; /* of our answer, because nothing came */
	uint8_t port;
};
static_assert(sizeof(struct tcp_syn) == 64, "one cache line");

struct tcp_syn_cache {
	struct tcp_syn *entries; /* buckets of TCP_SYN_BUCKET */
	uint32_t *tags;          /* their hashes; 0: free */
	uint32_t size, used;
	struct {
		uint16_t oldest, newest;
	} waiting[TCP_SYN_ACK_RETRIES + 1]; /* [repeats] */
	struct timer timer;
};

/* SYN cookies. */
struct tcp_cookies {
	struct siphash_key secret[2]; /* [generation % 2] */
	uint64_t generation;
	uint64_t until_us; /* ACKs may be answers to one */
};

/* What sources of passive connections have. */
#define TCP_SOURCE_ROWS    2
#define TCP_SOURCE_PREFIX6 64u

struct tcp_source_cell {
	uint32_t connections, half_open;
	uint32_t second, syns; /* of that second */
};

struct tcp_sources {
	struct tcp_source_cell *rows[TCP_SOURCE_ROWS]; /* NULL: nothing is limited */
	uint32_t mask;
	struct siphash_key key;
};

enum tcp_source_verdict {
	TCP_SOURCE_PASS,
	TCP_SOURCE_COOKIE, /* answer, but remember nothing */
	TCP_SOURCE_DROP,
};

/* TIME_WAIT: what answers a late segment needs, and no more. */
struct tcp_tw {
	struct tcp_key key;
	uint32_t rcv_nxt, snd_nxt;
	uint32_t until_ms;             /* stack milliseconds */
	uint16_t next, prev;           /* oldest first; constant timeout; next of those unused */
	bool syn_answered;             /* a SYN that is no newer came, and was answered by an ACK */
	uint32_t ts_recent, ts_offset; /* offset 0: without timestamps */
};
static_assert(sizeof(struct tcp_tw) == 64, "one cache line");

static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}
static inline bool seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}
static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
	return seq_lt(a, b) ? b : a;
}
static inline uint32_t tcp_flight(const struct tcp_conn *c)
{
	return c->snd_nxt - c->snd_una;
}
static inline bool tcp_in_flight(const struct tcp_conn *c, uint32_t seq)
{
	return seq_le(c->snd_una, seq) && seq_lt(seq, c->snd_nxt);
}
static inline struct conn_id tcp_conn_id(const struct tcp_conn *c, uint32_t index)
{
	return (struct conn_id){.index = index, .generation = c->generation};
}

/* tcp_opt.c */
/* Options after the fixed header.  Malformed ones end the parsing; what was read stays. */
void tcp_options_parse(struct bytes in, struct tcp_options *opt_r);
/* What a SYN offers, or an answer takes. */
struct tcp_offer {
	uint16_t mss;
	int wscale; /* -1: none */
	bool sack, ts;
	uint32_t ts_val, ts_ecr;
};
/* Returns octets, at most 40. */
size_t tcp_options_syn(uint8_t *out, const struct tcp_offer *offer);
/* TCP_TS_OCTETS. */
size_t tcp_options_ts(uint8_t *out, uint32_t val, uint32_t ecr);
size_t tcp_options_sack(uint8_t *out, const struct tcp_range *blocks, unsigned n);

/* tcp_in.c */
/* m starts at the TCP header and ends with the segment; takes m. */
void tcp_input(struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt);
/* RFC 9293 3.10.7.4, first check: is any of seg in the window from next up to edge? */
bool tcp_window_takes(uint32_t next, uint32_t edge, const struct tcp_segment *seg);
/* A next hop did not answer, or ICMP says so, for a segment of ours (seq) with this key.  hard: the
 * other end or an administrator refuses; it is not a state of the network that may pass.  Returns
 * false: no such segment is in flight (RFC 5927 4.1). */
bool tcp_unreachable(struct stack *st, const struct tcp_key *key, uint32_t seq, bool hard);

/* tcp_mtu.c */
/* ICMP says that a segment of ours (seq) was too big; mtu: octets of IP packet that will pass.
 * Returns false: no such segment is in flight. */
bool tcp_packet_too_big(struct stack *st, const struct tcp_key *key, uint32_t seq, uint16_t mtu);
/* After the handshake; mss_max: octets of payload that both ends and our link take. */
void tcp_mtu_begin(struct tcp_conn *c, uint16_t mss_max);
/* The retransmission timer expired. */
void tcp_mtu_timeout(struct tcp_conn *c);
/* Size of a larger segment to be tried, now that there are data_n octets to send; 0: none. */
uint16_t tcp_mtu_probe_size(struct tcp_conn *c, size_t data_n);
void tcp_mtu_probe_acked(struct tcp_conn *c, uint16_t len);
void tcp_mtu_probe_failed(struct tcp_conn *c);
/* Nothing but a segment that was tried for its size is lost: no congestion. */
bool tcp_mtu_only_probe_lost(struct tcp_conn *c);

/* tcp_ack.c */
/* RFC 5961 5: neither of data we never sent nor older than any window. */
static inline bool tcp_ack_plausible(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	return !seq_lt(c->snd_nxt, seg->ack) && !seq_lt(seg->ack, c->snd_una - c->snd_wnd_max);
}
/* Returns false when the segment must not be processed further. */
bool tcp_ack_process(struct tcp_conn *c, const struct tcp_segment *seg);
void tcp_window_update(struct tcp_conn *c, const struct tcp_segment *seg);
/* The reordering timer expired. */
void tcp_reorder_timeout(struct tcp_conn *c);
void tcp_rtt_sample(struct tcp_conn *c, uint64_t rtt_us);
uint32_t tcp_pipe(const struct tcp_conn *c);

/* What an ACK told. */
struct tcp_acked {
	uint32_t bytes;        /* octets of payload newly acknowledged in sequence */
	bool overtook;         /* a segment sent only once came behind ones sent later */
	uint64_t sent_us;      /* of the youngest segment sent only once; 0: none */
	uint64_t resent_us;    /* of the oldest last transmission of others; 0: none */
	uint64_t delivered_us; /* of the youngest transmission known to have arrived */
	uint32_t delivered_end;
	uint32_t rack_rtt_us; /* of the segment looked at last (RFC 8985 6.2 step 2) */
	uint16_t probe_len;   /* a segment tried for its size has arrived: its octets */
};

/* tcp_recovery.c */
/* Is cwnd being reduced, by PRR? */
static inline bool tcp_reducing(const struct tcp_conn *c)
{
	return c->flags & (CF_RECOVERY | CF_CWR);
}
/* A loss was found: delivered octets by the ACK that told of it. */
void tcp_recovery_enter(struct tcp_conn *c, uint32_t delivered);
/* All that was in flight then is acknowledged. */
void tcp_recovery_leave(struct tcp_conn *c);
/* Congestion without a loss to repair: a mark, or a loss that was repaired unseen. */
void tcp_cwr_enter(struct tcp_conn *c, uint32_t delivered);
/* An ACK while the window is being reduced.  safe: it moved snd_una and told of no further loss. */
void tcp_prr_ack(struct tcp_conn *c, uint32_t delivered, bool safe);
/* The retransmission timer expired, for the first time; before the window is cut. */
void tcp_undo_begin(struct tcp_conn *c);
/* A segment was sent again. */
void tcp_undo_resent(struct tcp_conn *c);
/* Was the reduction a mistake, says the echo of this ACK (RFC 3522)?  Then it is undone. */
bool tcp_undo_by_echo(
	struct tcp_conn *c, const struct tcp_segment *seg, const struct tcp_acked *acked);
/* What a D-SACK tells.  Returns whether the segment has one. */
bool tcp_dsack_input(struct tcp_conn *c, const struct tcp_segment *seg);
/* What became of a tail loss probe (RFC 8985 7.4). */
void tcp_probe_outcome(struct tcp_conn *c, const struct tcp_segment *seg, bool dsack);
/* How long a segment may be overtaken before it counts as lost (RFC 8985 6.2), us. */
uint32_t tcp_reorder_window_us(const struct tcp_conn *c);

/* tcp_ecn.c: congestion marks (RFC 3168) */
/* Flags of a SYN or an answer to one; and what an answer agrees on. */
uint8_t tcp_ecn_syn_flags(const struct tcp_conn *c);
void tcp_ecn_answered(struct tcp_conn *c, const struct tcp_segment *seg);
/* Does a SYN offer it, and do we take it? */
bool tcp_ecn_offered(const struct stack *st, const struct tcp_segment *seg);
/* An acceptable segment came: marks. */
void tcp_ecn_input(struct tcp_conn *c, const struct tcp_segment *seg);
/* The peer tells of marks. */
void tcp_ecn_echo(struct tcp_conn *c, uint32_t delivered);
/* Codepoint of a data segment; its flags are completed. */
uint8_t tcp_ecn_data(struct tcp_conn *c, bool again, uint8_t *flags);

/* tcp_sendq.c */
static inline struct tcp_txseg *tcp_txseg_of(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}
/* Octets that the queue takes, of n, so that it does not get too many segments. */
size_t tcp_sendq_room(const struct tcp_conn *c, size_t n);
/* Has it fewer than two thirds of them? */
bool tcp_sendq_airy(const struct tcp_conn *c);
/* Copy into the queue, full segments; returns octets taken (fewer: buffer or pool full). */
size_t tcp_sendq_append(struct tcp_conn *c, struct bytes data);
/* Cut a segment of the queue after len octets.  Returns 0 or -ENOBUFS. */
int tcp_sendq_split(struct tcp_conn *c, struct rte_mbuf *m, uint16_t len) WARN_UNUSED;
void tcp_sendq_ack(struct tcp_conn *c, uint32_t ack, struct tcp_acked *acked);
/* Mark what the blocks cover; returns octets newly covered. */
uint32_t tcp_sendq_sack(struct tcp_conn *c, const struct tcp_options *opt, struct tcp_acked *acked);
/* RFC 6675 IsLost, and RACK (RFC 8985): a segment is lost when one sent later has arrived and its
 * own time is up.  Returns when the next time is up; 0: none is waited for. */
uint64_t tcp_sendq_mark_lost(struct tcp_conn *c);
/* The oldest segment that the peer does not have counts as lost. */
void tcp_sendq_mark_head_lost(struct tcp_conn *c);
/* So does all that is in flight and longer than len octets. */
void tcp_sendq_mark_longer_lost(struct tcp_conn *c, uint16_t len);
/* Timeout: all that is in flight counts as lost. */
void tcp_sendq_mark_all_lost(struct tcp_conn *c);
/* Nothing was lost, after all. */
void tcp_sendq_mark_none_lost(struct tcp_conn *c);
struct rte_mbuf *tcp_sendq_first_lost(const struct tcp_conn *c);
void tcp_sendq_free(struct tcp_conn *c);

/* tcp_reass.c */
/* Take the payload of an acceptable segment; m NULL: none.  Upcalls happen.  Takes m. */
void tcp_reass_input(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint32_t len);
/* Is an octet held out of order that is at seq or behind? */
bool tcp_reass_reaches(const struct tcp_conn *c, uint32_t seq);
/* Give unread data to the application. */
void tcp_reass_deliver(struct tcp_conn *c);
/* What is held out of order, as at most room blocks; returns how many. */
unsigned tcp_reass_sack(const struct tcp_conn *c, struct tcp_range *blocks, unsigned room);
/* Octets came again: the next ACK tells. */
void tcp_reass_twice(struct tcp_conn *c, uint32_t start, uint32_t end);
void tcp_reass_free(struct tcp_conn *c);
/* For want of memory: the peer sends it again. */
void tcp_reass_drop_ooo(struct tcp_conn *c);
/* Octets the window may still offer. */
uint32_t tcp_reass_space(const struct tcp_conn *c);

/* tcp_out.c */
/* All that may be sent now: retransmissions, data, FIN, or an ACK. */
void tcp_output(struct tcp_conn *c);
/* Tail loss probe: new data if there is some, else the last segment again (RFC 8985 7.3). */
void tcp_send_tail_probe(struct tcp_conn *c);
void tcp_send_syn(struct tcp_conn *c); /* SYN or SYN-ACK, by state */
void tcp_send_ack(struct tcp_conn *c);
void tcp_send_challenge(struct tcp_conn *c);
/* The same for a RST, which is not said again: when one may not go now it goes later. */
void tcp_challenge_reset(struct tcp_conn *c);
/* Has the stack a challenge ACK left? */
bool tcp_challenge_allowed(struct stack *st);
/* An octet before the window, without data. */
void tcp_send_keepalive(struct tcp_conn *c);
void tcp_send_rst(struct tcp_conn *c);
/* RFC 9293 3.10.7.1: in answer to a segment that belongs to nothing. */
void tcp_reply_rst(struct stack *st, const struct tcp_segment *seg);
void tcp_reply_ack(struct stack *st, const struct tcp_tw *tw);
/* The SYN-ACK of a half-open connection, and a bare ACK.  ts: our timestamp, if there is one. */
void tcp_reply_syn_ack(struct stack *st, const struct tcp_syn *e, uint32_t ts);
void tcp_reply_half_open(struct stack *st, const struct tcp_syn *e, uint32_t ts);
bool tcp_window_update_due(const struct tcp_conn *c);
/* m holds payload alone, of which the first octet is seq: options and headers come before it. */
void tcp_send_frame(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint8_t flags);

/* tcp_tso.c */
/* Several fresh segments in one frame, if the port cuts them and the windows let them go.  Returns
 * false: none went. */
bool tcp_tso_send(struct tcp_conn *c);

/* tcp_timer.c */
void tcp_timer_fire(struct timer *t, uint64_t now_us);
uint64_t tcp_rto_us(const struct tcp_conn *c);
/* An ACK goes out within the delay, unless something takes it along before. */
void tcp_ack_delay(struct tcp_conn *c);
/* An ACK goes at that time of the stack's milliseconds, or before. */
void tcp_ack_by(struct tcp_conn *c, uint32_t at_ms);
/* Restart or stop the retransmission timer by what is in flight. */
void tcp_timer_rto(struct tcp_conn *c);
void tcp_timer_persist(struct tcp_conn *c);
/* New data was sent: a tail loss probe waits for it as well. */
void tcp_timer_probe(struct tcp_conn *c);
/* Let the timer stand at the earliest deadline. */
void tcp_timer_update(struct tcp_conn *c);

/* tcp_ts.c: timestamps (RFC 7323) */
/* Our clock: milliseconds. */
uint32_t tcp_ts_now(const struct tcp_conn *c);
/* Not 0; random for each pair of endpoints, so that it goes on from one incarnation to the next. */
uint32_t tcp_ts_offset(struct stack *st, const struct tcp_key *key);
/* Is the segment one of the past (PAWS), or without the timestamp it must have? */
bool tcp_ts_refuses(const struct tcp_conn *c, const struct tcp_segment *seg);
/* An acceptable segment came. */
void tcp_ts_update(struct tcp_conn *c, const struct tcp_segment *seg);
/* One came again that reaches up to our last ACK, which was lost then: the next one echoes this
 * transmission.  RFC 7323 5.3 R2 would let the first be echoed, and a peer that times by echoes
 * counts its timeout into the RTT, so that each further one is longer. */
void tcp_ts_update_again(struct tcp_conn *c, const struct tcp_segment *seg);
/* The first one: from a SYN. */
void tcp_ts_begin(struct tcp_conn *c, const struct tcp_options *opt);
/* What the echo tells of the RTT, in us; 0: nothing. */
uint64_t tcp_ts_rtt_us(const struct tcp_conn *c, const struct tcp_segment *seg);

/* tcp_conn.c */
struct tcp_conn *tcp_conn_lookup(struct stack *st, const struct tcp_key *key);
/* A connection entered in the table; NULL: none free. */
struct tcp_conn *tcp_conn_create(struct stack *st, const struct tcp_key *key, unsigned port);
/* What a peer takes that does not say (RFC 9293 3.7.1). */
uint16_t tcp_mss_default(const struct ip_addr *peer);
/* The MSS we announce to peer: what the port takes (RFC 6691). */
uint16_t tcp_mss_ours(const struct stack *st, unsigned port, const struct ip_addr *peer);
/* The window scale we announce. */
uint8_t tcp_wscale_ours(const struct stack *st);
/* After the handshake's options are known. */
void tcp_conn_options(struct tcp_conn *c, const struct tcp_options *opt);
void tcp_conn_set_state(struct tcp_conn *c, enum tcp_state state);
/* Out of the table, everything freed, state CLOSED, no upcall; the slot is used again after the
 * lap, so callers up the stack may still look at the state. */
void tcp_conn_kill(struct tcp_conn *c);
/* The same, then on_close if the application still has it. */
void tcp_conn_end(struct tcp_conn *c, enum stream_reason reason);
void tcp_conn_dirty(struct tcp_conn *c);
/* What follows from FINs, theirs and ours: states, on_eof, the end.  Upcalls happen. */
void tcp_conn_progress(struct tcp_conn *c);
/* Has the peer acknowledged our FIN? */
bool tcp_conn_fin_acked(const struct tcp_conn *c);
void tcp_conn_attach(struct tcp_conn *c, struct stream *s);
uint32_t tcp_isn(struct stack *st, const struct tcp_key *key);

/* tcp_stream.c */
extern const struct stream_transport tcp_transport;
void tcp_stream_pool_wakeup(struct stack *st);

/* tcp_syn.c */
/* Entries that conf asks for. */
uint32_t tcp_syn_entries(const struct stack_conf *conf);
/* Returns false: no memory. */
bool tcp_syn_init(struct stack *st, int socket);
void tcp_syn_fini(struct stack *st);
struct tcp_syn *tcp_syn_lookup(struct stack *st, const struct tcp_key *key);
/* What is to be known of a SYN, but for our number. */
void tcp_syn_fill(const struct stack *st, const struct tcp_segment *seg, struct tcp_syn *e_r);
/* A SYN for a listener; isn_floor as for tcp_listen_input.  Returns false: no room. */
bool tcp_syn_open(struct stack *st, const struct tcp_segment *seg, uint32_t isn_floor);
/* A segment of a half-open connection.  Returns the connection, in SYN_RCVD, when seg acknowledges
 * our SYN: seg is to be processed further. */
struct tcp_conn *tcp_syn_input(struct stack *st, struct tcp_syn *e, const struct tcp_segment *seg);
/* The connection, in SYN_RCVD; NULL: none free. */
struct tcp_conn *tcp_syn_conn(struct stack *st, const struct tcp_syn *e, struct listener *l);
/* As tcp_unreachable. */
bool tcp_syn_unreachable(struct stack *st, struct tcp_syn *e, uint32_t seq, bool hard);
/* The window that the SYN-ACK tells. */
uint32_t tcp_syn_window(const struct stack *st, const struct tcp_syn *e);

/* tcp_cookie.c */
void tcp_cookie_init(struct stack *st);
/* Answer a SYN and remember nothing. */
void tcp_cookie_answer(struct stack *st, const struct tcp_segment *seg, uint32_t isn_floor);
/* An ACK that belongs to nothing, for l, while cookies are believed.  As tcp_syn_input; answers
 * what is to be answered. */
struct tcp_conn *tcp_cookie_input(
	struct stack *st, const struct tcp_segment *seg, struct listener *l);

/* tcp_source.c */
/* Returns false: no memory. */
bool tcp_source_init(struct stack *st, int socket);
void tcp_source_fini(struct stack *st);
/* A SYN came: counts it. */
enum tcp_source_verdict tcp_source_syn(struct stack *st, const struct ip_addr *source);
/* Has the source all the connections that it may have?  Counted. */
bool tcp_source_full(struct stack *st, const struct ip_addr *source);
/* change: 1 or -1. */
void tcp_source_half_open(struct stack *st, const struct ip_addr *source, int change);
void tcp_source_connection(struct stack *st, const struct ip_addr *source, int change);

/* tcp_listen.c */
/* NULL: nobody listens. */
struct listener *tcp_listener_find(const struct stack *st, uint16_t port);
/* A segment that belongs to no connection.  isn_floor: 0, or sequence numbers of an earlier
 * incarnation end there.  Returns as tcp_syn_input. */
struct tcp_conn *tcp_listen_input(
	struct stack *st, const struct tcp_segment *seg, uint32_t isn_floor);
/* The handshake's ACK came.  Returns false when the connection is gone. */
bool tcp_listen_accept(struct tcp_conn *c);

/* tcp_grow.c */
/* chosen: 2 KiB of old slots in a lap; 32,768 are moved in 128 laps */
#define TCP_GROW_LAP_STEP 256u
/* The flow table and what main has ready for it. */
struct tcp_growth {
	_Atomic uint32_t wanted;          /* slots that the table will want next; 0: none */
	uint32_t made;                    /* main's: the last that it made ready */
	_Atomic(struct tcp_slot *) ready; /* main to core: cleared */
	_Atomic(struct tcp_slot *) spent; /* core to main: nothing is in it any more */
	int socket;
};
/* The table is without its key then.  Returns false: no memory. */
bool tcp_grow_init(struct stack *st, int socket);
void tcp_grow_fini(struct stack *st);
/* The table grows, or should: a lap's part of it. */
void tcp_grow_lap(struct stack *st);

/* tcp_tw.c */
void tcp_tw_init(struct stack *st);
void tcp_tw_add(struct tcp_conn *c);
/* Returns true when seg may open a new connection (tw is gone then). */
bool tcp_tw_input(struct stack *st, struct tcp_tw *tw, const struct tcp_segment *seg);
void tcp_tw_fire(struct timer *t, uint64_t now_us);
struct tcp_tw *tcp_tw_lookup(struct stack *st, const struct tcp_key *key);
void tcp_tw_remove(struct stack *st, struct tcp_tw *tw);
