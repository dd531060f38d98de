/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/rt/channel.h"
#include <errno.h>
#include <rte_ring.h>

#define COMPLETIONS_PER_POLL 64

static struct rte_ring *ring_create(const char *name, const char *suffix, uint32_t n, int socket)
{
	char full[RTE_RING_NAMESIZE];

	snprintf(full, sizeof(full), "%s.%s", name, suffix);
	return rte_ring_create(full, n, socket, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
}

int channel_init(struct channel *c, const char *name, uint32_t capacity, struct waker *requester,
	struct waker *server, int socket)
{
	if (capacity == 0)
		return -EINVAL;
	*c = (struct channel){.credits = capacity,
		.credits_max = capacity,
		.requester = requester,
		.server = server};
	c->requests = ring_create(name, "rq", capacity, socket);
	c->completions = ring_create(name, "cp", capacity, socket);
	if (c->requests && c->completions) {
		ring_watch_add(&c->watch, c->requests, RING_REQUEST);
		return 0;
	}
	channel_fini(c);
	return -ENOMEM;
}

void channel_fini(struct channel *c)
{
	if (c->watch.ring)
		ring_watch_remove(&c->watch);
	rte_ring_free(c->requests);
	rte_ring_free(c->completions);
	c->requests = c->completions = NULL;
}

int channel_submit(struct channel *c, struct op *op)
{
	if (c->credits == 0) {
		c->starved = true;
		ring_watch_drop(&c->watch, 1);
		return -EAGAIN;
	}
	c->credits--;
	ring_watch_depth(&c->watch, c->credits_max - c->credits);
	op->channel = c;
	int err = rte_ring_sp_enqueue(c->requests, op);
	BUG_ON(err); /* as many slots as credits */
	waker_kick(c->server);
	return 0;
}

unsigned channel_poll(struct channel *c)
{
	void *done[COMPLETIONS_PER_POLL];
	unsigned n = rte_ring_sc_dequeue_burst(c->completions, done, COMPLETIONS_PER_POLL, NULL);

	c->credits += n;
	for (unsigned i = 0; i < n; i++) {
		struct op *op = done[i];
		op->done(op);
	}
	if (c->starved && c->credits > 0) {
		c->starved = false;
		if (c->on_credit)
			c->on_credit(c->ctx);
	}
	return n;
}

unsigned channel_take(struct channel *c, struct op **ops, unsigned max)
{
	return rte_ring_sc_dequeue_burst(c->requests, (void **)ops, max, NULL);
}

void channel_complete(struct op *op)
{
	struct channel *c = op->channel;
	int err = rte_ring_sp_enqueue(c->completions, op);

	BUG_ON(err); /* the credit reserved this slot */
	waker_kick(c->requester);
}

bool channel_has_requests(const struct channel *c)
{
	return !rte_ring_empty(c->requests);
}

int service_init(struct service *s)
{
	*s = (struct service){0};
	return waker_init(&s->waker);
}

void service_fini(struct service *s)
{
	waker_fini(&s->waker);
}

int service_add(struct service *s, struct channel *c)
{
	if (s->channel_count == SERVICE_CHANNELS_MAX)
		return -ENOSPC;
	s->channels[s->channel_count++] = c;
	return 0;
}

unsigned service_take(struct service *s, struct op **ops, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->channel_count && n < max; i++) {
		s->next = (s->next + 1) % s->channel_count;
		n += channel_take(s->channels[s->next], ops + n, max - n);
	}
	return n;
}

bool service_has_requests(const struct service *s)
{
	for (unsigned i = 0; i < s->channel_count; i++) {
		if (channel_has_requests(s->channels[i]))
			return true;
	}
	return false;
}

unsigned service_waiting(const struct service *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->channel_count; i++)
		n += rte_ring_count(s->channels[i]->requests);
	return n;
}

void service_sleep(struct service *s, uint64_t timeout_us)
{
	waker_begin(&s->waker);
	if (!service_has_requests(s) && !service_stopping(s))
		waker_wait(&s->waker, timeout_us);
	waker_end(&s->waker);
}

void service_stop(struct service *s)
{
	atomic_store_explicit(&s->stop, true, memory_order_release);
	waker_kick(&s->waker);
}

int hints_init(
	struct hints *h, const char *name, uint32_t capacity, struct waker *consumer, int socket)
{
	if (capacity == 0)
		return -EINVAL;
	h->consumer = consumer;
	atomic_init(&h->overflow, UINT64_MAX);
	h->ring = ring_create(name, "hi", capacity, socket);
	if (h->ring)
		ring_watch_add(&h->watch, h->ring, RING_HINT);
	return h->ring ? 0 : -ENOMEM;
}

void hints_fini(struct hints *h)
{
	if (h->watch.ring)
		ring_watch_remove(&h->watch);
	rte_ring_free(h->ring);
	h->ring = NULL;
}

bool hints_put(struct hints *h, void *value, uint64_t rank)
{
	unsigned room;
	bool put = rte_ring_sp_enqueue_bulk(h->ring, &value, 1, &room) == 1;

	if (put) {
		ring_watch_depth(&h->watch, rte_ring_get_capacity(h->ring) - room);
	} else {
		ring_watch_drop(&h->watch, 1);
		uint64_t low = atomic_load_explicit(&h->overflow, memory_order_relaxed);
		while (rank < low && !atomic_compare_exchange_weak(&h->overflow, &low, rank)) {
		}
	}
	waker_kick(h->consumer);
	return put;
}

unsigned hints_take(struct hints *h, void **values, unsigned max)
{
	return rte_ring_sc_dequeue_burst(h->ring, values, max, NULL);
}

uint64_t hints_overflow_take(struct hints *h)
{
	if (likely(atomic_load_explicit(&h->overflow, memory_order_relaxed) == UINT64_MAX))
		return UINT64_MAX;
	return atomic_exchange(&h->overflow, UINT64_MAX);
}
