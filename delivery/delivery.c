/* SPDX-License-Identifier: BSD-3-Clause
 * The worker as a whole: creation, a lap's share, draining. */
#include "delivery/delivery.h"
#include <errno.h>
#include "dataplane/base/log.h"
#include "delivery/delivery_priv.h"

#define DUE_PER_POLL   256
#define STEP_PER_POLL  256
#define LATER_PER_POLL 32 /* domains that cannot go on now are looked at */
#define REPORTS_SPARE  32 /* for attempts that need no connection */
#define REPORTS_MAX    1024
#define DOMAINS_MAX    65536
#define SITES_MAX      4096
#define CACHE_ENTRIES  4096
#define RETRY_MS       (15 * 60 * MS_PER_SEC) /* when the configuration gives none */

static uint32_t clamp(uint64_t v, uint32_t min, uint32_t max)
{
	return (uint32_t)MIN(MAX(v, (uint64_t)min), (uint64_t)max);
}

/* ---- recipients ---- */

bool delivery_owns(const struct delivery *d, struct bytes domain)
{
	return d->workers == 1 || store_domain_owner(domain, d->workers) == d->worker;
}

uint32_t delivery_add(struct delivery *d, uint64_t id, uint32_t rcpt, struct bytes name,
	uint16_t attempts, int8_t priority)
{
	struct domain *domain;
	uint32_t node;

	if (schedule_room(&d->schedule) == 0)
		return SCHEDULE_NONE;
	domain = dest_domain_get(&d->dest, name);
	if (!domain)
		return SCHEDULE_NONE;
	node = schedule_add(&d->schedule, id, rcpt, dest_domain_index(&d->dest, domain), attempts);
	delivery_node(d, node)->priority = priority;
	dest_domain_ref(&d->dest, domain);
	return node;
}

void delivery_forget(struct delivery *d, uint32_t node)
{
	dest_domain_unref(&d->dest, delivery_domain(d, node));
	if (d->refresh[delivery_shard(d, delivery_node(d, node)->id)].reading)
		schedule_retire(&d->schedule, node);
	else
		schedule_remove(&d->schedule, node);
}

void delivery_enqueue(struct delivery *d, uint32_t node)
{
	struct domain *domain = delivery_domain(d, node);

	backlog_push(&d->schedule, &domain->backlog, node);
	job_rest(d, node);
	if (domain->place == DOMAIN_NOWHERE && domain->state != DOMAIN_RESOLVING)
		dest_domain_place(&d->dest, domain, DOMAIN_RUNNABLE);
}

void delivery_prioritise(struct delivery *d, uint32_t node, int8_t priority)
{
	struct schedule_node *n = delivery_node(d, node);

	if (n->backlogged)
		backlog_move(&d->schedule, &delivery_domain(d, node)->backlog, node, priority);
	else
		n->priority = priority;
}

void delivery_wait(struct delivery *d, uint32_t node, uint64_t next_ms)
{
	struct domain *domain = delivery_domain(d, node);

	if (domain->next_ms <= d->core->now_ms || next_ms < domain->next_ms)
		domain->next_ms = next_ms;
	schedule_wait(&d->schedule, node, next_ms);
}

void delivery_put_off(struct delivery *d, uint32_t node, uint64_t ms)
{
	delivery_wait(d, node, d->core->now_ms + ms);
}

struct channel *delivery_reader(const struct delivery *d, uint64_t id)
{
	return d->ch.readers[delivery_shard(d, id)][(id ^ id >> 10) % d->ch.reader_count];
}

bool delivery_shard_failed(const struct delivery *d, uint64_t id)
{
	const atomic_uint *health = d->ch.health[delivery_shard(d, id)];

	return health && atomic_load_explicit(health, memory_order_relaxed) == STORE_FAILED;
}

bool delivery_loading(const struct delivery *d)
{
	bool loading = false;

	for (unsigned i = 0; i < d->ch.shard_count; i++)
		loading |= d->refresh[i].loading;
	return loading;
}

/* ---- a lap's share ---- */

static unsigned due_poll(struct delivery *d)
{
	unsigned n = 0;
	uint32_t node;

	while (n < DUE_PER_POLL &&
		(node = schedule_take_due(&d->schedule, d->core->now_ms)) != SCHEDULE_NONE) {
		delivery_enqueue(d, node);
		n++;
	}
	return n;
}

enum step {
	STEP_DONE,
	STEP_LATER, /* its first message cannot be read now: others may be in memory */
	STEP_NONE,  /* something that all need is used up */
};

/* One step for a domain with a backlog. */
static enum step domain_step(struct delivery *d, struct domain *domain)
{
	uint64_t now_us = d->core->now_us;

