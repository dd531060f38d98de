/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/lookup.h"
#include <errno.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "delivery/delivery_priv.h"

#define REFUSED_SECONDS  60 /* a permanent refusal is looked up anew after this */
#define DEFERRED_SECONDS 10

int lookups_init(struct delivery *d, uint32_t max)
{
	struct lookups *t = &d->lookups;

	list_init(&t->free);
	list_init(&t->waiting);
	list_init(&t->fresh);
	t->lookups = calloc(max, sizeof(*t->lookups));
	if (!t->lookups)
		return -ENOMEM;
	for (uint32_t i = 0; i < max; i++) {
		t->lookups[i].d = d;
		list_init(&t->lookups[i].age);
		list_push_tail(&t->free, &t->lookups[i].link);
	}
	return 0;
}

void lookups_fini(struct delivery *d)
{
	free(d->lookups.lookups);
}

static void domain_answer(struct delivery *d, struct domain *domain, const struct route_query *q)
{
	static const struct route_refusal full = {
		{4, 3, 2},
                "too many destinations at once"
        };
	uint64_t now_us = d->core->now_us;
	struct site *s;

	if (q->verdict != ROUTE_OK) {
		bool fail = q->verdict == ROUTE_FAIL;
		dest_domain_refuse(domain, &q->refusal, fail,
			fail ? REFUSED_SECONDS : DEFERRED_SECONDS, now_us);
		return;
	}
	s = dest_site_get(&d->dest, &q->route);
	if (s)
		dest_domain_route(domain, s, q->route.ttl, now_us);
	else
		dest_domain_refuse(domain, &full, false, DEFERRED_SECONDS, now_us);
}

static void fresh_add(struct lookups *t, struct lookup *l, uint64_t now_us)
{
	l->since_us = now_us;
	list_push_tail(&t->fresh, &l->age);
	t->fresh_n++;
}

/* It has ended, or is not new any more. */
static void fresh_remove(struct lookups *t, struct lookup *l)
{
	if (list_empty(&l->age))
		return;
	list_remove(&l->age);
	t->fresh_n--;
}

bool lookup_room(struct delivery *d)
{
	struct lookups *t = &d->lookups;

	while (!list_empty(&t->fresh)) {
		struct lookup *l = list_entry(t->fresh.next, struct lookup, age);
		if (d->core->now_us - l->since_us < LOOKUPS_LONG_US)
			break;
		fresh_remove(t, l);
	}
	return t->fresh_n < LOOKUPS_NEW && !list_empty(&t->free);
}

static void lookup_end(struct lookup *l)
{
	struct delivery *d = l->d;
	struct domain *domain = l->domain;

	domain_answer(d, domain, &l->query);
	if (l->query.verdict != ROUTE_OK)
		log_debug("delivery", "route domain=%s reason=\"%s\"", domain->name,
			l->query.refusal.reason);
	if (domain->refs == 0)
		dest_domain_place(&d->dest, domain, DOMAIN_IDLE);
	else if (domain->place == DOMAIN_NOWHERE && domain->backlog.count > 0)
		dest_domain_place(&d->dest, domain, DOMAIN_RUNNABLE);
	fresh_remove(&d->lookups, l);
	list_push_tail(&d->lookups.free, &l->link);
}

static void lookup_run(struct lookup *l);

static void on_answer(struct op *op)
{
	struct lookup *l = container_of(op, struct lookup, op.op);
	struct dns_answer *a = &l->answer;

	dns_answer_take(a, &l->op);
	dns_cache_put(&l->d->cache, l->op.name, (enum dns_type)l->op.type, a, l->d->core->now_us);
	route_query_feed(&l->query, a);
	lookup_run(l);
}

/* Asks for what the query wants; without a credit it waits for one. */
static void lookup_ask(struct lookup *l, const char *name, enum dns_type type)
{
	l->op.op = (struct op){.done = on_answer};
	l->op.type = (uint8_t)type;
	snprintf(l->op.name, sizeof(l->op.name), "%s", name);
	if (channel_submit(l->d->ch.dns, &l->op.op) < 0)
		list_push_tail(&l->d->lookups.waiting, &l->link);
}

static void lookup_run(struct lookup *l)
{
	struct delivery *d = l->d;
	enum dns_type type;

	while (l->query.verdict == ROUTE_PENDING) {
		const char *name = route_query_wants(&l->query, &type);
		if (!dns_cache_get(&d->cache, name, type, &l->answer, d->core->now_us)) {
			lookup_ask(l, name, type);
			return;
		}
		counter_inc(CTR_DNS_CACHE_HITS);
		route_query_feed(&l->query, &l->answer);
	}
	lookup_end(l);
}

bool lookup_begin(struct delivery *d, struct domain *domain)
{
	if (!lookup_room(d))
		return false;
	struct lookup *l = list_entry(list_pop_head(&d->lookups.free), struct lookup, link);
	l->domain = domain;
	fresh_add(&d->lookups, l, d->core->now_us);
	dest_domain_resolve(&d->dest, domain);
	route_query_init(&l->query, &d->route_conf, bytes_make(domain->name, domain->name_n));
	lookup_run(l);
	return true;
}

void lookup_on_credit(struct delivery *d)
{
	struct list waiting;

	list_init(&waiting);
	while (!list_empty(&d->lookups.waiting))
		list_push_tail(&waiting, list_pop_head(&d->lookups.waiting));
	while (!list_empty(&waiting))
		lookup_run(list_entry(list_pop_head(&waiting), struct lookup, link));
}
