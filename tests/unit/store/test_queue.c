/* SPDX-License-Identifier: BSD-3-Clause
 * Queue rows: schedule, outcomes of attempts, bounces, operators, the list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include "dataplane/base/clock.h"
#include "tests/unit/store/store_harness.h"

static struct harness h;

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	harness_open(&h);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	harness_close(&h);
	BUG_ON(!harness_nothing_leaked(&h));
	harness_fini(&h);
	return 0;
}

static uint64_t queue_message(const char *const *rcpts)
{
	struct message *m = harness_message(&h, 3000, rcpts);
	uint64_t id = m->id;

	BUG_ON(harness_accept(&h, m) != HANDOFF_OK);
	return id;
}

static uint64_t queued(void)
{
	struct store_info info;

	store_get_info(h.store, &info);
	return info.queued_messages << 32 | info.queued_recipients;
}

struct seen {
	struct schedule_row row;
	char domain[256];
};

static unsigned schedule(struct seen *seen, unsigned max, uint32_t slice)
{
	struct schedule_read_op op = {.max_rows = slice};
	unsigned n = 0;

	while (!op.end) {
		struct chunk *c;
		BUG_ON(harness_read(&h, &op.op, STORE_READ_SCHEDULE) != 0);
		while ((c = chain_pop(&op.out))) {
			for (uint32_t at = 0; at < c->n && n < max; n++) {
				struct schedule_row *r = &seen[n].row;
				memcpy(r, c->data + at, sizeof(*r));
				memcpy(seen[n].domain, c->data + at + sizeof(*r), r->domain_n);
				seen[n].domain[r->domain_n] = '\0';
				at += (sizeof(*r) + r->domain_n + 7) & ~7u;
			}
			chunk_put(c);
		}
	}
	return n;
}

static void test_new_mail_is_announced_to_its_owner(void **state)
{
	(void)state;
	uint64_t id = queue_message((const char *[]){"a@one.example.net", "b@example.net", NULL});
	void *hint;
	struct message *m;

	assert_int_equal(hints_take(&h.ready, &hint, 1), 1);
	assert_true(ready_hint_take(hint, &m) == id);
	assert_non_null(m);
	assert_int_equal(m->rcpt_count, 2);
	message_unref(m);
	assert_int_equal(hints_take(&h.ready, &hint, 1), 0);
}

static void test_schedule_is_in_order_of_time(void **state)
{
	(void)state;
	uint64_t a = queue_message((const char *[]){"a@one.example.net", "b@example.net", NULL});
	uint64_t b = queue_message((const char *[]){"c@two.example.net", NULL});
	uint64_t soon = clock_wall_ms() + 1000;
	struct rcpt_result res = {.rcpt = 0,
		.outcome = ATTEMPT_DEFERRED,
		.next_ms = soon,
		.code = 450,
		.reason_n = 4,
		.reason = "busy"};
	struct results_op r = {.id = a, .count = 1, .results = &res};
	struct seen seen[4];

	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	for (uint32_t slice = 1; slice < 5; slice++) {
		assert_int_equal(schedule(seen, 4, slice), 3);
		assert_true(seen[2].row.id == a && seen[2].row.next_ms == soon);
		assert_int_equal(seen[2].row.attempts, 1);
		assert_string_equal(seen[2].domain, "one.example.net");
		assert_true(seen[0].row.next_ms <= seen[1].row.next_ms);
	}
	assert_true(queued() == (2ull << 32 | 3));
	(void)b;
}

static void test_last_recipient_takes_the_body(void **state)
{
	(void)state;
	uint64_t id = queue_message((const char *[]){"a@one.example.net", "b@example.net", NULL});
	struct rcpt_result res = {.rcpt = 1, .outcome = ATTEMPT_DELIVERED};
	struct results_op r = {.id = id, .count = 1, .results = &res};

	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	assert_true(queued() == (1ull << 32 | 1));
	assert_true(harness_body_is(&h, id, 3000, "Received: here\r\n", true));
	/* The same again changes nothing. */
	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	assert_true(queued() == (1ull << 32 | 1));
	res.rcpt = 0;
	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	assert_true(queued() == 0);
	struct body_read_op b = {.blob = id, .max = 100};
	assert_int_equal(harness_read(&h, &b.op, STORE_READ_BODY), -ENOENT);
	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), -ENOENT);
	struct seen seen[1];
	assert_int_equal(schedule(seen, 1, 10), 0);
}

