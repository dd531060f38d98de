/* SPDX-License-Identifier: BSD-3-Clause
 * The text for Prometheus: every counter and histogram is there, with HELP and TYPE before its
 * values, in its base unit; buckets are cumulative. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include <string.h>
#include "store/control/expose.h"

static char *text_of(struct evbuffer *out)
{
	static char text[1 << 18];
	int n = evbuffer_remove(out, text, sizeof(text) - 1);

	assert_true(n >= 0 && (size_t)n < sizeof(text) - 1);
	text[n] = '\0';
	evbuffer_free(out);
	return text;
}

static void test_values_and_labels(void **state)
{
	struct evbuffer *out = evbuffer_new();

	(void)state;
	expose_gauge(out, "a", "what \\ it\nis", 1.5);
	expose_family(out, "b", "counter", "help");
	expose_value(out, "b", "port", "x\"y\\z\n", 12345678901.0);
	assert_string_equal(text_of(out), "# HELP bypost_a what \\\\ it\\nis\n"
					  "# TYPE bypost_a gauge\n"
					  "bypost_a 1.5\n"
					  "# HELP bypost_b help\n"
					  "# TYPE bypost_b counter\n"
					  "bypost_b{port=\"x\\\"y\\\\z\\n\"} 12345678901\n");
}

static void test_counters(void **state)
{
	struct evbuffer *out = evbuffer_new();

	(void)state;
	counters_thread_init("core0");
	counter_add(CTR_CORE_BUSY_US, 1500000);
	counter_add(CTR_SMTP_MESSAGES_IN, 7);
	expose_counters(out);
	const char *text = text_of(out);
	assert_non_null(strstr(text, "# TYPE bypost_core_busy_seconds_total counter\n"
				     "bypost_core_busy_seconds_total{core=\"0\"} 1.5\n"));
	assert_non_null(strstr(text, "\nbypost_smtp_messages_in_total 7\n"));
	for (unsigned i = 0; i < COUNTER_N; i++)
		assert_non_null(strstr(text, counter_table[i].help));
}

static void test_histograms(void **state)
{
	struct evbuffer *out = evbuffer_new();

	(void)state;
	counters_thread_init("writer0");
	for (unsigned i = 0; i < 3; i++)
		histogram_add(HIST_STORE_COMMIT, 5);
	histogram_add(HIST_STORE_COMMIT, 1000000);
	expose_histograms(out);
	const char *text = text_of(out);
	assert_non_null(
		strstr(text, "# TYPE bypost_store_commit_latency_seconds histogram\n"
			     "bypost_store_commit_latency_seconds_bucket{le=\"7e-06\"} 3\n"));
	assert_non_null(
		strstr(text, "bypost_store_commit_latency_seconds_bucket{le=\"1.048575\"} 4\n"));
	assert_non_null(
		strstr(text, "bypost_store_commit_latency_seconds_bucket{le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(text, "bypost_store_commit_latency_seconds_count 4\n"));
	assert_non_null(strstr(text, "bypost_store_commit_latency_seconds_sum 1.000015"));
	/* an empty one */
	assert_non_null(strstr(text, "bypost_smtp_accept_seconds_bucket{le=\"+Inf\"} 0\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_and_labels),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_histograms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
