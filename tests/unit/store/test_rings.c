/* SPDX-License-Identifier: BSD-3-Clause
 * The writer keeps going when every ring has room for two, or for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "tests/unit/store/store_harness.h"

#define REQUESTERS 4
#define MESSAGES   150

struct requester {
	struct harness *h;
	struct channel channel;
	struct waker waker;
	pthread_t thread;
	unsigned number, ok, next, in_flight;
};

struct work {
	struct accept_op accept;
	struct results_op results;
	struct rcpt_result result;
	struct requester *r;
};

static struct harness h;

static void result_done(struct op *op)
{
	struct work *w = container_of(op, struct work, results.op);

	BUG_ON(op->status);
	w->r->in_flight--;
	free(w);
}

static void result_submit(struct work *w);

/* No credit: the requester's loop sends it later. */
static struct work *waiting[REQUESTERS][64];
static unsigned waiting_n[REQUESTERS];

static void result_submit(struct work *w)
{
	if (channel_submit(&w->r->channel, &w->results.op) == 0)
		return;
	BUG_ON(waiting_n[w->r->number] == 64);
	waiting[w->r->number][waiting_n[w->r->number]++] = w;
}

static void accept_done(struct op *op)
{
	struct work *w = container_of(op, struct work, accept.op);

	BUG_ON(op->status);
	w->r->ok++;
	w->result = (struct rcpt_result){.outcome = ATTEMPT_DELIVERED};
	w->results = (struct results_op){
		.op = {.kind = STORE_RESULT, .done = result_done},
		.id = w->accept.message->id,
		.count = 1,
		.results = &w->result
        };
	message_unref(w->accept.message);
	result_submit(w);
}

static struct work *work_new(struct requester *r)
{
	struct message *m = message_new();
	struct work *w = calloc(1, sizeof(*w));

	if (!m || !w)
		goto none;
	m->id = (1ull << 30) + ((uint64_t)r->next << 8) + r->number;
	harness_body_append(m, m->id, 0, 9000);
	BUG_ON(message_add_rcpt(m, BYTES_LIT("x@example.net"), RCPT_REMOTE, 0) < 0);
	w->accept = (struct accept_op){
		.op = {.kind = HANDOFF_ACCEPT, .done = accept_done},
                  .message = m
        };
	w->r = r;
	return w;
none:
	free(w);
	if (m)
		message_unref(m);
	return NULL;
}

static void submit_some(struct requester *r)
{
	unsigned n = waiting_n[r->number];

	waiting_n[r->number] = 0;
	for (unsigned i = 0; i < n; i++)
		result_submit(waiting[r->number][i]);
	while (r->next < MESSAGES && r->channel.credits) {
		struct work *w = work_new(r);
		if (!w)
			return;
		BUG_ON(channel_submit(&r->channel, &w->accept.op) < 0);
		r->next++;
		r->in_flight++;
	}
}

static void *requester_main(void *arg)
{
	struct requester *r = arg;
	uint64_t end = clock_mono_us() + 60 * US_PER_SEC;

	while (r->next < MESSAGES || r->in_flight) {
		BUG_ON(clock_mono_us() > end);
		submit_some(r);
		if (channel_poll(&r->channel))
			continue;
		waker_begin(&r->waker);
		if (!channel_poll(&r->channel))
			waker_wait(&r->waker, 1000);
		waker_end(&r->waker);
	}
	return NULL;
}

/* Takes a hint now and then, so that most are dropped. */
static void hints_some(uint64_t *lowest)
{
	void *hint;
	struct message *m;

	if (hints_take(&h.ready, &hint, 1)) {
		ready_hint_take(hint, &m);
		if (m)
			message_unref(m);
	}
	uint64_t low = hints_overflow_take(&h.ready);
	*lowest = MIN(*lowest, low);
}

static void run_at(uint32_t capacity)
{
	static struct requester r[REQUESTERS];
	uint64_t lowest = UINT64_MAX;

	harness_init(&h);
	h.conf.path = h.dir;
	char error[256];
	BUG_ON(store_open(&h.conf, &h.store, error, sizeof(error)) < 0);
	BUG_ON(hints_init(&h.ready, "rr", capacity, &h.waker, -1) < 0);
	BUG_ON(hints_init(&h.events, "re", capacity, &h.waker, -1) < 0);
	BUG_ON(store_add_ready(h.store, &h.ready) < 0);
	BUG_ON(store_add_events(h.store, &h.events) < 0);
	for (unsigned i = 0; i < REQUESTERS; i++) {
		char name[8];
		snprintf(name, sizeof(name), "q%u", i);
		r[i] = (struct requester){.h = &h, .number = i};
		BUG_ON(waker_init(&r[i].waker) < 0);
		BUG_ON(channel_init(&r[i].channel, name, capacity, &r[i].waker,
			       &store_writer(h.store)->waker, -1) < 0);
		BUG_ON(service_add(store_writer(h.store), &r[i].channel) < 0);
	}
	BUG_ON(store_start(h.store) < 0);
	for (unsigned i = 0; i < REQUESTERS; i++)
		BUG_ON(pthread_create(&r[i].thread, NULL, requester_main, &r[i]));
	for (int i = 0; i < 20; i++) {
		hints_some(&lowest);
		usleep(1000);
	}
	struct store_info info;
	for (unsigned i = 0; i < REQUESTERS; i++) {
		pthread_join(r[i].thread, NULL);
		assert_int_equal(r[i].ok, MESSAGES);
		waker_fini(&r[i].waker);
	}
	hints_some(&lowest);
	assert_true(lowest != UINT64_MAX); /* some were dropped, and the consumer knows */
	store_get_info(h.store, &info);
	assert_true(info.queued_messages == 0);
	print_message("capacity %u: mean group %.1f\n", capacity, info.group_mean);
	store_stop(h.store);
	store_close(&h.store);
	for (uint32_t i = 0; i < capacity; i++)
		hints_some(&lowest);
	for (unsigned i = 0; i < REQUESTERS; i++)
		channel_fini(&r[i].channel);
	hints_fini(&h.ready);
	hints_fini(&h.events);
	assert_true(harness_nothing_leaked(&h));
	harness_fini(&h);
}

static void test_rings_of_capacity_2(void **state)
{
	(void)state;
	run_at(2);
}

static void test_rings_of_capacity_1(void **state)
{
	(void)state;
	run_at(1);
}

static void test_rings_of_capacity_16(void **state)
{
	(void)state;
	run_at(16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rings_of_capacity_2),
		cmocka_unit_test(test_rings_of_capacity_1),
		cmocka_unit_test(test_rings_of_capacity_16),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
