/* SPDX-License-Identifier: BSD-3-Clause
 * A whole delivery worker in its world. */
#include "tests/unit/delivery/unit.h"
#include <errno.h>
#include "dataplane/base/rt/eal.h"
#include "tests/unit/delivery/world.h"

static const struct delivery_conf plain;

/* Deliver everything, whatever it takes in time. */
static void run_until_empty(void)
{
	for (int i = 0; i < 200 && world_queued() > 0; i++) {
		world_settle();
		if (world_queued() > 0)
			world_advance_ms(30000);
	}
	assert_int_equal(world_queued(), 0);
}

/* New mail for one.example.org, a lap for each. */
static void mail_for_one(unsigned n)
{
	while (n--) {
		world_hint(world_message("a@example.net", "x@one.example.org"), false);
		world_step();
	}
}

static void test_one_copy_for_all_recipients_at_a_site(void **state)
{
	(void)state;
	world_start(16, plain);
	struct world_message *m = world_message(
		"a@example.net", "x@one.example.org y@twin.example.org z@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(world_queued(), 0);
	assert_int_equal(m->delivered, 3);
	assert_int_equal(world_host("198.18.0.1")->transactions, 1);
	assert_int_equal(world->results, 1);
	assert_int_equal(world->read_bodies, 0);
	world_stop();
}

static void test_waiting_mail_reuses_the_connection(void **state)
{
	struct delivery_conf conf = {.site_connections_max = 1};

	(void)state;
	world_start(16, conf);
	mail_for_one(20);
	world_settle();
	assert_int_equal(world_queued(), 0);
	assert_int_equal(world_host("198.18.0.1")->transactions, 20);
	assert_int_equal(world_host("198.18.0.1")->connects, 1);
	/* It says QUIT when nothing came for the idle time. */
	world_advance_ms(5000);
	struct delivery_info info;
	delivery_get_info(world->d, &info);
	assert_int_equal(info.connections, 0);
	assert_int_equal(info.scheduled, 0);
	world_stop();
}

static void test_the_next_host_is_tried(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->refuse = true;
	struct world_message *m = world_message("a@example.net", "x@two.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(m->delivered, 1);
	assert_int_equal(world_host("198.18.0.2")->transactions, 1);
	/* And the one that failed is tried last. */
	world_advance_ms(4000);
	world_hint(world_message("a@example.net", "x@two.example.org"), false);
	world_settle();
	assert_int_equal(world_host("198.18.0.1")->connects, 1);
	assert_int_equal(world_host("198.18.0.2")->transactions, 2);
	world_stop();
}

static void test_a_host_that_refuses_by_greeting_is_passed_over(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->greeting = "421 4.3.2 busy";
	struct world_message *m = world_message("a@example.net", "x@two.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(m->delivered, 1);
	struct world_message *only = world_message("a@example.net", "x@one.example.org");
	world_hint(only, false);
	world_settle();
	assert_true(only->rcpts[0].queued);
	assert_string_equal(
		only->rcpts[0].reason, "host mx1.example.org[198.18.0.1] said: 421 4.3.2 busy");
	assert_int_equal(only->rcpts[0].code, 421);
	world_stop();
}

static void test_a_dead_site_defers_with_the_reason_and_retry_sends(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->refuse = true;
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_true(m->rcpts[0].queued);
	assert_int_equal(m->rcpts[0].attempts, 1);
	assert_string_equal(m->rcpts[0].reason,
		"connect to mx1.example.org[198.18.0.1]:25: connection refused");
	assert_in_range(
		m->rcpts[0].next_ms, world->core.now_ms + 50000, world->core.now_ms + 60000);
	/* Down for a while: what comes now does not knock again. */
	struct world_message *other = world_message("a@example.net", "y@twin.example.org");
	world_hint(other, false);
	world_settle();
	assert_int_equal(world_host("198.18.0.1")->connects, 1);
	assert_int_equal(other->rcpts[0].attempts, 1);
	/* The server comes up and the operator says `queue retry`. */
	world_host("198.18.0.1")->refuse = false;
	m->rcpts[0].next_ms = world->core.now_ms;
	world_hint_id(m->id);
	world_settle();
	assert_int_equal(m->delivered, 1);
	assert_true(other->rcpts[0].queued);
	world_advance_ms(65000);
	world_settle();
	assert_int_equal(other->delivered, 1);
	world_stop();
}

static void test_a_refused_recipient_bounces_in_the_same_transaction(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->rcpt = "550 5.1.1 no such user";
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(world_queued(), 0);
	assert_int_equal(world->bounces, 1);
	assert_string_equal(world->bounce_to, "a@example.net");
	assert_non_null(strstr(world->bounce_text, "Status: 5.1.1\r\n"));
	assert_non_null(strstr(world->bounce_text,
		"smtp; host mx1.example.org[198.18.0.1] said: 550 5.1.1 no such user\r\n"));
	assert_non_null(strstr(world->bounce_text, "Subject: test\r\n"));
	assert_null(strstr(world->bounce_text, "last line"));
	assert_null(strstr(world->bounce_text, "Return-Path"));
	world_stop();
}

static void test_bounce_of_a_message_that_is_only_in_the_store(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->final = "554 5.6.0 not here";
	world_hint(world_message("a@example.net", "x@one.example.org"), true);
	world_settle();
	assert_int_equal(world->bounces, 1);
	assert_non_null(strstr(world->bounce_text, "Subject: test\r\n"));
	world_stop();
}

/* One read at a time, and always something to be read for the next attempt. */
static void test_bounces_have_their_turn_at_the_reader(void **state)
{
	struct delivery_conf conf = {.jobs_max = 8};

	(void)state;
	world_start(1, conf);
	world_host("198.18.0.1")->rcpt = "550 5.1.1 no such user";
	for (int i = 0; i < 400; i++) {
		world_hint_id(world_message(
			"a@example.net", i == 50 ? "x@one.example.org" : "x@far.example.org")
				      ->id);
		world_step();
	}
	for (int i = 0; i < 100000 && world_queued() > 100; i++)
		world_step();
	assert_int_equal(world->bounces, 1);
	world_settle();
	assert_int_equal(world_queued(), 0);
	world_stop();
}

static void test_nobody_hears_of_a_lost_report(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->rcpt = "550 5.1.1 no such user";
	world_hint(world_message("", "x@one.example.org y@null.example.org"), false);
	world_settle();
	assert_int_equal(world_queued(), 0);
	assert_int_equal(world->bounces, 0);
	world_stop();
}

static void test_domains_that_take_no_mail(void **state)
{
	(void)state;
	world_start(16, plain);
	world_hint(world_message("a@example.net", "x@null.example.org"), false);
	world_settle();
	assert_int_equal(world->bounces, 1);
	assert_non_null(strstr(world->bounce_text, "Status: 5.1.10\r\n"));
	world_hint(world_message("a@example.net", "x@nx.example.org y@[127.0.0.1]"), false);
	world_settle();
	assert_int_equal(world->bounces, 3); /* an attempt each */
	assert_int_equal(world_queued(), 0);
	world_stop();
}

static void test_temporary_refusals_follow_the_retry_table_until_expiry(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->rcpt = "450 4.2.0 later";
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(m->rcpts[0].attempts, 1);
	assert_string_equal(
		m->rcpts[0].reason, "host mx1.example.org[198.18.0.1] said: 450 4.2.0 later");
	world_advance_ms(50000);
	assert_int_equal(m->rcpts[0].attempts, 1);
	world_advance_ms(15000);
	assert_int_equal(m->rcpts[0].attempts, 2);
	world_advance_ms(240000); /* up to an eighth earlier than 300 s */
	assert_int_equal(m->rcpts[0].attempts, 2);
	world_advance_ms(3600000);
	world_settle();
	assert_false(m->rcpts[0].queued);
	assert_in_range(m->rcpts[0].attempts, 12, 17);
	assert_int_equal(world->bounces, 1);
	assert_non_null(strstr(world->bounce_text, "could not be delivered in time: host mx1"));
	world_stop();
}

static void test_large_bodies_come_in_slices(void **state)
{
	static char body[WORLD_BODY];

	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = i % 79 == 77 ? '\r' : i % 79 == 78 ? '\n' : (char)('!' + i % 61);
	memcpy(body, "Subject: big\r\n\r\n", 16);
	size_t n = sizeof(body) / 79 * 79;
	world_start(4, plain);
	for (int i = 0; i < 4; i++) {
		struct world_message *m =
			world_message("a@example.net", "x@one.example.org y@two.example.org");
		m->body = body;
		m->body_n = n;
		world_hint(m, true);
		world_step();
	}
	run_until_empty();
	for (int i = 0; i < 4; i++)
		assert_int_equal(world->messages[i].delivered, 2);
	assert_true(world->read_bodies >= 8 * (n / (64 * 1024)));
	world_stop();
}

static void deliver_many(uint32_t ring, struct delivery_conf conf, unsigned messages, bool hints)
{
	world_start(ring, conf);
	for (unsigned i = 0; i < messages; i++) {
		struct world_message *m = world_message("a@example.net",
			i % 3 ? "x@one.example.org y@two.example.org" : "x@bare.example.org");
		m->rcpts[0].next_ms += i % 7 * 100;
		if (hints)
			world_hint(m, i % 2);
		if (hints && i % 4 == 0)
			world_step();
	}
	run_until_empty();
	for (unsigned i = 0; i < messages; i++) {
		/* bare.example.org has no address at all: those bounced. */
		assert_int_equal(world->messages[i].delivered, i % 3 ? 2 : 0);
	}
	world_stop();
}

static void test_rings_of_one_and_two(void **state)
{
	(void)state;
	deliver_many(1, plain, 100, true);
	deliver_many(2, plain, 100, true);
}

static void test_schedule_is_loaded_at_start(void **state)
{
	(void)state;
	deliver_many(8, plain, 300, false);
}

static void test_more_recipients_than_memory(void **state)
{
	struct delivery_conf conf = {.recipients_max = 32, .connections_max = 2};

	(void)state;
	deliver_many(4, conf, 300, false);
	deliver_many(2, conf, 300, true);
}

static void test_a_connection_that_died_idle_costs_no_attempt(void **state)
{
	struct delivery_conf conf = {.site_connections_max = 1};

	(void)state;
	world_start(16, conf);
	world_host("198.18.0.1")->drop_second = true;
	for (int i = 0; i < 5; i++) {
		struct world_message *m = world_message("a@example.net", "x@one.example.org");
		world_hint(m, false);
		world_settle();
		assert_int_equal(m->delivered, 1);
		assert_int_equal(m->rcpts[0].attempts, 1);
	}
	world_stop();
}

static void test_a_result_the_store_did_not_take_is_given_again(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->rcpt = "550 5.1.1 no";
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	world->result_status = -ENOSPC;
	world_hint(m, false);
	world_settle();
	assert_false(m->rcpts[0].queued);
	assert_int_equal(world->bounces, 1);
	world_stop();
}

static void test_no_memory_for_a_read_is_tried_again(void **state)
{
	(void)state;
	world_start(16, plain);
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	world->no_chunks_once = true;
	run_until_empty();
	assert_int_equal(m->delivered, 1);
	world_stop();
}

static void test_operators_hold_release_and_delete(void **state)
{
	struct delivery_info info;

	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->rcpt = "450 4.2.0 later";
	struct world_message *a = world_message("a@example.net", "x@one.example.org");
	struct world_message *b = world_message("a@example.net", "x@one.example.org");
	world_hint(a, false);
	world_hint(b, false);
	world_settle();
	a->rcpts[0].held = true;
	b->rcpts[0].queued = false;
	world_hint_id(a->id);
	world_hint_id(b->id);
	world_settle();
	delivery_get_info(world->d, &info);
	assert_int_equal(info.scheduled, 0);
	world_host("198.18.0.1")->rcpt = NULL;
	world_advance_ms(400000);
	assert_int_equal(a->delivered + b->delivered, 0);
	a->rcpts[0].held = false;
	world_hint_id(a->id);
	world_settle();
	assert_int_equal(a->delivered, 1);
	world_stop();
}

/* What is in memory and not on a connection is kept from being tried as well. */
static void test_operators_hold_and_delete_what_is_due(void **state)
{
	struct delivery_conf conf = {.site_connections_max = 1};
	struct world_message *m[40];

	(void)state;
	world_start(64, conf);
	world_host("198.18.0.1")->silent = true;
	for (int i = 0; i < 40; i++) {
		m[i] = world_message("a@example.net", "x@one.example.org y@twin.example.org");
		world_hint(m[i], false);
		world_step();
	}
	world_settle();
	for (int i = 0; i < 40; i++) {
		m[i]->rcpts[0].held = i % 3 == 0;
		m[i]->rcpts[0].queued = m[i]->rcpts[1].queued = i % 3 != 1;
		world_hint_id(m[i]->id);
		world_settle();
	}
	world_host("198.18.0.1")->silent = false;
	world_settle();
	for (int i = 0; i < 40; i++)
		assert_int_equal(m[i]->delivered, i % 3 == 0 ? 1 : i % 3 == 1 ? 0 : 2);
	world_stop();
}

/* `queue bounce` of mail that waits in memory for a host that hangs. */
static void test_operators_give_back_what_is_due(void **state)
{
	(void)state;
	world_start(64, plain);
	world_host("198.18.0.1")->silent = true;
	struct world_message *m =
		world_message("a@example.net", "x@one.example.org y@twin.example.org");
	world_hint(m, false);
	world_settle();
	world->notify = NOTIFY_RETURN;
	world_hint_id(m->id);
	world_settle();
	assert_int_equal(world_queued(), 0);
	assert_true(world->bounces > 0);
	assert_int_equal(m->delivered, 0);
	world->notify = 0;
	world_host("198.18.0.1")->silent = false;
	world_settle();
	assert_int_equal(m->delivered, 0);
	world_stop();
}

static void test_draining_finishes_and_begins_nothing(void **state)
{
	struct delivery_conf conf = {.site_connections_max = 1};

	(void)state;
	world_start(16, conf);
	for (int i = 0; i < 30; i++) {
		world_hint(world_message("a@example.net", "x@one.example.org"), false);
		world_step();
	}
	delivery_drain(world->d);
	world_settle();
	assert_int_equal(delivery_busy(world->d), 0);
	unsigned left = world_queued();
	assert_true(left > 0);
	world_hint(world_message("a@example.net", "x@one.example.org"), false);
	world_advance_ms(100000);
	assert_int_equal(world_queued(), left + 1);
	world_stop();
}

/* ---- notifications (RFC 3461) ---- */

static void with_notify(uint8_t notify, const char *orcpt)
{
	world->notify = notify;
	world->orcpt = orcpt;
}

static void test_failure_is_told_unless_never(void **state)
{
	static const struct {
		uint8_t notify;
		bool told;
	} table[] = {
		{0,			     true },
                {NOTIFY_FAILURE,                true },
                {NOTIFY_NEVER,                  false},
                {NOTIFY_SUCCESS,                false},
		{NOTIFY_DELAY,                  false},
                {NOTIFY_FAILURE | NOTIFY_DELAY, true }
        };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		world_start(16, plain);
		with_notify(table[i].notify, "rfc822;x+2By@old.example");
		world_host("198.18.0.1")->rcpt = "550 5.1.1 no such user";
		world_hint(world_message("a@example.net", "x@one.example.org"), false);
		world_settle();
		assert_int_equal(world_queued(), 0);
		assert_int_equal(world->bounces, table[i].told);
		if (table[i].told) {
			assert_non_null(
				strstr(world->bounce_text, "Action: failed\r\nStatus: 5.1.1"));
			assert_non_null(strstr(world->bounce_text,
				"Original-Recipient: rfc822; x+y@old.example\r\n"));
			assert_non_null(
				strstr(world->bounce_text, "Remote-MTA: dns; mx1.example.org\r\n"));
		}
		world_stop();
	}
}

static void test_success_is_told_where_the_next_hop_will_not(void **state)
{
	(void)state;
	for (int dsn = 0; dsn < 2; dsn++) {
		world_start(16, plain);
		with_notify(NOTIFY_SUCCESS, NULL);
		world_host("198.18.0.1")->dsn = dsn;
		struct world_message *m = world_message("a@example.net", "x@one.example.org");
		world_hint(m, false);
		world_settle();
		assert_int_equal(m->delivered, 1);
		assert_int_equal(world->bounces, !dsn);
		if (!dsn)
			assert_non_null(
				strstr(world->bounce_text, "Action: relayed\r\nStatus: 2."));
		/* Never about a report. */
		world_hint(world_message("", "x@one.example.org"), false);
		world_settle();
		assert_int_equal(world->bounces, !dsn);
		world_stop();
	}
}

/* A row that is there for the report alone: nobody is connected to. */
static void test_local_delivery_is_told(void **state)
{
	(void)state;
	world_start(16, plain);
	with_notify(NOTIFY_SUCCESS | NOTIFY_DELIVERED, NULL);
	world_hint(world_message("a@example.net", "x@one.example.org"), false);
	world_settle();
	assert_int_equal(world_queued(), 0);
	assert_int_equal(world_host("198.18.0.1")->connects, 0);
	assert_int_equal(world->bounces, 1);
	assert_non_null(strstr(world->bounce_text, "Action: delivered\r\nStatus: 2.0.0"));
	world_stop();
}

static void test_expansion_is_told(void **state)
{
	(void)state;
	world_start(16, plain);
	with_notify(NOTIFY_SUCCESS | NOTIFY_DELIVERED | NOTIFY_EXPANDED, "rfc822;All@x");
	world_hint(world_message("a@example.net", "x@one.example.org"), false);
	world_settle();
	assert_int_equal(world->bounces, 1);
	assert_non_null(strstr(world->bounce_text, "Action: expanded\r\nStatus: 2.0.0"));
	assert_non_null(strstr(world->bounce_text, "Original-Recipient: rfc822; All@x"));
	world_stop();
}

static void test_delay_is_told_once(void **state)
{
	struct delivery_conf conf = {.delay_warning_ms = 600000};

	(void)state;
	world_start(16, conf);
	world_host("198.18.0.1")->rcpt = "450 4.2.0 later";
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(world->bounces, 0);
	world_advance_ms(960000); /* an attempt after 600 s, whenever those before were */
	world_settle();
	assert_int_equal(world->bounces, 1);
	assert_non_null(strstr(world->bounce_text, "Action: delayed\r\nStatus: 4.2.0"));
	assert_non_null(strstr(world->bounce_text, "Will-Retry-Until: "));
	assert_true(m->rcpts[0].warned);
	world_advance_ms(1200000);
	world_settle();
	assert_int_equal(world->bounces, 1);
	world_stop();
}

static void test_the_whole_message_goes_back_when_asked(void **state)
{
	(void)state;
	for (int streamed = 0; streamed < 2; streamed++) {
		world_start(16, plain);
		world->ret = RET_FULL;
		world_host("198.18.0.1")->rcpt = "550 5.1.1 no such user";
		world_hint(world_message("a@example.net", "x@one.example.org"), streamed);
		world_settle();
		assert_int_equal(world->bounces, 1);
		assert_non_null(
			strstr(world->bounce_text, "Content-Type: message/rfc822\r\n\r\nX-Id: "));
		assert_non_null(strstr(world->bounce_text, "\r\nlast line\r\n\r\n--=_"));
		assert_null(strstr(world->bounce_text, "Return-Path"));
		world_stop();
	}
}

/* It is an attempt, not a reason to connect again at once and for ever. */
static void test_case_34_a_reply_too_many_is_a_failed_attempt(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->babbles = true;
	struct world_message *m = world_message("a@example.net", "x@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_true(m->rcpts[0].queued);
	assert_int_equal(m->rcpts[0].attempts, 1);
	assert_int_equal(world_host("198.18.0.1")->connects, 1);
	assert_non_null(strstr(m->rcpts[0].reason, "spoke without being asked"));
	world_stop();
}

static void test_a_limit_on_recipients_is_kept(void **state)
{
	(void)state;
	world_start(16, plain);
	world_host("198.18.0.1")->limits = "LIMITS RCPTMAX=2 MAILMAX=2";
	struct world_message *m = world_message("a@example.net",
		"a@one.example.org b@one.example.org c@one.example.org d@one.example.org "
		"e@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(m->delivered, 5);
	assert_int_equal(world_host("198.18.0.1")->transactions, 3);
	assert_true(world_host("198.18.0.1")->connects >= 2);
	world_stop();
}

/* RFC 9422 4.3: two domains at one host are named on two connections. */
static void test_a_limit_on_domains_is_kept(void **state)
{
	struct world_host *host;

	(void)state;
	world_start(16, plain);
	host = world_host("198.18.0.1");
	host->limits = "LIMITS RCPTDOMAINMAX=1";
	struct world_message *m = world_message("a@example.net",
		"a@one.example.org b@one.example.org c@twin.example.org d@one.example.org "
		"e@twin.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(m->delivered, 5);
	assert_int_equal(host->transactions, 2);
	assert_int_equal(host->connects, 2);
	/* The same domain once more needs no other connection. */
	m = world_message("a@example.net", "f@twin.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(m->delivered, 1);
	assert_true(host->connects <= 3);
	world_stop();
	world_start(16, plain);
	host = world_host("198.18.0.1");
	host->limits = "LIMITS RCPTDOMAINMAX=2";
	m = world_message("a@example.net", "a@one.example.org c@twin.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(m->delivered, 2);
	assert_int_equal(host->connects, 1);
	world_stop();
}

static void test_domains_without_an_answer_hold_up_nobody(void **state)
{
	char to[64];

	(void)state;
	world_start(128, plain);
	world_hint(world_message("a@example.net", "x@one.example.org"), false);
	world_settle();
	assert_int_equal(world_queued(), 0);
	world->dns_hangs = true;
	for (int i = 0; i < 200; i++) {
		snprintf(to, sizeof(to), "x@dead%d.example.org", i);
		world_hint(world_message("a@example.net", to), false);
		world_step();
	}
	struct world_message *m = world_message("a@example.net", "y@one.example.org");
	world_hint(m, false);
	world_settle();
	assert_int_equal(m->delivered, 1);
	assert_int_equal(world_queued(), 200);
	world->dns_hangs = false;
	world_settle();
	assert_int_equal(world_queued(), 0);
	world_stop();
}

static void test_a_site_that_does_not_answer_has_few_connections(void **state)
{
	struct delivery_conf conf = {.site_connections_max = 8};
	struct world_host *host;

	(void)state;
	world_start(64, conf);
	host = world_host("198.18.0.1");
	host->silent = true;
	for (int i = 0; i < 24; i++)
		world_hint(world_message("a@example.net", "x@one.example.org"), false);
	world_settle();
	assert_int_equal(host->connects, DEST_UNPROVEN);
	host->silent = false;
	world_settle();
	assert_int_equal(world_queued(), 0);
	assert_int_equal(host->connects, 8);
	world_stop();
}

/* No port or memory for a second connection, or the next hop takes no second one: the first goes
 * on, and nobody knocks all the time. */
static void test_a_connection_too_many_is_not_tried_all_the_time(void **state)
{
	struct world_host *host;

	(void)state;
	world_start(16, plain);
	host = world_host("198.18.0.1");
	host->silent = true;
	world_hint(world_message("a@example.net", "x@one.example.org"), false);
	world_settle();
	world->connect_error = -ENOMEM;
	mail_for_one(7);
	world_advance_ms(900);
	assert_int_equal(world->connects_failed, 1);
	host->silent = false;
	world_settle();
	assert_int_equal(world_queued(), 0);
	assert_int_equal(host->transactions, 8);
	assert_int_equal(host->connects, 1);
	world_stop();
}

/* The first that find no room in memory wait in front of later ones that found some. */
static void test_mail_beyond_what_memory_holds_moves_on(void **state)
{
	struct delivery_conf conf = {.site_connections_max = 1, .jobs_max = 16};

	(void)state;
	world_start(64, conf);
	for (int i = 0; i < 500; i++) {
		world_hint(world_message("a@example.net", "x@one.example.org"), false);
		if (i % 4 == 0)
			world_step();
	}
	world_settle();
	assert_int_equal(world_queued(), 0);
	world_stop();
}

static void test_mail_for_a_site_that_hangs_leaves_memory_to_others(void **state)
{
	struct delivery_conf conf = {.site_connections_max = 1, .jobs_max = 64};
	struct world_host *hangs;

	(void)state;
	world_start(64, conf);
	hangs = world_host("198.18.0.1");
	hangs->silent = true;
	mail_for_one(200);
	struct world_message *stored = world_message("a@example.net", "x@far.example.org");
	world_hint_id(stored->id);
	world_settle();
	assert_int_equal(stored->delivered, 1);
	/* What comes new is not even read back from the store, once the others have lain long. */
	unsigned read = world->read_bodies;
	struct world_message *fresh = world_message("a@example.net", "x@far.example.org");
	world_hint(fresh, false);
	world_settle();
	assert_int_equal(fresh->delivered, 1);
	assert_int_equal(world->read_bodies, read);
	hangs->silent = false;
	world_settle();
	assert_int_equal(world_queued(), 0);
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
		cmocka_unit_test(test_one_copy_for_all_recipients_at_a_site),
		cmocka_unit_test(test_waiting_mail_reuses_the_connection),
		cmocka_unit_test(test_the_next_host_is_tried),
		cmocka_unit_test(test_a_host_that_refuses_by_greeting_is_passed_over),
		cmocka_unit_test(test_a_dead_site_defers_with_the_reason_and_retry_sends),
		cmocka_unit_test(test_a_refused_recipient_bounces_in_the_same_transaction),
		cmocka_unit_test(test_bounce_of_a_message_that_is_only_in_the_store),
		cmocka_unit_test(test_bounces_have_their_turn_at_the_reader),
		cmocka_unit_test(test_nobody_hears_of_a_lost_report),
		cmocka_unit_test(test_domains_that_take_no_mail),
		cmocka_unit_test(test_temporary_refusals_follow_the_retry_table_until_expiry),
		cmocka_unit_test(test_large_bodies_come_in_slices),
		cmocka_unit_test(test_rings_of_one_and_two),
		cmocka_unit_test(test_schedule_is_loaded_at_start),
		cmocka_unit_test(test_more_recipients_than_memory),
		cmocka_unit_test(test_a_connection_that_died_idle_costs_no_attempt),
		cmocka_unit_test(test_a_result_the_store_did_not_take_is_given_again),
		cmocka_unit_test(test_no_memory_for_a_read_is_tried_again),
		cmocka_unit_test(test_operators_hold_release_and_delete),
		cmocka_unit_test(test_operators_hold_and_delete_what_is_due),
		cmocka_unit_test(test_operators_give_back_what_is_due),
		cmocka_unit_test(test_draining_finishes_and_begins_nothing),
		cmocka_unit_test(test_failure_is_told_unless_never),
		cmocka_unit_test(test_success_is_told_where_the_next_hop_will_not),
		cmocka_unit_test(test_local_delivery_is_told),
		cmocka_unit_test(test_delay_is_told_once),
		cmocka_unit_test(test_the_whole_message_goes_back_when_asked),
		cmocka_unit_test(test_case_34_a_reply_too_many_is_a_failed_attempt),
		cmocka_unit_test(test_a_limit_on_recipients_is_kept),
		cmocka_unit_test(test_a_limit_on_domains_is_kept),
		cmocka_unit_test(test_expansion_is_told),
		cmocka_unit_test(test_domains_without_an_answer_hold_up_nobody),
		cmocka_unit_test(test_a_site_that_does_not_answer_has_few_connections),
		cmocka_unit_test(test_a_connection_too_many_is_not_tried_all_the_time),
		cmocka_unit_test(test_mail_beyond_what_memory_holds_moves_on),
		cmocka_unit_test(test_mail_for_a_site_that_hangs_leaves_memory_to_others),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
