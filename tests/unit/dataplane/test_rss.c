/* SPDX-License-Identifier: BSD-3-Clause
 * Prediction of a card's RSS, and which cards are believed.  The card is this file: the linker puts
 * its functions (--wrap) in the place of the library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <rte_ethdev.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/rss.h"
#include "tests/sim/frame.h"
#include "tests/sim/lone.h"

#define QUEUES 4
#define HERE   3

/* ---- the card ---- */

static struct {
	uint64_t types;
	uint8_t key[RSS_KEY_MAX];
	uint16_t reta[RSS_RETA_MAX];
	bool reta_fixed;
	int error;
} card;

int __wrap_rte_eth_dev_rss_reta_update(
	uint16_t port, struct rte_eth_rss_reta_entry64 *table, uint16_t n);
int __wrap_rte_eth_dev_rss_reta_query(
	uint16_t port, struct rte_eth_rss_reta_entry64 *table, uint16_t n);
int __wrap_rte_eth_dev_rss_hash_conf_get(uint16_t port, struct rte_eth_rss_conf *conf);

int __wrap_rte_eth_dev_rss_reta_update(
	uint16_t port, struct rte_eth_rss_reta_entry64 *table, uint16_t n)
{
	(void)port;
	for (unsigned i = 0; i < n && !card.reta_fixed; i++) {
		assert_true(table[i / 64].mask & 1ull << i % 64);
		card.reta[i] = table[i / 64].reta[i % 64];
	}
	return card.error;
}

int __wrap_rte_eth_dev_rss_reta_query(
	uint16_t port, struct rte_eth_rss_reta_entry64 *table, uint16_t n)
{
	(void)port;
	for (unsigned i = 0; i < n; i++)
		table[i / 64].reta[i % 64] = card.reta[i];
	return 0;
}

int __wrap_rte_eth_dev_rss_hash_conf_get(uint16_t port, struct rte_eth_rss_conf *conf)
{
	(void)port;
	memcpy(conf->rss_key, card.key, conf->rss_key_len);
	conf->rss_hf = card.types;
	return 0;
}

static const struct rte_eth_dev_info good = {.reta_size = 128,
	.hash_key_size = 40,
	.flow_type_rss_offloads =
		RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_IPV4};

/* A card that takes what it is given. */
static void configure(struct rss *r)
{
	struct rte_eth_conf conf = {0};

	memset(&card, 0, sizeof(card));
	assert_true(rss_request(r, &good, QUEUES, &conf));
	assert_int_equal(conf.rxmode.mq_mode, RTE_ETH_MQ_RX_RSS);
	card.types = conf.rx_adv_conf.rss_conf.rss_hf;
	memcpy(card.key, conf.rx_adv_conf.rss_conf.rss_key, conf.rx_adv_conf.rss_conf.rss_key_len);
}

static struct endpoint at(const char *ip, uint16_t port)
{
	struct endpoint e = {.port = port};

	assert_int_equal(ip_parse(bytes_str(ip), &e.ip), 0);
	return e;
}

/* ---- tests ---- */

static void test_the_specification_s_vectors(void **state)
{
	static const struct {
		const char *from, *to;
		uint16_t from_port, to_port;
		uint32_t hash;
	} v[] = {
  /* "Verifying the RSS Hash Calculation", Microsoft */
		{"66.9.149.187",                   "161.142.100.80",     2794,  1766,  0x51ccc178},
		{"199.92.111.2",                   "65.69.140.83",       14230, 4739,  0xc626b0ea},
		{"24.19.198.95",                   "12.22.207.184",      12898, 38024, 0x5c2b394a},
		{"3ffe:2501:200:1fff::7",          "3ffe:2501:200:3::1", 2794,  1766,  0x40207d3d},
		{"3ffe:501:8::260:97ff:fe40:efab", "ff02::1",            14230, 4739,  0xdde51bbf},
	};
	struct rss r;

	(void)state;
	configure(&r);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct endpoint from = at(v[i].from, v[i].from_port);
		struct endpoint to = at(v[i].to, v[i].to_port);
		assert_int_equal(rss_hash(&r, &from, &to), v[i].hash);
	}
}

static void test_a_card_without_what_it_takes_is_not_asked(void **state)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	struct rss r;

	(void)state;
	assert_false(rss_request(&r, &good, 1, &conf));
	info = good;
	info.reta_size = 0; /* tap */
	assert_false(rss_request(&r, &info, QUEUES, &conf));
	info = good;
	info.reta_size = 100; /* no power of two */
	assert_false(rss_request(&r, &info, QUEUES, &conf));
	info = good;
	info.reta_size = 2 * RSS_RETA_MAX;
	assert_false(rss_request(&r, &info, QUEUES, &conf));
	info = good;
	info.hash_key_size = RSS_KEY_MAX + 1;
	assert_false(rss_request(&r, &info, QUEUES, &conf));
	info = good;
	info.flow_type_rss_offloads = RTE_ETH_RSS_IPV4;
	assert_false(rss_request(&r, &info, QUEUES, &conf));
	assert_int_equal(conf.rxmode.mq_mode, RTE_ETH_MQ_RX_NONE);
	assert_int_equal(r.reta_n, 0);
}

