/* SPDX-License-Identifier: BSD-3-Clause
 * CUBIC (RFC 9438) with HyStart++ (RFC 9406), in integers.  In the first slow start the private
 * state is HyStart's, from the first congestion on it is CUBIC's. */
#include <string.h>
#include "dataplane/base/clock.h"
#include "dataplane/tcp_cc.h"

/* C = 0.4 segments a cubic second = 4 / 10^10 segments a cubic millisecond; beta = 0.7. */
#define CUBIC_C_NUM    4ull
#define CUBIC_C_DEN    10000000000ull
#define CUBIC_BETA_10  7u
#define CUBIC_TIME_MAX 60000u /* ms: beyond, the window is at its bound whatever the start */
/* alpha of the Reno-friendly region: 3 (1 - beta) / (1 + beta) = 9 / 17 */
#define CUBIC_ALPHA_NUM 9u
#define CUBIC_ALPHA_DEN 17u

struct cubic {
	uint32_t w_max;      /* octets; 0: none known */
	uint32_t cwnd_prior; /* window at the last reduction */
	uint32_t k_ms;
	uint32_t epoch_ms;  /* of this stage of congestion avoidance; 0: not begun */
	uint32_t w_est;     /* what Reno would have */
	uint32_t est_acked; /* octets acknowledged that have not made w_est grow */
};

struct hystart {
	uint32_t window_end;                  /* of the round */
	uint32_t last_min_us, current_min_us; /* 0: not known */
	uint32_t baseline_us;
	uint16_t samples;
	uint8_t css_rounds;
	bool css;     /* conservative slow start */
	bool started; /* window_end is valid */
};
static_assert(sizeof(struct cubic) <= sizeof(((struct tcp_cc *)0)->priv), "fits");
static_assert(sizeof(struct hystart) <= sizeof(((struct tcp_cc *)0)->priv), "fits");

/* ---- HyStart++ ---- */

#define RTT_THRESH_MIN_US (4 * US_PER_MS) /* these are RFC 9406 4.3's */
#define RTT_THRESH_MAX_US (16 * US_PER_MS)
#define RTT_DIVISOR       8
#define RTT_SAMPLES       8
#define CSS_DIVISOR       4
#define CSS_ROUNDS        5
#define SLOW_START_L      8 /* segments an ACK may count: there is no pacing */

static void hystart_round(struct tcp_cc *cc, struct hystart *h, uint32_t nxt)
{
	h->window_end = nxt;
	h->started = true;
	h->last_min_us = h->current_min_us;
	h->current_min_us = 0;
	h->samples = 0;
	if (h->css && ++h->css_rounds >= CSS_ROUNDS)
		cc->ssthresh = cc->cwnd;
}

static void hystart_sample(struct hystart *h, uint32_t rtt_us)
{
	if (!rtt_us)
		return;
	if (h->samples < UINT16_MAX)
		h->samples++;
	if (!h->current_min_us || rtt_us < h->current_min_us)
		h->current_min_us = rtt_us;
	if (h->samples < RTT_SAMPLES || !h->last_min_us)
		return;
	uint32_t thresh = MIN(MAX(h->last_min_us / RTT_DIVISOR, (uint32_t)RTT_THRESH_MIN_US),
		(uint32_t)RTT_THRESH_MAX_US);
	if (!h->css && h->current_min_us >= h->last_min_us + thresh) {
		h->css = true;
		h->css_rounds = 0;
		h->baseline_us = h->current_min_us;
	} else if (h->css && h->current_min_us < h->baseline_us) {
		h->css = false; /* the delay was no queue of ours */
	}
}

static void slow_start(struct tcp_cc *cc, const struct tcp_cc_ack *ack)
{
	struct hystart *h = (struct hystart *)cc->priv;
	bool first = cc->ssthresh == UINT32_MAX;
	uint32_t grow = MIN(ack->bytes, SLOW_START_L * (uint32_t)cc->mss);

	if (first) {
		hystart_sample(h, ack->rtt_us);
		if (!h->started || (int32_t)(ack->una - h->window_end) >= 0)
			hystart_round(cc, h, ack->nxt);
		if (h->css)
			grow /= CSS_DIVISOR;
	}
	if (!ack->limited)
		cc->cwnd += grow;
	if (first && cc->ssthresh != UINT32_MAX)
		memset(cc->priv, 0, sizeof(cc->priv)); /* HyStart++ has found the end */
}

/* ---- CUBIC ---- */

/* The largest x with x^3 <= v. */
static uint32_t cube_root(uint64_t v)
{
	uint64_t x = 0;

	for (int bit = 20; bit >= 0; bit--) {
		uint64_t y = x | 1ull << bit;
		if (y * y * y <= v)
			x = y;
	}
	return (uint32_t)x;
}

/* Octets between the window and its plateau, delta_ms away from K. */
static uint64_t cubic_octets(uint32_t delta_ms, uint32_t mss)
{
	uint64_t d = MIN(delta_ms, CUBIC_TIME_MAX);

	return d * d * d * CUBIC_C_NUM * mss / CUBIC_C_DEN;
}

