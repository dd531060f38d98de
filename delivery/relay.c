/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/relay.h"
#include <errno.h>
#include "delivery/delivery_priv.h"

#define ENOUGH_US US_PER_SEC /* chosen: a next hop that takes so many is not asked all the time */

int relay_init(struct delivery *d, uint32_t max)
{
	struct relay *t = &d->relay;

	*t = (struct relay){.max = max};
	list_init(&t->free);
	list_init(&t->closed);
	list_init(&t->working);
	list_init(&t->kick);
	t->conns = calloc(max, sizeof(*t->conns));
	if (!t->conns)
		return -ENOMEM;
	for (uint32_t i = 0; i < max; i++) {
		conn_init(&t->conns[i], d);
		list_push_tail(&t->free, &t->conns[i].link);
	}
	return 0;
}

void relay_fini(struct delivery *d)
{
	for (uint32_t i = 0; d->relay.conns && i < d->relay.max; i++) {
		if (d->relay.conns[i].state != CONN_FREE)
			conn_abort(&d->relay.conns[i]);
	}
	free(d->relay.conns);
}

void relay_kick(struct delivery *d, struct site *s)
{
	list_remove(&s->kick);
	list_push_tail(&d->relay.kick, &s->kick);
}

void relay_unblock(struct delivery *d, struct site *s)
{
	if (s->ready_n > d->dest.limits.ready_max / 2)
		return;
	list_for_each_safe(it, tmp, &s->blocked)
		dest_domain_place(&d->dest, list_entry(it, struct domain, link), DOMAIN_RUNNABLE);
}

void relay_opened(struct conn *c)
{
	c->site->opening--;
	dest_site_worked(c->site);
	relay_kick(c->d, c->site); /* now more may be opened */
}

/* The address is tried after all others for a while. */
static void address_failed(const struct conn *c)
{
	struct site *s = c->site;

	if (c->address < s->route.address_count &&
		ip_eq(&s->route.addresses[c->address].ip, &c->ip))
		s->bad_until_us[c->address] = c->d->core->now_us + DEST_BAD_US;
}

void relay_closed(struct conn *c)
{
	c->again = !c->got_ready;
	if (c->again) {
		if (!c->in_clear)
			address_failed(c);
	} else {
		dest_site_disconnect(&c->d->dest, c->site);
		relay_kick(c->d, c->site);
	}
	list_push_tail(&c->d->relay.closed, &c->link);
}

static void conn_release(struct delivery *d, struct conn *c)
{
	c->state = CONN_FREE;
	list_push_tail(&d->relay.free, &c->link);
}

/* No address of the site answered this connection. */
static void give_up(struct delivery *d, struct conn *c)
{
	struct site *s = c->site;

	s->opening--;
	dest_site_disconnect(&d->dest, s);
	conn_release(d, c);
	/* Others are connected, or still trying: they decide. */
	if (s->connections > 0) {
		s->enough_until_us = d->core->now_us + ENOUGH_US;
		relay_kick(d, s);
		return;
	}
	dest_site_failed(s, c->end_code, c->end_status, c->end_text, d->core->now_us);
	attempt_refuse_site(d, s);
}

static unsigned closed_poll(struct delivery *d)
{
	unsigned n = 0;

	list_for_each_safe(it, tmp, &d->relay.closed)
	{
		struct conn *c = list_entry(it, struct conn, link);
		if (content_busy(&c->content))
			continue;
		n++;
		list_remove(&c->link);
		if (!c->again)
			conn_release(d, c);
		else if (d->draining || !conn_connect(c))
			give_up(d, c);
	}
	return n;
}

static void site_connect(struct delivery *d, struct site *s)
{
	struct conn *c = list_entry(list_pop_head(&d->relay.free), struct conn, link);

	c->site = s;
	c->tries = 0;
	c->tried = 0;
	c->in_clear = false;
	s->opening++;
	dest_site_connect(&d->dest, s);
	if (!conn_connect(c))
		give_up(d, c);
}

/* All connections are taken: one that only waits for mail makes room.  Once a poll: it looks at all
 * of them. */
static void make_room(struct delivery *d)
{
	if (d->relay.made_room)
		return;
	d->relay.made_room = true;
	for (uint32_t i = 0; i < d->relay.max; i++) {
		if (d->relay.conns[i].state == CONN_READY) {
			conn_leave(&d->relay.conns[i]);
			return;
		}
	}
}

static bool site_waits(const struct delivery *d, const struct site *s)
{
	return s->connections == 0 && s->ready_n > 0 &&
	       d->dest.connections >= d->dest.limits.connections_max;
}

static unsigned site_poll(struct delivery *d, struct site *s)
{
	unsigned n = 0;

	list_for_each_safe(it, tmp, &s->idle)
	{
		if (s->ready_n == 0 || !report_available(d))
			break;
		conn_work(list_entry(it, struct conn, link));
		n++;
	}
	while (dest_site_may_connect(&d->dest, s, d->core->now_us) && !list_empty(&d->relay.free) &&
		list_empty(&s->idle)) {
		site_connect(d, s);
		n++;
	}
	if (site_waits(d, s))
		make_room(d);
	if (s->ready_n > 0 && (s->connections == 0 || !report_available(d)))
		relay_kick(d, s);
	return n;
}

/* One slice a lap, in turn. */
static unsigned working_poll(struct delivery *d)
{
	if (list_empty(&d->relay.working))
		return 0;
	conn_go_on(list_entry(d->relay.working.next, struct conn, link));
	return 1;
}

unsigned relay_poll(struct delivery *d)
{
	unsigned n = closed_poll(d) + working_poll(d);
	struct list kick;

	if (d->draining)
		return n;
	d->relay.made_room = false;
	list_init(&kick);
	while (!list_empty(&d->relay.kick))
		list_push_tail(&kick, list_pop_head(&d->relay.kick));
	while (!list_empty(&kick))
		n += site_poll(d, list_entry(list_pop_head(&kick), struct site, kick));
	return n;
}

void relay_drain(struct delivery *d)
{
	for (uint32_t i = 0; i < d->relay.max; i++)
		conn_leave(&d->relay.conns[i]);
}