static void test_bounce_comes_with_the_result(void **state)
{
	(void)state;
	uint32_t ann = harness_account(&h, "ann@example.org");
	uint64_t id = queue_message((const char *[]){"a@one.example.net", NULL});
	struct message *dsn = harness_message(&h, 500, (const char *[]){"ann@example.org", NULL});
	uint64_t dsn_id = dsn->id;
	struct rcpt_result res = {.rcpt = 0, .outcome = ATTEMPT_FAILED, .code = 550};
	struct results_op r = {.id = id, .count = 1, .results = &res, .bounce = dsn};

	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	assert_null(r.bounce);
	assert_true(queued() == 0);
	assert_int_equal(harness_box(&h, ann, "INBOX").exists, 1);
	assert_true(
		harness_body_is(&h, dsn_id, 500, "Return-Path: <>\r\nReceived: here\r\n", false));
}

static void test_remote_bounce_is_queued_and_announced(void **state)
{
	(void)state;
	uint64_t id = queue_message((const char *[]){"a@one.example.net", NULL});
	struct message *dsn = harness_message(&h, 500, (const char *[]){"s@example.net", NULL});
	uint64_t dsn_id = dsn->id;
	struct rcpt_result res = {.rcpt = 0, .outcome = ATTEMPT_FAILED, .code = 550};
	struct results_op r = {.id = id, .count = 1, .results = &res, .bounce = dsn};
	void *hints[3];
	struct message *m;

	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	assert_true(queued() == (1ull << 32 | 1));
	assert_int_equal(hints_take(&h.ready, hints, 3), 2);
	assert_true(ready_hint_take(hints[0], &m) == id);
	message_unref(m);
	assert_true(ready_hint_take(hints[1], &m) == dsn_id);
	message_unref(m);
	/* A result for what is gone does not bounce again. */
	r.bounce = harness_message(&h, 500, (const char *[]){"s@example.net", NULL});
	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), -ENOENT);
	assert_true(queued() == (1ull << 32 | 1));
}

static unsigned admin(uint64_t id, enum queue_action action)
{
	struct queue_admin_op op = {.id = id, .action = (uint8_t)action};

	assert_int_equal(harness_write(&h, &op.op, STORE_QUEUE_ADMIN), 0);
	return op.changed;
}

static void test_operators(void **state)
{
	(void)state;
	uint64_t id = queue_message((const char *[]){"a@one.example.net", "b@example.net", NULL});
	struct rcpt_result res = {
		.rcpt = 0, .outcome = ATTEMPT_DEFERRED, .next_ms = clock_wall_ms() + 100000};
	struct results_op r = {.id = id, .count = 1, .results = &res};
	struct seen seen[2];

	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	assert_int_equal(admin(id, QUEUE_HOLD), 2);
	assert_int_equal(admin(id, QUEUE_HOLD), 0);
	assert_int_equal(admin(id, QUEUE_RETRY), 0);
	assert_int_equal(schedule(seen, 2, 9), 2);
	assert_int_equal(seen[0].row.state, QUEUE_HELD);
	/* An attempt that was under way does not end the hold. */
	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	assert_int_equal(schedule(seen, 2, 9), 2);
	assert_int_equal(seen[1].row.state, QUEUE_HELD);
	assert_int_equal(admin(id, QUEUE_RELEASE), 2);
	assert_int_equal(admin(id, QUEUE_RETRY), 2);
	assert_int_equal(schedule(seen, 2, 9), 2);
	assert_true(seen[1].row.next_ms <= clock_wall_ms());
	assert_int_equal(admin(id, QUEUE_DELETE), 2);
	assert_true(queued() == 0);
	assert_int_equal(schedule(seen, 2, 9), 0);
	struct queue_admin_op op = {.id = id, .action = QUEUE_RETRY};
	assert_int_equal(harness_write(&h, &op.op, STORE_QUEUE_ADMIN), -ENOENT);
	/* Each change was announced by id. */
	void *hint;
	struct message *m;
	assert_int_equal(hints_take(&h.ready, &hint, 1), 1);
	ready_hint_take(hint, &m);
	message_unref(m);
	assert_int_equal(hints_take(&h.ready, &hint, 1), 1);
	assert_true(ready_hint_take(hint, &m) == id);
	assert_null(m);
}

