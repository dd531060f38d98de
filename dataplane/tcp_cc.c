/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/tcp_cc.h"

#define CWND_MAX (64u << 20) /* chosen: far beyond any send buffer */

/* RFC 5681 3.1, with the initial window of RFC 6928. */
static uint32_t initial_window(uint32_t mss)
{
	return MIN(TCP_CC_IW_SEGMENTS * mss, MAX(2 * mss, 14600u));
}

static void newreno_init(struct tcp_cc *cc, uint32_t mss)
{
	cc->mss = mss;
	cc->cwnd = initial_window(mss);
	cc->ssthresh = UINT32_MAX;
	cc->acked = 0;
}

static void newreno_acked(struct tcp_cc *cc, uint32_t bytes, uint64_t now_us, uint32_t srtt_us)
{
	(void)now_us;
	(void)srtt_us;
	if (cc->cwnd < cc->ssthresh) {
		/* RFC 3465: count octets, at most two segments for each ACK. */
		cc->cwnd += MIN(bytes, 2 * cc->mss);
	} else {
		cc->acked += bytes;
		if (cc->acked >= cc->cwnd) {
			cc->acked -= cc->cwnd;
			cc->cwnd += cc->mss;
		}
	}
	cc->cwnd = MIN(cc->cwnd, CWND_MAX);
}

static void newreno_lost(struct tcp_cc *cc, uint32_t flight, uint64_t now_us)
{
	(void)now_us;
	cc->ssthresh = MAX(flight / 2, 2 * cc->mss);
	cc->cwnd = cc->ssthresh;
	cc->acked = 0;
}

static void newreno_timeout(struct tcp_cc *cc, uint32_t flight, bool first)
{
	/* RFC 5681 eq. 4; not again for a retransmission that is lost as well. */
	if (first)
		cc->ssthresh = MAX(flight / 2, 2 * cc->mss);
	cc->cwnd = cc->mss;
	cc->acked = 0;
}

static void newreno_idle(struct tcp_cc *cc)
{
	cc->cwnd = MIN(cc->cwnd, initial_window(cc->mss)); /* RFC 5681 4.1 */
}

const struct tcp_cc_ops tcp_cc_newreno = {
	.name = "newreno",
	.init = newreno_init,
	.acked = newreno_acked,
	.lost = newreno_lost,
	.timeout = newreno_timeout,
	.idle = newreno_idle,
};
