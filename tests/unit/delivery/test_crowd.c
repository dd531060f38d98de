/* SPDX-License-Identifier: BSD-3-Clause
 * Fewer connections than sites would like to have: who gets them, and who gives them back. */
#include "tests/unit/delivery/unit.h"
#include <errno.h>
#include "dataplane/base/log.h"
#include "dataplane/base/rt/eal.h"
#include "tests/unit/delivery/world.h"

#define HEALTHY 100 /* number of the domain whose host answers */

static const struct delivery_conf crowd = {.connections_max = 24, .site_connections_max = 8};

static struct world_message *mail_for(unsigned n)
{
	char to[64];

	snprintf(to, sizeof(to), "x@h%u.example.org", n);
	struct world_message *m = world_message("a@example.net", to);
	world_hint(m, false);
	return m;
}

/* Ten messages for each of n domains. */
static void mail_for_each(unsigned n)
{
	for (unsigned i = 0; i < 10; i++) {
		for (unsigned k = 0; k < n; k++) {
			mail_for(k);
			world_step();
		}
	}
}

/* Seconds until it is taken; fails after max. */
static unsigned seconds_until_taken(const struct world_message *m, unsigned max)
{
	uint64_t from_us = world->core.now_us;

	while (!m->delivered) {
		world_advance_ms(100);
		for (int i = 0; i < 20; i++)
			world_step();
		if (world->core.now_us - from_us > max * US_PER_SEC)
			fail_msg("not taken in %u s, host 0 hangs at step %u", max,
				world_host_of(0)->hangs_at);
	}
	return (unsigned)((world->core.now_us - from_us) / US_PER_SEC);
}

static void all_well(unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		world_host_of(k)->hangs_at = AT_NONE;
		world_host_of(k)->delay_ms = 0;
	}
	/* What hangs at a server is over when the connection is. */
	for (int i = 0; i < 40 && world_queued() > 0; i++) {
		world_advance_ms(60000);
		world_settle();
	}
	assert_int_equal(world_queued(), 0);
}

static void sites_that_hang(enum world_step step, unsigned sites, unsigned max)
{
	world_start(64, crowd);
	for (unsigned k = 0; k < sites; k++)
		world_host_of(k)->hangs_at = (uint8_t)step;
	mail_for_each(sites);
	world_settle();
	seconds_until_taken(mail_for(HEALTHY), max);
	seconds_until_taken(mail_for(HEALTHY + 1), max);
	all_well(sites);
	world_stop();
}

static void test_sites_that_hang_leave_connections_to_others(void **state)
{
	(void)state;
	for (enum world_step step = AT_CONNECT; step <= AT_CONTENT; step++)
		sites_that_hang(step, 12, 15);
}

static void test_more_sites_that_hang_than_connections(void **state)
{
	(void)state;
	for (enum world_step step = AT_CONNECT; step <= AT_CONTENT; step++)
		sites_that_hang(step, 30, 130);
}

/* A message may have been taken by then: that is waited for longer. */
static void test_hosts_that_never_say_whether_they_took_it(void **state)
{
	(void)state;
	sites_that_hang(AT_FINAL, 12, 130);
}

static void test_sites_that_are_busy_give_place(void **state)
{
	(void)state;
	world_start(128, crowd);
	for (unsigned k = 0; k < 3; k++)
		world_host_of(k)->delay_ms = 200;
	for (int i = 0; i < 60; i++) {
		for (unsigned k = 0; k < 3; k++)
			mail_for(k);
		world_step();
	}
	world_advance_ms(2000);
	assert_int_equal(world->d->dest.connections, 24);
	struct world_message *m = mail_for(HEALTHY);
	assert_true(seconds_until_taken(m, 5) <= 5);
	assert_true(world_queued() > 60);
	all_well(3);
	world_stop();
}

static void test_a_lone_site_has_all_that_a_site_may_have(void **state)
{
	(void)state;
	world_start(64, crowd);
	world_host_of(0)->delay_ms = 3000;
	for (int i = 0; i < 40; i++) {
		mail_for(0);
		world_step();
	}
	world_advance_ms(30000);
	assert_int_equal(world_host_of(0)->connects, 8);
	assert_int_equal(world->d->dest.connections, 8);
	all_well(1);
	world_stop();
}

