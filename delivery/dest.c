/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/dest.h"
#include <errno.h>

#define DOWN_DOUBLINGS_MAX 4

static uint32_t slots_for(uint32_t n)
{
	uint32_t slots = 1;

	while (slots < n)
		slots *= 2;
	return slots;
}

int dest_init(struct dest *t, const struct dest_limits *limits)
{
	uint32_t domain_slots = slots_for(limits->domains_max);
	uint32_t site_slots = slots_for(limits->sites_max);

	*t = (struct dest){
		.limits = *limits, .domain_mask = domain_slots - 1, .site_mask = site_slots - 1};
	siphash_key_random(&t->key);
	list_init(&t->domains_idle);
	list_init(&t->sites_idle);
	list_init(&t->runnable);
	list_init(&t->looking);
	t->domains = calloc(limits->domains_max, sizeof(*t->domains));
	t->sites = calloc(limits->sites_max, sizeof(*t->sites));
	t->domain_table = calloc(domain_slots, sizeof(*t->domain_table));
	t->site_table = calloc(site_slots, sizeof(*t->site_table));
	if (t->domains && t->sites && t->domain_table && t->site_table)
		return 0;
	dest_fini(t);
	return -ENOMEM;
}

void dest_forget_tickets(struct dest *t)
{
	for (uint32_t i = 0; t->sites && i < t->sites_fresh; i++)
		tls_ticket_free(&t->sites[i].ticket);
}

void dest_fini(struct dest *t)
{
	dest_forget_tickets(t);
	free(t->domains);
	free(t->sites);
	free(t->domain_table);
	free(t->site_table);
	t->domains = NULL;
	t->sites = NULL;
	t->domain_table = t->site_table = NULL;
}

/* ---- domains ---- */

static uint32_t *domain_slot(const struct dest *t, struct bytes name)
{
	return &t->domain_table[siphash13(&t->key, name.p, name.n) & t->domain_mask];
}

static void domain_detach(struct domain *d)
{
	if (d->site)
		list_remove(&d->site_link);
	d->site = NULL;
	d->state = DOMAIN_UNKNOWN;
}

static void domain_unlink(struct dest *t, struct domain *d)
{
	uint32_t me = dest_domain_index(t, d) + 1;
	uint32_t *at = domain_slot(t, bytes_make(d->name, d->name_n));

	while (*at != me)
		at = &t->domains[*at - 1].hash_next;
	*at = d->hash_next;
	domain_detach(d);
}

static struct domain *domain_alloc(struct dest *t)
{
	if (t->domains_fresh < t->limits.domains_max)
		return &t->domains[t->domains_fresh++];
	struct list *oldest = list_pop_head(&t->domains_idle);
	if (!oldest)
		return NULL;
	struct domain *d = list_entry(oldest, struct domain, link);
	domain_unlink(t, d);
	return d;
}

struct domain *dest_domain_find(const struct dest *t, struct bytes name)
{
	uint32_t at = *domain_slot((struct dest *)(uintptr_t)t, name);

	for (; at; at = t->domains[at - 1].hash_next) {
		struct domain *d = &t->domains[at - 1];
		if (bytes_eq(bytes_make(d->name, d->name_n), name))
			return d;
	}
	return NULL;
}

struct domain *dest_domain_get(struct dest *t, struct bytes name)
{
	struct domain *d = dest_domain_find(t, name);

	if (d || name.n > DNS_NAME_MAX)
		return d;
	d = domain_alloc(t);
	if (!d)
		return NULL;
	uint32_t *slot = domain_slot(t, name);
	*d = (struct domain){.backlog = backlog_empty(), .name_n = (uint8_t)name.n};
	memcpy(d->name, name.p, name.n);
	list_init(&d->link);
	list_init(&d->site_link);
	d->hash_next = *slot;
	*slot = dest_domain_index(t, d) + 1;
	dest_domain_place(t, d, DOMAIN_IDLE);
	return d;
}

void dest_domain_place(struct dest *t, struct domain *d, enum domain_place place)
{
	list_remove(&d->link);
	d->place = (uint8_t)place;
	if (place == DOMAIN_IDLE)
		list_push_tail(&t->domains_idle, &d->link);
	else if (place == DOMAIN_RUNNABLE)
		list_push_tail(&t->runnable, &d->link);
	else if (place == DOMAIN_LOOKING)
		list_push_tail(&t->looking, &d->link);
	else if (place == DOMAIN_BLOCKED)
		list_push_tail(&d->site->blocked, &d->link);
}

