/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/attempt.h"
#include "dataplane/base/crc32c.h"
#include <errno.h>
#include "delivery/delivery_priv.h"

#define REFUSED_PER_POLL 64

int attempts_init(struct delivery *d, uint32_t max)
{
	struct attempts *t = &d->attempts;

	*t = (struct attempts){.max = max};
	list_init(&t->free);
	list_init(&t->refused);
	t->attempts = calloc(max, sizeof(*t->attempts));
	if (!t->attempts)
		return -ENOMEM;
	for (uint32_t i = 0; i < max; i++) {
		list_init(&t->attempts[i].job_link);
		list_push_tail(&t->free, &t->attempts[i].link);
	}
	return 0;
}

void attempts_fini(struct delivery *d)
{
	free(d->attempts.attempts);
}

/* Refused attempts keep their site held: its reason is theirs. */
static struct attempt *attempt_new(
	struct delivery *d, struct job *j, struct site *s, struct domain *domain)
{
	struct list *l = list_pop_head(&d->attempts.free);

	if (!l)
		return NULL;
	struct attempt *a = list_entry(l, struct attempt, link);
	*a = (struct attempt){.job = j, .site = s, .domain = domain, .nodes = SCHEDULE_LIST_EMPTY};
	list_init(&a->link);
	list_init(&a->job_link);
	list_push_tail(&j->attempts, &a->job_link);
	if (s)
		dest_site_hold(&d->dest, s);
	return a;
}

/* One that the recipient can join: RFC 5321 4.1.1.3, one copy for all recipients at a host. */
static struct attempt *attempt_find(
	const struct job *j, const struct site *s, const struct domain *d)
{
	list_for_each(it, &j->attempts)
	{
		struct attempt *a = list_entry(it, struct attempt, job_link);
		if (a->site == s && (s || a->domain == d) && !a->returned &&
			a->nodes.count < ATTEMPT_RCPTS_MAX)
			return a;
	}
	return NULL;
}

static void attempt_file(struct delivery *d, struct attempt *a)
{
	if (!a->site || dest_site_down(a->site, d->core->now_us)) {
		list_push_tail(&d->attempts.refused, &a->link);
		return;
	}
	list_push_tail(&a->site->ready, &a->link);
	a->ready = true;
	a->site->ready_n++;
	relay_kick(d, a->site);
}

static bool delivered_here(const struct delivery *d, const struct job *j, uint32_t node)
{
	return message_rcpt(j->message, delivery_node(d, node)->pos)->notify & NOTIFY_DELIVERED;
}

/* An operator gives this recipient up, or its mailbox did not take it: there is nobody to be asked,
 * only the report is made. */
static bool dispatch_returned(struct delivery *d, struct job *j, uint32_t node)
{
	const struct rcpt *r = message_rcpt(j->message, delivery_node(d, node)->pos);

	if (!(r->notify & (NOTIFY_RETURN | NOTIFY_REFUSED)))
		return false;
	struct attempt *a = attempt_new(d, j, NULL, delivery_domain(d, node));
	if (!a) {
		delivery_enqueue(d, node);
		return true;
	}
	a->returned = true;
	a->refused = r->notify & NOTIFY_REFUSED;
	list_push_tail(&d->attempts.refused, &a->link);
	schedule_list_push(&d->schedule, &a->nodes, node);
	return true;
}

void attempt_dispatch(struct delivery *d, uint32_t node)
{
	struct domain *domain = delivery_domain(d, node);
	struct job *j = job_of(d, delivery_node(d, node));

	if (dispatch_returned(d, j, node))
		return;
	if (domain->state != DOMAIN_ROUTED && domain->state != DOMAIN_REFUSED) {
		delivery_enqueue(d, node);
		return;
	}
	/* Nobody is asked about what is in its mailbox already. */
	struct site *site = delivered_here(d, j, node) ? NULL : domain->site;
	struct attempt *a = attempt_find(j, site, domain);
	if (!a) {
		a = attempt_new(d, j, site, domain);
		if (!a) {
			delivery_enqueue(d, node);
			return;
		}
		attempt_file(d, a);
	}
	schedule_list_push(&d->schedule, &a->nodes, node);
}

void attempt_refuse_site(struct delivery *d, struct site *s)
{
	struct list *l;

	while ((l = list_pop_head(&s->ready))) {
		s->ready_n--;
		list_entry(l, struct attempt, link)->ready = false;
		list_push_tail(&d->attempts.refused, l);
	}
	relay_unblock(d, s);
}

struct attempt *attempt_take(struct delivery *d, struct site *s)
{
	struct list *l = list_pop_head(&s->ready);

	if (!l)
		return NULL;
	struct attempt *a = list_entry(l, struct attempt, link);
	a->ready = false;
	s->ready_n--;
	list_remove(&a->job_link);
	relay_unblock(d, s);
	return a;
}

void attempt_trim(struct delivery *d, struct attempt *a, uint32_t max)
{
	struct schedule_list all = a->nodes;
	uint32_t node;

	if (max == 0 || all.count <= max)
		return;
	a->nodes = SCHEDULE_LIST_EMPTY;
	while ((node = schedule_list_pop(&d->schedule, &all)) != SCHEDULE_NONE) {
		if (a->nodes.count < max)
			schedule_list_push(&d->schedule, &a->nodes, node);
		else
			delivery_enqueue(d, node);
	}
}