	if (domain->backlog.count == 0) {
		dest_domain_place(&d->dest, domain, DOMAIN_NOWHERE);
		return STEP_DONE;
	}
	if (domain->state == DOMAIN_UNKNOWN || domain->route_until_us <= now_us) {
		if (!lookup_begin(d, domain))
			dest_domain_place(&d->dest, domain, DOMAIN_LOOKING);
		return STEP_DONE;
	}
	if (domain->site && dest_site_full(&d->dest, domain->site, jobs_scarce(&d->jobs))) {
		dest_domain_place(&d->dest, domain, DOMAIN_BLOCKED);
		return STEP_DONE;
	}
	if (list_empty(&d->attempts.free))
		return STEP_NONE;
	uint32_t node = backlog_pop(&d->schedule, &domain->backlog);
	job_wake(d, node);
	if (delivery_shard_failed(d, delivery_node(d, node)->id) && !delivery_node(d, node)->job) {
		delivery_put_off(d, node, SHARD_FAILED_MS);
	} else if (delivery_node(d, node)->job) {
		attempt_dispatch(d, node);
	} else if (!job_load(d, node)) {
		backlog_push_head(&d->schedule, &domain->backlog, node);
		return STEP_LATER;
	}
	return STEP_DONE;
}

/* Each domain goes behind the others after its step: one's backlog does not hold up the rest. Those
 * that wait for a look-up wait elsewhere. */
static unsigned domains_poll(struct delivery *d)
{
	unsigned n = 0, later = 0;

	if (!list_empty(&d->dest.looking) && lookup_room(d))
		dest_domain_place(&d->dest, list_entry(d->dest.looking.next, struct domain, link),
			DOMAIN_RUNNABLE);
	while (n < STEP_PER_POLL && later < LATER_PER_POLL && !list_empty(&d->dest.runnable) &&
		report_available(d)) {
		struct domain *domain = list_entry(d->dest.runnable.next, struct domain, link);
		enum step step = domain_step(d, domain);
		if (step == STEP_NONE)
			break;
		n += step == STEP_DONE;
		later += step == STEP_LATER;
		if (domain->place == DOMAIN_RUNNABLE)
			dest_domain_place(&d->dest, domain, DOMAIN_RUNNABLE);
	}
	return n;
}

static unsigned delivery_poll(void *ctx, uint64_t now_us)
{
	struct delivery *d = ctx;
	unsigned n = refresh_poll(d);

	(void)now_us;
	if (!d->draining) {
		n += due_poll(d);
		n += domains_poll(d);
		n += attempt_poll(d);
	}
	return n + relay_poll(d);
}

/* ---- credits ---- */

static void on_writer_credit(void *ctx)
{
	report_on_credit(ctx);
}

static void on_dns_credit(void *ctx)
{
	struct delivery *d = ctx;

	/* Each is first in turn: there may be one credit only, and always a route to be looked up.
	 */
	d->danes_first = !d->danes_first;
	if (d->danes_first)
		dane_on_credit(d);
	lookup_on_credit(d);
	dane_on_credit(d);
}

static void on_reader_credit(void *ctx)
{
	struct delivery *d = ctx;

	/* Each is first in turn, as above. */
	d->reports_first = !d->reports_first;
	if (d->reports_first)
		report_on_read_credit(d);
	content_on_credit(d);
	report_on_read_credit(d);
}

static void channels_attach(struct delivery *d)
{
	d->ch.dns->on_credit = on_dns_credit;
	d->ch.dns->ctx = d;
	for (unsigned s = 0; s < d->ch.shard_count; s++) {
		d->ch.writers[s]->on_credit = on_writer_credit;
		d->ch.writers[s]->ctx = d;
		for (unsigned i = 0; i < d->ch.reader_count; i++) {
			d->ch.readers[s][i]->on_credit = on_reader_credit;
			d->ch.readers[s][i]->ctx = d;
		}
	}
}

/* ---- life cycle ---- */

static void conf_take(struct delivery *d, const struct delivery_conf *conf)
{
	d->conf = *conf;
	if (d->conf.retry_count == 0) {
		d->conf.retry_count = 1;
		d->conf.retry_ms[0] = RETRY_MS;
	}
	d->conf.retry_count = MIN(d->conf.retry_count, (uint32_t)DELIVERY_RETRIES_MAX);
	d->conf.connections_max = MAX(conf->connections_max, 1u);
	d->conf.site_connections_max = MAX(conf->site_connections_max, 1u);
	d->conf.recipients_max = MAX(conf->recipients_max, 16u);
	d->route_conf = (struct route_conf){
		.hostname = d->conf.hostname,
		.hops = conf->hops,
		.hop_count = conf->hop_count,
		.rest = {.host = conf->smarthost, .level = conf->tls_level},
		.port = conf->port,
		.own = conf->own,
		.own_count = conf->own_count
        };
	siphash_key_random(&d->route_conf.keys[0]);
	siphash_key_random(&d->route_conf.keys[1]);
	if (conf->shares)
		memcpy(d->route_conf.keys, conf->shares->keys, sizeof(d->route_conf.keys));
}

