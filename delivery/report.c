/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/report.h"
#include <errno.h>
#include "dataplane/base/codec.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "delivery/bounce.h"
#include "delivery/delivery_priv.h"

#define AGAIN_US  (100 * US_PER_MS) /* no chunks */
#define FAILED_US US_PER_SEC        /* the store did not take it */

static void on_timer(struct timer *t, uint64_t now_us);

int reports_init(struct delivery *d, uint32_t max)
{
	struct reports *t = &d->reports;

	*t = (struct reports){.max = max};
	list_init(&t->free);
	list_init(&t->unread);
	for (unsigned i = 0; i < STORE_SHARDS_MAX; i++)
		list_init(&t->unsent[i]);
	t->reports = calloc(max, sizeof(*t->reports));
	if (!t->reports)
		return -ENOMEM;
	for (uint32_t i = 0; i < max; i++) {
		t->reports[i].d = d;
		timer_init(&t->reports[i].timer, on_timer);
		list_push_tail(&t->free, &t->reports[i].link);
	}
	return 0;
}

void reports_fini(struct delivery *d)
{
	for (uint32_t i = 0; d->reports.reports && i < d->reports.max; i++) {
		struct report *r = &d->reports.reports[i];
		if (timer_armed(&r->timer))
			timer_cancel(&d->core->wheel, &r->timer);
		if (r->bounce)
			message_unref(r->bounce);
	}
	free(d->reports.reports);
}

bool report_waits(const struct delivery *d)
{
	bool waits = false;

	for (unsigned i = 0; i < d->ch.shard_count; i++)
		waits |= !list_empty(&d->reports.unsent[i]);
	return waits;
}

bool report_available(const struct delivery *d)
{
	return !list_empty(&d->reports.free) && !report_waits(d);
}

struct report *report_begin(struct delivery *d, struct attempt *a)
{
	struct report *r = list_entry(list_pop_head(&d->reports.free), struct report, link);
	uint32_t node;

	d->reports.used++;
	r->attempt = a;
	r->job = a->job;
	r->bounce = NULL;
	r->want_bounce = r->final = r->notifies = false;
	r->count = 0;
	strcpy(r->host, "-");
	strcpy(r->tls, "-");
	while ((node = schedule_list_pop(&d->schedule, &a->nodes)) != SCHEDULE_NONE) {
		BUG_ON(r->count == ATTEMPT_RCPTS_MAX);
		r->results[r->count].rcpt = delivery_node(d, node)->rcpt;
		r->results[r->count].outcome = 0;
		r->nodes[r->count++] = node;
	}
	return r;
}

static void report_free(struct report *r)
{
	r->d->reports.used--;
	list_push_tail(&r->d->reports.free, &r->link);
}

void report_cancel(struct report *r)
{
	for (uint32_t i = 0; i < r->count; i++)
		schedule_list_push(&r->d->schedule, &r->attempt->nodes, r->nodes[i]);
	attempt_return(r->d, r->attempt);
	report_free(r);
}

struct bytes report_address(const struct report *r, uint32_t i)
{
	const struct schedule_node *n = delivery_node(r->d, r->nodes[i]);
	const struct message *m = r->job->message;

	return message_rcpt_address(m, message_rcpt(m, n->pos));
}

struct smtp_client_rcpt report_rcpt(const struct report *r, uint32_t i)
{
	const struct message *m = r->job->message;
	const struct rcpt *rcpt = message_rcpt(m, delivery_node(r->d, r->nodes[i])->pos);

	return (struct smtp_client_rcpt){
		.address = message_rcpt_address(m, rcpt),
		.dsn = {.notify = rcpt->notify, .orcpt = message_rcpt_orcpt(m, rcpt)}
        };
}

static void put_reason(struct rcpt_result *res, const char *reason)
{
	size_t n = MIN(strlen(reason), (size_t)STORE_REASON_MAX);

	memcpy(res->reason, reason, n);
	res->reason_n = (uint8_t)n;
}

