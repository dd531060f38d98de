/* SPDX-License-Identifier: BSD-3-Clause
 * CUBIC against its formulas (RFC 9438), HyStart++ against its rules (RFC 9406), NewReno. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/base/clock.h"
#include "dataplane/tcp_cc.h"

#define MSS    1460u
#define RTT_US (100 * US_PER_MS)

struct path {
	struct tcp_cc cc;
	uint64_t now_us;
	uint32_t una;
};

static void path_init(struct path *p, enum tcp_cc_algorithm algorithm)
{
	*p = (struct path){.now_us = 1000 * US_PER_SEC, .una = 1};
	tcp_cc_init(&p->cc, algorithm, MSS, 0);
}

/* A round trip: the whole window is acknowledged, in segments, evenly. */
static void round_trip(struct path *p, uint32_t rtt_us, bool limited)
{
	uint32_t n = p->cc.cwnd / MSS, nxt = p->una + n * MSS;

	for (uint32_t i = 0; i < n; i++) {
		p->una += MSS;
		p->now_us += rtt_us / n;
		tcp_cc_acked(&p->cc, &(struct tcp_cc_ack){.bytes = MSS,
					     .rtt_us = rtt_us,
					     .srtt_us = rtt_us,
					     .una = p->una,
					     .nxt = nxt + i * MSS,
					     .now_us = p->now_us,
					     .limited = limited});
	}
}

static void grow_to(struct path *p, uint32_t segments)
{
	p->cc.cwnd = segments * MSS;
	p->cc.ssthresh = p->cc.cwnd;
}

static double segments(const struct path *p)
{
	return (double)p->cc.cwnd / MSS;
}

static void near(double got, double want, double tolerance)
{
	if (fabs(got - want) > want * tolerance)
		fail_msg("%.1f, not %.1f", got, want);
}

/* ---- tests ---- */

static void test_cubic_follows_its_curve(void **state)
{
	const double w_max = 1000, k = cbrt(w_max * 0.3 / 0.4);
	struct path p;

	(void)state;
	path_init(&p, TCP_CC_CUBIC);
	grow_to(&p, (unsigned)w_max);
	tcp_cc_lost(&p.cc, p.cc.cwnd);
	near(segments(&p), 0.7 * w_max, 0.001);
	assert_int_equal(p.cc.ssthresh, p.cc.cwnd);
	round_trip(&p, RTT_US, false); /* the epoch begins */
	uint64_t begin = p.now_us - RTT_US;
	/* concave, the plateau, and convex beyond it */
	while (p.now_us < begin + (uint64_t)(2 * k * 1e6)) {
		double t = (double)(p.now_us - begin) / 1e6;
		near(segments(&p), 0.4 * pow(t - k, 3) + w_max, 0.03);
		round_trip(&p, RTT_US, false);
	}
	assert_true(segments(&p) > 1.2 * w_max);
}

static void test_cubic_is_no_slower_than_reno(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, TCP_CC_CUBIC);
	grow_to(&p, 20);
	tcp_cc_lost(&p.cc, p.cc.cwnd);
	/* With a short RTT the cubic term is small: alpha = 9/17 of a segment a round trip. */
	for (unsigned i = 0; i < 11; i++)
		round_trip(&p, 2 * US_PER_MS, false);
	near(segments(&p), 14 + 11 * 9.0 / 17, 0.1);
	/* and a whole one once the window is back where it was */
	for (unsigned i = 0; i < 20; i++)
		round_trip(&p, 2 * US_PER_MS, false);
	near(segments(&p), 20 + 20, 0.15);
}

static void test_cubic_converges_fast(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, TCP_CC_CUBIC);
	grow_to(&p, 100);
	tcp_cc_lost(&p.cc, p.cc.cwnd);
	/* A second loss below the plateau: the next plateau is at 0.85 of the window. */
	tcp_cc_lost(&p.cc, p.cc.cwnd);
	near(segments(&p), 49, 0.01);
	for (unsigned i = 0; i < 20; i++)
		round_trip(&p, RTT_US, false);
	double t = 20 * 0.1, k = cbrt((0.85 * 70 - 49) / 0.4);
	near(segments(&p), 0.4 * pow(t - k, 3) + 0.85 * 70, 0.06);
}

static void test_cubic_after_a_timeout(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, TCP_CC_CUBIC);
	grow_to(&p, 100);
	tcp_cc_timeout(&p.cc, 100 * MSS, true);
	assert_int_equal(p.cc.cwnd, MSS);
	near((double)p.cc.ssthresh / MSS, 70, 0.001);
	tcp_cc_timeout(&p.cc, MSS, false);
	near((double)p.cc.ssthresh / MSS, 70, 0.001);
	while (p.cc.cwnd < p.cc.ssthresh)
		round_trip(&p, RTT_US, false);
	/* K is 0: convex at once */
	uint64_t begin = p.now_us;
	for (unsigned i = 0; i < 60; i++)
		round_trip(&p, RTT_US, false);
	near(segments(&p), 0.4 * pow((double)(p.now_us - begin) / 1e6, 3) + 70, 0.1);
}

