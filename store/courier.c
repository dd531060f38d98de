/* SPDX-License-Identifier: BSD-3-Clause
 * The courier's life, and which rows it takes next. */
#include "store/courier.h"
#include <errno.h>
#include <stdlib.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "store/courier_priv.h"
#include "store/reader.h"
#include "store/writer.h"

#define SCAN_ROWS 256 /* rows looked at in a slice; chosen */

/* ---- lanes ---- */

static bool lane_open(const struct lane *l)
{
	const struct store *to = l->courier->store[l->to];

	return atomic_load_explicit(&to->health, memory_order_relaxed) == STORE_OK;
}

/* RFC 5321 4.5.4.1: what could not be brought for so long goes back. */
static bool is_expired(const struct lane *l, uint64_t id)
{
	const struct store *from = l->courier->store[l->from];

	return (id >> 16) + from->conf.queue_lifetime_ms < clock_wall_ms();
}

/* False: no transfer is free for it. */
static bool take_message(struct lane *l, const struct move_row *rows, uint32_t count)
{
	uint64_t id = rows[0].id;
	bool expired = is_expired(l, id);

	if (transfer_has(l, id))
		return true;
	if (!expired && !lane_open(l)) {
		l->skipped = true;
		return true;
	}
	return transfer_begin(l, id, rows, count, expired);
}

/* Message by message; returns the first id that was not taken, 0: all were. */
static uint64_t take_rows(struct lane *l, const struct chain *rows)
{
	struct move_row *group = malloc(MOVE_RCPTS_MAX * sizeof(*group));
	uint64_t left = group ? 0 : 1;
	uint32_t n = 0;

	for (const struct chunk *k = rows->head; k && !left; k = k->next) {
		for (size_t at = 0; at + sizeof(*group) <= k->n && !left; at += sizeof(*group)) {
			struct move_row row;
			memcpy(&row, k->data + at, sizeof(row));
			if (n && row.id != group[0].id) {
				left = take_message(l, group, n) ? 0 : group[0].id;
				n = 0;
			}
			if (n < MOVE_RCPTS_MAX)
				group[n++] = row;
		}
	}
	if (n && !left && !take_message(l, group, n))
		left = group[0].id;
	free(group);
	return left;
}

static void lane_read(struct op *op)
{
	struct lane *l = container_of(op, struct lane, op.op);
	struct courier *c = l->courier;

	l->reading = false;
	if (op->status != 0) {
		l->not_before_us = c->now_us + COURIER_RETRY_US;
		return;
	}
	uint64_t left = courier_stopping(c) ? 1 : take_rows(l, &l->op.out);
	chain_free(&l->op.out);
	l->next_id = left ? left : l->op.from_id;
	if (left || !l->op.end)
		return;
	/* All have been looked at. */
	l->next_id = 0;
	l->due = l->news;
	l->news = false;
	if (l->skipped) {
		l->due = true;
		l->skipped = false;
		l->not_before_us = c->now_us + COURIER_EXPIRE_US;
	}
}

/* A lane that was shut is looked over as soon as it is open, else when something may have expired.
 */
static bool lane_wants(struct lane *l)
{
	uint64_t now = l->courier->now_us;

	if (!l->due || l->reading || l->active >= COURIER_LANE_MAX)
		return false;
	if (lane_open(l) && l->not_before_us > now + COURIER_RETRY_US)
		l->not_before_us = now;
	return l->not_before_us <= now;
}

static unsigned lane_poll(struct lane *l)
{
	if (!lane_wants(l))
		return 0;
	l->op = (struct moves_read_op){
		.op = {.done = lane_read, .kind = STORE_READ_MOVES},
		.shard = l->to,
		.from_id = l->next_id,
		.max_rows = SCAN_ROWS
        };
	l->reading = channel_submit(&l->courier->readers[l->from], &l->op.op) == 0;
	return l->reading;
}

static bool transfer_is_free(const struct courier *c)
{
	for (unsigned i = 0; i < COURIER_TRANSFERS; i++) {
		if (!c->transfers[i].lane)
			return true;
	}
	return false;
}

static unsigned lanes_poll(struct courier *c)
{
	unsigned n = 0;

	for (unsigned from = 0; from < c->count; from++) {
		bool news = atomic_exchange_explicit(
			&c->store[from]->moves_news, false, memory_order_acquire);
		for (unsigned to = 0; to < c->count; to++) {
			struct lane *l = &c->lanes[from][to];
			l->due |= news && from != to;
			l->news |= news;
			if (transfer_is_free(c) && !courier_stopping(c))
				n += lane_poll(l);
		}
	}
	return n;
}

