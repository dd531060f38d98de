/* SPDX-License-Identifier: BSD-3-Clause
 * What all algorithms share, and NewReno (RFC 5681, RFC 6928). */
#include "dataplane/tcp_cc.h"

static const struct tcp_cc_ops *const table[TCP_CC_N] = {
	[TCP_CC_CUBIC] = &tcp_cc_cubic,
	[TCP_CC_NEWRENO] = &tcp_cc_newreno,
};

static const struct tcp_cc_ops *ops_of(const struct tcp_cc *cc)
{
	return table[cc->algorithm];
}

/* RFC 6928 2, unless the user wants another number of segments. */
static uint32_t initial_window(const struct tcp_cc *cc)
{
	if (cc->initial_window)
		return (uint32_t)cc->initial_window * cc->mss;
	return MIN(TCP_CC_IW_SEGMENTS * (uint32_t)cc->mss, MAX(2u * cc->mss, 14600u));
}

void tcp_cc_init(struct tcp_cc *cc, enum tcp_cc_algorithm algorithm, uint16_t mss, uint8_t segments)
{
	*cc = (struct tcp_cc){.algorithm = (uint8_t)algorithm,
		.mss = mss,
		.initial_window = segments,
		.ssthresh = UINT32_MAX};
	cc->cwnd = initial_window(cc);
	if (ops_of(cc)->init)
		ops_of(cc)->init(cc);
}

const char *tcp_cc_name(const struct tcp_cc *cc)
{
	return ops_of(cc)->name;
}

void tcp_cc_acked(struct tcp_cc *cc, const struct tcp_cc_ack *ack)
{
	ops_of(cc)->acked(cc, ack);
	cc->cwnd = MIN(cc->cwnd, TCP_CC_CWND_MAX);
}

void tcp_cc_lost(struct tcp_cc *cc, uint32_t flight)
{
	ops_of(cc)->lost(cc, flight);
}

void tcp_cc_timeout(struct tcp_cc *cc, uint32_t flight, bool first)
{
	if (first)
		ops_of(cc)->timeout(cc, flight);
	cc->cwnd = cc->mss;
	cc->acked = 0;
}

void tcp_cc_undo(struct tcp_cc *cc, uint32_t cwnd, uint32_t ssthresh)
{
	cc->cwnd = MAX(cc->cwnd, cwnd);
	cc->ssthresh = ssthresh;
	if (ops_of(cc)->undo)
		ops_of(cc)->undo(cc);
}

void tcp_cc_idle(struct tcp_cc *cc)
{
	cc->cwnd = MIN(cc->cwnd, initial_window(cc)); /* RFC 5681 4.1 */
	if (ops_of(cc)->idle)
		ops_of(cc)->idle(cc);
}

void tcp_cc_set_mss(struct tcp_cc *cc, uint16_t mss)
{
	cc->mss = mss;
	cc->cwnd = MAX(cc->cwnd, (uint32_t)mss);
}

/* ---- NewReno ---- */

static void newreno_acked(struct tcp_cc *cc, const struct tcp_cc_ack *ack)
{
	if (ack->limited)
		return;
	if (cc->cwnd < cc->ssthresh) {
		/* RFC 3465: count octets, at most two segments for each ACK. */
		cc->cwnd += MIN(ack->bytes, 2u * cc->mss);
		return;
	}
	cc->acked += ack->bytes;
	if (cc->acked >= cc->cwnd) {
		cc->acked -= cc->cwnd;
		cc->cwnd += cc->mss;
	}
}

static void newreno_lost(struct tcp_cc *cc, uint32_t flight)
{
	cc->ssthresh = MAX(flight / 2, 2u * cc->mss);
	cc->cwnd = cc->ssthresh;
	cc->acked = 0;
}

static void newreno_timeout(struct tcp_cc *cc, uint32_t flight)
{
	cc->ssthresh = MAX(flight / 2, 2u * cc->mss); /* RFC 5681 eq. 4 */
}

const struct tcp_cc_ops tcp_cc_newreno = {
	.name = "newreno",
	.acked = newreno_acked,
	.lost = newreno_lost,
	.timeout = newreno_timeout,
};