static json_t *list_line(uint64_t from, uint64_t *next_r, bool *end_r)
{
	struct queue_list_op op = {.at = {.id = from}, .max_messages = 1};
	static char text[100000];

	assert_int_equal(harness_read(&h, &op.op, STORE_READ_QUEUE_LIST), 0);
	size_t n = chain_read(&op.out, 0, text, sizeof(text));
	chain_free(&op.out);
	*next_r = op.at.id;
	*end_r = op.end;
	return n ? json_loadb(text, n, 0, NULL) : NULL;
}

static void test_list_is_json(void **state)
{
	(void)state;
	uint64_t a = queue_message((const char *[]){"\"q\\\"\"@one.example.net", NULL}), next;
	queue_message((const char *[]){"b@example.net", "c@example.net", NULL});
	struct rcpt_result res = {.rcpt = 0,
		.outcome = ATTEMPT_DEFERRED,
		.next_ms = 77,
		.code = 451,
		.reason_n = 9,
		.reason = "a\"b\\c\x01\xff\xc3\xa4"};
	struct results_op r = {.id = a, .count = 1, .results = &res};
	bool end;

	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	json_t *j = list_line(0, &next, &end);
	assert_non_null(j);
	assert_true(next == a + 1);
	json_t *rcpt = json_array_get(json_object_get(j, "recipients"), 0);
	assert_string_equal(json_string_value(json_object_get(j, "id")), "0000000000100000");
	assert_string_equal(json_string_value(json_object_get(j, "sender")), "from@example.net");
	assert_int_equal(json_integer_value(json_object_get(j, "size")), 3000);
	assert_string_equal(
		json_string_value(json_object_get(rcpt, "address")), "\"q\\\"\"@one.example.net");
	assert_string_equal(json_string_value(json_object_get(rcpt, "reason")),
		"a\"b\\c\x01\xef\xbf\xbd\xc3\xa4");
	assert_string_equal(json_string_value(json_object_get(rcpt, "state")), "scheduled");
	assert_int_equal(json_integer_value(json_object_get(rcpt, "next_ms")), 77);
	json_decref(j);
	j = list_line(next, &next, &end);
	assert_int_equal(json_array_size(json_object_get(j, "recipients")), 2);
	json_decref(j);
	assert_null(list_line(next, &next, &end));
	assert_true(end);
}

