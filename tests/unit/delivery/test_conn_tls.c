/* SPDX-License-Identifier: BSD-3-Clause
 * TLS policies of a delivery worker: what each level does with hosts that offer TLS, do not, or
 * fail in the handshake. */
#include "tests/unit/delivery/unit.h"
#include <errno.h>
#include "dataplane/base/rt/eal.h"
#include "tests/unit/delivery/world.h"

/* Stand for a core's TLS; the world's tls_connect looks at neither. */
static struct tls *const some_tls = (struct tls *)(uintptr_t)8;

static struct world_host *mx1(void)
{
	return world_host("198.18.0.1");
}

static struct world_host *mx2(void)
{
	return world_host("198.18.0.2");
}

static void start(enum tls_level level)
{
	world_start(16, (struct delivery_conf){.tls = some_tls, .tls_level = (uint8_t)level});
	mx1()->starttls = mx2()->starttls = true;
}

static struct world_message *send_to(const char *rcpt)
{
	struct world_message *m = world_message("a@example.net", rcpt);

	world_hint(m, false);
	world_settle();
	return m;
}

static void test_may_uses_tls_and_resumes(void **state)
{
	(void)state;
	start(TLS_LEVEL_MAY);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send_to("x@one.example.org")->delivered, 1);
		world_advance_ms(5000); /* the connection goes */
	}
	assert_int_equal(mx1()->tls, 3);
	assert_int_equal(mx1()->in_clear, 0);
	assert_int_equal(mx1()->resumed, 2);
	assert_int_equal(mx1()->tls_trust, TLS_TRUST_NONE);
	assert_string_equal(mx1()->tls_name, "mx1.example.org");
	world_stop();
}

/* Neither host nor mail has failed: again after a second, and not in clear. */
static void test_no_room_for_a_session_is_tried_again(void **state)
{
	(void)state;
	for (int level = TLS_LEVEL_MAY; level <= TLS_LEVEL_VERIFY; level++) {
		start((enum tls_level)level);
		world->tls_error = level == TLS_LEVEL_MAY ? -ENOSPC : -ENOMEM;
		struct world_message *m = world_message("a@example.net", "x@one.example.org");
		world_hint(m, false);
		world_advance_ms(5000);
		assert_true(m->rcpts[0].queued);
		assert_int_equal(m->rcpts[0].attempts, 0);
		assert_in_range(mx1()->connects, 3, 8);
		assert_int_equal(mx2()->connects, 0);
		world->tls_error = 0;
		world_settle();
		assert_int_equal(m->delivered, 1);
		assert_int_equal(mx1()->in_clear, 0);
		world_stop();
	}
}

static void test_may_goes_without_where_it_is_not_offered(void **state)
{
	(void)state;
	start(TLS_LEVEL_MAY);
	mx1()->starttls = false;
	assert_int_equal(send_to("x@one.example.org")->delivered, 1);
	assert_int_equal(mx1()->in_clear, 1);
	world_stop();
}

/* Case 9: one attempt with TLS, and then in clear for a while, at the same host. */
static void test_case_09_may_goes_without_when_the_handshake_fails(void **state)
{
	(void)state;
	start(TLS_LEVEL_MAY);
	mx1()->tls_fails = true;
	struct world_message *m = send_to("x@two.example.org");
	assert_int_equal(m->delivered, 1);
	assert_int_equal(mx1()->in_clear, 1);
	assert_int_equal(mx1()->connects, 2);
	assert_int_equal(mx2()->connects, 0);
	world_advance_ms(5000);
	assert_int_equal(send_to("x@two.example.org")->delivered, 1);
	assert_int_equal(mx1()->connects, 3);
	/* Later TLS is tried anew. */
	mx1()->tls_fails = false;
	world_advance_ms(11 * 60000);
	assert_int_equal(send_to("x@two.example.org")->delivered, 1);
	assert_int_equal(mx1()->tls, 1);
	world_stop();
}

/* Case 9: never in clear. */
static void test_case_09_encrypt_and_verify_defer(void **state)
{
	static const enum tls_level levels[] = {TLS_LEVEL_ENCRYPT, TLS_LEVEL_VERIFY};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		start(levels[i]);
		mx1()->tls_fails = true;
		struct world_message *m = send_to("x@one.example.org");
		assert_true(m->rcpts[0].queued);
		assert_string_equal(m->rcpts[0].reason,
			"host mx1.example.org[198.18.0.1]: 454 4.7.5 TLS handshake failed: "
			"certificate has expired");
		mx1()->tls_fails = mx1()->starttls = false;
		world_advance_ms(70000);
		world_settle();
		assert_string_equal(m->rcpts[0].reason,
			"host mx1.example.org[198.18.0.1]: 454 4.7.4 TLS is required here and not "
			"offered");
		mx1()->starttls = true;
		world_advance_ms(400000);
		world_settle();
		assert_int_equal(m->delivered, 1);
		assert_int_equal(mx1()->in_clear, 0);
		assert_int_equal(mx1()->tls_trust,
			levels[i] == TLS_LEVEL_VERIFY ? TLS_TRUST_NAME : TLS_TRUST_NONE);
		world_stop();
	}
}

