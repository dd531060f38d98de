/* SPDX-License-Identifier: BSD-3-Clause
 * A flood of SYNs at half of the packets per second that the wire carries harms neither who is
 * connected nor who connects, and costs no memory.  Virtual time: the figures are exact.  Planted
 * faults show that each check looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/flood.h"

#define SHARE       50  /* percent of the wire's packets */
#define PACE        30  /* percent of the flow's maximum */
#define GOODPUT_MIN 80  /* percent of that without a flood */
#define P99_MAX     3   /* times that without a flood */
#define TX_MAX      125 /* percent of the frames that wait for ACKs without a flood */
#define FLOOD_US    (4 * US_PER_SEC)
#define FAULT_US    (1 * US_PER_SEC) /* is enough to see one */
#define SMALL_TABLE 64
#define LARGE_TABLE TCP_SYN_ENTRIES_MAX /* nobody is pushed out of it within a round trip */

static struct host_pools pools[2];
static struct host_pools *const set[2] = {&pools[0], &pools[1]};
static struct flood flood;

static const struct fault {
	const char *name, *found;
	unsigned share;
	uint16_t table;
	uint8_t cookies; /* enum stack_cookies */
	enum flood_fault fault;
} faults[] = {
	{"flood",		   NULL,				 SHARE, SMALL_TABLE, 0, FLOOD_FAULT_NONE},
	{"no cookies, small table", "not all who came were served",       SHARE, SMALL_TABLE,
         STACK_COOKIES_OFF,								      FLOOD_FAULT_NONE},
	{"no cookies, large table", "no handshake by cookie was counted", SHARE, LARGE_TABLE,
         STACK_COOKIES_OFF,								      FLOOD_FAULT_NONE},
	{"as much as the wire has", "the goodput fell",                   100,   SMALL_TABLE, 0, FLOOD_FAULT_NONE},
	{"laps of 10 ms",           "round trips became longer",          SHARE, SMALL_TABLE, 0, FLOOD_FAULT_SLOW},
	{"frames are lost",         "memory grew",                        SHARE, SMALL_TABLE, 0, FLOOD_FAULT_LEAK},
};

/* Frames of the flow wait in the pool for their ACKs as long as round trips last, which become a
 * little longer; of all others not one more may be in use. */
static bool memory_grew(const struct flood_figures *quiet, const struct flood_figures *g)
{
	return g->heap_peak != g->heap_before || g->peak.rx > quiet->peak.rx ||
	       g->peak.control > quiet->peak.control ||
	       100 * g->peak.tx > TX_MAX * quiet->peak.tx || g->after.rx != g->before.rx ||
	       g->after.control != g->before.control || g->after.tx != g->before.tx;
}

static const char *verdict(const struct flood_figures *quiet, const struct flood_figures *g)
{
	if (g->wrong)
		return g->wrong;
	if (g->goodput * 100 < quiet->goodput * GOODPUT_MIN)
		return "the goodput fell";
	if (g->p99_us > P99_MAX * quiet->p99_us)
		return "round trips became longer";
	if (memory_grew(quiet, g))
		return "memory grew";
	if (!g->visitors || g->served != g->visitors)
		return "not all who came were served";
	if (!g->cookies_sent || !g->cookies_taken)
		return "no handshake by cookie was counted";
	return NULL;
}

static void print(const char *name, const struct flood_figures *g)
{
	printf("%-24s %6lu kB/s, p50 %u p99 %u max %u us of %lu; visitors %u/%u, at most %u us\n",
		name, g->goodput / 1000, g->p50_us, g->p99_us, g->max_us, g->messages, g->served,
		g->visitors, g->visit_max_us);
	printf("%-24s SYNs %lu, answers %lu, cookies %lu sent %lu taken, no place %lu, frames "
	       "rx %u control %u tx %u at most, after %u %u %u, heap %zu of %zu, dropped %lu\n",
		"", g->syns, g->answers, g->cookies_sent, g->cookies_taken, g->overflows,
		g->peak.rx, g->peak.control, g->peak.tx, g->after.rx, g->after.control, g->after.tx,
		g->heap_peak, g->heap_before, g->queue_dropped);
}

/* Returns the time between messages at PACE. */
static uint64_t pace(bool v6)
{
	struct flood_conf conf = {.v6 = v6, .us = FAULT_US, .tcp = {.syn_cache = SMALL_TABLE}};

	flood_run(&flood, &conf, set);
	print("the flow's maximum", &flood.figures);
	assert_null(flood.figures.wrong);
	return (uint64_t)FLOOD_MESSAGE * US_PER_SEC * 100 / PACE / flood.figures.goodput;
}

static void family(bool v6, unsigned faults_n)
{
	struct flood_conf conf = {.v6 = v6, .us = FLOOD_US, .tcp = {.syn_cache = SMALL_TABLE}};
	struct flood_figures quiet;

	printf("IPv%u: the wire carries %u SYNs of %u octets a second\n", v6 ? 6 : 4,
		flood_syns_carried(v6), flood_syn_octets(v6));
	conf.message_us = pace(v6);
	flood_run(&flood, &conf, set);
	print("no flood", &flood.figures);
	quiet = flood.figures;
	assert_null(quiet.wrong);
	assert_int_equal(quiet.served, quiet.visitors);
	for (unsigned i = 0; i < faults_n; i++) {
		conf.share = faults[i].share;
		conf.us = faults[i].found ? FAULT_US : FLOOD_US;
		conf.tcp.syn_cache = faults[i].table;
		conf.tcp.syn_cookies = faults[i].cookies;
		conf.fault = faults[i].fault;
		flood_run(&flood, &conf, set);
		const char *found = verdict(&quiet, &flood.figures);
		print(faults[i].name, &flood.figures);
		printf("%-24s %s\n", "", found ? found : "as it must be");
		/* that it was so many is part of the claim; they come at random times */
		assert_in_range(flood.figures.syns * US_PER_SEC / conf.us * 100,
			flood_syns_carried(v6) * (conf.share - 1ull),
			flood_syns_carried(v6) * (conf.share + 1ull));
		if (faults[i].found)
			assert_string_equal(found ? found : "nothing", faults[i].found);
		else
			assert_null(found);
	}
}

static void test_flood_harms_nobody_and_faults_are_found(void **state)
{
	(void)state;
	family(false, ARRAY_LEN(faults));
}

static void test_flood_of_ipv6_networks_harms_nobody(void **state)
{
	(void)state;
	family(true, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flood_harms_nobody_and_faults_are_found),
		cmocka_unit_test(test_flood_of_ipv6_networks_harms_nobody),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	eal_start_for_tests(96);
	host_pools_init(&pools[0], "server", 4095, 4095);
	host_pools_init(&pools[1], "client", 4095, 4095);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