/* ---- the thread ---- */

static unsigned poll(struct courier *c)
{
	unsigned n = 0;

	c->now_us = clock_mono_us();
	for (unsigned i = 0; i < c->count; i++)
		n += channel_poll(&c->writers[i]) + channel_poll(&c->readers[i]);
	n += lanes_poll(c);
	n += transfers_poll(c);
	return n + sweep_poll(c);
}

static uint32_t in_flight(const struct courier *c)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < c->count; i++)
		n += channel_in_flight(&c->writers[i]) + channel_in_flight(&c->readers[i]);
	return n;
}

/* As long as nothing comes: a retry is due within a second, memory within a tenth of it. */
static uint64_t sleep_us(const struct courier *c)
{
	for (unsigned i = 0; i < COURIER_TRANSFERS; i++) {
		if (c->transfers[i].lane && c->transfers[i].submit)
			return COURIER_RETRY_US / 20;
	}
	return COURIER_RETRY_US;
}

static void *thread_main(void *arg)
{
	struct courier *c = arg;

	log_thread_init("courier");
	counters_thread_init("courier");
	for (;;) {
		unsigned n = poll(c);
		if (courier_stopping(c) && in_flight(c) == 0)
			return NULL;
		if (n)
			continue;
		waker_begin(&c->waker);
		if (poll(c) == 0 && !(courier_stopping(c) && in_flight(c) == 0))
			waker_wait(&c->waker, sleep_us(c));
		waker_end(&c->waker);
	}
}

/* ---- life ---- */

static int join(struct courier *c, struct channel *ch, const char *what, unsigned shard,
	struct service *service)
{
	char name[32];

	snprintf(name, sizeof(name), "courier.%s%u", what, shard % STORE_SHARDS_MAX);
	int err = channel_init(ch, name, COURIER_CREDITS, &c->waker, &service->waker, -1);

	return err < 0 ? err : service_add(service, ch);
}

static int channels_make(struct courier *c)
{
	int err = 0;

	for (unsigned i = 0; i < c->count && err == 0; i++) {
		err = join(c, &c->writers[i], "wr", i, store_writer(c->store[i]));
		if (err == 0)
			err = join(c, &c->readers[i], "rd", i, store_reader(c->store[i], 0));
	}
	return err;
}

struct courier *courier_create(struct store *const *store, unsigned count)
{
	struct courier *c =
		aligned_alloc(CACHE_LINE, (sizeof(*c) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
	uint64_t last = 0;

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->count = count;
	c->store = store;
	c->waker.fd = -1;
	c->sweep.due = true;
	c->transfers = calloc(COURIER_TRANSFERS, sizeof(*c->transfers));
	if (!c->transfers || waker_init(&c->waker) < 0 || channels_make(c) < 0) {
		courier_destroy(&c);
		return NULL;
	}
	for (unsigned i = 0; i < count; i++) {
		last = MAX(last, store_last_id(store[i]));
		store[i]->courier = &c->waker;
		for (unsigned to = 0; to < count; to++)
			c->lanes[i][to] =
				(struct lane){.courier = c, .from = i, .to = to, .due = i != to};
	}
	ids_init(&c->ids, COURIER_CORE, last);
	return c;
}

int courier_start(struct courier *c)
{
	return -pthread_create(&c->thread, NULL, thread_main, c);
}

void courier_stop(struct courier *c)
{
	atomic_store_explicit(&c->stop, true, memory_order_release);
	waker_kick(&c->waker);
	pthread_join(c->thread, NULL);
}

void courier_destroy(struct courier **cp)
{
	struct courier *c = *cp;

	if (!c)
		return;
	for (unsigned i = 0; i < c->count; i++) {
		channel_fini(&c->writers[i]);
		channel_fini(&c->readers[i]);
		c->store[i]->courier = NULL;
	}
	for (unsigned i = 0; c->transfers && i < COURIER_TRANSFERS; i++) {
		if (c->transfers[i].message)
			message_unref(c->transfers[i].message);
	}
	free(c->transfers);
	if (c->waker.fd >= 0)
		waker_fini(&c->waker);
	free(c);
	*cp = NULL;
}

void courier_hold(struct courier *c, bool hold)
{
	atomic_store(&c->hold, hold);
	waker_kick(&c->waker);
}

bool courier_is_still(const struct courier *c)
{
	return atomic_load(&c->leaving) == 0;
}
