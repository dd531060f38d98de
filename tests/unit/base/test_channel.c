/* SPDX-License-Identifier: BSD-3-Clause
 * Channels, hints and wakers, with a real server thread and capacities of 1 and 2. */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/rt/channel.h"
#include "dataplane/base/rt/eal.h"

#define ROUND_TRIPS 20000

struct request {
	struct op op;
	unsigned number, answer;
	bool done;
};

static struct service service;

/* Answers each request with its number + 1. */
static void *serve(void *arg)
{
	struct op *ops[32];

	(void)arg;
	while (!service_stopping(&service)) {
		unsigned n = service_take(&service, ops, ARRAY_LEN(ops));
		for (unsigned i = 0; i < n; i++) {
			struct request *r = container_of(ops[i], struct request, op);
			r->answer = r->number + 1;
			r->op.status = 0;
			channel_complete(ops[i]);
		}
		if (n == 0)
			service_sleep(&service, 100000);
	}
	return NULL;
}

static unsigned completed;

static void on_done(struct op *op)
{
	struct request *r = container_of(op, struct request, op);

	assert_int_equal(r->answer, r->number + 1);
	r->done = true;
	completed++;
}

static void round_trips(uint32_t capacity)
{
	struct request requests[64] = {0};
	struct channel c;
	struct waker me;
	pthread_t thread;
	unsigned sent = 0, refused = 0;

	assert_int_equal(waker_init(&me), 0);
	assert_int_equal(service_init(&service), 0);
	assert_int_equal(channel_init(&c, "test", capacity, &me, &service.waker, -1), 0);
	assert_int_equal(service_add(&service, &c), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	completed = 0;
	while (completed < ROUND_TRIPS) {
		struct request *r = &requests[sent % 64];
		if (sent < ROUND_TRIPS && sent - completed < 64) {
			*r = (struct request){.op.done = on_done, .number = sent};
			if (channel_submit(&c, &r->op) == 0) {
				sent++;
				continue;
			}
			assert_int_equal(channel_in_flight(&c), capacity);
			refused++;
		}
		waker_begin(&me);
		if (channel_poll(&c) == 0)
			waker_wait(&me, 1000000);
		waker_end(&me);
		channel_poll(&c);
	}
	assert_true(capacity >= 64 || refused > 0);
	assert_int_equal(channel_in_flight(&c), 0);
	service_stop(&service);
	pthread_join(thread, NULL);
	channel_fini(&c);
	service_fini(&service);
	waker_fini(&me);
}

static void test_every_request_is_answered_at_capacity_1(void **state)
{
	(void)state;
	round_trips(1);
}

static void test_every_request_is_answered_at_capacity_2(void **state)
{
	(void)state;
	round_trips(2);
}

static void test_every_request_is_answered_at_capacity_100(void **state)
{
	(void)state;
	round_trips(100);
}

static unsigned credit_calls;

static void on_credit(void *ctx)
{
	assert_ptr_equal(ctx, &credit_calls);
	credit_calls++;
}

static void test_on_credit_comes_once_after_a_refusal(void **state)
{
	struct request a = {.op.done = on_done}, b = a, late = a;
	struct channel c;
	struct waker w;
	struct op *ops[4];

	(void)state;
	assert_int_equal(waker_init(&w), 0);
	assert_int_equal(channel_init(&c, "credit", 0, &w, &w, -1), -EINVAL);
	assert_int_equal(channel_init(&c, "credit", 2, &w, &w, -1), 0);
	c.on_credit = on_credit;
	c.ctx = &credit_calls;
	assert_int_equal(channel_submit(&c, &a.op), 0);
	assert_int_equal(channel_submit(&c, &b.op), 0);
	assert_int_equal(channel_submit(&c, &late.op), -EAGAIN);
	assert_int_equal(channel_poll(&c), 0);
	assert_int_equal(credit_calls, 0); /* nothing came back yet */
	assert_true(channel_has_requests(&c));
	assert_int_equal(channel_take(&c, ops, 4), 2);
	a.answer = b.answer = 1;
	channel_complete(ops[0]);
	channel_complete(ops[1]);
	assert_int_equal(channel_poll(&c), 2);
	assert_int_equal(channel_poll(&c), 0);
	assert_int_equal(credit_calls, 1);
	channel_fini(&c);
	waker_fini(&w);
}

static void test_a_service_is_fair_to_its_channels(void **state)
{
	struct request many[8] = {0}, one = {0};
	struct channel busy, quiet;
	struct service s;
	struct waker w;
	struct op *ops[2];
	bool served = false;

	(void)state;
	assert_int_equal(waker_init(&w), 0);
	assert_int_equal(service_init(&s), 0);
	assert_int_equal(channel_init(&busy, "busy", 8, &w, &s.waker, -1), 0);
	assert_int_equal(channel_init(&quiet, "quiet", 8, &w, &s.waker, -1), 0);
	assert_int_equal(service_add(&s, &busy), 0);
	assert_int_equal(service_add(&s, &quiet), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(channel_submit(&busy, &many[i].op), 0);
	assert_int_equal(channel_submit(&quiet, &one.op), 0);
	for (unsigned call = 0; call < 2; call++) {
		unsigned n = service_take(&s, ops, 2);
		for (unsigned i = 0; i < n; i++)
			served |= ops[i] == &one.op;
	}
	assert_true(served);
	channel_fini(&busy);
	channel_fini(&quiet);
	service_fini(&s);
	waker_fini(&w);
}

static void test_dropped_hints_leave_the_lowest_rank(void **state)
{
	struct hints h;
	struct waker w;
	void *values[4];

	(void)state;
	assert_int_equal(waker_init(&w), 0);
	assert_int_equal(hints_init(&h, "hints", 0, &w, -1), -EINVAL);
	assert_int_equal(hints_init(&h, "hints", 2, &w, -1), 0);
	assert_true(hints_overflow_take(&h) == UINT64_MAX);
	assert_true(hints_put(&h, (void *)1, 1));
	assert_true(hints_put(&h, (void *)2, 2));
	assert_false(hints_put(&h, (void *)9, 9));
	assert_false(hints_put(&h, (void *)5, 5));
	assert_false(hints_put(&h, (void *)7, 7));
	assert_int_equal(hints_take(&h, values, 4), 2);
	assert_ptr_equal(values[0], (void *)1);
	assert_int_equal(hints_overflow_take(&h), 5);
	assert_true(hints_overflow_take(&h) == UINT64_MAX); /* told once */
	assert_true(hints_put(&h, (void *)3, 3));
	hints_fini(&h);
	waker_fini(&w);
}

#define HINTS 50000

static struct hints flood;
static _Atomic uint64_t stored; /* what the store has: a rescan sees all up to here */

static void *put_hints(void *arg)
{
	(void)arg;
	for (uintptr_t i = 1; i <= HINTS; i++) {
		atomic_store(&stored, i); /* first the commit, then the hint */
		hints_put(&flood, (void *)i, i);
	}
	return NULL;
}

/* The contract of a hint: what was not received is found by the rescan that a mark asks for. */
static void test_no_hint_is_lost_without_a_mark(void **state)
{
	struct waker w;
	pthread_t thread;
	uint64_t known = 0; /* all up to here were received or rescanned */

	(void)state;
	assert_int_equal(waker_init(&w), 0);
	assert_int_equal(hints_init(&flood, "flood", 2, &w, -1), 0);
	assert_int_equal(pthread_create(&thread, NULL, put_hints, NULL), 0);
	while (known < HINTS) {
		void *v = NULL;
		waker_begin(&w);
		unsigned n = hints_take(&flood, &v, 1);
		uint64_t low = hints_overflow_take(&flood);
		if (low != UINT64_MAX) {
			assert_true(low <= atomic_load(&stored));
			known = MAX(known, atomic_load(&stored));
		}
		if (n) {
			assert_true((uintptr_t)v <= known + 1);
			known = MAX(known, (uintptr_t)v);
		} else if (low == UINT64_MAX) {
			waker_wait(&w, 100000);
		}
		waker_end(&w);
	}
	pthread_join(thread, NULL);
	hints_fini(&flood);
	waker_fini(&w);
}

static void *kick_soon(void *arg)
{
	struct timespec ts = {.tv_nsec = 20000000};

	nanosleep(&ts, NULL);
	waker_kick(arg);
	return NULL;
}

static void test_a_kick_ends_the_sleep(void **state)
{
	struct waker w;
	pthread_t thread;
	uint64_t began;

	(void)state;
	assert_int_equal(waker_init(&w), 0);
	waker_begin(&w);
	began = clock_mono_us();
	pthread_create(&thread, NULL, kick_soon, &w);
	waker_wait(&w, 20 * US_PER_SEC);
	waker_end(&w);
	assert_true(clock_mono_us() - began < 10 * US_PER_SEC);
	pthread_join(thread, NULL);
	/* Awake: a kick costs nothing and leaves nothing behind. */
	waker_kick(&w);
	waker_begin(&w);
	began = clock_mono_us();
	waker_wait(&w, 2000);
	assert_true(clock_mono_us() - began >= 2000);
	waker_end(&w);
	waker_fini(&w);
}

static bool ring_find(const char *name, struct ring_info *out)
{
	for (unsigned i = 0; ring_watch_get(i, out); i++) {
		if (strcmp(out->name, name) == 0)
			return true;
	}
	return false;
}

static void test_rings_tell_how_full_they_were(void **state)
{
	struct waker a, b;
	struct channel c;
	struct hints h;
	struct op ops[3] = {0}, *taken[3];
	struct ring_info info;

	(void)state;
	assert_int_equal(waker_init(&a) | waker_init(&b), 0);
	assert_int_equal(channel_init(&c, "watched", 2, &a, &b, -1), 0);
	assert_int_equal(hints_init(&h, "hinted", 2, &a, -1), 0);
	assert_int_equal(channel_submit(&c, &ops[0]), 0);
	assert_int_equal(channel_submit(&c, &ops[1]), 0);
	assert_int_equal(channel_submit(&c, &ops[2]), -EAGAIN);
	assert_true(ring_find("watched.rq", &info));
	assert_int_equal(info.kind, RING_REQUEST);
	assert_int_equal(info.size, 2);
	assert_int_equal(info.depth, 2);
	assert_int_equal(info.high, 2);
	assert_int_equal(info.drops, 1);
	assert_int_equal(channel_take(&c, taken, 3), 2);
	assert_true(ring_find("watched.rq", &info));
	assert_int_equal(info.depth, 0);
	assert_int_equal(info.high, 2);
	assert_true(hints_put(&h, &a, 1));
	assert_true(ring_find("hinted.hi", &info));
	assert_int_equal(info.high, 1);
	assert_true(hints_put(&h, &a, 1));
	assert_false(hints_put(&h, &a, 1));
	assert_true(ring_find("hinted.hi", &info));
	assert_int_equal(info.kind, RING_HINT);
	assert_int_equal(info.high, 2);
	assert_int_equal(info.drops, 1);
	channel_fini(&c);
	hints_fini(&h);
	assert_false(ring_find("watched.rq", &info));
	assert_false(ring_find("hinted.hi", &info));
	waker_fini(&a);
	waker_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rings_tell_how_full_they_were),
		cmocka_unit_test(test_every_request_is_answered_at_capacity_1),
		cmocka_unit_test(test_every_request_is_answered_at_capacity_2),
		cmocka_unit_test(test_every_request_is_answered_at_capacity_100),
		cmocka_unit_test(test_on_credit_comes_once_after_a_refusal),
		cmocka_unit_test(test_a_service_is_fair_to_its_channels),
		cmocka_unit_test(test_dropped_hints_leave_the_lowest_rank),
		cmocka_unit_test(test_no_hint_is_lost_without_a_mark),
		cmocka_unit_test(test_a_kick_ends_the_sleep),
	};

	eal_start_for_tests(64);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
