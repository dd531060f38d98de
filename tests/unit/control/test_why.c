/* SPDX-License-Identifier: BSD-3-Clause
 * From facts to one cause: each cause is reached, says what it is about, and what helps. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include "store/control/why.h"

#define NOW 1700000000000ull

static struct why_facts facts;
static struct why why;

static int reset(void **state)
{
	(void)state;
	facts = (struct why_facts){.id = 0xabc, .now_ms = NOW, .reason = "", .asked = true};
	facts.info.step = "";
	facts.info.worker = (struct delivery_worker_info){
		.connections = 3, .connections_max = 100, .recipients = 5, .recipients_max = 10};
	facts.info.domain = (struct delivery_domain_info){.route = DELIVERY_ROUTE_FOUND,
		.name = "example.net",
		.hosts = "mx1.example.net, mx2.example.net",
		.connections = 2,
		.connections_max = 20,
		.connections_now = 20,
		.backlog = 7};
	return 0;
}

static void expect_cause(enum why_cause cause, const char *text, const char *remedy)
{
	why_decide(&facts, &why);
	assert_int_equal(why.cause, cause);
	if (!strstr(why.text, text) || !strstr(why.remedy, remedy))
		fail_msg("\"%s\" / \"%s\" without \"%s\" / \"%s\"", why.text, why.remedy, text,
			remedy);
}

static void test_a_retry_says_when_and_what_was_said(void **state)
{
	(void)state;
	facts.attempts = 2;
	facts.next_ms = NOW + 90 * 1000;
	facts.reason = "host mx1.example.net[198.18.0.9] said: 451 4.7.1 try later";
	facts.info.place = DELIVERY_WAITING;
	facts.info.next_ms = NOW + 60 * 1000;
	expect_cause(WHY_RETRY, "Attempt 2 failed, the next one is in 60 s", "0000000000000abc");
	assert_non_null(strstr(why.text, "451 4.7.1 try later"));
	facts.info.place = DELIVERY_NOT_IN_MEMORY; /* its turn is far away */
	expect_cause(WHY_RETRY, "the next one is in 90 s", "queue retry");
	facts.asked = false;
	expect_cause(WHY_RETRY, "the next one is in 90 s", "queue retry");
	facts.attempts = 0;
	facts.reason = "";
	expect_cause(WHY_FIRST_TRY, "not tried yet", "queue retry");
}

static void test_what_operators_and_the_store_do_comes_first(void **state)
{
	(void)state;
	facts.held = true;
	expect_cause(WHY_HELD, "holds it", "queue release 0000000000000abc");
	facts.store_failed = true;
	expect_cause(WHY_STORE_FAILED, "store has failed", "restart");
	facts.store_failed = facts.held = false;
	facts.info.worker.draining = true;
	facts.info.place = DELIVERY_WAITING;
	expect_cause(WHY_DRAINING, "being stopped", "next start");
	facts.info.place = DELIVERY_SENDING;
	expect_cause(WHY_SENDING, "on a connection", "Nothing");
}

static void test_routes(void **state)
{
	(void)state;
	facts.info.place = DELIVERY_BACKLOG;
	facts.info.domain.route = DELIVERY_ROUTE_RESOLVING;
	facts.info.worker.lookups = 4;
	expect_cause(
		WHY_RESOLVING, "next hops of example.net are being looked up (4", "dns.servers");
	facts.info.domain.route = DELIVERY_ROUTE_NONE;
	strcpy(facts.info.domain.reason, "no such domain");
	expect_cause(WHY_NO_ROUTE, "no way to example.net: no such domain", "DNS");
	facts.info.place = DELIVERY_REFUSED;
	expect_cause(WHY_NO_ROUTE, "no such domain", "DNS");
}

static void test_sites(void **state)
{
	struct delivery_domain_info *d = &facts.info.domain;

	(void)state;
	facts.info.place = DELIVERY_READY;
	d->down_us = 30 * US_PER_SEC;
	d->failures = 3;
	strcpy(d->reason, "connect to mx1: connection refused");
	expect_cause(
		WHY_SITE_DOWN, "3 times in a row; it is left alone for 30 s", "host has to answer");
	assert_non_null(strstr(why.text, "connection refused"));
	d->down_us = 0;
	d->connections = 20;
	d->ready = 9;
	expect_cause(WHY_SITE_FULL, "All 20 connections to mx1.example.net", "site_connections");
	d->connections = 2;
	facts.info.worker.connections = 100;
	expect_cause(WHY_WORKER_FULL, "All 100 connections of this core", "delivery.connections");
	facts.info.worker.connections = 3;
	facts.info.worker.starving = true; /* others are before it */
	expect_cause(WHY_WORKER_FULL, "connections of this core", "delivery.connections");
	facts.info.worker.starving = false;
	d->shared_full = true; /* by other cores */
	expect_cause(WHY_SITE_FULL, "All 20 connections to mx1.example.net", "site_connections");
	d->shared_full = false;
	d->enough_us = US_PER_SEC;
	expect_cause(WHY_NO_CONNECTION, "2 connections to mx1.example.net", "one of them is free");
	d->want = true;
	expect_cause(WHY_NO_CONNECTION, "no memory for a connection to mx1.example.net",
		"limits.connections");
	d->enough_us = 0;
	d->connections = d->connections_now = 4;
	d->opening = 1;
	expect_cause(WHY_SITE_SILENT, "4 connections to mx1.example.net", "tcp list");
	d->opening = 4;
	expect_cause(WHY_CONNECTING, "being opened (4 under way, 0 open of 20)", "connect_timeout");
	d->connections = 2;
	d->connections_now = 20;
	d->opening = 1;
	expect_cause(WHY_CONNECTING, "being opened (1 under way, 1 open of 20)", "connect_timeout");
	d->opening = 0;
	expect_cause(WHY_BACKLOG, "turn among 16 others", "Nothing");
	facts.info.place = DELIVERY_BACKLOG;
	expect_cause(WHY_BACKLOG, "turn among 16 others", "Nothing");
}