uint32_t attempt_domain_hash(const struct domain *domain)
{
	return crc32c(0, domain->name, domain->name_n);
}

static uint32_t domain_hash(const struct delivery *d, uint32_t node)
{
	return attempt_domain_hash(delivery_domain(d, node));
}

static bool may_name(const struct attempt_domains *of, uint32_t hash)
{
	for (unsigned i = 0; i < *of->n; i++) {
		if (of->set[i] == hash)
			return true;
	}
	return *of->n < of->max;
}

static void name_domain(const struct attempt_domains *of, uint32_t hash)
{
	for (unsigned i = 0; i < *of->n; i++) {
		if (of->set[i] == hash)
			return;
	}
	of->set[(*of->n)++] = hash;
}

bool attempt_may_begin(
	const struct delivery *d, const struct attempt *a, const struct attempt_domains *of)
{
	return of->max == 0 || a->nodes.count == 0 || may_name(of, domain_hash(d, a->nodes.head));
}

void attempt_trim_domains(struct delivery *d, struct attempt *a, const struct attempt_domains *of)
{
	struct schedule_list all = a->nodes;
	uint32_t node;

	if (of->max == 0)
		return;
	a->nodes = SCHEDULE_LIST_EMPTY;
	while ((node = schedule_list_pop(&d->schedule, &all)) != SCHEDULE_NONE) {
		uint32_t hash = domain_hash(d, node);
		if (!may_name(of, hash)) {
			delivery_enqueue(d, node);
			continue;
		}
		name_domain(of, hash);
		schedule_list_push(&d->schedule, &a->nodes, node);
	}
}

void attempt_return(struct delivery *d, struct attempt *a)
{
	a->retried = true;
	list_push_tail(&a->job->attempts, &a->job_link);
	list_push_head(&a->site->ready, &a->link);
	a->ready = true;
	a->site->ready_n++;
	relay_kick(d, a->site);
}

/* The attempt that has the node and has not begun; NULL: none. */
static struct attempt *attempt_of(const struct delivery *d, const struct job *j, uint32_t node)
{
	list_for_each(it, &j->attempts)
	{
		struct attempt *a = list_entry(it, struct attempt, job_link);
		if (schedule_list_has(&d->schedule, &a->nodes, node))
			return a;
	}
	return NULL;
}

/* Nobody is left in it. */
static void attempt_drop(struct delivery *d, struct attempt *a)
{
	struct site *s = a->ready ? a->site : NULL;

	if (s) {
		s->ready_n--;
		list_remove(&a->link);
		if (s->ready_n == 0)
			relay_unkick(s);
		relay_unblock(d, s);
	}
	attempt_free(d, a);
}

bool attempt_withdraw(struct delivery *d, uint32_t node)
{
	struct schedule_node *n = delivery_node(d, node);

	if (n->state != SCHEDULE_DUE)
		return false;
	if (n->backlogged) {
		backlog_remove(&d->schedule, &delivery_domain(d, node)->backlog, node);
		job_wake(d, node);
		job_untie(d, node);
		return true;
	}
	const struct job *j = job_of(d, n);
	struct attempt *a = j ? attempt_of(d, j, node) : NULL;
	if (!a)
		return false;
	schedule_list_remove(&d->schedule, &a->nodes, node);
	if (a->nodes.count == 0)
		attempt_drop(d, a);
	job_untie(d, node);
	return true;
}

void attempt_free(struct delivery *d, struct attempt *a)
{
	list_remove(&a->link);
	list_remove(&a->job_link);
	if (a->site)
		dest_site_release(&d->dest, a->site);
	list_push_tail(&d->attempts.free, &a->link);
}

static void refusal_of_site(const struct site *s, struct verdict *v)
{
	*v = (struct verdict){.outcome = ATTEMPT_DEFERRED, .code = s->code, .reason = s->reason};
	memcpy(v->status, s->status, sizeof(v->status));
}

static void refusal_of_domain(const struct domain *domain, struct verdict *v)
{
	*v = (struct verdict){
		.outcome = domain->refused_for_good ? ATTEMPT_FAILED : ATTEMPT_DEFERRED,
		.reason = domain->refusal.reason};
	memcpy(v->status, domain->refusal.enhanced, sizeof(v->status));
	if (!v->reason[0])
		v->reason = "the next hop is not known yet";
}

unsigned attempt_poll(struct delivery *d)
{
	unsigned n = 0;

	while (n < REFUSED_PER_POLL && !d->draining && report_available(d)) {
		struct list *l = list_pop_head(&d->attempts.refused);
		if (!l)
			break;
		struct attempt *a = list_entry(l, struct attempt, link);
		struct verdict v;
		list_remove(&a->job_link);
		if (a->returned && a->refused)
			v = (struct verdict){
				.outcome = ATTEMPT_FAILED,
				.status = {5, 2, 0}, /* RFC 3463: mailbox status */
				.reason = "the mailbox is full or not there any more"
                        };
		else if (a->returned)
			v = (struct verdict){
				.outcome = ATTEMPT_FAILED,
				.status = {5, 7, 1}, /* RFC 3463: not authorized */
				.reason = "returned by the operator of this relay"
                        };
		else if (a->site)
			refusal_of_site(a->site, &v);
		else
			refusal_of_domain(a->domain, &v);
		report_finish(report_begin(d, a), &v);
		n++;
	}
	return n;
}
