/* SPDX-License-Identifier: BSD-3-Clause
 * What a worker tells about a recipient on each step of its way, and about domains with mail. */
#include "tests/unit/delivery/unit.h"
#include <string.h>
#include "dataplane/base/rt/eal.h"
#include "delivery/inspect.h"
#include "tests/unit/delivery/world.h"

static const struct delivery_conf plain;
static struct delivery_recipient_info info;

static enum delivery_place look(const struct world_message *m, const char *domain)
{
	delivery_inspect(world->d, m->id, 0, bytes_str(domain), &info);
	return (enum delivery_place)info.place;
}

static void test_the_way_of_a_recipient(void **state)
{
	bool seen[DELIVERY_PLACE_N] = {false};

	(void)state;
	world_start(16, plain);
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	assert_int_equal(look(m, "one.example.org"), DELIVERY_NOT_IN_MEMORY);
	assert_string_equal(info.domain.name, "");
	world_hint(m, false);
	for (unsigned i = 0; i < 200 && world_queued() > 0; i++) {
		world_step();
		seen[look(m, "one.example.org")] = true;
		if (info.place == DELIVERY_SENDING)
			assert_true(info.host[0] && info.step[0]);
	}
	assert_true(seen[DELIVERY_SENDING]);
	assert_true(seen[DELIVERY_BACKLOG] || seen[DELIVERY_READY]);
	world_settle();
	assert_int_equal(look(m, "one.example.org"), DELIVERY_NOT_IN_MEMORY);
	/* The domain is remembered without mail. */
	assert_string_equal(info.domain.name, "one.example.org");
	assert_int_equal(info.domain.route, DELIVERY_ROUTE_FOUND);
	assert_int_equal(info.domain.recipients, 0);
	world_stop();
}

static void test_a_host_that_cannot_be_reached(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->refuse = true;
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(look(m, "one.example.org"), DELIVERY_WAITING);
	assert_int_equal(info.attempts, 1);
	assert_true(info.next_ms > world->core.now_ms);
	assert_int_equal(info.domain.next_ms, info.next_ms);
	assert_int_equal(info.domain.recipients, 1);
	assert_true(info.domain.failures >= 1);
	assert_true(info.domain.down_us > 0);
	assert_non_null(strstr(info.domain.reason, "connect"));
	assert_true(info.domain.hosts[0]);
	assert_false(info.worker.loading);
	world_stop();
}

/* Its message is in memory, but it has not come to its turn. */
static void test_behind_a_site_that_hangs(void **state)
{
	struct world_message *m = NULL;

	(void)state;
	world_start(64, plain);
	world_host("198.18.0.1")->silent = true;
	for (int i = 0; i < 40; i++) {
		m = world_message("a@example.net", "x@one.example.org");
		world_hint(m, false);
		world_step();
	}
	world_settle();
	assert_int_equal(look(m, "one.example.org"), DELIVERY_BACKLOG);
	assert_int_equal(info.domain.opening, DEST_UNPROVEN);
	world_host("198.18.0.1")->silent = false;
	world_settle();
	assert_int_equal(world_queued(), 0);
	world_stop();
}

static void test_domains_in_slices(void **state)
{
	struct delivery_domain_info rows[4];
	uint32_t from = 0;
	unsigned n = 0, slices = 0;

	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->refuse = true;
	world_hint(world_message("a@example.net", "x@one.example.org y@twin.example.org"), false);
	world_settle();
	while (from != DELIVERY_DOMAINS_END) {
		n += delivery_domains(world->d, &from, 1, rows + n, 4 - n);
		assert_true(++slices < 100000);
	}
	assert_int_equal(n, 2);
	assert_string_not_equal(rows[0].name, rows[1].name);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(rows[i].recipients, 1);
		assert_true(rows[i].next_ms > 0);
	}
	world_stop();
}

static int setup(void **state)
{
	(void)state;
	eal_start_for_tests(64);
	return chunk_pool_init(4096, -1) || message_pool_init(1024, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_way_of_a_recipient),
		cmocka_unit_test(test_a_host_that_cannot_be_reached),
		cmocka_unit_test(test_behind_a_site_that_hangs),
		cmocka_unit_test(test_domains_in_slices),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