static void test_the_next_host_when_one_fails(void **state)
{
	(void)state;
	start(TLS_LEVEL_VERIFY);
	mx1()->tls_fails = true;
	assert_int_equal(send_to("x@two.example.org")->delivered, 1);
	assert_int_equal(mx2()->tls, 1);
	world_stop();
}

static void test_none_never_asks(void **state)
{
	(void)state;
	start(TLS_LEVEL_NONE);
	assert_int_equal(send_to("x@one.example.org")->delivered, 1);
	assert_int_equal(mx1()->tls, 0);
	world_stop();
}

static void test_a_row_of_the_table_has_its_own_level(void **state)
{
	static const struct hop hops[] = {
		{.domain = "one.example.org", .level = TLS_LEVEL_VERIFY},
		{ .domain = "twin.example.org",
                 .host = "mx2.example.org:465",
                 .transport = HOP_SMTPS,
                 .level = TLS_LEVEL_MAY},
	};

	(void)state;
	world_start(16, (struct delivery_conf){.tls = some_tls,
				.tls_level = TLS_LEVEL_MAY,
				.hops = hops,
				.hop_count = ARRAY_LEN(hops)});
	mx1()->starttls = true;
	assert_int_equal(send_to("x@one.example.org")->delivered, 1);
	assert_int_equal(mx1()->tls_trust, TLS_TRUST_NAME);
	assert_int_equal(send_to("x@twin.example.org")->delivered, 1);
	assert_int_equal(mx2()->tls, 1); /* before the greeting */
	assert_int_equal(mx2()->in_clear, 0);
	assert_int_equal(send_to("x@two.example.org")->delivered, 1);
	assert_int_equal(mx1()->tls_trust, TLS_TRUST_NONE);
	world_stop();
}

/* ---- DANE (RFC 7672) ---- */

static void start_dane(void)
{
	start(TLS_LEVEL_DANE);
	world->secure = true;
}

static void test_dane_verifies_by_the_records(void **state)
{
	(void)state;
	for (uint8_t usage = 2; usage <= 3; usage++) {
		start_dane();
		mx1()->tlsa_usage = usage;
		assert_int_equal(send_to("x@one.example.org")->delivered, 1);
		assert_int_equal(mx1()->tls_trust, TLS_TRUST_DANE);
		/* The cache knows. */
		world_advance_ms(5000);
		assert_int_equal(send_to("x@one.example.org")->delivered, 1);
		assert_int_equal(mx1()->tlsa_queries, 1);
		assert_int_equal(mx1()->tls, 2);
		world_stop();
	}
}

/* RFC 7672 3.2.2: the domain's own name is as good as the host's, for this domain. */
static void test_dane_by_the_name_of_the_domain(void **state)
{
	(void)state;
	for (int other = 0; other < 2; other++) {
		start_dane();
		mx1()->tlsa_usage = 2;
		mx1()->tls_other_name = other;
		struct world_message *m = world_message("a@example.net",
			"a@one.example.org b@one.example.org c@twin.example.org d@one.example.org");
		world_hint(m, false);
		world_settle();
		assert_int_equal(m->delivered, 4);
		assert_string_equal(mx1()->tls_name, "mx1.example.org");
		/* One connection for both of the site's domains, or one for each. */
		assert_int_equal(mx1()->connects, other ? 2 : 1);
		assert_int_equal(mx1()->transactions, other ? 2 : 1);
		assert_string_equal(
			mx1()->tls_second_name, other ? "twin.example.org" : "one.example.org");
		assert_int_equal(mx1()->resumed, 0);
		world_advance_ms(5000); /* the connections go */
		assert_int_equal(send_to("x@one.example.org")->delivered, 1);
		assert_int_equal(mx1()->resumed, other ? 0 : 1);
		world_stop();
	}
}

static void test_dane_failing_is_never_in_clear(void **state)
{
	(void)state;
	start_dane();
	mx1()->tlsa_usage = 3;
	mx1()->tls_fails = true;
	struct world_message *m = send_to("x@one.example.org");
	assert_true(m->rcpts[0].queued);
	assert_int_equal(m->rcpts[0].code, 454);
	mx1()->tls_fails = mx1()->starttls = false;
	world_advance_ms(70000);
	world_settle();
	assert_true(m->rcpts[0].queued);
	assert_int_equal(mx1()->in_clear, 0);
	world_stop();
}