/* What fits of a name, and its NUL. */
static void put_name(char *out, size_t cap, const char *name)
{
	size_t n = strnlen(name, cap - 1);

	memcpy(out, name, n);
	out[n] = '\0';
}

static void put_status(uint8_t status[3], const struct verdict *v)
{
	memcpy(status, v->status, 3);
	if (status[0] == 0)
		status[0] = v->outcome == ATTEMPT_FAILED ? 5 : 4;
	if (v->outcome == ATTEMPT_DELIVERED)
		status[0] = 2;
}

void report_verdict(struct report *r, uint32_t i, const struct verdict *v)
{
	struct rcpt_result *res = &r->results[i];

	BUG_ON(i >= r->count);
	res->outcome = (uint8_t)v->outcome;
	res->code = v->code;
	res->next_ms = 0;
	res->warned = false;
	put_reason(res, v->reason);
	put_status(r->status[i], v);
	r->final = v->final;
	r->notifies = v->notifies;
	if (v->host)
		put_name(r->host, sizeof(r->host), v->host);
	if (v->tls)
		put_name(r->tls, sizeof(r->tls), v->tls);
}

/* ---- what becomes of a recipient ---- */

/* Up to an eighth earlier: what failed together is not tried together for ever. */
static uint64_t jittered(const struct report *r, uint32_t i, uint64_t ms)
{
	uint64_t seed[] = {r->job->id, r->results[i].rcpt, r->d->core->now_us};
	uint64_t random = siphash13(&r->d->jobs.key, seed, sizeof(seed)) >> 32;

	return ms - ((ms / 8 * random) >> 32);
}

static void defer_or_expire(struct report *r, uint32_t i)
{
	const struct delivery_conf *conf = &r->d->conf;
	struct rcpt_result *res = &r->results[i];
	uint32_t attempts = delivery_node(r->d, r->nodes[i])->attempts;
	uint64_t now_ms = r->d->core->now_ms, expire_ms = r->job->expire_ms;

	if (expire_ms && now_ms >= expire_ms) {
		char last[STORE_REASON_MAX + 1], text[STORE_REASON_MAX + 64];
		snprintf(last, sizeof(last), "%.*s", res->reason_n, res->reason);
		snprintf(text, sizeof(text), "could not be delivered in time: %s", last);
		put_reason(res, text);
		res->outcome = ATTEMPT_FAILED;
		if (res->code == 0)
			memcpy(r->status[i], (const uint8_t[3]){4, 4, 7}, 3); /* RFC 3463 X.4.7 */
		return;
	}
	res->next_ms =
		now_ms + jittered(r, i, conf->retry_ms[MIN(attempts, conf->retry_count - 1)]);
	/* The last attempt is made when time is over, not later. */
	if (expire_ms)
		res->next_ms = MIN(res->next_ms, expire_ms);
}

static void note_age(const struct report *r, unsigned outcome)
{
	uint64_t now_ms = r->d->core->now_ms, then_ms = r->job->message->received_ms;
	uint64_t age_us = (now_ms - MIN(then_ms, now_ms)) * US_PER_MS;

	if (outcome == ATTEMPT_DELIVERED)
		histogram_add(HIST_DELIVERY_TIME, age_us);
	else if (outcome == ATTEMPT_DEFERRED)
		histogram_add(HIST_DELIVERY_DEFERRED_AGE, age_us);
}

/* Printable already; only the quotes around it need care. */
static void put_reply(struct buf *out, const struct rcpt_result *res)
{
	for (uint8_t k = 0; k < res->reason_n; k++) {
		char c = res->reason[k];
		buf_byte(out, (uint8_t)(c == '"' || c == '\\' ? '\'' : c));
	}
}