/* What the sender asked of notifications is in the rows, also behind an attempt. */
static void test_wishes_for_notifications_are_kept(void **state)
{
	(void)state;
	struct message *m = harness_message(&h, 300, (const char *[]){"a@one.example.net", NULL});
	struct dsn_rcpt dsn = {.notify = NOTIFY_SUCCESS | NOTIFY_DELAY,
		.orcpt = BYTES_LIT("rfc822;b+2Bx@two.example.net")};
	struct rcpt_result res = {.rcpt = 1,
		.outcome = ATTEMPT_DEFERRED,
		.next_ms = 77,
		.reason_n = 4,
		.reason = "busy"};
	struct results_op r = {.id = m->id, .count = 1, .results = &res};
	struct queue_read_op q = {.id = m->id};

	m->ret = RET_HDRS;
	m->requiretls = 1;
	m->smtputf8 = 1;
	assert_int_equal(message_set_envid(m, BYTES_LIT("QQ+2B314159")), 0);
	assert_int_equal(
		message_add_rcpt_dsn(m, BYTES_LIT("b@two.example.net"), RCPT_REMOTE, 0, &dsn), 0);
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), 0);
	m = q.message;
	assert_int_equal(m->ret, RET_HDRS);
	assert_true(m->requiretls && m->smtputf8);
	assert_true(bytes_eq(message_envid(m), BYTES_LIT("QQ+2B314159")));
	assert_true(bytes_eq(message_sender(m), BYTES_LIT("from@example.net")));
	const struct rcpt *one = message_rcpt(m, 0), *two = message_rcpt(m, 1);
	assert_int_equal(one->notify, 0);
	assert_int_equal(message_rcpt_orcpt(m, one).n, 0);
	assert_int_equal(two->notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
	assert_true(bytes_eq(message_rcpt_orcpt(m, two), dsn.orcpt));
	assert_true(bytes_eq(message_rcpt_domain(m, two), BYTES_LIT("two.example.net")));
	message_unref(m);
	chain_free(&q.rows);
	/* One row goes, the message's own is written again. */
	res.outcome = ATTEMPT_DELIVERED;
	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	q = (struct queue_read_op){.id = q.id};
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), 0);
	assert_int_equal(q.message->rcpt_count, 1);
	assert_true(bytes_eq(message_envid(q.message), BYTES_LIT("QQ+2B314159")));
	message_unref(q.message);
	chain_free(&q.rows);
}

/* A mailbox has it, and a row asks delivery to tell the sender so. */
static void test_local_success_is_queued_for_its_report(void **state)
{
	(void)state;
	uint32_t ann = harness_account(&h, "ann@example.org");
	struct message *m = harness_message(&h, 300, (const char *[]){"b@example.net", NULL});
	struct dsn_rcpt dsn = {.notify = NOTIFY_SUCCESS, .orcpt = BYTES_LIT("rfc822;Ann@x")};
	struct queue_read_op q = {.id = m->id};
	void *hint;
	struct message *told;

	assert_int_equal(
		message_add_rcpt_dsn(m, BYTES_LIT("ann@example.org"), RCPT_LOCAL, ann, &dsn), 0);
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	assert_int_equal(harness_box(&h, ann, "INBOX").exists, 1);
	assert_int_equal(hints_take(&h.ready, &hint, 1), 1);
	assert_true(ready_hint_take(hint, &told) == q.id);
	assert_null(told); /* the rows know more than the message */
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), 0);
	assert_int_equal(q.message->rcpt_count, 2);
	const struct rcpt *r = message_rcpt(q.message, 1);
	assert_int_equal(r->notify, NOTIFY_SUCCESS | NOTIFY_DELIVERED);
	assert_int_equal(r->route, RCPT_REMOTE);
	message_unref(q.message);
	chain_free(&q.rows);
	/* Of a report nobody is told. */
	m = harness_message(&h, 300, (const char *[]){NULL});
	assert_int_equal(message_set_sender(m, BYTES_NONE), 0);
	assert_int_equal(
		message_add_rcpt_dsn(m, BYTES_LIT("ann@example.org"), RCPT_LOCAL, ann, &dsn), 0);
	q = (struct queue_read_op){.id = m->id};
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), -ENOENT);
}

