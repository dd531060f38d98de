/* SPDX-License-Identifier: BSD-3-Clause
 * Congestion control of one connection behind a table of operations.  The stack tells what was
 * acknowledged and lost; the algorithm answers with cwnd and ssthresh.  OWNER: the core. */
#pragma once
#include "dataplane/base/check.h"

#define TCP_CC_IW_SEGMENTS 10 /* RFC 6928 */

struct tcp_cc {
	const struct tcp_cc_ops *ops;
	uint32_t cwnd, ssthresh; /* octets */
	uint32_t mss;
	uint32_t acked;   /* octets acknowledged since cwnd last grew, congestion avoidance */
	uint64_t priv[3]; /* of the algorithm */
};

struct tcp_cc_ops {
	const char *name;
	void (*init)(struct tcp_cc *cc, uint32_t mss);
	/* New data was acknowledged while the window was in use (RFC 7661: not otherwise). */
	void (*acked)(struct tcp_cc *cc, uint32_t bytes, uint64_t now_us, uint32_t srtt_us);
	/* A loss was found by duplicate ACKs or SACK; flight: octets outstanding. */
	void (*lost)(struct tcp_cc *cc, uint32_t flight, uint64_t now_us);
	/* The retransmission timer expired.  first: for the first time since the last progress. */
	void (*timeout)(struct tcp_cc *cc, uint32_t flight, bool first);
	/* Nothing was sent for longer than the RTO. */
	void (*idle)(struct tcp_cc *cc);
};

extern const struct tcp_cc_ops tcp_cc_newreno; /* RFC 5681 */