static void log_outcome(const struct report *r, uint32_t i)
{
	static const char *const names[] = {
		[ATTEMPT_DELIVERED] = "delivered",
		[ATTEMPT_DEFERRED] = "deferred",
		[ATTEMPT_FAILED] = "failed",
	};
	const struct rcpt_result *res = &r->results[i];
	char to[2 * ADDRESS_MAX], memory[sizeof(to) + STORE_REASON_MAX + 256];
	struct buf b;

	if (log_get_level() < LOG_INFO)
		return;
	buf_init(&b, memory, sizeof(memory));
	buf_str(&b, "id=");
	hex_u64(&b, r->job->id);
	buf_str(&b, " to=");
	buf_str(&b, log_escape(report_address(r, i), to, sizeof(to)));
	buf_str(&b, " host=");
	buf_str(&b, r->host);
	buf_str(&b, " tls=");
	buf_str(&b, r->tls);
	buf_str(&b, " status=");
	buf_str(&b, names[res->outcome]);
	buf_str(&b, " reply=\"");
	put_reply(&b, res);
	buf_byte(&b, '"');
	log_text(LOG_INFO, "delivery", buf_view(&b));
}

static void count_and_log(const struct report *r, uint32_t i)
{
	static const enum counter counters[] = {
		[ATTEMPT_DELIVERED] = CTR_DELIVERY_DELIVERED,
		[ATTEMPT_DEFERRED] = CTR_DELIVERY_DEFERRED,
		[ATTEMPT_FAILED] = CTR_DELIVERY_FAILED,
	};
	unsigned outcome = r->results[i].outcome;

	counter_inc(CTR_DELIVERY_ATTEMPTS);
	counter_inc(counters[outcome]);
	note_age(r, outcome);
	log_outcome(r, i);
}

/* ---- what the sender is told (RFC 3461 5.2) ---- */

/* The mail is in its mailbox already, and the row was kept for the report of that alone. */
static bool is_delivered_here(const struct report *r, uint32_t i)
{
	return report_rcpt(r, i).dsn.notify & NOTIFY_DELIVERED;
}

static bool is_expanded(const struct report *r, uint32_t i)
{
	return report_rcpt(r, i).dsn.notify & NOTIFY_EXPANDED;
}

static void deliver_here(struct report *r, uint32_t i)
{
	static const struct verdict here = {
		.outcome = ATTEMPT_DELIVERED,
		.status = {2, 0, 0},
		.reason = "delivered to the mailbox",
		.final = true
        };

	static const struct verdict expanded = {
		.outcome = ATTEMPT_DELIVERED,
		.status = {2, 0, 0},
		.reason = "handed to the addresses behind the alias",
		.final = true
        };

	report_verdict(r, i, is_expanded(r, i) ? &expanded : &here);
}

static bool delay_is_due(const struct report *r, uint8_t notify)
{
	uint64_t after_ms = r->d->conf.delay_warning_ms;
	uint8_t asked = notify & NOTIFY_FROM_PEER;

	if (after_ms == 0 || notify & NOTIFY_WARNED || (asked && !(asked & NOTIFY_DELAY)))
		return false;
	return r->d->core->now_ms >= r->job->message->received_ms + after_ms;
}

static enum bounce_action action_for(const struct report *r, uint32_t i)
{
	uint8_t notify = report_rcpt(r, i).dsn.notify, asked = notify & NOTIFY_FROM_PEER;

	switch ((enum attempt_outcome)r->results[i].outcome) {
	case ATTEMPT_FAILED:
		return asked == 0 || asked & NOTIFY_FAILURE ? BOUNCE_FAILED : BOUNCE_NONE;
	case ATTEMPT_DEFERRED:
		return delay_is_due(r, notify) ? BOUNCE_DELAYED : BOUNCE_NONE;
	case ATTEMPT_DELIVERED:
		break;
	}
	if (!(asked & NOTIFY_SUCCESS))
		return BOUNCE_NONE;
	if (is_expanded(r, i))
		return BOUNCE_EXPANDED;
	if (r->final || is_delivered_here(r, i))
		return BOUNCE_DELIVERED;
	return r->notifies ? BOUNCE_NONE : BOUNCE_RELAYED;
}