static void test_dane_records_of_no_use_ask_for_encryption(void **state)
{
	(void)state;
	start_dane();
	mx1()->tlsa_usage = 1; /* PKIX-EE */
	mx1()->tls_fails = true;
	struct world_message *m = send_to("x@one.example.org");
	assert_true(m->rcpts[0].queued);
	mx1()->tls_fails = false;
	world_advance_ms(70000);
	world_settle();
	assert_int_equal(m->delivered, 1);
	assert_int_equal(mx1()->tls_trust, TLS_TRUST_NONE);
	assert_int_equal(mx1()->in_clear, 0);
	world_stop();
}

/* No records, records that are not validated, a way to the host that is not: as it can be had. */
static void test_dane_without_records_is_may(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		start_dane();
		mx1()->tls_fails = true;
		mx1()->tlsa_usage = i == 0 ? 0 : 3;
		mx1()->tlsa_insecure = i == 1;
		world->secure = i != 2;
		assert_int_equal(send_to("x@one.example.org")->delivered, 1);
		assert_int_equal(mx1()->in_clear, 1);
		assert_int_equal(mx1()->tlsa_queries, i != 2);
		world_stop();
	}
}

static void test_dane_lookup_failing_passes_the_host_over(void **state)
{
	(void)state;
	start_dane();
	mx1()->tlsa_fails = true;
	assert_int_equal(send_to("x@two.example.org")->delivered, 1);
	assert_int_equal(mx1()->connects, 0);
	assert_int_equal(mx2()->tls, 1);
	struct world_message *m = send_to("x@one.example.org");
	assert_true(m->rcpts[0].queued);
	assert_string_equal(m->rcpts[0].reason,
		"connect to mx1.example.org[198.18.0.1]:25: its TLSA records cannot be looked up");
	world_stop();
}

/* RFC 7672 2.2.2: a mail server's name that is an alias. */
static void test_dane_through_an_alias(void **state)
{
	static const struct {
		bool target, alias, insecure; /* who has records; the alias is not validated */
		enum tls_trust trust;
		const char *name;
		unsigned queries;
	} table[] = {
		{true,  true,  false, TLS_TRUST_DANE, "mx2.example.org", 0},
		{false, true,  false, TLS_TRUST_DANE, "www.example.org", 1},
		{false, false, false, TLS_TRUST_NONE, "www.example.org", 1},
		{true,  true,  true,  TLS_TRUST_NONE, "www.example.org", 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		start_dane();
		world->alias = "mx2.example.org";
		world->alias_insecure = table[i].insecure;
		mx2()->tlsa_usage = table[i].target ? 3 : 0;
		mx1()->tlsa_usage = table[i].alias ? 3 : 0;
		assert_int_equal(send_to("x@alias.example.org")->delivered, 1);
		assert_int_equal(mx1()->tls_trust, table[i].trust);
		assert_string_equal(mx1()->tls_name, table[i].name);
		assert_int_equal(mx1()->tlsa_queries, table[i].queries);
		assert_int_equal(mx2()->tlsa_queries, !table[i].insecure);
		world_stop();
	}
}

static void test_dane_aliases_without_end_are_no_way(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		start_dane();
		world->alias = "www.example.org";
		world->alias_fails = i == 1;
		mx1()->tlsa_usage = 3;
		assert_true(send_to("x@alias.example.org")->rcpts[0].queued);
		assert_int_equal(mx1()->connects, 0);
		world_stop();
	}
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
		cmocka_unit_test(test_may_uses_tls_and_resumes),
		cmocka_unit_test(test_no_room_for_a_session_is_tried_again),
		cmocka_unit_test(test_may_goes_without_where_it_is_not_offered),
		cmocka_unit_test(test_case_09_may_goes_without_when_the_handshake_fails),
		cmocka_unit_test(test_case_09_encrypt_and_verify_defer),
		cmocka_unit_test(test_the_next_host_when_one_fails),
		cmocka_unit_test(test_none_never_asks),
		cmocka_unit_test(test_a_row_of_the_table_has_its_own_level),
		cmocka_unit_test(test_dane_verifies_by_the_records),
		cmocka_unit_test(test_dane_by_the_name_of_the_domain),
		cmocka_unit_test(test_dane_failing_is_never_in_clear),
		cmocka_unit_test(test_dane_records_of_no_use_ask_for_encryption),
		cmocka_unit_test(test_dane_without_records_is_may),
		cmocka_unit_test(test_dane_through_an_alias),
		cmocka_unit_test(test_dane_aliases_without_end_are_no_way),
		cmocka_unit_test(test_dane_lookup_failing_passes_the_host_over),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
