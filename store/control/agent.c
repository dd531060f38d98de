/* SPDX-License-Identifier: BSD-3-Clause
 * Main's agent on each core.  Sessions, schedule and stack belong to the core's thread: what main
 * wants done there, or to know from there, goes through this poller. */
#include "store/control/agent.h"
#include "store/control/renew.h"

#define PUBLISH_US 100000 /* chosen: `status` lags that much at most, beside main's own 250 ms */

static void gauge(_Atomic uint32_t *g, uint32_t v)
{
	atomic_store_explicit(g, v, memory_order_relaxed);
}

static void publish_sessions(struct core_rooms *r)
{
	gauge(&r->gauges.smtp, r->smtp ? smtp_server_sessions(r->smtp) : 0);
	gauge(&r->gauges.pop3, r->pop3 ? pop3_server_sessions(r->pop3) : 0);
	gauge(&r->gauges.imap, r->imap ? imap_server_sessions(r->imap) : 0);
}

static void publish_delivery(struct core_rooms *r)
{
	struct delivery_info info;

	if (!r->delivery)
		return;
	delivery_get_info(r->delivery, &info);
	gauge(&r->gauges.scheduled, info.scheduled);
	gauge(&r->gauges.active, info.active);
	gauge(&r->gauges.out_connections, info.connections);
	gauge(&r->gauges.domains, info.domains);
	gauge(&r->gauges.delivery_busy, delivery_busy(r->delivery));
	atomic_store_explicit(&r->gauges.loading, info.loading, memory_order_relaxed);
}

static void publish_stack(struct core_rooms *r)
{
	struct stack_info info;

	if (!r->core->stack)
		return;
	stack_get_info(r->core->stack, &info);
	gauge(&r->gauges.connections, info.connections);
	gauge(&r->gauges.established, info.established);
	gauge(&r->gauges.time_wait, info.time_wait);
	for (unsigned i = 0; i < STACK_STATE_N; i++)
		gauge(&r->gauges.states[i], info.states[i]);
}

static void publish_channels(struct core_rooms *r)
{
	uint32_t in_flight = 0, credits = 0;

	for (unsigned i = 0; i < r->core->channel_count; i++) {
		in_flight += channel_in_flight(r->core->channels[i]);
		credits += r->core->channels[i]->credits_max;
	}
	gauge(&r->gauges.in_flight, in_flight);
	gauge(&r->gauges.credits, credits);
}

static void drain(struct core_rooms *r)
{
	r->drained = true;
	if (r->smtp)
		smtp_server_drain(r->smtp);
	if (r->pop3)
		pop3_server_drain(r->pop3);
	if (r->imap)
		imap_server_drain(r->imap);
	if (r->delivery)
		delivery_drain(r->delivery);
}

static unsigned agent_poll(void *ctx, uint64_t now_us)
{
	struct core_rooms *r = ctx;
	bool draining = atomic_load_explicit(&r->daemon->draining, memory_order_acquire);
	unsigned work = 0;

	if (unlikely(draining && !r->drained)) {
		drain(r);
		work = 1;
	}
	work += agent_answer(r);
	renew_take(r);
	if (unlikely(now_us - r->published_us >= (draining ? PUBLISH_US / 10 : PUBLISH_US))) {
		r->published_us = now_us;
		publish_sessions(r);
		publish_delivery(r);
		publish_stack(r);
		publish_channels(r);
	}
	return work;
}

int agent_add(struct core_rooms *r)
{
	return core_add_poller(r->core, (struct poller){.poll = agent_poll, .ctx = r});
}