/* Nothing about a report: RFC 5321 6.1. */
static void notify(struct report *r, uint32_t i)
{
	bool sender = r->job->message->sender_n > 0;

	r->actions[i] = (uint8_t)(sender ? action_for(r, i) : BOUNCE_NONE);
	r->want_bounce |= r->actions[i] != BOUNCE_NONE;
	r->results[i].warned = r->actions[i] == BOUNCE_DELAYED;
}

/* ---- the bounce ---- */

/* Where the report to the sender goes; false: nowhere. */
static bool bounce_route(const struct report *r, enum rcpt_route *route_r, uint32_t *account_r)
{
	const struct directory *dir = r->d->conf.directory;
	struct directory_entry entry = {0};

	*route_r = RCPT_REMOTE;
	*account_r = 0;
	if (!dir)
		return true;
	switch (dir->lookup(dir, message_sender(r->job->message), &entry)) {
	case DIRECTORY_REMOTE:
		return true;
	case DIRECTORY_OK:
		*route_r = RCPT_LOCAL;
		*account_r = entry.account;
		return true;
	case DIRECTORY_UNKNOWN_USER:
	case DIRECTORY_DISABLED:
	case DIRECTORY_OVER_QUOTA:
		break;
	}
	return false;
}

static void bounce_rcpts(const struct report *r, struct bounce *b, struct bounce_rcpt *rcpts,
	char (*reasons)[STORE_REASON_MAX + 1])
{
	b->rcpts = rcpts;
	for (uint32_t i = 0; i < r->count; i++) {
		const struct rcpt_result *res = &r->results[i];
		if (r->actions[i] == BOUNCE_NONE)
			continue;
		snprintf(reasons[b->rcpt_count], STORE_REASON_MAX + 1, "%.*s", res->reason_n,
			res->reason);
		rcpts[b->rcpt_count] = (struct bounce_rcpt){
			.address = report_address(r, i),
			.orcpt = report_rcpt(r, i).dsn.orcpt,
			.reason = reasons[b->rcpt_count],
			.host = strcmp(r->host, "-") == 0 ? NULL : r->host,
			.code = res->code,
			.action = r->actions[i],
		};
		memcpy(rcpts[b->rcpt_count].status, r->status[i], 3);
		b->rcpt_count++;
	}
}

/* False: no memory now.  b: the original is set. */
static bool bounce_make(struct report *r, struct bounce *b)
{
	struct bounce_rcpt rcpts[ATTEMPT_RCPTS_MAX];
	char reasons[ATTEMPT_RCPTS_MAX][STORE_REASON_MAX + 1];
	struct core *core = r->d->core;
	const struct message *m = r->job->message;

	b->now_ms = core->now_ms;
	b->hostname = r->d->conf.hostname;
	b->original_id = m->id;
	b->original_ms = m->received_ms;
	b->expire_ms = r->job->expire_ms;
	b->to = message_sender(m);
	b->envid = message_envid(m);
	b->smtputf8 = m->smtputf8;
	b->requiretls = m->requiretls;
	b->priority = m->priority;
	b->eight_bit = m->body_type != BODY_7BIT;
	if (!bounce_route(r, &b->route, &b->account)) {
		log_warn("delivery", "id=%016lx bounce=dropped reason=\"no such local sender\"",
			m->id);
		r->want_bounce = false;
		return true;
	}
	/* The report lies beside what it is about: one transaction has both. */
	b->id = ids_next_in(
		&core->ids, core->now_ms, delivery_shard(r->d, m->id), r->d->ch.shard_count);
	b->salt = siphash13(&r->d->jobs.key, &b->id, sizeof(b->id));
	bounce_rcpts(r, b, rcpts, reasons);
	r->bounce = bounce_build(b);
	if (!r->bounce)
		return false;
	counter_inc(CTR_DELIVERY_BOUNCES);
	log_info("delivery", "id=%016lx bounce=%016lx recipients=%u", m->id, b->id, b->rcpt_count);
	return true;
}

