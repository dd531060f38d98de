/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/net_paced.h"
#include "dataplane/base/clock.h"

#define NS_PER_US   1000u
#define NS_PER_SEC  1000000000u
#define LATE_MAX_NS NS_PER_SEC /* chosen: of what is due, more is not made up for */

static int slot_of(const struct net_paced *p, const struct net_session *session)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (p->slot[i].session == session)
			return (int)i;
	}
	return -1;
}

static void ask(struct net_paced *p, unsigned i, uint64_t due_us)
{
	static const uint8_t octets[NET_PACED_OCTETS] = {NET_ECHO};
	struct net_session *session = p->slot[i].session;

	session->due = NET_PACED_OCTETS;
	p->slot[i].asked_us = due_us;
	/* what does not fit the send buffer would never be answered: one request always does */
	BUG_ON(stream_send(&session->stream, bytes_make(octets, sizeof(octets))) < sizeof(octets));
}

bool net_paced_open(struct net_paced *p, struct net_session *session)
{
	if (p->n == NET_PACED_MAX)
		return false;
	if (p->n == 0)
		p->next_ns = clock_mono_us() * NS_PER_US;
	p->slot[p->n].session = session;
	p->slot[p->n].asked_us = 0;
	if (atomic_load_explicit(&p->rate, memory_order_relaxed) == 0)
		ask(p, p->n, clock_mono_us());
	p->n++;
	return true;
}

void net_paced_end(struct net_paced *p, const struct net_session *session)
{
	int i = slot_of(p, session);

	if (i >= 0)
		p->slot[i] = p->slot[--p->n];
}

void net_paced_answer(struct net_paced *p, struct net_session *session)
{
	int i = slot_of(p, session);
	uint64_t now_us = clock_mono_us();

	if (i < 0)
		return;
	hist_add(&p->hist, now_us - p->slot[i].asked_us);
	p->slot[i].asked_us = 0;
	if (atomic_load_explicit(&p->rate, memory_order_relaxed) == 0)
		ask(p, (unsigned)i, now_us);
}

unsigned net_paced_poll(struct net_paced *p, uint64_t now_us)
{
	uint32_t rate = atomic_load_explicit(&p->rate, memory_order_relaxed);
	unsigned asked = 0;

	if (atomic_exchange_explicit(&p->clear, 0, memory_order_relaxed))
		memset(&p->hist, 0, sizeof(p->hist));
	if (rate == 0 || p->n == 0)
		return 0;
	uint64_t now_ns = now_us * NS_PER_US;
	p->next_ns = MAX(p->next_ns, now_ns - LATE_MAX_NS);
	for (unsigned i = 0; i < p->n && p->next_ns <= now_ns; i++) {
		if (p->slot[i].asked_us)
			continue;
		ask(p, i, p->next_ns / NS_PER_US);
		p->next_ns += NS_PER_SEC / rate;
		asked++;
	}
	return asked;
}

struct net_session *net_paced_idle(const struct net_paced *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (!p->slot[i].asked_us)
			return p->slot[i].session;
	}
	return NULL;
}
