/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/peers: rates, who shares a place with whom, and floods of peers. */
#include "tests/unit/smtp/unit.h"
#include "smtp/peers.h"

#define MINUTE (60 * US_PER_SEC)

#define PLACES (16 * PEERS_SET)
#define SHARED 64

static struct peer table[PLACES + SHARED];
static struct peers peers;

static int setup(void **state)
{
	(void)state;
	memset(table, 0, sizeof(table));
	peers_init(&peers, table, PLACES, SHARED);
	return 0;
}

static struct peer *peer_of(const char *text)
{
	struct ip_addr ip;

	assert_int_equal(ip_parse(bytes_str(text), &ip), 0);
	return peers_get(&peers, &ip);
}

static void test_rates(void **state)
{
	struct peer *p = peer_of("198.18.1.1");
	uint64_t now = 1000 * US_PER_SEC;

	(void)state;
	for (unsigned i = 0; i < 6; i++)
		assert_true(peer_may(p, PEER_CONNECT, 6, now));
	assert_false(peer_may(p, PEER_CONNECT, 6, now));
	assert_true(peer_may(p, PEER_MESSAGE, 6, now)); /* each event for itself */
	assert_false(peer_may(p, PEER_CONNECT, 6, now + 9 * US_PER_SEC));
	assert_true(peer_may(p, PEER_CONNECT, 6, now + 10 * US_PER_SEC));
	assert_false(peer_may(p, PEER_CONNECT, 6, now + 10 * US_PER_SEC));
	/* A refusal is not paid for, and an hour of silence buys a minute's worth. */
	now += 3600 * US_PER_SEC;
	for (unsigned i = 0; i < 6; i++)
		assert_true(peer_may(p, PEER_CONNECT, 6, now));
	assert_false(peer_may(p, PEER_CONNECT, 6, now));
	for (unsigned i = 0; i < 100000; i++)
		assert_true(peer_may(p, PEER_RCPT, 0, now));
}

static void test_networks(void **state)
{
	(void)state;
	assert_ptr_equal(peer_of("2001:2::1"), peer_of("2001:2::ffff:1"));
	assert_ptr_not_equal(peer_of("2001:2::1"), peer_of("2001:2:0:1::1"));
	assert_ptr_not_equal(peer_of("198.18.1.1"), peer_of("198.18.1.2"));
}

/* A flood of addresses throws out nobody who is connected, and takes no memory. */
static void test_flood(void **state)
{
	struct peer *mine = peer_of("198.18.1.1");
	char text[32];

	(void)state;
	mine->connections = 3;
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(text, sizeof(text), "198.19.%u.%u", i / 256 % 256, i % 256);
		peer_may(peer_of(text), PEER_CONNECT, 10, US_PER_SEC);
	}
	assert_ptr_equal(peer_of("198.18.1.1"), mine);
	assert_int_equal(mine->connections, 3);
}

/* When every place is taken by somebody connected, few of the rest share one: a limit of 50
 * connections is nobody's whom it is not meant for. */
static void test_full(void **state)
{
	uint32_t most = 0, shared = 0;
	char text[32];

	(void)state;
	for (unsigned i = 0; i < PLACES + 16 * SHARED; i++) {
		snprintf(text, sizeof(text), "198.19.%u.%u", i / 256, i % 256);
		peer_of(text)->connections++;
	}
	for (unsigned i = 0; i < SHARED; i++) {
		most = MAX(most, peers.shared[i].connections);
		shared += peers.shared[i].connections;
	}
	assert_true(shared >= 16 * SHARED);
	assert_true(most < 50);
	assert_ptr_equal(peer_of("198.19.1.1"), peer_of("198.19.1.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_rates, setup),
		cmocka_unit_test_setup(test_networks, setup),
		cmocka_unit_test_setup(test_flood, setup),
		cmocka_unit_test_setup(test_full, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