/* RFC 3461 4.3: RET is about failures only.  What is binary, secret or large goes back as a header.
 */
static bool wants_full(const struct report *r)
{
	const struct message *m = r->job->message;
	bool failed = false;

	for (uint32_t i = 0; i < r->count; i++)
		failed |= r->actions[i] == BOUNCE_FAILED;
	return failed && m->ret == RET_FULL && !m->requiretls && m->body_type != BODY_BINARYMIME &&
	       content_size(r->job) <= BOUNCE_FULL_MAX;
}

static void report_proceed(struct report *r);

static void again(struct report *r, uint64_t us)
{
	timer_arm(&r->d->core->wheel, &r->timer, r->d->core->now_us + us);
}

static void on_timer(struct timer *t, uint64_t now_us)
{
	(void)now_us;
	report_proceed(container_of(t, struct report, timer));
}

static void on_original(struct op *op)
{
	struct report *r = container_of(op, struct report, read.op);
	struct delivery *d = r->d;
	struct bounce b = {0};
	size_t n = 0;

	if (op->status == 0)
		n = chain_read(&r->read.out, 0, d->header, sizeof(d->header));
	b.original = bytes_make(d->header, n);
	if (op->status == 0 && wants_full(r) && r->read.out.bytes == content_size(r->job))
		b.full[0] = &r->read.out;
	/* An original that cannot be read is no reason to say nothing. */
	bool made = op->status != -ENOBUFS && bounce_make(r, &b);
	chain_free(&r->read.out);
	if (made)
		report_proceed(r);
	else
		again(r, AGAIN_US);
}

static size_t header_from_memory(const struct message *m, uint8_t *out, size_t cap)
{
	size_t n = chain_read(&m->prefix, m->prefix_local, out, cap);

	return n + chain_read(&m->body, 0, out + n, MIN(cap - n, (size_t)m->header_bytes));
}

static bool bounce_from_memory(struct report *r)
{
	struct delivery *d = r->d;
	const struct message *m = r->job->message;
	size_t n = header_from_memory(m, d->header, sizeof(d->header));
	struct bounce b = {.original = bytes_make(d->header, n)};

	if (wants_full(r)) {
		b.full[0] = &m->prefix;
		b.full[1] = &m->body;
		b.skip = m->prefix_local;
	}
	return bounce_make(r, &b);
}

/* False: not yet; goes on by itself. */
static bool bounce_prepare(struct report *r)
{
	struct delivery *d = r->d;

	if (r->job->body) {
		if (bounce_from_memory(r))
			return true;
		again(r, AGAIN_US);
		return false;
	}
	r->read = (struct body_read_op){
		.op = {.done = on_original, .kind = STORE_READ_BODY},
		.blob = r->job->id,
		.max = wants_full(r) ? BOUNCE_FULL_MAX : BOUNCE_HEADER_MAX + MESSAGE_PREFIX_MAX,
		.relay = true,
	};
	/* Later it would find none again: others are quicker. */
	if (channel_submit(delivery_reader(d, r->job->id), &r->read.op) < 0)
		list_push_tail(&d->reports.unread, &r->link);
	return false;
}

/* ---- to the store ---- */

static void report_settle(struct report *r, bool gone)
{
	struct delivery *d = r->d;

	for (uint32_t i = 0; i < r->count; i++) {
		const struct rcpt_result *res = &r->results[i];
		struct schedule_node *n = delivery_node(d, r->nodes[i]);
		job_untie(d, r->nodes[i]);
		if (gone || res->outcome != ATTEMPT_DEFERRED) {
			delivery_forget(d, r->nodes[i]);
			continue;
		}
		if (n->attempts < UINT16_MAX)
			n->attempts++;
		delivery_wait(d, r->nodes[i], res->next_ms);
	}
}

