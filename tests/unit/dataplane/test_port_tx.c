/* SPDX-License-Identifier: BSD-3-Clause
 * What a core queues for a port: drivers without chained frames never get one (af_xdp would send
 * what lies behind the first segment), and nothing that must be dropped is kept. */
#include "tests/unit/base/unit.h"
#include <rte_mbuf.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/rt/eal.h"
#include "dataplane/io.h"

#define ROOM 100 /* octets of an mbuf in the pool */

static struct net net;
static struct core core;
static struct core_io *io;
static struct rte_mempool *pool;
static uint64_t dropped_before;

static uint64_t dropped(void)
{
	return atomic_load(&counters_mine->value[CTR_PORT_TX_DROPPED]) - dropped_before;
}

static int begin(void **state)
{
	(void)state;
	net = (struct net){.port_count = 1, .cores = &core, .core_count = 1};
	core.socket = -1;
	io = core_io_create(&net, &core);
	assert_non_null(io);
	dropped_before += dropped();
	return 0;
}

static int end(void **state)
{
	(void)state;
	core_io_destroy(&io);
	assert_null(io);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

/* A frame of so many octets in each of two mbufs: 0, 1, 2 ... */
static struct rte_mbuf *chain(unsigned first, unsigned second)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *tail = rte_pktmbuf_alloc(pool);
	uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)first);
	uint8_t *q = (uint8_t *)rte_pktmbuf_append(tail, (uint16_t)second);

	assert_true(p && q);
	for (unsigned i = 0; i < first + second; i++)
		*(i < first ? p + i : q + i - first) = (uint8_t)i;
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	return m;
}

static void test_a_chain_becomes_one_piece(void **state)
{
	(void)state;
	tx_backlog_push(io, 0, chain(30, 50));
	assert_int_equal(io->tx[0].n, 1);
	struct rte_mbuf *m = io->tx[0].frames[0];
	assert_int_equal(m->nb_segs, 1);
	assert_int_equal(m->data_len, 80);
	assert_int_equal(m->pkt_len, 80);
	for (unsigned i = 0; i < 80; i++)
		assert_int_equal(rte_pktmbuf_mtod(m, uint8_t *)[i], i);
	assert_int_equal(dropped(), 0);
}

static void test_a_chain_that_fits_nowhere_is_dropped(void **state)
{
	(void)state;
	tx_backlog_push(io, 0, chain(80, 80));
	assert_int_equal(io->tx[0].n, 0);
	assert_int_equal(dropped(), 1);
}

static void test_a_chain_that_somebody_else_holds_is_not_changed(void **state)
{
	struct rte_mbuf *m = chain(30, 50);

	(void)state;
	rte_pktmbuf_refcnt_update(m, 1);
	tx_backlog_push(io, 0, m);
	assert_int_equal(io->tx[0].n, 0);
	assert_int_equal(dropped(), 1);
	assert_int_equal(m->nb_segs, 2);
	rte_pktmbuf_free(m);
}

static void test_a_driver_that_takes_chains_gets_them(void **state)
{
	(void)state;
	net.ports[0].multi_segs = true;
	tx_backlog_push(io, 0, chain(80, 80));
	assert_int_equal(io->tx[0].frames[0]->nb_segs, 2);
}

static void test_a_full_backlog_drops_what_is_new(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TX_BACKLOG_MAX + 3; i++)
		tx_backlog_push(io, 0, rte_pktmbuf_alloc(pool));
	assert_int_equal(io->tx[0].n, TX_BACKLOG_MAX);
	assert_int_equal(tx_backlog_room(io, 0), 0);
	assert_int_equal(dropped(), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_chain_becomes_one_piece, begin, end),
		cmocka_unit_test_setup_teardown(
			test_a_chain_that_fits_nowhere_is_dropped, begin, end),
		cmocka_unit_test_setup_teardown(
			test_a_chain_that_somebody_else_holds_is_not_changed, begin, end),
		cmocka_unit_test_setup_teardown(
			test_a_driver_that_takes_chains_gets_them, begin, end),
		cmocka_unit_test_setup_teardown(test_a_full_backlog_drops_what_is_new, begin, end),
	};
	eal_start_for_tests(64);
	pool = rte_pktmbuf_pool_create(
		"frames", TX_BACKLOG_MAX + 127, 0, 0, RTE_PKTMBUF_HEADROOM + ROOM, SOCKET_ID_ANY);
	return pool ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