static int parts_init(struct delivery *d)
{
	const struct delivery_conf *conf = &d->conf;
	uint32_t chunks = chunk_pool_size();
	/* Each message in memory takes five chunks and more; half the pool is others'. */
	uint32_t jobs = clamp(conf->jobs_max ? conf->jobs_max : chunks / 16, 4, JOBS_MAX);
	struct dest_limits limits = {
		.shares = conf->shares,
		.domains_max = clamp(conf->recipients_max, 64, DOMAINS_MAX),
		.sites_max = clamp(conf->recipients_max, 64, SITES_MAX),
		.connections_max = conf->connections_max,
		.site_connections_max = conf->site_connections_max,
		/* So much of what memory holds can a site that hangs have, and its connections. */
		.ready_max = clamp(4ull * conf->site_connections_max, 16, MAX(jobs / 32, 16u)),
	};

	if (dest_init(&d->dest, &limits) < 0 ||
		schedule_init(&d->schedule, conf->recipients_max) < 0 ||
		dns_cache_init(&d->cache, CACHE_ENTRIES) < 0 || lookups_init(d, LOOKUPS_MAX) < 0 ||
		danes_init(d, DANE_QUERIES_MAX) < 0 ||
		jobs_init(d, jobs, (uint64_t)chunks / 4 * sizeof(struct chunk)) < 0 ||
		attempts_init(d, 2 * jobs) < 0 ||
		reports_init(d, clamp(conf->connections_max + REPORTS_SPARE, 1, REPORTS_MAX)) < 0 ||
		relay_init(d, conf->connections_max) < 0)
		return -ENOMEM;
	return 0;
}

struct dest_shares *delivery_shares_create(void)
{
	struct dest_shares *shares = calloc(1, sizeof(*shares));

	if (!shares)
		return NULL;
	siphash_key_random(&shares->keys[0]);
	siphash_key_random(&shares->keys[1]);
	return shares;
}

struct delivery *delivery_create(struct core *core, const struct delivery_conf *conf,
	const struct delivery_channels *ch, unsigned worker, unsigned workers)
{
	struct delivery *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->core = core;
	d->ch = *ch;
	d->worker = worker;
	d->workers = workers;
	list_init(&d->readers_waiting);
	conf_take(d, conf);
	refresh_init(d);
	if (parts_init(d) < 0 ||
		core_add_poller(core, (struct poller){.poll = delivery_poll, .ctx = d}) < 0) {
		delivery_destroy(&d);
		return NULL;
	}
	channels_attach(d);
	return d;
}

void delivery_set_tls(struct delivery *d, struct tls_config *config)
{
	d->conf.tls_config = config;
	dest_forget_tickets(&d->dest); /* the issuers may be others now */
}

void delivery_drain(struct delivery *d)
{
	if (d->draining)
		return;
	d->draining = true;
	relay_drain(d);
}

uint32_t delivery_busy(const struct delivery *d)
{
	return d->reports.used;
}

/* Hints that nobody took: the store has the mail. */
static void hints_drop(struct delivery *d)
{
	void *hint;
	struct message *m;

	for (unsigned s = 0; s < d->ch.shard_count; s++) {
		while (d->ch.ready[s] && hints_take(d->ch.ready[s], &hint, 1) == 1) {
			ready_hint_take(hint, &m);
			if (m)
				message_unref(m);
		}
	}
}

void delivery_destroy(struct delivery **dp)
{
	struct delivery *d = *dp;

	if (!d)
		return;
	hints_drop(d);
	relay_fini(d);
	reports_fini(d);
	attempts_fini(d);
	jobs_fini(d);
	danes_fini(d);
	lookups_fini(d);
	dns_cache_fini(&d->cache);
	schedule_fini(&d->schedule);
	dest_fini(&d->dest);
	free(d);
	*dp = NULL;
}

void delivery_get_info(const struct delivery *d, struct delivery_info *info_r)
{
	*info_r = (struct delivery_info){
		.scheduled = d->schedule.used - d->schedule.gone.count,
		.active = d->reports.used,
		.connections = d->dest.connections,
		.domains = d->dest.domains_used,
		.loading = delivery_loading(d),
	};
}