static void epoch_begin(struct tcp_cc *cc, struct cubic *q, uint64_t now_us)
{
	uint32_t now_ms = (uint32_t)(now_us / US_PER_MS);

	q->epoch_ms = now_ms ? now_ms : 1;
	q->w_est = cc->cwnd;
	q->est_acked = 0;
	cc->acked = 0;
	if (q->w_max > cc->cwnd) {
		q->k_ms = cube_root(
			(uint64_t)(q->w_max - cc->cwnd) / cc->mss * CUBIC_C_DEN / CUBIC_C_NUM);
	} else {
		q->k_ms = 0;
		q->w_max = cc->cwnd;
	}
}

/* RFC 9438 4.2: W_cubic of a time behind the begin of the epoch. */
static uint32_t w_cubic(const struct tcp_cc *cc, const struct cubic *q, uint32_t t_ms)
{
	if (t_ms < q->k_ms) {
		uint64_t below = cubic_octets(q->k_ms - t_ms, cc->mss);
		return below < q->w_max ? q->w_max - (uint32_t)below : 0;
	}
	return (uint32_t)MIN(
		q->w_max + cubic_octets(t_ms - q->k_ms, cc->mss), (uint64_t)TCP_CC_CWND_MAX);
}

/* RFC 9438 4.3; alpha is 1 once the window is where it was. */
static void reno_grow(const struct tcp_cc *cc, struct cubic *q, uint32_t bytes)
{
	bool back = q->w_est >= q->cwnd_prior;
	uint64_t step = back ? cc->cwnd : (uint64_t)cc->cwnd * CUBIC_ALPHA_DEN / CUBIC_ALPHA_NUM;

	q->est_acked += bytes;
	if (q->est_acked >= step) {
		q->est_acked -= (uint32_t)step;
		q->w_est = MIN(q->w_est + cc->mss, TCP_CC_CWND_MAX);
	}
}

static void avoid_congestion(struct tcp_cc *cc, struct cubic *q, const struct tcp_cc_ack *ack)
{
	if (!q->epoch_ms)
		epoch_begin(cc, q, ack->now_us);
	uint32_t t_ms = (uint32_t)(ack->now_us / US_PER_MS) - q->epoch_ms;
	uint32_t target = w_cubic(cc, q, t_ms + ack->srtt_us / (uint32_t)US_PER_MS);

	reno_grow(cc, q, ack->bytes);
	if (w_cubic(cc, q, t_ms) < q->w_est) {
		cc->cwnd = MAX(cc->cwnd, q->w_est);
		return;
	}
	target = MIN(target, cc->cwnd + cc->cwnd / 2);
	if (target <= cc->cwnd)
		return;
	/* (target - cwnd) / cwnd of a segment for each one acknowledged. */
	cc->acked += ack->bytes;
	uint64_t grow = (uint64_t)(target - cc->cwnd) * cc->acked / cc->cwnd;
	if (grow >= cc->mss || grow >= target - cc->cwnd) {
		cc->cwnd += (uint32_t)MIN(grow, (uint64_t)(target - cc->cwnd));
		cc->acked = 0;
	}
}

static void cubic_acked(struct tcp_cc *cc, const struct tcp_cc_ack *ack)
{
	struct cubic *q = (struct cubic *)cc->priv;

	if (cc->cwnd < cc->ssthresh)
		slow_start(cc, ack);
	else if (ack->limited)
		q->epoch_ms = 0; /* RFC 9438 5.8: time that was not used does not count */
	else
		avoid_congestion(cc, q, ack);
}

/* RFC 9438 4.6, 4.7: where the plateau was, and a little lower when it is shrinking. */
static void reduce(struct tcp_cc *cc, uint32_t flight)
{
	struct cubic *q = (struct cubic *)cc->priv;

	if (cc->ssthresh == UINT32_MAX)
		memset(cc->priv, 0, sizeof(cc->priv)); /* it was HyStart's */
	q->cwnd_prior = cc->cwnd;
	q->w_max = cc->cwnd < q->w_max ? cc->cwnd / 20 * (10 + CUBIC_BETA_10) : cc->cwnd;
	q->epoch_ms = 0;
	uint32_t window = MIN(flight, cc->cwnd);
	cc->ssthresh = MAX((uint32_t)((uint64_t)window * CUBIC_BETA_10 / 10), 2u * cc->mss);
}

static void cubic_lost(struct tcp_cc *cc, uint32_t flight)
{
	reduce(cc, flight);
	cc->cwnd = cc->ssthresh;
	cc->acked = 0;
}

static void cubic_timeout(struct tcp_cc *cc, uint32_t flight)
{
	struct cubic *q = (struct cubic *)cc->priv;

	reduce(cc, flight);
	q->w_max = 0; /* RFC 9438 4.8 */
}

static void cubic_undo(struct tcp_cc *cc)
{
	struct cubic *q = (struct cubic *)cc->priv;

	if (cc->ssthresh == UINT32_MAX) {
		memset(cc->priv, 0, sizeof(cc->priv));
		return;
	}
	q->w_max = MAX(q->w_max, q->cwnd_prior);
	q->epoch_ms = 0;
}

static void cubic_idle(struct tcp_cc *cc)
{
	struct cubic *q = (struct cubic *)cc->priv;

	if (cc->ssthresh != UINT32_MAX)
		q->epoch_ms = 0;
}

const struct tcp_cc_ops tcp_cc_cubic = {
	.name = "cubic",
	.acked = cubic_acked,
	.lost = cubic_lost,
	.timeout = cubic_timeout,
	.undo = cubic_undo,
	.idle = cubic_idle,
};
