/* SPDX-License-Identifier: BSD-3-Clause
 * A port whose queue is full: nothing is received from it while it may yet take what waits, so that
 * answers find room; and yet two ends that wait for each other go on. */
#include "tests/unit/base/unit.h"
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ring.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/io.h"
#include "tests/sim/host.h"

#define RING  64 /* frames between the ends; one less fits */
#define FRAME 60

struct end {
	struct net net;
	struct core core;
	struct core_io *io;
	struct host host;
};

static struct host_pools pools;
static struct end a, b;
static struct rte_ring *rings[2];
static struct rte_mempool *filler;

/* Frames of a kind that no stack knows: taken and dropped. */
static void fill(struct end *e)
{
	while (tx_backlog_room(e->io, 0)) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(filler);
		assert_non_null(m);
		memset(rte_pktmbuf_append(m, FRAME), 0xff, FRAME);
		tx_backlog_push(e->io, 0, m);
	}
}

static uint16_t port_make(const char *name, struct rte_ring *in, struct rte_ring *out)
{
	struct rte_eth_conf conf = {0};
	int id = rte_eth_from_rings(name, &in, 1, &out, 1, 0);

	assert_true(id >= 0);
	uint16_t port = (uint16_t)id;
	assert_int_equal(rte_eth_dev_configure(port, 1, 1, &conf), 0);
	assert_int_equal(rte_eth_rx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL, filler), 0);
	assert_int_equal(rte_eth_tx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL), 0);
	assert_int_equal(rte_eth_dev_start(port), 0);
	return port;
}

static void end_make(struct end *e, uint16_t port, uint8_t mac)
{
	struct host_conf conf = {
		.address = 0xc6120000u + mac, .mac = mac, .mtu = 1500, .connections_max = 8};

	e->net = (struct net){.port_count = 1, .cores = &e->core, .core_count = 1};
	e->net.ports[0].id = port;
	e->core.socket = SOCKET_ID_ANY;
	e->io = core_io_create(&e->net, &e->core);
	assert_non_null(e->io);
	host_init(&e->host, &conf, &pools, mac, 0);
	e->core.stack = e->host.stack;
}

static unsigned lap(struct end *e, uint64_t now_us)
{
	e->core.now_us = now_us;
	unsigned received = core_io_receive(e->io, now_us);
	core_io_transmit(e->io, now_us);
	return received;
}

static void drain(struct rte_ring *r)
{
	void *m;

	while (rte_ring_dequeue(r, &m) == 0)
		rte_pktmbuf_free(m);
}

static int begin(void **state)
{
	(void)state;
	a.core.now_us = b.core.now_us = 0;
	fill(&a);
	fill(&b);
	/* both rings are full now, and more than half of both backlogs waits */
	assert_int_equal(core_io_transmit(a.io, 0), RING - 1);
	assert_int_equal(core_io_transmit(b.io, 0), RING - 1);
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * TX_BACKLOG_MAX && a.io->tx[0].n + b.io->tx[0].n; i++) {
		core_io_transmit(a.io, 0);
		core_io_transmit(b.io, 0);
		drain(rings[0]);
		drain(rings[1]);
	}
	drain(rings[0]);
	drain(rings[1]);
	assert_int_equal(rte_mempool_in_use_count(filler), 0);
	return 0;
}

static void test_nothing_comes_in_while_answers_wait(void **state)
{
	(void)state;
	assert_int_equal(lap(&a, TX_HOLD_US - 1), 0);
	/* the port moves: it is waited for anew */
	for (unsigned i = 0; i < IO_BURST; i++) {
		void *m = NULL;
		assert_int_equal(rte_ring_dequeue(rings[0], &m), 0);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(lap(&a, TX_HOLD_US - 1), 0);
	assert_int_equal(lap(&a, 2 * TX_HOLD_US - 2), 0);
	assert_int_not_equal(lap(&a, 2 * TX_HOLD_US - 1), 0);
}

/* Was: each waited for the other until both had lost their backlog, a tenth of a second later. */
static void test_two_full_ends_do_not_wait_for_each_other(void **state)
{
	uint64_t now_us = 0;

	(void)state;
	for (; now_us < TX_STALLED_US && a.io->tx[0].n + b.io->tx[0].n; now_us += 10) {
		lap(&a, now_us);
		lap(&b, now_us);
	}
	assert_int_equal(a.io->tx[0].n + b.io->tx[0].n, 0);
	/* all frames of both in bursts of at most RING, each of which waits once at the most */
	assert_true(now_us <= (uint64_t)(TX_BACKLOG_MAX / RING + 2) * 2 * TX_HOLD_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_nothing_comes_in_while_answers_wait, begin, end),
		cmocka_unit_test_setup_teardown(
			test_two_full_ends_do_not_wait_for_each_other, begin, end),
	};
	eal_start_for_tests(128);
	host_pools_init(&pools, "hold", 512, 512);
	filler = rte_pktmbuf_pool_create(
		"filler", 3 * TX_BACKLOG_MAX, 0, 0, RTE_PKTMBUF_HEADROOM + FRAME, SOCKET_ID_ANY);
	rings[0] = rte_ring_create("a_to_b", RING, SOCKET_ID_ANY, 0);
	rings[1] = rte_ring_create("b_to_a", RING, SOCKET_ID_ANY, 0);
	if (!filler || !rings[0] || !rings[1])
		return 1;
	end_make(&a, port_make("hold_a", rings[1], rings[0]), 1);
	end_make(&b, port_make("hold_b", rings[0], rings[1]), 2);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	host_fini(&a.host);
	host_fini(&b.host);
	core_io_destroy(&a.io);
	core_io_destroy(&b.io);
	return rc;
}