static void test_our_own_limits(void **state)
{
	(void)state;
	facts.info.place = DELIVERY_BACKLOG;
	facts.info.worker.results_wait = true;
	expect_cause(WHY_WRITER_FULL, "ring is full", "keep up");
	facts.info.place = DELIVERY_STORING;
	expect_cause(WHY_WRITER_FULL, "ring is full", "keep up");
	facts.info.worker.results_wait = false;
	expect_cause(WHY_STORING, "on the way to the store", "Nothing");
	facts.info.place = DELIVERY_BACKLOG;
	facts.info.worker.jobs_full = true;
	expect_cause(WHY_MEMORY, "in memory for delivery", "limits.body_memory");
	facts.info.place = DELIVERY_READING;
	expect_cause(WHY_READING, "read from the store", "Nothing");
	facts.info.place = DELIVERY_NOT_IN_MEMORY;
	expect_cause(WHY_NOT_IN_MEMORY, "5 recipients in memory (of 10", "delivery.recipients");
	facts.info.worker.loading = true;
	expect_cause(WHY_LOADING, "still being read", "Nothing");
}

/* Whatever is in it, the texts end within their memory. */
static void test_long_texts(void **state)
{
	static char reason[1000];

	(void)state;
	memset(reason, 'x', sizeof(reason) - 1);
	memset(facts.info.domain.name, 'y', sizeof(facts.info.domain.name) - 1);
	memset(facts.info.domain.reason, 'z', sizeof(facts.info.domain.reason) - 1);
	memset(facts.info.domain.hosts, 'h', sizeof(facts.info.domain.hosts) - 1);
	facts.reason = reason;
	facts.attempts = 1;
	for (unsigned place = 0; place < DELIVERY_PLACE_N; place++) {
		for (unsigned route = 0; route <= DELIVERY_ROUTE_NONE; route++) {
			for (unsigned bits = 0; bits < 8; bits++) {
				facts.info.place = (uint8_t)place;
				facts.info.domain.route = (uint8_t)route;
				facts.info.domain.down_us = bits & 1;
				facts.info.worker.jobs_full = bits & 2;
				facts.info.domain.opening = bits & 4;
				why_decide(&facts, &why);
				assert_true(strlen(why.text) > 0 && strlen(why.remedy) > 0);
				assert_true(why.cause < WHY_N);
			}
		}
	}
}

static void test_names_are_different(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WHY_N; i++) {
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(
				why_name((enum why_cause)i), why_name((enum why_cause)k));
	}
	assert_string_equal(why_name(WHY_N), "?");
}

static void test_equal_reasons(void **state)
{
	static const struct {
		const char *reason, *wanted;
	} cases[] = {
		{"host mx.example.net[198.18.0.9] said: 450 4.2.0 <a@b> greylisted for 300 s",
                 "host mx.example.net[#.#.#.#] said: 450 4.2.0 # greylisted for # s"                                    },
		{"",									   ""		       },
		{"12",									 "#"                      },
		{"451 4.7.1 queue id 4A3B",						    "451 4.7.1 queue id #A#B"},
		{"421 2 much",								 "421 # much"             },
		{"<",									  "<"                      },
	};
	char out[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		why_normalise(cases[i].reason, out, sizeof(out));
		assert_string_equal(out, cases[i].wanted);
	}
	char a[200], b[200];
	why_normalise("host mx[198.18.0.10] said: 450 4.2.0 <u1@x> wait 300 s", a, sizeof(a));
	why_normalise("host mx[198.18.0.10] said: 450 4.2.0 <user2@y> wait 12 s", b, sizeof(b));
	assert_string_equal(a, b);
	why_normalise("host mx[198.18.0.10] said: 451 4.2.0 <user2@y> wait 12 s", b, sizeof(b));
	assert_string_not_equal(a, b); /* the code counts */
	for (size_t cap = 1; cap < 20; cap++) {
		why_normalise("450 4.2.0 <a@b> 12 34 56", out, cap);
		assert_true(strlen(out) < cap);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_retry_says_when_and_what_was_said, reset),
		cmocka_unit_test_setup(test_what_operators_and_the_store_do_comes_first, reset),
		cmocka_unit_test_setup(test_routes, reset),
		cmocka_unit_test_setup(test_sites, reset),
		cmocka_unit_test_setup(test_our_own_limits, reset),
		cmocka_unit_test_setup(test_long_texts, reset),
		cmocka_unit_test(test_names_are_different),
		cmocka_unit_test(test_equal_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
