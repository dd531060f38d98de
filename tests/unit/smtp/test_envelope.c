/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/envelope, smtp/trace: messages in chunks, and the fields in front of them. */
#include "tests/unit/smtp/unit.h"
#include <errno.h>
#include "dataplane/base/rt/eal.h"
#include "smtp/envelope.h"
#include "smtp/trace.h"

#define CHUNKS 256

static int setup(void **state)
{
	(void)state;
	eal_start_for_tests(64);
	return chunk_pool_init(CHUNKS, -1) || message_pool_init(4, -1);
}

static int teardown(void **state)
{
	(void)state;
	message_pool_fini();
	chunk_pool_fini();
	return 0;
}

static void test_everything_comes_back(void **state)
{
	struct message *m[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(m[i] = message_new());
	assert_null(message_new());
	assert_int_equal(message_set_sender(m[0], BYTES_LIT("a@b.example")), 0);
	assert_int_equal(message_add_rcpt(m[0], BYTES_LIT("c@d.example"), RCPT_LOCAL, 7), 0);
	assert_int_equal(message_prepend(m[0], BYTES_LIT("X: y\r\n"), false), 0);
	assert_int_equal(chain_append(&m[0]->body, BYTES_LIT("body")), 0);
	message_ref(m[0]);
	message_unref(m[0]);
	assert_int_equal(message_body_bytes(m[0]), 4);
	for (unsigned i = 0; i < 4; i++)
		message_unref(m[i]);
	assert_int_equal(chunk_pool_free_count(), CHUNKS);
}

static void test_a_thousand_recipients(void **state)
{
	struct message *m = message_new();
	char address[128];

	(void)state;
	for (unsigned i = 0; i < MESSAGE_RCPT_MAX; i++) {
		int n = snprintf(address, sizeof(address), "user%u.%0*u@d%u.example", i,
			(int)(i % 60 + 1), i, i);
		assert_int_equal(message_add_rcpt(m, bytes_make(address, (size_t)n),
					 i & 1 ? RCPT_LOCAL : RCPT_REMOTE, i),
			0);
	}
	assert_int_equal(message_add_rcpt(m, BYTES_LIT("a@b"), RCPT_LOCAL, 0), -ENOSPC);
	for (unsigned i = 0; i < MESSAGE_RCPT_MAX; i++) {
		int n = snprintf(address, sizeof(address), "user%u.%0*u@d%u.example", i,
			(int)(i % 60 + 1), i, i);
		const struct rcpt *r = message_rcpt(m, i);
		assert_bytes_equal(message_rcpt_address(m, r), bytes_make(address, (size_t)n));
		n = snprintf(address, sizeof(address), "d%u.example", i);
		assert_bytes_equal(message_rcpt_domain(m, r), bytes_make(address, (size_t)n));
		assert_int_equal(r->account, i);
	}
	message_unref(m);
	assert_int_equal(chunk_pool_free_count(), CHUNKS);
}

static void test_local_fields_stand_first(void **state)
{
	struct message *m = message_new();
	char text[128];

	(void)state;
	assert_int_equal(message_prepend(m, BYTES_LIT("B: 1\r\n"), false), 0);
	assert_int_equal(message_prepend(m, BYTES_LIT("Return-Path: <>\r\n"), true), 0);
	assert_int_equal(message_prepend(m, BYTES_LIT("A: 2\r\n"), false), 0);
	size_t n = chain_read(&m->prefix, 0, text, sizeof(text));
	assert_bytes_equal(bytes_make(text, n), BYTES_LIT("Return-Path: <>\r\nA: 2\r\nB: 1\r\n"));
	assert_int_equal(m->prefix_local, 17);
	uint8_t big[MESSAGE_PREFIX_MAX];
	memset(big, 'x', sizeof(big));
	assert_int_equal(message_prepend(m, bytes_make(big, sizeof(big)), false), -ENOBUFS);
	message_unref(m);
}

static void test_no_chunks_is_an_error(void **state)
{
	struct message *m = message_new();
	struct chain all = {0};
	struct chunk *k;

	(void)state;
	while ((k = chunk_get()))
		chain_push(&all, k);
	assert_int_equal(message_set_sender(m, BYTES_LIT("a@b")), -ENOBUFS);
	assert_int_equal(message_set_sender(m, BYTES_NONE), 0);
	assert_int_equal(message_add_rcpt(m, BYTES_LIT("a@b"), RCPT_LOCAL, 0), -ENOBUFS);
	assert_int_equal(message_prepend(m, BYTES_LIT("A: 2\r\n"), false), -ENOBUFS);
	assert_int_equal(m->rcpt_count, 0);
	chain_free(&all);
	message_unref(m);
	assert_int_equal(chunk_pool_free_count(), CHUNKS);
}

static void test_received_field(void **state)
{
	uint8_t memory[TRACE_OCTETS_MAX];
	struct trace t = {.helo = BYTES_LIT("client.example.net"),
		.hostname = "mx.example.org",
		.id = 0x1234,
		.received_ms = 1000000000123ull,
		.esmtp = true,
		.only_rcpt = BYTES_LIT("a@b.example")};
	struct buf out;

	(void)state;
	assert_int_equal(ip_parse(BYTES_LIT("198.18.0.1"), &t.peer), 0);
	buf_init(&out, memory, sizeof(memory));
	trace_received(&out, &t);
	assert_bytes_equal(
		buf_view(&out), BYTES_LIT("Received: from client.example.net ([198.18.0.1])\r\n"
					  "\tby mx.example.org with ESMTP id 0000000000001234\r\n"
					  "\tfor <a@b.example>;\r\n"
					  "\tSun, 9 Sep 2001 01:46:40 +0000\r\n"));
	assert_int_equal(ip_parse(BYTES_LIT("2001:2::1"), &t.peer), 0);
	t.only_rcpt = BYTES_NONE;
	t.esmtp = false;
	t.received_ms = 0;
	buf_init(&out, memory, sizeof(memory));
	trace_received(&out, &t);
	assert_bytes_equal(
		buf_view(&out), BYTES_LIT("Received: from client.example.net ([IPv6:2001:2::1])\r\n"
					  "\tby mx.example.org with SMTP id 0000000000001234;\r\n"
					  "\tThu, 1 Jan 1970 00:00:00 +0000\r\n"));
}

static void test_longest_received_fits(void **state)
{
	uint8_t memory[TRACE_OCTETS_MAX], helo[255], rcpt[ADDRESS_MAX];
	char hostname[256];
	struct trace t = {.helo = bytes_make(helo, sizeof(helo)),
		.hostname = hostname,
		.id = UINT64_MAX,
		.received_ms = 253402300799999ull,
		.esmtp = true,
		.only_rcpt = bytes_make(rcpt, sizeof(rcpt))};
	struct buf out;

	(void)state;
	memset(helo, 'h', sizeof(helo));
	memset(rcpt, 'r', sizeof(rcpt));
	memset(hostname, 'n', 255);
	hostname[255] = '\0';
	memset(&t.peer, 0xee, sizeof(t.peer));
	buf_init(&out, memory, sizeof(memory));
	trace_received(&out, &t);
	assert_false(out.overflow);
	size_t received = out.n;
	buf_init(&out, memory, sizeof(memory));
	trace_return_path(&out, bytes_make(rcpt, sizeof(rcpt)));
	assert_true(received + out.n <= MESSAGE_PREFIX_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_comes_back),
		cmocka_unit_test(test_a_thousand_recipients),
		cmocka_unit_test(test_local_fields_stand_first),
		cmocka_unit_test(test_no_chunks_is_an_error),
		cmocka_unit_test(test_received_field),
		cmocka_unit_test(test_longest_received_fits),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
