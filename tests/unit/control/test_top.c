/* SPDX-License-Identifier: BSD-3-Clause
 * Pages of `top`: from what the daemon said to lines, whatever is missing or strange in it. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include "store/ctl/top.h"

static struct page page;
static struct ctl ctl = {.socket = "/run/x.sock", .error = "cannot reach bypostd"};
static struct top t;

static json_t *json(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	return o;
}

static int begin(void **state)
{
	(void)state;
	t = (struct top){.ctl = &ctl, .connected = true, .interval_ms = 2000};
	t.status = json(
		"{\"hostname\":\"mail.example.org\",\"uptime_ms\":7200000,\"state\":\"running\","
		"\"durability\":\"sync\",\"messages\":{\"in_now\":12.5,\"refused\":3},"
		"\"queue\":{\"messages\":5,\"recipients\":7},\"connections\":{\"smtp\":2},"
		"\"cores\":[{\"core\":0,\"busy\":0.95,\"laps_now\":123456,\"worst_lap_us\":2500,"
		"\"worst_lap_stage\":\"rx\",\"roles\":[\"dataplane\"]}],"
		"\"store\":{\"health\":\"full\"},\"tcp\":{\"states\":{\"established\":4,\"time-"
		"wait\":0},"
		"\"retrans_share_now\":0.07},\"pools\":[{\"name\":\"chunks\",\"size\":100,\"in_"
		"use\":71}],"
		"\"latency\":{\"store_commit_latency_us\":{\"count\":9,\"mean\":1000,\"p50\":900,"
		"\"p99\":12000},"
		"\"store_group_operations\":{\"count\":9,\"mean\":3,\"p50\":2,\"p99\":8}}}");
	t.net = json("{\"rings\":[{\"name\":\"a.rq\",\"kind\":\"request\",\"size\":8,\"depth\":0,"
		     "\"high\":1,\"drops\":0},"
		     "{\"name\":\"b.hi\",\"kind\":\"hint\",\"size\":8,\"depth\":8,\"high\":8,"
		     "\"drops\":4}]}");
	t.list = json("[{\"domain\":\"few.example.net\",\"recipients\":2,\"next_ms\":"
		      "99999999999999,\"route\":\"found\","
		      "\"connections_max\":20,\"reason\":\"connect: refused\",\"failures\":3},"
		      "{\"domain\":\"many.example.net\",\"recipients\":200,\"backlog\":7,\"next_"
		      "ms\":0,\"route\":\"found\","
		      "\"connections\":4,\"connections_max\":20,\"reason\":\"\"}]");
	return 0;
}

static int end(void **state)
{
	(void)state;
	json_decref(t.status);
	json_decref(t.net);
	json_decref(t.list);
	json_decref(t.detail_list);
	return 0;
}

/* The first line with the text; -1: none. */
static int line_with(const char *text)
{
	for (unsigned i = 0; i < page.n; i++) {
		if (strstr(page.line[i], text))
			return (int)i;
	}
	return -1;
}

static void test_overview(void **state)
{
	(void)state;
	top_render(&t, &page);
	assert_int_equal(
		line_with("bypost mail.example.org  up 2h  sync running  [1 overview]"), 0);
	assert_int_equal(line_with("in 12.5/s"), 1);
	assert_true(line_with("tcp   established 4") > 0);
	assert_int_equal(page.look[line_with("again 7.00 %")], LOOK_BAD);
	assert_int_equal(page.look[line_with("store full")], LOOK_BAD);
	assert_true(line_with("commit p50 0.90ms p99 12ms") > 0);
	assert_int_equal(page.look[line_with("95.0%")], LOOK_BAD);
	/* rings with trouble alone */
	assert_true(line_with("b.hi") > 0);
	assert_int_equal(line_with("a.rq"), -1);
	/* most recipients first */
	assert_true(line_with("many.example.net") < line_with("few.example.net"));
	assert_true(line_with("moving") == line_with("many.example.net"));
	assert_int_equal(t.rows, 2);
	assert_int_equal(page.look[page.n - 1], LOOK_TITLE);
}

static void test_sorting_and_selecting(void **state)
{
	(void)state;
	t.view = TOP_QUEUE;
	top_render(&t, &page);
	assert_string_equal(top_selected_key(&t), "many.example.net");
	t.selected = 1;
	assert_string_equal(top_selected_key(&t), "few.example.net");
	t.selected = 99; /* rows have gone */
	top_render(&t, &page);
	assert_int_equal(t.selected, 1);
	t.sort = 1;
	assert_string_equal(top_sort_name(&t), "next");
	t.selected = 0;
	assert_string_equal(top_selected_key(&t), "few.example.net");
	t.sort = 3;
	assert_string_equal(top_sort_name(&t), "recipients");
	t.view = TOP_STORE;
	assert_string_equal(top_sort_name(&t), "");
}