/* Another worker, which is the test, has none of a site's connections, and then all of them. */
static void test_workers_give_connections_to_each_other(void **state)
{
	struct delivery_conf conf = crowd;

	(void)state;
	conf.shares = delivery_shares_create();
	world_start(64, conf);
	world_host_of(0)->delay_ms = 300;
	for (int i = 0; i < 200; i++) {
		mail_for(0);
		world_step();
	}
	world_advance_ms(3000);
	unsigned slot = world->d->dest.sites[0].route.key.a % DEST_SHARES;
	assert_int_equal(world->d->dest.connections, 8);
	conf.shares->wanted[slot] = (unsigned)(world->core.now_us / US_PER_SEC) + 2;
	for (int i = 0; i < 3000 && world->d->dest.connections == 8; i++)
		world_step();
	assert_int_equal(conf.shares->wanted[slot], 0);
	for (int i = 0; i < 300; i++)
		world_step();
	assert_int_equal(world->d->dest.connections, 7);
	world_advance_ms(2000);
	assert_int_equal(world->d->dest.connections, 8);
	all_well(1);
	world_advance_ms(10000);
	assert_int_equal(conf.shares->connections[slot], 0);
	conf.shares->connections[slot] = 8;
	struct world_message *m = mail_for(0);
	world_advance_ms(500);
	assert_int_equal(m->delivered, 0);
	assert_true(conf.shares->wanted[slot] > world->core.now_us / US_PER_SEC);
	conf.shares->connections[slot]--;
	seconds_until_taken(m, 1);
	world_advance_ms(10000);
	world_stop();
	free(conf.shares);
}

/* Nothing is wrong with the host or the mail. */
static void test_no_memory_for_a_connection_is_tried_again(void **state)
{
	(void)state;
	world_start(16, crowd);
	world->connect_error = -ENOMEM;
	struct world_message *m = mail_for(0);
	world_advance_ms(5000);
	assert_in_range(world->connects_failed, 3, 8);
	assert_int_equal(m->rcpts[0].attempts, 0);
	assert_true(m->rcpts[0].queued);
	world->connect_error = 0;
	seconds_until_taken(m, 2);
	assert_int_equal(m->rcpts[0].attempts, 1); /* the one that succeeded */
	world_stop();
}

/* A site with a connection that hangs takes another as soon as it may. */
static void test_one_more_is_tried_again_by_itself(void **state)
{
	struct world_host *host;

	(void)state;
	world_start(16, crowd);
	host = world_host_of(0);
	host->hangs_at = AT_MAIL;
	mail_for(0);
	world_settle();
	assert_int_equal(host->connects, 1);
	world->connect_error = -ENOMEM;
	struct world_message *m = mail_for(0);
	world_advance_ms(3000);
	world->connect_error = 0;
	host->hangs_at = AT_NONE;
	seconds_until_taken(m, 2);
	all_well(1);
	world_stop();
}

/* There are connections, but all the messages that memory holds are on those that hang. */
static void test_messages_at_sites_that_hang_give_up_memory(void **state)
{
	struct delivery_conf conf = {
		.connections_max = 100, .site_connections_max = 8, .jobs_max = 8};

	(void)state;
	for (enum world_step step = AT_MAIL; step <= AT_FINAL; step++) {
		world_start(64, conf);
		for (unsigned k = 0; k < 6; k++)
			world_host_of(k)->hangs_at = (uint8_t)step;
		mail_for_each(6);
		world_settle();
		seconds_until_taken(mail_for(HEALTHY), 130);
		seconds_until_taken(mail_for(HEALTHY + 1), 130);
		all_well(6);
		world_stop();
	}
}