/* The results of a shard that has failed wait for it, but not where other shards' should be. */
static bool shard_is_given_up(const struct report *r)
{
	const struct delivery *d = r->d;

	return d->ch.shard_count > 1 && d->reports.used > d->reports.max / 2 &&
	       delivery_shard_failed(d, r->op.id);
}

/* As after a crash: the store will say again what is to be done, and some of it is done twice. */
static void report_put_off(struct report *r)
{
	struct delivery *d = r->d;

	if (r->bounce)
		message_unref(r->bounce);
	r->bounce = NULL;
	for (uint32_t i = 0; i < r->count; i++) {
		job_untie(d, r->nodes[i]);
		delivery_put_off(d, r->nodes[i], SHARD_FAILED_MS);
	}
	report_free(r);
}

static void on_stored(struct op *op)
{
	struct report *r = container_of(op, struct report, op.op);

	if (op->status == 0 || op->status == -ENOENT) {
		if (r->bounce)
			message_unref(r->bounce);
		r->bounce = NULL;
		report_settle(r, op->status == -ENOENT);
		report_free(r);
		return;
	}
	log_warn("delivery", "id=%016lx result=not-stored error=%d", r->op.id, op->status);
	if (shard_is_given_up(r)) {
		report_put_off(r);
		return;
	}
	if (op->status == -EINVAL && r->bounce) {
		/* The store refuses the report, not the results. */
		message_unref(r->bounce);
		r->bounce = NULL;
		r->want_bounce = false;
	}
	again(r, FAILED_US);
}

static bool report_submit(struct report *r)
{
	r->op = (struct results_op){
		.op = {.done = on_stored, .kind = STORE_RESULT},
		.id = r->job->id,
		.count = r->count,
		.results = r->results,
		.bounce = r->bounce,
	};
	if (r->bounce)
		message_ref(r->bounce); /* the writer's */
	if (channel_submit(delivery_writer(r->d, r->job->id), &r->op.op) == 0)
		return true;
	if (r->bounce)
		message_unref(r->bounce);
	return false;
}

static void report_proceed(struct report *r)
{
	struct list *unsent = &r->d->reports.unsent[delivery_shard(r->d, r->job->id)];

	if (r->want_bounce && !r->bounce && !bounce_prepare(r))
		return;
	if (!list_empty(unsent) || !report_submit(r))
		list_push_tail(unsent, &r->link);
}

static void unsent_submit(struct list *unsent)
{
	while (!list_empty(unsent)) {
		struct list *l = unsent->next;
		if (!report_submit(list_entry(l, struct report, link)))
			return;
		list_remove(l);
	}
}

void report_on_credit(struct delivery *d)
{
	for (unsigned i = 0; i < d->ch.shard_count; i++)
		unsent_submit(&d->reports.unsent[i]);
}

void report_on_read_credit(struct delivery *d)
{
	struct list waiting;

	list_init(&waiting);
	while (!list_empty(&d->reports.unread))
		list_push_tail(&waiting, list_pop_head(&d->reports.unread));
	while (!list_empty(&waiting))
		report_proceed(list_entry(list_pop_head(&waiting), struct report, link));
}

void report_finish(struct report *r, const struct verdict *v)
{
	for (uint32_t i = 0; i < r->count; i++) {
		if (is_delivered_here(r, i))
			deliver_here(r, i);
		else if (r->results[i].outcome == 0)
			report_verdict(r, i, v);
		if (r->results[i].outcome == ATTEMPT_DEFERRED)
			defer_or_expire(r, i);
		notify(r, i);
		count_and_log(r, i);
	}
	attempt_free(r->d, r->attempt);
	r->attempt = NULL;
	report_proceed(r);
}
