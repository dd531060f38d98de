/* SPDX-License-Identifier: BSD-3-Clause
 * Requests to the admin socket: whatever comes, it is an object with a command or an error. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <cmocka.h>
#include "store/control/admin_priv.h"

static json_t *parse(const char *line, const char **command)
{
	char error[128] = "";
	json_t *r = admin_request_parse(line, strlen(line), command, error, sizeof(error));

	assert_true((r != NULL) == (error[0] == '\0'));
	return r;
}

static void test_good_request(void **state)
{
	const char *command;
	bool ok;
	json_t *r = parse(
		"{\"command\":\"queue list\",\"limit\":5,\"domain\":\"example.net\"}", &command);

	(void)state;
	assert_non_null(r);
	assert_string_equal(command, "queue list");
	assert_int_equal(admin_number(r, "limit", 1, 10, &ok), 5);
	assert_true(ok);
	assert_int_equal(admin_number(r, "absent", 7, 10, &ok), 7);
	assert_true(ok);
	assert_int_equal(admin_number(r, "limit", 1, 4, &ok), 1);
	assert_false(ok);
	assert_string_equal(admin_text(r, "domain", 100, &ok), "example.net");
	assert_null(admin_text(r, "domain", 3, &ok));
	assert_false(ok);
	assert_null(admin_text(r, "limit", 100, &ok));
	assert_false(ok);
	assert_null(admin_text(r, "absent", 100, &ok));
	assert_true(ok);
	json_decref(r);
}

static void test_bad_requests(void **state)
{
	static const char *const lines[] = {"", "{", "[]", "3", "null", "\"status\"", "{}",
		"{\"command\":3}", "{\"command\":null}", "{\"command\":\"a\",\"command\":\"b\"}",
		"{\"command\":\"a\"} x", "{\"command\":\"\xff\"}", "{'command':'a'}"};
	const char *command;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_null(parse(lines[i], &command));
}

static void test_deep_and_long_requests(void **state)
{
	static char line[ADMIN_REQUEST_MAX + 16];
	const char *command;

	(void)state;
	memset(line, '[', 60000);
	assert_null(parse(line, &command));
	memset(line, ' ', sizeof(line) - 1);
	assert_null(parse(line, &command));
}

static void test_negative_and_huge_numbers(void **state)
{
	const char *command;
	bool ok;
	json_t *r =
		parse("{\"command\":\"x\",\"a\":-1,\"b\":9223372036854775807,\"c\":1.5}", &command);

	(void)state;
	admin_number(r, "a", 0, UINT64_MAX, &ok);
	assert_false(ok);
	admin_number(r, "b", 0, UINT32_MAX, &ok);
	assert_false(ok);
	admin_number(r, "c", 0, UINT32_MAX, &ok);
	assert_false(ok);
	json_decref(r);
	assert_null(parse("{\"command\":\"x\",\"a\":92233720368547758070}", &command));
}

static void test_text_with_a_nul_is_refused(void **state)
{
	const char *command;
	bool ok;
	json_t *r = parse("{\"command\":\"x\",\"a\":\"b\\u0000c\"}", &command);

	(void)state;
	if (r) { /* jansson refuses \u0000 itself unless it is allowed */
		assert_null(admin_text(r, "a", 10, &ok));
		assert_false(ok);
		json_decref(r);
	}
}

static const char *tcp_wrong(const char *line, struct tcp_request *t)
{
	const char *command;
	json_t *r = parse(line, &command);

	assert_non_null(r);
	const char *wrong = admin_tcp_request(r, t);
	json_decref(r);
	return wrong;
}

static void test_requests_for_connections(void **state)
{
	struct tcp_request t;

	(void)state;
	assert_null(tcp_wrong("{\"command\":\"tcp list\"}", &t));
	assert_int_equal(t.limit, ADMIN_LIST_LIMIT);
	assert_int_equal(t.sort, TCP_SORT_NONE);
	assert_null(tcp_wrong("{\"command\":\"tcp list\",\"state\":\"time-wait\",\"port\":25,"
			      "\"peer\":\"198.18.0.0/15\",\"sort\":\"srtt\",\"limit\":3}",
		&t));
	assert_int_equal(t.filter.states, 1u << STACK_STATE_TIME_WAIT);
	assert_int_equal(t.filter.port, 25);
	assert_true(t.filter.has_peer);
	assert_int_equal(t.sort, TCP_SORT_SRTT);
	assert_int_equal(t.limit, 3);
	static const char *const bad[] = {"\"state\":\"open\"", "\"state\":3", "\"port\":65536",
		"\"port\":\"smtp\"", "\"peer\":\"198.18.0.1/15\"", "\"peer\":\"example.org\"",
		"\"sort\":\"colour\"", "\"limit\":0", "\"limit\":-1",
		"\"sort\":\"age\",\"limit\":10001"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char line[128];
		snprintf(line, sizeof(line), "{\"command\":\"tcp list\",%s}", bad[i]);
		assert_non_null(tcp_wrong(line, &t));
	}
}

static void test_requests_for_traces(void **state)
{
	static const char *const bad[] = {"\"seconds\":3", "\"peer\":\"x\"",
		"\"peer\":\"198.18.0.1\",\"conn\":\"0.0.1\"", "\"conn\":\"0.0\"",
		"\"peer\":\"198.18.0.1\",\"seconds\":0", "\"peer\":\"198.18.0.1\",\"seconds\":3601",
		"\"peer\":\"198.18.0.1\",\"packets\":0",
		"\"peer\":\"198.18.0.1\",\"packets\":1000001",
		"\"peer\":\"198.18.0.1\",\"snap\":63", "\"peer\":\"198.18.0.1\",\"snap\":16385"};
	struct trace_request t;
	const char *command;

	(void)state;
	json_t *r = parse("{\"command\":\"trace\",\"conn\":\"1.2.3\",\"snap\":64}", &command);
	assert_null(admin_trace_request(r, &t));
	assert_true(t.by_conn);
	assert_int_equal(t.core, 1);
	assert_int_equal(t.snap, 64);
	assert_int_equal(t.seconds, 30);
	json_decref(r);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char line[128];
		snprintf(line, sizeof(line), "{\"command\":\"trace\",%s}", bad[i]);
		r = parse(line, &command);
		assert_non_null(admin_trace_request(r, &t));
		json_decref(r);
	}
}

static void test_names_of_connections(void **state)
{
	static const char *const bad[] = {"", ".", "1", "1.2", "1.2.", "1.2.3.", "1.2.3.4", "a.2.3",
		"1.2.-3", "1.2.4294967296", " 1.2.3", "1..3"};
	struct conn_id id;
	uint32_t core;

	(void)state;
	assert_true(admin_conn_id("1.23.4294967295", &core, &id));
	assert_int_equal(core, 1);
	assert_int_equal(id.index, 23);
	assert_int_equal(id.generation, UINT32_MAX);
	assert_false(admin_conn_id(NULL, &core, &id));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(admin_conn_id(bad[i], &core, &id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_request),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_deep_and_long_requests),
		cmocka_unit_test(test_negative_and_huge_numbers),
		cmocka_unit_test(test_text_with_a_nul_is_refused),
		cmocka_unit_test(test_requests_for_connections),
		cmocka_unit_test(test_names_of_connections),
		cmocka_unit_test(test_requests_for_traces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
