/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/relay.h"
#include <errno.h>
#include <limits.h>
#include "dataplane/base/log.h"
#include "delivery/delivery_priv.h"

#define ENOUGH_US        US_PER_SEC /* chosen: what cannot be had is not tried all the time */
#define UNBLOCKED_SCARCE 4          /* chosen: domains for a place or two, not all for each */
#define WANTING_PER_POLL 64         /* sites that may not go on now are looked at */
#define ROOM_PER_POLL    256        /* connections looked at for one that can be done without */
#define SHORT_MAX        16         /* ... and so many are found in a poll */
#define MEMORY_US        (100 * US_PER_MS) /* chosen: until what was given up is in the store */

int relay_init(struct delivery *d, uint32_t max)
{
	struct relay *t = &d->relay;

	*t = (struct relay){.max = max};
	list_init(&t->free);
	list_init(&t->closed);
	list_init(&t->working);
	list_init(&t->kick);
	list_init(&t->wanting);
	list_init(&t->starving);
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
	if (s->starving)
		return; /* it has its turn */
	list_remove(&s->kick);
	list_push_tail(&d->relay.kick, &s->kick);
}

void relay_unkick(struct site *s)
{
	s->starving = false;
	list_remove(&s->kick);
}

void relay_unblock(struct delivery *d, struct site *s)
{
	bool scarce = jobs_scarce(&d->jobs);
	unsigned max = scarce && s->ready_n ? UNBLOCKED_SCARCE : UINT_MAX;

	if (s->ready_n > d->dest.limits.ready_max / 2 || dest_site_full(&d->dest, s, scarce))
		return;
	for (unsigned i = 0; i < max && !list_empty(&s->blocked); i++)
		dest_domain_place(&d->dest, list_entry(s->blocked.next, struct domain, link),
			DOMAIN_RUNNABLE);
}

void relay_opened(struct conn *c)
{
	c->site->opening--;
	dest_site_worked(c->site);
	relay_kick(c->d, c->site); /* now more may be opened */
}

void relay_proved(struct conn *c)
{
	struct site *s = c->site;
	uint64_t now_us = c->d->core->now_us;

	if (s->proven_until_us <= now_us)
		relay_kick(c->d, s); /* the same */
	dest_site_proved(s, now_us);
}

bool relay_takes_back(struct conn *c)
{
	struct relay *t = &c->d->relay;

	if (c->messages == 0 || c->site->connections < 2)
		return false;
	if (dest_share_asked(&c->d->dest, c->site, c->d->core->now_us))
		return true;
	if (t->short_of == 0)
		return false;
	t->short_of--;
	return true;
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
		if (!c->in_clear && !c->ours)
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
	/* Others are connected, or still trying: they decide.  A want of ours decides nothing. */
	if (s->connections > 0 || c->ours) {
		s->enough_until_us = d->core->now_us + ENOUGH_US;
		s->want = c->ours;
		log_debug("delivery", "enough site=%s connections=%u reason=\"%s\"", c->host,
			s->connections, c->end_text);
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
		else if (c->ours || d->draining || !conn_connect(c))
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

/* As many as there are sites that starve, less those that end already. */
static uint32_t count_short(const struct relay *t)
{
	uint32_t n = 0;

	list_for_each(it, &t->starving)
	{
		if (++n == t->leaving + SHORT_MAX)
			break;
	}
	return n - MIN(n, t->leaving);
}

/* As many messages as may be, or results, are on connections and waiting for one. */
static bool memory_is_short(const struct delivery *d)
{
	bool jobs = list_empty(&d->jobs.free) && list_empty(&d->jobs.resting);

	return d->core->now_us >= d->relay.memory_from_us &&
	       ((jobs && !list_empty(&d->dest.runnable)) || list_empty(&d->reports.free));
}

/* All connections are taken, and a site has none: one that waits for mail ends, or one whose host
 * does not answer.  What these do not give is taken back from sites that have several, at the end
 * of a message.  And hosts that do not answer are not to hold all the memory there is. */
static void make_room(struct delivery *d)
{
	struct relay *t = &d->relay;
	bool memory = memory_is_short(d);

	t->short_of = count_short(t);
	for (uint32_t i = 0; i < MIN(t->max, (uint32_t)ROOM_PER_POLL); i++) {
		if (t->short_of == 0 && !memory)
			return;
		t->look = (t->look + 1) % t->max;
		if (memory && conn_give_up(&t->conns[t->look])) {
			t->memory_from_us = d->core->now_us + MEMORY_US;
			memory = false;
		} else if (t->short_of > 0) {
			t->short_of -= conn_give_way(&t->conns[t->look]);
		}
	}
}

static bool all_taken(const struct delivery *d)
{
	return d->dest.connections >= d->dest.limits.connections_max || list_empty(&d->relay.free);
}

/* May the site open one?  turn: it has waited for that. */
static bool may_open(const struct delivery *d, const struct site *s, bool turn)
{
	return dest_site_may_connect(&d->dest, s, d->core->now_us) && !all_taken(d) &&
	       list_empty(&s->idle) &&
	       (list_empty(&d->relay.starving) || (turn && s->connections == 0));
}

/* What it cannot do now it can do later: nothing else may come to remind us. */
static void site_file(struct delivery *d, struct site *s)
{
	uint64_t now_us = d->core->now_us;

	if (s->ready_n == 0)
		return;
	bool full = dest_share_full(&d->dest, s);
	if (s->connections == 0 && full)
		dest_share_ask(&d->dest, s, now_us);
	if (s->connections == 0 && s->enough_until_us <= now_us && !full) {
		s->starving = true;
		list_push_tail(&d->relay.starving, &s->kick);
	} else if (s->connections == 0 || !report_available(d) ||
		   dest_site_wants(&d->dest, s, now_us)) {
		list_push_tail(&d->relay.wanting, &s->kick);
	}
}

static unsigned site_poll(struct delivery *d, struct site *s, bool turn)
{
	unsigned n = 0;

	s->starving = false;
	list_for_each_safe(it, tmp, &s->idle)
	{
		if (s->ready_n == 0 || !report_available(d))
			break;
		conn_work(list_entry(it, struct conn, link));
		n++;
	}
	for (; may_open(d, s, turn); n++)
		site_connect(d, s);
	if (list_empty(&s->kick))
		site_file(d, s);
	return n;
}

/* Those that were there before, up to max of them. */
static unsigned sites_poll(struct delivery *d, struct list *of, unsigned max)
{
	struct list sites;
	unsigned n = 0;

	list_init(&sites);
	for (unsigned i = 0; i < max && !list_empty(of); i++)
		list_push_tail(&sites, list_pop_head(of));
	while (!list_empty(&sites))
		n += site_poll(d, list_entry(list_pop_head(&sites), struct site, kick), false);
	return n;
}

static unsigned starving_poll(struct delivery *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WANTING_PER_POLL && !all_taken(d); i++) {
		struct list *l = list_pop_head(&d->relay.starving);
		if (!l)
			break;
		n += site_poll(d, list_entry(l, struct site, kick), true);
	}
	make_room(d);
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

	if (d->draining)
		return n;
	n += starving_poll(d);
	n += sites_poll(d, &d->relay.kick, UINT_MAX);
	return n + sites_poll(d, &d->relay.wanting, WANTING_PER_POLL);
}

void relay_drain(struct delivery *d)
{
	for (uint32_t i = 0; i < d->relay.max; i++)
		conn_leave(&d->relay.conns[i]);
}