static void test_a_card_that_does_as_told_is_believed(void **state)
{
	struct rss r;

	(void)state;
	configure(&r);
	assert_null(rss_check(&r, 0, QUEUES));
	assert_true(r.on);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(rss_queue(&r, i), i % 128 % QUEUES);
}

static void test_a_table_of_the_card_s_own_is_taken_as_it_is(void **state)
{
	struct rss r;

	(void)state;
	configure(&r);
	card.reta_fixed = true;
	for (unsigned i = 0; i < 128; i++)
		card.reta[i] = (uint16_t)(i / 32);
	assert_null(rss_check(&r, 0, QUEUES));
	assert_int_equal(rss_queue(&r, 33), 1);
	card.reta[5] = QUEUES;
	assert_non_null(rss_check(&r, 0, QUEUES));
}

static void test_a_card_that_does_otherwise_is_not_believed(void **state)
{
	struct rss r;

	(void)state;
	configure(&r);
	card.key[7] ^= 1; /* keeps its own key */
	assert_non_null(rss_check(&r, 0, QUEUES));
	assert_false(r.on);
	configure(&r);
	card.types = RTE_ETH_RSS_IPV4;
	assert_non_null(rss_check(&r, 0, QUEUES));
	assert_false(r.on);
	configure(&r);
	card.error = -ENOTSUP;
	assert_non_null(rss_check(&r, 0, QUEUES));
	assert_false(r.on);
}

static void test_a_service_of_all_cores_is_where_the_card_puts_it(void **state)
{
	static struct siphash_key key = {1, 2};
	struct rte_mempool *pool = rte_mempool_lookup("rss");
	struct rss r;
	uint8_t f[200];

	(void)state;
	configure(&r);
	assert_null(rss_check(&r, 0, QUEUES));
	struct steer_table table = {
		.core_count = QUEUES,
		.service = {{.port = 25, .cores_n = 4, .cores = {0, 1, 2, 3}},
			    {.port = 143, .cores_n = 2, .cores = {0, 1}}},
		.service_count = 2,
		.key = &key,
		.rss = &r,
		.rss_core = { 2, 3,					0, 1},
	};
	for (uint16_t i = 1; i < 200; i++) {
		struct seg s = {.sport = i, .dport = 25, .flags = SYN};
		struct endpoint from = at("198.18.0.2", i), to = at("198.18.0.1", 25);
		struct rte_mbuf *m = frame_make(pool, bytes_make(f, lone_build(f, &s)));
		assert_int_equal(steer_owner(&table, m, HERE),
			table.rss_core[rss_queue(&r, rss_hash(&r, &from, &to))]);
		rte_pktmbuf_free(m);
		s.dport = 143;
		m = frame_make(pool, bytes_make(f, lone_build(f, &s)));
		assert_true(steer_owner(&table, m, HERE) < 2);
		rte_pktmbuf_free(m);
	}
}

/* ---- local ports ---- */

static struct rss *chosen_by;

static bool on_queue_0(
	void *ctx, unsigned port, const struct endpoint *local, const struct endpoint *peer)
{
	(void)ctx;
	(void)port;
	return rss_queue(chosen_by, rss_hash(chosen_by, peer, local)) == 0;
}

static size_t no_data(struct stream *s, struct bytes data)
{
	(void)s;
	return data.n;
}

static void no_close(struct stream *s, enum stream_reason reason)
{
	(void)s;
	(void)reason;
}

static void test_active_opens_come_back_to_their_core(void **state)
{
	static const struct stream_ops ops = {.on_data = no_data, .on_close = no_close};
	static struct stream streams[100];
	static struct host_pools pools;
	static struct lone l;
	struct host_conf conf = {.address = LONE_IP, .mac = 1, .mtu = 1500, .connections_max = 200};
	struct endpoint peer = at("198.18.0.2", 25);
	struct rss r;

	(void)state;
	configure(&r);
	assert_null(rss_check(&r, 0, QUEUES));
	chosen_by = &r;
	host_pools_init(&pools, "opens", 1023, 511);
	lone_init(&l, &pools, &conf);
	l.host.stack->env.comes_back = on_queue_0;
	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		streams[i].ops = &ops;
		assert_int_equal(stream_connect(l.host.stack, &streams[i], &peer, US_PER_SEC), 0);
		assert_true(on_queue_0(NULL, 0, &streams[i].local, &peer));
	}
	for (size_t i = 0; i < ARRAY_LEN(streams); i++)
		stream_abort(&streams[i]);
	lone_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_specification_s_vectors),
		cmocka_unit_test(test_a_card_without_what_it_takes_is_not_asked),
		cmocka_unit_test(test_a_card_that_does_as_told_is_believed),
		cmocka_unit_test(test_a_table_of_the_card_s_own_is_taken_as_it_is),
		cmocka_unit_test(test_a_card_that_does_otherwise_is_not_believed),
		cmocka_unit_test(test_a_service_of_all_cores_is_where_the_card_puts_it),
		cmocka_unit_test(test_active_opens_come_back_to_their_core),
	};
	eal_start_for_tests(64);
	frame_pool_create("rss", 15);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