/* Domains whose servers do not answer are waited for; others are looked up meanwhile. */
static void test_look_ups_that_take_long_leave_room_for_others(void **state)
{
	struct delivery_conf conf = {.connections_max = 24};
	char to[64];

	(void)state;
	world_start(256, conf);
	world->dns_hangs = true;
	for (unsigned i = 0; i < 150; i++) {
		snprintf(to, sizeof(to), "x@dead%u.example.org", i);
		world_hint(world_message("a@example.net", to), false);
		world_step();
	}
	seconds_until_taken(mail_for(HEALTHY), 8);
	assert_int_equal(world_queued(), 150);
	/* There is a bound. */
	for (unsigned i = 150; i < LOOKUPS_MAX + 20; i++) {
		snprintf(to, sizeof(to), "x@dead%u.example.org", i);
		world_hint(world_message("a@example.net", to), false);
		world_step();
	}
	world_advance_ms(20000);
	assert_true(list_empty(&world->d->lookups.free));
	world->dns_hangs = false;
	world_settle();
	assert_int_equal(world_queued(), 0);
	world_stop();
}

static struct world_dns slowly(const char *name)
{
	(void)name;
	return (struct world_dns){.delay_us = 100 * US_PER_MS};
}

/* One question at a time, and routes that are old before all have been asked for: TLSA records have
 * their turn. */
static void test_questions_take_turns(void **state)
{
	struct delivery_conf conf = {.connections_max = 240,
		.jobs_max = 4,
		.tls = (struct tls *)(uintptr_t)8,
		.tls_level = TLS_LEVEL_DANE};

	(void)state;
	world_start(1, conf);
	world->secure = true;
	world->dns_plan = slowly;
	world->numbered_ttl = 1;
	for (unsigned i = 0; i < 1000; i++) {
		mail_for(i * 7 % 150);
		world_step();
	}
	for (unsigned i = 0; i < 20 && world_queued() > 0; i++)
		world_advance_ms(60000);
	assert_int_equal(world_queued(), 0);
	world_stop();
}

/* The first answers about TLSA records come one by one. */
static struct world_dns one_by_one(const char *name)
{
	static unsigned n;

	if (name[0] != '_')
		return (struct world_dns){.delay_us = 0};
	return (struct world_dns){.delay_us = ++n <= DANE_QUERIES_MAX ? n * 40 * US_PER_MS : 1};
}

/* Who waits for a question about TLSA records of its own may find the answer known by then. */
static void test_more_connections_than_questions_about_tlsa_records(void **state)
{
	struct delivery_conf conf = {.connections_max = 240,
		.site_connections_max = 4,
		.tls = (struct tls *)(uintptr_t)8,
		.tls_level = TLS_LEVEL_DANE};

	(void)state;
	world_start(128, conf);
	world->secure = true;
	world->dns_plan = one_by_one;
	for (unsigned k = 0; k < 60; k++) {
		world_host_of(k)->starttls = true;
		world_host_of(k)->tlsa_usage = 3;
	}
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned k = 0; k < 60; k++) {
			mail_for(k);
			if (k % 20 == 0)
				world_step();
		}
	}
	world_settle();
	assert_int_equal(world_queued(), 0);
	world_stop();
}

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_WARN);
	eal_start_for_tests(128);
	return chunk_pool_init(4096, -1) || message_pool_init(1024, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sites_that_hang_leave_connections_to_others),
		cmocka_unit_test(test_more_sites_that_hang_than_connections),
		cmocka_unit_test(test_hosts_that_never_say_whether_they_took_it),
		cmocka_unit_test(test_sites_that_are_busy_give_place),
		cmocka_unit_test(test_a_lone_site_has_all_that_a_site_may_have),
		cmocka_unit_test(test_workers_give_connections_to_each_other),
		cmocka_unit_test(test_no_memory_for_a_connection_is_tried_again),
		cmocka_unit_test(test_one_more_is_tried_again_by_itself),
		cmocka_unit_test(test_messages_at_sites_that_hang_give_up_memory),
		cmocka_unit_test(test_look_ups_that_take_long_leave_room_for_others),
		cmocka_unit_test(test_questions_take_turns),
		cmocka_unit_test(test_more_connections_than_questions_about_tlsa_records),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