static void test_a_thousand_recipients(void **state)
{
	(void)state;
	static char names[MESSAGE_RCPT_MAX][32];
	static const char *rcpts[MESSAGE_RCPT_MAX + 1];

	for (int i = 0; i < MESSAGE_RCPT_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "user%d@d%d.example.net", i, i % 50);
		rcpts[i] = names[i];
	}
	uint64_t id = queue_message(rcpts);
	struct queue_read_op q = {.id = id};
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), 0);
	assert_int_equal(q.message->rcpt_count, MESSAGE_RCPT_MAX);
	struct bytes last = message_rcpt_address(q.message, message_rcpt(q.message, 999));
	assert_true(bytes_eq(last, bytes_str(names[999])));
	message_unref(q.message);
	chain_free(&q.rows);
	static struct seen seen[MESSAGE_RCPT_MAX + 1];
	assert_int_equal(schedule(seen, MESSAGE_RCPT_MAX + 1, 300), MESSAGE_RCPT_MAX);
	assert_int_equal(admin(id, QUEUE_DELETE), MESSAGE_RCPT_MAX);
}

/* ---- by filter ---- */

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, word)); p++)
		n++;
	return n;
}

/* The list that a filter gives, in slices of two messages. */
static unsigned listed(const struct queue_filter *f, const char *word)
{
	struct queue_list_op l = {.filter = f};
	static char text[65536];
	size_t n = 0;

	while (!l.end) {
		l.max_messages = 2;
		assert_int_equal(harness_read(&h, &l.op, STORE_READ_QUEUE_LIST), 0);
		n += chain_read(&l.out, 0, text + n, sizeof(text) - 1 - n);
		chain_free(&l.out);
	}
	text[n] = '\0';
	return count(text, word);
}

static uint64_t change(enum queue_action action, const struct queue_filter *f, uint64_t *messages_r)
{
	struct queue_slice_op op = {.action = (uint8_t)action, .filter = f, .max_rows = 3};
	uint64_t recipients = 0;

	*messages_r = 0;
	for (int i = 0; !op.end; i++) {
		assert_true(i < 1000);
		assert_int_equal(harness_write(&h, &op.op, STORE_QUEUE_SLICE), 0);
		recipients += op.recipients;
		*messages_r += op.messages;
		harness_hints_drop(&h);
	}
	return recipients;
}

static void test_the_queue_by_filter(void **state)
{
	static const struct queue_filter any,
		sender = {.sender = "FROM@example.net"}, other = {.sender = "nobody@example.net"},
		one = {.domain = "One.example.net"}, a = {.recipient = "a@one.example.net"},
		both = {.domain = "one.example.net", .recipient = "b@one.example.net"},
		old = {.received_before_ms = 1700000000000ull},
		young = {.received_before_ms = 1700000000001ull};
	uint64_t messages;

	(void)state;
	for (int i = 0; i < 10; i++) {
		harness_accept(
			&h, harness_message(&h, 100,
				    (const char *[]){"a@one.example.net", "b@one.example.net",
					    "c@two.example.net", NULL}));
		harness_accept(
			&h, harness_message(&h, 100, (const char *[]){"c@two.example.net", NULL}));
		harness_hints_drop(&h);
	}
	assert_int_equal(listed(&any, "\"id\""), 20);
	assert_int_equal(listed(&sender, "\"id\""), 20);
	assert_int_equal(listed(&other, "\"id\""), 0);
	/* A message with two recipients of the domain has one line. */
	assert_int_equal(listed(&one, "\"id\""), 10);
	assert_int_equal(listed(&a, "\"id\""), 10);
	assert_int_equal(listed(&old, "\"id\""), 0);
	assert_int_equal(listed(&young, "\"id\""), 20);
	/* Only the recipients that are meant change. */
	assert_int_equal(change(QUEUE_HOLD, &a, &messages), 10);
	assert_int_equal(messages, 10);
	assert_int_equal(listed(&any, "\"held\""), 10);
	assert_int_equal(change(QUEUE_HOLD, &one, &messages), 10);
	assert_int_equal(listed(&any, "\"held\""), 20);
	assert_int_equal(change(QUEUE_RELEASE, &any, &messages), 20);
	assert_int_equal(messages, 10);
	assert_int_equal(change(QUEUE_RETRY, &old, &messages), 0);
	assert_int_equal(change(QUEUE_RETRY, &young, &messages), 40);
	assert_int_equal(messages, 20);
	assert_int_equal(change(QUEUE_DELETE, &both, &messages), 10);
	assert_int_equal(listed(&any, "\"address\""), 30);
	assert_int_equal(change(QUEUE_DELETE, &one, &messages), 10);
	assert_int_equal(listed(&one, "\"id\""), 0);
	assert_int_equal(listed(&any, "\"id\""), 20);
	assert_int_equal(change(QUEUE_DELETE, &sender, &messages), 20);
	assert_int_equal(messages, 20);
	assert_int_equal(listed(&any, "\"id\""), 0);
	struct queue_slice_op wrong = {.action = QUEUE_ACTION_N, .filter = &any};
	assert_int_equal(harness_write(&h, &wrong.op, STORE_QUEUE_SLICE), -EINVAL);
}