static void test_without_a_daemon(void **state)
{
	(void)state;
	t.connected = false;
	top_render(&t, &page);
	assert_int_equal(page.look[line_with("not connected, retrying: /run/x.sock: cannot reach")],
		LOOK_BAD);
	assert_true(line_with("store full") > 0); /* what was known stays */
	json_decref(t.status);
	t.status = NULL;
	for (unsigned v = 0; v < TOP_VIEW_N; v++) {
		t.view = (enum top_view)v;
		top_render(&t, &page);
		assert_true(line_with("Nothing is known yet.") > 0);
	}
}

static void test_every_view_with_nothing_in_the_answers(void **state)
{
	static const char strange[] = "{\"cores\":3,\"pools\":{},\"ports\":\"x\","
				      "\"latency\":[],\"tcp\":null,\"store\":7}";
	static const char *const answers[] = {"{}", "[]", strange};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		json_decref(t.status);
		json_decref(t.net);
		json_decref(t.list);
		t.status = json(answers[i]);
		t.net = json(answers[i]);
		t.list = json("[{},{\"domain\":3},7,null]");
		for (unsigned v = 0; v < TOP_VIEW_N; v++) {
			for (unsigned detail = 0; detail < 2; detail++) {
				t.view = (enum top_view)v;
				t.detail = detail;
				top_render(&t, &page);
				assert_true(page.n > 1);
				top_selected_key(&t);
			}
		}
	}
}

static void test_texts_of_others_are_harmless(void **state)
{
	(void)state;
	json_decref(t.list);
	t.list = json("[{\"domain\":\"\\u001b[2Jx\\u00e9\\n\",\"reason\":\"a\\tb\\u0007\","
		      "\"recipients\":1}]");
	t.view = TOP_QUEUE;
	top_render(&t, &page);
	for (unsigned i = 0; i < page.n; i++) {
		for (const char *c = page.line[i]; *c; c++)
			assert_true(*c >= 0x20 && *c < 0x7f);
	}
	assert_true(line_with("a?b?") > 0);
}

static void test_more_rows_than_a_page_has(void **state)
{
	(void)state;
	json_array_clear(t.list);
	for (unsigned i = 0; i < 2 * PAGE_LINES; i++)
		json_array_append_new(t.list, json_pack("{s:s, s:s, s:s}", "id", "0.1.1", "peer",
						      "x", "state", "closing"));
	t.view = TOP_TCP;
	top_render(&t, &page);
	assert_int_equal(page.n, PAGE_LINES);
	assert_int_equal(page.look[page.n - 1], LOOK_TITLE);
	assert_string_equal(top_selected_key(&t), "0.1.1");
}

static void test_details(void **state)
{
	(void)state;
	t.detail = true;
	t.view = TOP_TCP;
	strcpy(t.detail_key, "0.1.2");
	t.detail_list = json("[{\"id\":\"0.1.2\",\"cwnd\":14480,\"flags\":[\"sack\"]}]");
	top_render(&t, &page);
	assert_true(line_with("connection 0.1.2") > 0 && line_with("14480") > 0 &&
		    line_with("sack") > 0);
	t.view = TOP_QUEUE;
	json_decref(t.detail_list);
	t.detail_list =
		json("[{\"id\":\"00ff\",\"recipients\":[{\"address\":\"u@x\",\"state\":\"held\","
		     "\"reason\":\"450 later\"}]}]");
	top_render(&t, &page);
	assert_true(line_with("00ff") > 0 && line_with("450 later") > 0);
	t.help = true;
	top_render(&t, &page);
	assert_true(line_with("Tab next view") > 0);
}

static void test_names_of_views(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TOP_VIEW_N; i++)
		assert_int_equal(top_view_find(top_view_name((enum top_view)i)), i);
	assert_int_equal(top_view_find("nonsense"), TOP_VIEW_N);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_overview, begin, end),
		cmocka_unit_test_setup_teardown(test_sorting_and_selecting, begin, end),
		cmocka_unit_test_setup_teardown(test_without_a_daemon, begin, end),
		cmocka_unit_test_setup_teardown(
			test_every_view_with_nothing_in_the_answers, begin, end),
		cmocka_unit_test_setup_teardown(test_texts_of_others_are_harmless, begin, end),
		cmocka_unit_test_setup_teardown(test_more_rows_than_a_page_has, begin, end),
		cmocka_unit_test_setup_teardown(test_details, begin, end),
		cmocka_unit_test(test_names_of_views),
	};

	page.line = calloc(PAGE_LINES, sizeof(*page.line));
	assert_non_null(page.line);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