void dest_domain_ref(struct dest *t, struct domain *d)
{
	if (d->refs++ == 0) {
		t->domains_used++;
		dest_domain_place(t, d, DOMAIN_NOWHERE);
	}
}

void dest_domain_unref(struct dest *t, struct domain *d)
{
	BUG_ON(d->refs == 0);
	if (--d->refs == 0) {
		t->domains_used--;
		/* A look-up holds a pointer to it: the end of the look-up puts it on the list. */
		dest_domain_place(
			t, d, d->state == DOMAIN_RESOLVING ? DOMAIN_NOWHERE : DOMAIN_IDLE);
	}
}

void dest_domain_resolve(struct dest *t, struct domain *d)
{
	domain_detach(d);
	d->state = DOMAIN_RESOLVING;
	dest_domain_place(t, d, DOMAIN_NOWHERE);
}

void dest_domain_route(struct domain *d, struct site *site, uint32_t seconds, uint64_t now_us)
{
	domain_detach(d);
	d->site = site;
	d->state = DOMAIN_ROUTED;
	d->route_until_us = now_us + seconds * US_PER_SEC;
	list_push_tail(&site->domains, &d->site_link);
}

void dest_domain_refuse(struct domain *d, const struct route_refusal *refusal, bool for_good,
	uint32_t seconds, uint64_t now_us)
{
	domain_detach(d);
	d->state = DOMAIN_REFUSED;
	d->refusal = *refusal;
	d->refused_for_good = for_good;
	d->route_until_us = now_us + seconds * US_PER_SEC;
}

void dest_domain_refresh(struct domain *d)
{
	d->route_until_us = 0;
	if (d->site) {
		d->site->down_until_us = 0;
		memset(d->site->bad_until_us, 0, sizeof(d->site->bad_until_us));
		memset(d->site->clear_until_us, 0, sizeof(d->site->clear_until_us));
	}
}

/* ---- sites ---- */

static uint32_t *site_slot(const struct dest *t, const struct route_key *key)
{
	return &t->site_table[key->a & t->site_mask]; /* the key is a keyed hash already */
}

static void site_unlink(struct dest *t, struct site *s)
{
	uint32_t me = (uint32_t)(s - t->sites) + 1;
	uint32_t *at = site_slot(t, &s->route.key);

	while (*at != me)
		at = &t->sites[*at - 1].hash_next;
	*at = s->hash_next;
	tls_ticket_free(&s->ticket);
	list_remove(&s->kick);
	list_for_each_safe(it, tmp, &s->blocked)
		dest_domain_place(t, list_entry(it, struct domain, link), DOMAIN_RUNNABLE);
	list_for_each_safe(it, tmp, &s->domains)
		domain_detach(list_entry(it, struct domain, site_link));
}

static struct site *site_alloc(struct dest *t)
{
	if (t->sites_fresh < t->limits.sites_max)
		return &t->sites[t->sites_fresh++];
	struct list *oldest = list_pop_head(&t->sites_idle);
	if (!oldest)
		return NULL;
	struct site *s = list_entry(oldest, struct site, link);
	site_unlink(t, s);
	return s;
}

static struct site *site_find(const struct dest *t, const struct route_key *key)
{
	for (uint32_t at = *site_slot(t, key); at; at = t->sites[at - 1].hash_next) {
		if (route_key_eq(&t->sites[at - 1].route.key, key))
			return &t->sites[at - 1];
	}
	return NULL;
}

static void site_init(struct dest *t, struct site *s, const struct route *route)
{
	uint32_t *slot = site_slot(t, &route->key);

	*s = (struct site){.hash_next = *slot};
	*slot = (uint32_t)(s - t->sites) + 1;
	list_init(&s->link);
	list_init(&s->kick);
	list_init(&s->domains);
	list_init(&s->blocked);
	list_init(&s->ready);
	list_init(&s->idle);
	list_push_tail(&t->sites_idle, &s->link);
}

struct site *dest_site_get(struct dest *t, const struct route *route)
{
	uint64_t bad_until_us[ROUTE_ADDRESSES_MAX] = {0};
	uint64_t clear_until_us[ROUTE_ADDRESSES_MAX] = {0};
	struct site *s = site_find(t, &route->key);

