/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/inspect.h"
#include "delivery/delivery_priv.h"

/* ---- domain and site ---- */

static void hosts_text(const struct route *r, char out[DELIVERY_HOSTS_TEXT])
{
	struct buf b;

	buf_init(&b, out, DELIVERY_HOSTS_TEXT - 8);
	for (uint8_t i = 0; i < r->host_count && b.n + 24 < b.cap; i++)
		buf_printf(&b, "%s%.100s", i ? ", " : "", route_host_name(r, i));
	out[MIN(b.n, (size_t)DELIVERY_HOSTS_TEXT - 1)] = '\0';
}

static void site_info(
	const struct delivery *d, const struct site *s, struct delivery_domain_info *out)
{
	uint64_t now_us = d->core->now_us;

	hosts_text(&s->route, out->hosts);
	out->addresses = s->route.address_count;
	out->connections = s->connections;
	out->opening = s->opening;
	out->connections_max = d->dest.limits.site_connections_max;
	out->connections_now = dest_site_limit(&d->dest, s, now_us);
	out->shared_full = dest_share_full(&d->dest, s);
	out->enough_us = s->enough_until_us > now_us ? s->enough_until_us - now_us : 0;
	out->want = s->want;
	out->ready = s->ready_n;
	out->failures = s->failures;
	out->down_us = dest_site_down(s, now_us) ? s->down_until_us - now_us : 0;
	if (s->failures) {
		out->code = s->code;
		snprintf(out->reason, sizeof(out->reason), "%s", s->reason);
	}
}

static void domain_info(
	const struct delivery *d, const struct domain *domain, struct delivery_domain_info *out)
{
	static const uint8_t routes[] = {
		[DOMAIN_UNKNOWN] = DELIVERY_ROUTE_UNKNOWN,
		[DOMAIN_RESOLVING] = DELIVERY_ROUTE_RESOLVING,
		[DOMAIN_ROUTED] = DELIVERY_ROUTE_FOUND,
		[DOMAIN_REFUSED] = DELIVERY_ROUTE_NONE,
	};

	*out = (struct delivery_domain_info){.recipients = domain->refs,
		.backlog = domain->backlog.count,
		.next_ms = domain->next_ms > d->core->now_ms ? domain->next_ms : 0};
	snprintf(out->name, sizeof(out->name), "%.*s", domain->name_n, domain->name);
	/* What is known of one that waits for a look-up is too old. */
	out->route = domain->place == DOMAIN_LOOKING     ? DELIVERY_ROUTE_RESOLVING
		     : domain->state < ARRAY_LEN(routes) ? routes[domain->state]
							 : 0;
	if (domain->state == DOMAIN_REFUSED)
		snprintf(out->reason, sizeof(out->reason), "%s", domain->refusal.reason);
	if (domain->site)
		site_info(d, domain->site, out);
}

static void worker_info(const struct delivery *d, struct delivery_worker_info *out)
{
	*out = (struct delivery_worker_info){.loading = delivery_loading(d),
		.draining = d->draining,
		.results_wait = report_waits(d),
		.jobs_full = list_empty(&d->jobs.free) && list_empty(&d->jobs.resting),
		.connections = d->dest.connections,
		.connections_max = d->dest.limits.connections_max,
		.starving = !list_empty(&d->relay.starving),
		.lookups = channel_in_flight(d->ch.dns),
		.recipients = d->schedule.used - d->schedule.gone.count,
		.recipients_max = d->schedule.max};
}

unsigned delivery_domains(const struct delivery *d, uint32_t *from_r, unsigned look,
	struct delivery_domain_info *out, unsigned max)
{
	uint32_t i = *from_r, all = d->dest.domains_fresh, n = 0;
	uint32_t end = all - MIN(all, i) > look ? i + look : all;

	for (; i < end && n < max; i++) {
		if (d->dest.domains[i].refs)
			domain_info(d, &d->dest.domains[i], &out[n++]);
	}
	*from_r = i >= all ? DELIVERY_DOMAINS_END : i;
	return n;
}

/* ---- a recipient ---- */

static bool in_report(const struct report *r, uint32_t node)
{
	for (uint32_t i = 0; i < r->count; i++) {
		if (r->nodes[i] == node)
			return true;
	}
	return false;
}

/* A connection that has it; NULL: none. */
static const struct conn *conn_of(const struct delivery *d, uint32_t node)
{
	for (uint32_t i = 0; i < d->relay.max; i++) {
		const struct conn *c = &d->relay.conns[i];
		if (c->state != CONN_FREE && c->report && in_report(c->report, node))
			return c;
	}
	return NULL;
}

static const char *conn_step(const struct conn *c)
{
	if (c->state == CONN_LOOKING)
		return "its TLSA records are looked up";
	if (c->state == CONN_CONNECTING)
		return c->established ? "greeting" : "connecting";
	return c->message_over ? "the message is over" : "the message is being sent";
}

/* It is due, and its message is in memory or on the way there.  *site_r: where it is READY,
 * whatever is known of its domain by now. */
static enum delivery_place place_of_job(const struct delivery *d, uint32_t node,
	struct delivery_recipient_info *out, const struct site **site_r)
{
	const struct job *j = job_of(d, delivery_node(d, node));

	if (!j->message)
		return DELIVERY_READING;
	list_for_each(it, &j->attempts)
	{
		const struct attempt *a = list_entry(it, struct attempt, job_link);
		if (schedule_list_has(&d->schedule, &a->nodes, node)) {
			*site_r = a->site;
			return a->site ? DELIVERY_READY : DELIVERY_REFUSED;
		}
	}
	const struct conn *c = conn_of(d, node);
	if (!c)
		return DELIVERY_STORING;
	snprintf(out->host, sizeof(out->host), "%s", c->host);
	out->step = conn_step(c);
	return DELIVERY_SENDING;
}

void delivery_inspect(const struct delivery *d, uint64_t id, uint32_t rcpt, struct bytes name,
	struct delivery_recipient_info *out)
{
	uint32_t node = schedule_find(&d->schedule, id, rcpt);
	const struct domain *domain = dest_domain_find(&d->dest, name);
	const struct site *site = NULL;

	*out = (struct delivery_recipient_info){.place = DELIVERY_NOT_IN_MEMORY, .step = ""};
	worker_info(d, &out->worker);
	if (node != SCHEDULE_NONE) {
		const struct schedule_node *n = delivery_node(d, node);
		domain = delivery_domain(d, node);
		out->attempts = n->attempts;
		out->next_ms = n->next_ms;
		if (n->state == SCHEDULE_WAITING)
			out->place = DELIVERY_WAITING;
		else if (n->state == SCHEDULE_DUE)
			out->place = (uint8_t)(n->backlogged || !job_of(d, n)
						       ? DELIVERY_BACKLOG
						       : place_of_job(d, node, out, &site));
	}
	if (domain)
		domain_info(d, domain, &out->domain);
	if (site)
		site_info(d, site, &out->domain);
}