static void priority_says(uint64_t id, int8_t message, int8_t rcpt)
{
	struct queue_read_op q = {.id = id};
	struct queue_rcpt_row row;

	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), 0);
	assert_int_equal(q.message->priority, message);
	assert_int_equal(chain_read(&q.rows, 0, (uint8_t *)&row, sizeof(row)), sizeof(row));
	assert_int_equal(row.priority, rcpt);
	message_unref(q.message);
	chain_free(&q.rows);
}

/* In the message, its recipients and the schedule, whatever else changes. */
static void test_priorities(void **state)
{
	static const struct queue_filter any;
	struct seen seen[2];

	(void)state;
	for (int8_t p = MESSAGE_PRIORITY_MIN; p <= MESSAGE_PRIORITY_MAX; p++) {
		struct message *m = harness_message(
			&h, 100, (const char *[]){"a@one.example.net", "b@two.example.net", NULL});
		uint64_t id = m->id;
		m->priority = p;
		assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
		harness_hints_drop(&h);
		priority_says(id, p, p);
		assert_int_equal(admin(id, QUEUE_HOLD), 2);
		assert_int_equal(schedule(seen, 2, 9), 2);
		assert_int_equal(seen[0].row.state, QUEUE_HELD);
		assert_int_equal(seen[0].row.priority, p);
		struct queue_admin_op op = {
			.id = id, .action = QUEUE_PRIORITY, .priority = (int8_t)-p};
		assert_int_equal(harness_write(&h, &op.op, STORE_QUEUE_ADMIN), 0);
		assert_int_equal(op.changed, p ? 2 : 0);
		/* What the next hop is told is still what the sender said. */
		priority_says(id, p, (int8_t)-p);
		assert_int_equal(schedule(seen, 2, 9), 2);
		assert_int_equal(seen[1].row.state, QUEUE_HELD);
		assert_int_equal(seen[1].row.priority, -p);
		assert_int_equal(admin(id, QUEUE_DELETE), 2);
	}
	struct queue_slice_op wrong = {
		.action = QUEUE_PRIORITY, .priority = MESSAGE_PRIORITY_MAX + 1, .filter = &any};
	assert_int_equal(harness_write(&h, &wrong.op, STORE_QUEUE_SLICE), -EINVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_new_mail_is_announced_to_its_owner),
		T(test_schedule_is_in_order_of_time),
		T(test_last_recipient_takes_the_body),
		T(test_bounce_comes_with_the_result),
		T(test_remote_bounce_is_queued_and_announced),
		T(test_operators),
		T(test_list_is_json),
		T(test_wishes_for_notifications_are_kept),
		T(test_local_success_is_queued_for_its_report),
		T(test_a_thousand_recipients),
		T(test_the_queue_by_filter),
		T(test_priorities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