	if (!s) {
		s = site_alloc(t);
		if (!s)
			return NULL;
		site_init(t, s, route);
	}
	for (uint8_t i = 0; i < route->address_count; i++) {
		for (uint8_t k = 0; k < s->route.address_count; k++) {
			if (!ip_eq(&route->addresses[i].ip, &s->route.addresses[k].ip))
				continue;
			bad_until_us[i] = s->bad_until_us[k];
			clear_until_us[i] = s->clear_until_us[k];
		}
	}
	memcpy(s->bad_until_us, bad_until_us, sizeof(bad_until_us));
	memcpy(s->clear_until_us, clear_until_us, sizeof(clear_until_us));
	s->route = *route;
	return s;
}

/* What is idle may be given to another; the one idle longest goes first. */
static void site_settle(struct dest *t, struct site *s)
{
	list_remove(&s->link);
	if (s->holds == 0 && s->connections == 0)
		list_push_tail(&t->sites_idle, &s->link);
}

void dest_site_hold(struct dest *t, struct site *s)
{
	s->holds++;
	site_settle(t, s);
}

void dest_site_release(struct dest *t, struct site *s)
{
	BUG_ON(s->holds == 0);
	s->holds--;
	site_settle(t, s);
}

static atomic_uint *share_of(const struct dest *t, const struct site *s)
{
	return &t->limits.shares->connections[s->route.key.a % DEST_SHARES];
}

bool dest_share_full(const struct dest *t, const struct site *s)
{
	return t->limits.shares && atomic_load_explicit(share_of(t, s), memory_order_relaxed) >=
					   t->limits.site_connections_max;
}

static atomic_uint *wanted_of(const struct dest *t, const struct site *s)
{
	return &t->limits.shares->wanted[s->route.key.a % DEST_SHARES];
}

void dest_share_ask(const struct dest *t, struct site *s, uint64_t now_us)
{
	if (!t->limits.shares || now_us - s->asked_us < DEST_ASK_US)
		return;
	s->asked_us = now_us;
	atomic_store_explicit(
		wanted_of(t, s), (unsigned)(now_us / US_PER_SEC) + 2, memory_order_relaxed);
}

bool dest_share_asked(const struct dest *t, struct site *s, uint64_t now_us)
{
	if (!t->limits.shares || s->connections < 2)
		return false;
	/* Mostly nobody has: the line stays in all caches. */
	if (atomic_load_explicit(wanted_of(t, s), memory_order_relaxed) < now_us / US_PER_SEC)
		return false;
	if (atomic_exchange_explicit(wanted_of(t, s), 0, memory_order_relaxed) == 0)
		return false;
	s->enough_until_us = now_us + DEST_ASK_US;
	s->want = false;
	return true;
}

void dest_site_connect(struct dest *t, struct site *s)
{
	s->connections++;
	if (t->limits.shares)
		atomic_fetch_add_explicit(share_of(t, s), 1, memory_order_relaxed);
	t->connections++;
	site_settle(t, s);
}

void dest_site_disconnect(struct dest *t, struct site *s)
{
	BUG_ON(s->connections == 0 || t->connections == 0);
	s->connections--;
	if (t->limits.shares)
		atomic_fetch_sub_explicit(share_of(t, s), 1, memory_order_relaxed);
	t->connections--;
	site_settle(t, s);
}

void dest_site_failed(
	struct site *s, uint16_t code, const uint8_t status[3], const char *reason, uint64_t now_us)
{
	uint64_t down_us = DEST_DOWN_MIN_US << MIN(s->failures, (uint32_t)DOWN_DOUBLINGS_MAX);

	s->failures++;
	s->proven_until_us = 0;
	s->down_until_us = now_us + MIN(down_us, DEST_DOWN_MAX_US);
	s->code = code;
	memcpy(s->status, status, sizeof(s->status));
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
}

void dest_site_worked(struct site *s)
{
	s->failures = 0;
	s->down_until_us = 0;
}

static int next_address(const struct site *s, uint32_t tried, uint64_t now_us)
{
	for (int i = 0; i < s->route.address_count; i++) {
		if (!(tried >> i & 1) && s->bad_until_us[i] <= now_us)
			return i;
	}
	return -1;
}

int dest_site_next_address(const struct site *s, uint32_t tried, uint64_t now_us)
{
	int i = next_address(s, tried, now_us);

	return i >= 0 ? i : next_address(s, tried, UINT64_MAX);
}
