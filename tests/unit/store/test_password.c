/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/password.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include "dataplane/base/clock.h"
#include "tests/unit/store/store_harness.h"

#define TYPED_HASH                                                                                 \
	"WLQAK6d.STJAjeDy8xeaookI.Qy3.j9zUscQZgE8w9." /* of "gru" U+0308 "n", by perl's crypt() */

static struct password_service *p;
static struct waker waker;
static struct channel channel;

static int setup(void **state)
{
	(void)state;
	struct harness pools; /* for its pools and EAL */

	harness_init(&pools);
	harness_fini(&pools);
	p = password_service_create();
	BUG_ON(!p || waker_init(&waker) < 0);
	struct service *s = password_service_server(p);
	BUG_ON(channel_init(&channel, "pw", 2, &waker, &s->waker, -1) < 0);
	BUG_ON(service_add(s, &channel) < 0);
	return password_service_start(p);
}

static int teardown(void **state)
{
	(void)state;
	password_service_stop(p);
	password_service_destroy(&p);
	channel_fini(&channel);
	waker_fini(&waker);
	return 0;
}

static int check(struct password_op *op, const char *password, unsigned kind)
{
	snprintf(op->password, sizeof(op->password), "%s", password);
	return harness_run(&channel, &op->op, kind);
}

static void assert_wiped(const struct password_op *op)
{
	for (size_t i = 0; i < sizeof(op->password); i++)
		assert_int_equal(op->password[i], 0);
}

static void test_hash_then_verify(void **state)
{
	(void)state;
	struct password_op op = {0};

	assert_int_equal(check(&op, "correct horse", PASSWORD_HASH), 0);
	assert_wiped(&op);
	assert_memory_equal(op.hash, "$y$", 3);
	assert_int_equal(op.scram.iterations, SCRAM_ITERATIONS);
	assert_int_equal(check(&op, "correct horse", PASSWORD_VERIFY), 0);
	assert_int_equal(check(&op, "correct hors", PASSWORD_VERIFY), -EACCES);
	assert_int_equal(check(&op, "", PASSWORD_VERIFY), -EACCES);
	assert_wiped(&op);
}

static void test_other_hashes_of_crypt(void **state)
{
	(void)state;
	struct password_op op = {0};

	/* The first test vector of the SHA-crypt specification's $5$ scheme. */
	strcpy(op.hash, "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
	assert_int_equal(check(&op, "Hello world!", PASSWORD_VERIFY), 0);
	assert_int_equal(check(&op, "Hello world", PASSWORD_VERIFY), -EACCES);
	strcpy(op.hash, "*0");
	assert_int_equal(check(&op, "x", PASSWORD_VERIFY), -EACCES);
	strcpy(op.hash, "garbage");
	assert_int_equal(check(&op, "x", PASSWORD_VERIFY), -EACCES);
	assert_int_equal(check(&op, "x", 77), -EINVAL);
}

/* RFC 4013: however it was typed. */
static void test_passwords_beyond_ascii_have_one_form(void **state)
{
	(void)state;
	struct password_op op = {0};
	struct scram_record composed;

	assert_int_equal(check(&op, "gr\u00fc\u00df", PASSWORD_HASH), 0);
	composed = op.scram;
	assert_int_equal(check(&op, "gru\u0308\u00df", PASSWORD_VERIFY), 0);
	assert_int_equal(check(&op, "gr\u00fc\u00df", PASSWORD_VERIFY), 0);
	assert_int_equal(check(&op, "gru\u00df", PASSWORD_VERIFY), -EACCES);
	assert_wiped(&op);
	assert_int_equal(check(&op, "gru\u0308\u00df", PASSWORD_HASH), 0);
	assert_int_equal(check(&op, "gr\u00fc\u00df", PASSWORD_VERIFY), 0);
	assert_memory_not_equal(composed.salt, op.scram.salt, SCRAM_SALT);
	assert_int_equal(check(&op, "with\x07", PASSWORD_HASH), -EINVAL);
	assert_int_equal(check(&op, "\xff", PASSWORD_HASH), -EINVAL);
	assert_wiped(&op);
	/* A hash from elsewhere, of what was typed: u and a diaeresis. */
	strcpy(op.hash, "$5$saltstring$" TYPED_HASH);
	assert_int_equal(check(&op, "gru\u0308n", PASSWORD_VERIFY), 0);
	assert_int_equal(check(&op, "gr\u00fcn", PASSWORD_VERIFY), -EACCES);
}

static uint64_t time_of(const char *hash)
{
	struct password_op op = {0};
	uint64_t start = clock_mono_us();

	snprintf(op.hash, sizeof(op.hash), "%s", hash);
	assert_int_equal(check(&op, "guess", PASSWORD_VERIFY), -EACCES);
	return clock_mono_us() - start;
}

static void test_unknown_user_costs_the_same(void **state)
{
	(void)state;
	struct password_op op = {0};
	uint64_t known = UINT64_MAX, unknown = UINT64_MAX;

	assert_int_equal(check(&op, "secret", PASSWORD_HASH), 0);
	for (int i = 0; i < 5; i++) {
		uint64_t k = time_of(op.hash), u = time_of("");
		known = MIN(known, k);
		unknown = MIN(unknown, u);
	}
	print_message("known %llu us, unknown %llu us\n", (unsigned long long)known,
		(unsigned long long)unknown);
	assert_true(unknown > known / 2 && unknown < known * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash_then_verify),
		cmocka_unit_test(test_other_hashes_of_crypt),
		cmocka_unit_test(test_passwords_beyond_ascii_have_one_form),
		cmocka_unit_test(test_unknown_user_costs_the_same),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