static void test_a_window_that_is_not_used_does_not_grow(void **state)
{
	(void)state;
	for (unsigned a = 0; a < TCP_CC_N; a++) {
		struct path p;
		path_init(&p, (enum tcp_cc_algorithm)a);
		uint32_t before = p.cc.cwnd;
		round_trip(&p, RTT_US, true);
		assert_int_equal(p.cc.cwnd, before);
		grow_to(&p, 50);
		tcp_cc_lost(&p.cc, p.cc.cwnd);
		before = p.cc.cwnd;
		for (unsigned i = 0; i < 100; i++)
			round_trip(&p, RTT_US, true);
		assert_int_equal(p.cc.cwnd, before);
		/* and what was missed is not made up for */
		round_trip(&p, RTT_US, false);
		round_trip(&p, RTT_US, false);
		assert_true(p.cc.cwnd <= before + 4 * MSS);
	}
}

static void test_hystart_leaves_slow_start_when_a_queue_builds(void **state)
{
	struct path p;
	uint32_t rtt = (uint32_t)RTT_US;

	(void)state;
	path_init(&p, TCP_CC_CUBIC);
	for (unsigned i = 0; i < 3; i++) {
		uint32_t before = p.cc.cwnd;
		round_trip(&p, rtt, false);
		near((double)p.cc.cwnd, 2.0 * before, 0.01);
	}
	/* The RTT grows by an eighth: a quarter of the speed for five rounds, then the end. */
	rtt += rtt / RTT_US ? (uint32_t)RTT_US / 7 : 0;
	unsigned rounds = 0;
	uint32_t at = p.cc.cwnd;
	while (p.cc.ssthresh == UINT32_MAX && rounds < 20) {
		round_trip(&p, rtt, false);
		rounds++;
	}
	assert_in_range(rounds, 5, 8);
	assert_true(p.cc.cwnd < at * 8);
}

static void test_hystart_goes_on_when_the_delay_was_another_s(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, TCP_CC_CUBIC);
	for (unsigned i = 0; i < 2; i++)
		round_trip(&p, (uint32_t)RTT_US, false);
	round_trip(&p, (uint32_t)RTT_US * 5 / 4, false);
	for (unsigned i = 0; i < 3; i++)
		round_trip(&p, (uint32_t)RTT_US, false);
	uint32_t before = p.cc.cwnd;
	round_trip(&p, (uint32_t)RTT_US, false);
	near((double)p.cc.cwnd, 2.0 * before, 0.01);
	assert_int_equal(p.cc.ssthresh, UINT32_MAX);
}

static void test_newreno(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, TCP_CC_NEWRENO);
	assert_int_equal(p.cc.cwnd, 10 * MSS);
	grow_to(&p, 40);
	tcp_cc_lost(&p.cc, p.cc.cwnd);
	for (unsigned i = 0; i < 10; i++)
		round_trip(&p, RTT_US, false);
	near(segments(&p), 30, 0.04);
}

static void test_initial_window(void **state)
{
	struct tcp_cc cc;

	(void)state;
	tcp_cc_init(&cc, TCP_CC_CUBIC, 1460, 0);
	assert_int_equal(cc.cwnd, 14600);
	tcp_cc_init(&cc, TCP_CC_CUBIC, 8960, 0);
	assert_int_equal(cc.cwnd, 2 * 8960);
	tcp_cc_init(&cc, TCP_CC_CUBIC, 536, 0);
	assert_int_equal(cc.cwnd, 5360);
	tcp_cc_init(&cc, TCP_CC_NEWRENO, 1000, 4);
	assert_int_equal(cc.cwnd, 4000);
	tcp_cc_init(&cc, TCP_CC_CUBIC, 1460, 0);
	cc.cwnd = 100 * 1460;
	tcp_cc_idle(&cc);
	assert_int_equal(cc.cwnd, 14600);
}

static void test_undo_gives_back(void **state)
{
	(void)state;
	for (unsigned a = 0; a < TCP_CC_N; a++) {
		struct path p;
		path_init(&p, (enum tcp_cc_algorithm)a);
		grow_to(&p, 80);
		tcp_cc_lost(&p.cc, p.cc.cwnd);
		tcp_cc_undo(&p.cc, 80 * MSS, 60 * MSS);
		assert_int_equal(p.cc.cwnd, 80 * MSS);
		assert_int_equal(p.cc.ssthresh, 60 * MSS);
		round_trip(&p, RTT_US, false);
		near(segments(&p), 81, 0.03);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cubic_follows_its_curve),
		cmocka_unit_test(test_cubic_is_no_slower_than_reno),
		cmocka_unit_test(test_cubic_converges_fast),
		cmocka_unit_test(test_cubic_after_a_timeout),
		cmocka_unit_test(test_a_window_that_is_not_used_does_not_grow),
		cmocka_unit_test(test_hystart_leaves_slow_start_when_a_queue_builds),
		cmocka_unit_test(test_hystart_goes_on_when_the_delay_was_another_s),
		cmocka_unit_test(test_newreno),
		cmocka_unit_test(test_initial_window),
		cmocka_unit_test(test_undo_gives_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
