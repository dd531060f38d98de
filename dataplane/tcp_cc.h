/* SPDX-License-Identifier: BSD-3-Clause
 * Congestion control of one connection behind a table of operations.  The stack tells what was
 * acknowledged and lost; the algorithm answers with cwnd and ssthresh.  Octets everywhere.  OWNER:
 * the core. */
#pragma once
#include "dataplane/base/check.h"

#define TCP_CC_IW_SEGMENTS 10          /* RFC 6928 */
#define TCP_CC_CWND_MAX    (64u << 20) /* chosen: far beyond any send buffer */

enum tcp_cc_algorithm { TCP_CC_CUBIC, TCP_CC_NEWRENO, TCP_CC_N };

struct tcp_cc {
	uint32_t cwnd, ssthresh; /* ssthresh UINT32_MAX: no congestion was met yet */
	uint32_t acked;          /* octets that have not made the window grow yet */
	uint16_t mss;
	uint8_t algorithm;                /* enum tcp_cc_algorithm */
	uint8_t initial_window;           /* segments */
	uint32_t round_end, round_flight; /* RFC 7661: the most in flight of a round */
	uint32_t priv[6];                 /* of the algorithm */
};

/* An ACK of new data. */
struct tcp_cc_ack {
	uint32_t bytes;
	uint32_t rtt_us; /* measured by this ACK; 0: not */
	uint32_t srtt_us;
	uint32_t una, nxt; /* sequence numbers: acknowledged, and sent so far */
	uint64_t now_us;
	bool limited; /* the window was not in use: no proof that it may grow (RFC 7661) */
};

struct tcp_cc_ops {
	const char *name;
	void (*init)(struct tcp_cc *cc);
	void (*acked)(struct tcp_cc *cc, const struct tcp_cc_ack *ack);
	/* Congestion: a loss or a mark.  Sets ssthresh and cwnd; flight: octets outstanding. */
	void (*lost)(struct tcp_cc *cc, uint32_t flight);
	/* The retransmission timer expired, for the first time since the last progress. */
	void (*timeout)(struct tcp_cc *cc, uint32_t flight);
	/* What was taken for congestion was none: cwnd and ssthresh are as before. */
	void (*undo)(struct tcp_cc *cc);
	/* Nothing was sent for longer than the RTO; cwnd has been cut. */
	void (*idle)(struct tcp_cc *cc);
};

extern const struct tcp_cc_ops tcp_cc_newreno; /* RFC 5681 */
extern const struct tcp_cc_ops tcp_cc_cubic;   /* RFC 9438, with HyStart++ (RFC 9406) */

/* initial_window: segments; 0: RFC 6928's. */
void tcp_cc_init(
	struct tcp_cc *cc, enum tcp_cc_algorithm algorithm, uint16_t mss, uint8_t initial_window);
const char *tcp_cc_name(const struct tcp_cc *cc);
void tcp_cc_acked(struct tcp_cc *cc, const struct tcp_cc_ack *ack);
void tcp_cc_lost(struct tcp_cc *cc, uint32_t flight);
/* first: since the last progress; a retransmission that is lost as well says nothing new. */
void tcp_cc_timeout(struct tcp_cc *cc, uint32_t flight, bool first);
void tcp_cc_undo(struct tcp_cc *cc, uint32_t cwnd, uint32_t ssthresh);
void tcp_cc_idle(struct tcp_cc *cc);
/* Segments have another size from now on. */
void tcp_cc_set_mss(struct tcp_cc *cc, uint16_t mss);
