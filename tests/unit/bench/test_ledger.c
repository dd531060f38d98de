/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include <unistd.h>
#include "bench/ledger.h"

#define N 200u

static struct ledger source, sink;

static int setup(void **state)
{
	(void)state;
	assert_int_equal(ledger_init(&source, 10 * N), 0);
	assert_int_equal(ledger_init(&sink, 10 * N), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ledger_fini(&source);
	ledger_fini(&sink);
	return 0;
}

static void put(struct ledger *l, uint64_t seq, enum ledger_state state)
{
	ledger_add(l, &(struct ledger_entry){.run = 7, .state = state, .seq = seq, .rcpt = 1});
}

/* All accepted and all received, in different order. */
static void fill(void)
{
	for (uint64_t i = 0; i < N; i++) {
		put(&source, i, LEDGER_ACCEPTED);
		put(&sink, (i * 77) % N, LEDGER_RECEIVED);
	}
}

static struct ledger_match match(void)
{
	struct ledger_match m;

	ledger_match(&source, &sink, &m);
	return m;
}

static void test_all_is_well(void **state)
{
	(void)state;
	fill();
	struct ledger_match m = match();
	assert_true(ledger_proves(&m));
	assert_int_equal(m.accepted, N);
	assert_int_equal(m.received, N);
}

static void test_each_fault_is_found(void **state)
{
	static const struct {
		enum ledger_state sent, got[2];
		unsigned got_n;
		unsigned lost, doubled, altered, forged;
	} cases[] = {
		{LEDGER_ACCEPTED, {0},                                0, 1, 0, 0, 0},
		{LEDGER_ACCEPTED, {LEDGER_RECEIVED, LEDGER_RECEIVED}, 2, 0, 1, 0, 0},
		{LEDGER_ACCEPTED, {LEDGER_ALTERED},                   1, 0, 0, 1, 0},
		{LEDGER_ACCEPTED, {LEDGER_BOUNCED},                   1, 0, 0, 0, 0},
		{LEDGER_REFUSED,  {0},                                0, 0, 0, 0, 0},
		{LEDGER_REFUSED,  {LEDGER_RECEIVED},                  1, 0, 0, 0, 1},
		{LEDGER_UNKNOWN,  {0},                                0, 0, 0, 0, 0},
		{LEDGER_UNKNOWN,  {LEDGER_RECEIVED},                  1, 0, 0, 0, 0},
		{LEDGER_UNKNOWN,  {LEDGER_RECEIVED, LEDGER_RECEIVED}, 2, 0, 1, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		source.n = sink.n = 0;
		fill();
		put(&source, N, cases[i].sent);
		for (unsigned k = 0; k < cases[i].got_n; k++)
			put(&sink, N, cases[i].got[k]);
		struct ledger_match m = match();
		assert_int_equal(m.lost, cases[i].lost);
		assert_int_equal(m.doubled, cases[i].doubled);
		assert_int_equal(m.altered, cases[i].altered);
		assert_int_equal(m.forged, cases[i].forged);
	}
}

static void test_never_sent(void **state)
{
	(void)state;
	fill();
	put(&sink, N + 1, LEDGER_RECEIVED);
	assert_int_equal(match().forged, 1);
}

static void test_another_source_is_not_ours(void **state)
{
	(void)state;
	fill();
	ledger_add(&sink, &(struct ledger_entry){.run = 6, .state = LEDGER_RECEIVED, .seq = 1});
	ledger_add(&sink, &(struct ledger_entry){.run = 8, .state = LEDGER_RECEIVED, .seq = 1});
	struct ledger_match m = match();
	assert_true(ledger_proves(&m));
	assert_int_equal(m.received, N);
}

static void test_recipients_are_told_apart(void **state)
{
	(void)state;
	fill();
	ledger_add(&source, &(struct ledger_entry){.run = 7, .seq = 3, .rcpt = 2});
	assert_int_equal(match().lost, 1);
	assert_int_equal(
		ledger_rcpt(BYTES_LIT("A@B.example")), ledger_rcpt(BYTES_LIT("a@b.EXAMPLE")));
	assert_int_not_equal(ledger_rcpt(BYTES_LIT("1a@b")), ledger_rcpt(BYTES_LIT("2a@b")));
}

static void test_file(void **state)
{
	char path[] = "/tmp/bypost-ledger-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	fill();
	assert_int_equal(ledger_write(&source, path), 0);
	struct ledger back;
	assert_int_equal(ledger_init(&back, N - 1), 0);
	assert_int_equal(ledger_read(&back, path), 0);
	assert_int_equal(back.n, N - 1);
	assert_int_equal(back.dropped, 1); /* and that is told */
	assert_memory_equal(back.all, source.all, (N - 1) * sizeof(*back.all));
	assert_int_equal(truncate(path, 3), 0);
	assert_int_equal(ledger_read(&back, path), -EINVAL);
	unlink(path);
	assert_int_equal(ledger_read(&back, path), -ENOENT);
	ledger_fini(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_is_well, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_fault_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_source_is_not_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recipients_are_told_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
