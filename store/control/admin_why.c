/* SPDX-License-Identifier: BSD-3-Clause
 * `queue why`: one message, each recipient asked from the worker that has it; `why`: what keeps
 * mail from being accepted or moving, by count; `queue domains`: where mail waits to go. */
#include "store/control/admin_priv.h"
#include <errno.h>
#include "dataplane/base/codec.h"
#include "store/control/why.h"

#define RCPTS_MAX    100   /* recipients of one answer; chosen */
#define MESSAGES_MAX 10000 /* messages that `why` looks at; chosen: below a second */
#define GROUPS_MAX   64    /* different reasons; more are counted together */
#define BODY_WAITS   70    /* per cent of the chunk pool: smtp/server_priv.h, PRESSURE_DATA */

/* ---- workers ---- */

/* The core of delivery worker number w; core_count: there is none. */
static unsigned worker_core(const struct daemon *d, unsigned w)
{
	unsigned i = 0;

	for (; i < d->core_count; i++) {
		if (d->cores[i].roles & CORE_DELIVERY && w-- == 0)
			break;
	}
	return i;
}

static unsigned worker_count(const struct daemon *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->core_count; i++)
		n += d->cores[i].roles & CORE_DELIVERY ? 1 : 0;
	return n;
}

static const char *shard_health(const struct daemon *d, unsigned shard)
{
	unsigned health = atomic_load_explicit(
		shards_health(d->store, MIN(shard, shards_count(d->store) - 1)),
		memory_order_relaxed);

	return health == STORE_FAILED ? "failed" : health == STORE_FULL ? "full" : "ok";
}

static bool store_has_failed(const struct daemon *d, uint64_t id)
{
	return strcmp(shard_health(d, shard_of_id(d, id)), "failed") == 0;
}

/* ---- one message ---- */

static void next_rcpt(struct admin_client *c);

/* Row i of the message; rows are not packed over chunk borders. */
static bool row_at(const struct why_work *w, uint32_t i, struct queue_rcpt_row *row)
{
	for (const struct chunk *k = w->rows.head; k; k = k->next) {
		uint32_t n = (uint32_t)(k->n / sizeof(*row));
		if (i < n) {
			memcpy(row, k->data + i * sizeof(*row), sizeof(*row));
			return true;
		}
		i -= n;
	}
	return false;
}

static json_t *domain_json(const struct delivery_domain_info *d)
{
	static const char *const routes[] = {
		[DELIVERY_ROUTE_UNKNOWN] = "unknown",
		[DELIVERY_ROUTE_RESOLVING] = "resolving",
		[DELIVERY_ROUTE_FOUND] = "found",
		[DELIVERY_ROUTE_NONE] = "none",
	};
	json_t *o = json_object();

	json_object_set_new(o, "domain", json_string(d->name));
	json_object_set_new(
		o, "route", json_string(d->route < ARRAY_LEN(routes) ? routes[d->route] : "?"));
	json_object_set_new(o, "hosts", json_string(d->hosts));
	admin_put(o, "recipients", d->recipients);
	admin_put(o, "backlog", d->backlog);
	admin_put(o, "next_ms", d->next_ms);
	admin_put(o, "connections", d->connections);
	admin_put(o, "connections_max", d->connections_max);
	admin_put(o, "opening", d->opening);
	admin_put(o, "ready", d->ready);
	admin_put(o, "failures", d->failures);
	admin_put(o, "down_ms", d->down_us / US_PER_MS);
	json_object_set_new(o, "reason", json_string(d->reason));
	return o;
}

/* The directory knows where its mailbox is. */
static void moving_facts(const struct daemon *d, struct bytes address, struct why_facts *f)
{
	const struct directory *all = shards_directory(d->store);
	struct directory_entry e;

	all->lookup(all, address, &e);
	f->moving = true;
	f->to_shard = e.shard;
	f->to_health = shard_health(d, e.shard);
}

static void tell_rcpt(struct admin_client *c, const struct delivery_recipient_info *info)
{
	struct why_work *w = &c->work.why;
	char reason[STORE_REASON_MAX + 1];
	struct queue_rcpt_row row;
	struct why why;

	if (!row_at(w, w->at, &row))
		return;
	snprintf(reason, sizeof(reason), "%.*s", row.reason_n, row.reason);
	struct why_facts f = {.id = w->message->id,
		.now_ms = clock_wall_ms(),
		.store_failed = store_has_failed(c->admin->daemon, w->message->id),
		.held = row.state == QUEUE_HELD,
		.attempts = row.attempts,
		.next_ms = row.next_ms,
		.reason = reason,
		.asked = info != NULL};
	if (info)
		f.info = *info;
	struct bytes address = message_rcpt_address(w->message, message_rcpt(w->message, w->at));
	if (row.state == QUEUE_MOVING)
		moving_facts(c->admin->daemon, address, &f);
	why_decide(&f, &why);
	json_t *o = json_pack("{s:o, s:s, s:s, s:s, s:I, s:I, s:i, s:s}", "address",
		json_stringn((const char *)address.p, address.n), "cause", why_name(why.cause),
		"text", why.text, "remedy", why.remedy, "attempts", (json_int_t)row.attempts,
		"next_ms", (json_int_t)row.next_ms, "code", (int)row.code, "reason", reason);
	if (o && info && info->domain.name[0])
		json_object_set_new(o, "route", domain_json(&info->domain));
	admin_send(c, o);
}

static void why_end(struct admin_client *c)
{
	struct why_work *w = &c->work.why;
	bool more = w->at < w->message->rcpt_count;
	json_t *last = json_pack("{s:I, s:b}", "recipients", (json_int_t)w->at, "more", more);

	message_unref(w->message);
	chain_free(&w->rows);
	admin_done(c, last);
}

static void rcpt_answered(struct op *op)
{
	struct recipient_op *q = container_of(op, struct recipient_op, op);
	struct admin_client *c = container_of(q, struct admin_client, work.why.u.rcpt);
	struct delivery_recipient_info info = q->info;

	tell_rcpt(c, op->status == 0 ? &info : NULL);
	c->work.why.at++;
	next_rcpt(c);
}

static void ask_worker(struct admin_client *c, unsigned core)
{
	struct why_work *w = &c->work.why;
	const struct rcpt *r = message_rcpt(w->message, w->at);
	struct bytes domain = message_rcpt_domain(w->message, r);
	struct queue_rcpt_row row = {0};

	row_at(w, w->at, &row);
	w->u.rcpt = (struct recipient_op){
		.op = {.kind = ASK_RECIPIENT, .done = rcpt_answered},
		.id = w->message->id,
		.rcpt = row.rcpt,
	};
	snprintf(w->u.rcpt.domain, sizeof(w->u.rcpt.domain), "%.*s", (int)domain.n,
		(const char *)domain.p);
	admin_submit(c, &c->admin->daemon->rooms[core].questions, &w->u.rcpt.op);
}

static void next_rcpt(struct admin_client *c)
{
	struct why_work *w = &c->work.why;
	const struct daemon *d = c->admin->daemon;
	unsigned workers = worker_count(d);

	if (w->at == w->message->rcpt_count || w->at == RCPTS_MAX || !c->bev) {
		why_end(c);
		return;
	}
	struct bytes domain = message_rcpt_domain(w->message, message_rcpt(w->message, w->at));
	unsigned core =
		workers ? worker_core(d, store_domain_owner(domain, workers)) : d->core_count;
	if (core < d->core_count) {
		ask_worker(c, core);
		return;
	}
	tell_rcpt(c, NULL);
	w->at++;
	next_rcpt(c); /* RCPTS_MAX deep at most */
}

static void message_read(struct op *op)
{
	struct queue_read_op *q = container_of(op, struct queue_read_op, op);
	struct admin_client *c = container_of(q, struct admin_client, work.why.u.read);
	struct why_work *w = &c->work.why;

	if (op->status == 0) {
		w->message = q->message;
		w->rows = q->rows;
		next_rcpt(c);
		return;
	}
	chain_free(&q->rows);
	if (op->status == -ENOENT)
		admin_not_found(c, "no such message");
	else
		admin_fail(c, "%s", admin_store_error(op->status));
}

void admin_queue_why(struct admin_client *c, const json_t *request)
{
	struct queue_read_op *q = &c->work.why.u.read;
	bool ok;
	const char *id = admin_text(request, "id", 16, &ok);

	if (!ok || !id || hex_to_u64(bytes_str(id), &q->id) < 0 || q->id > INT64_MAX) {
		admin_fail(c, "the id must be up to 16 hexadecimal digits");
		return;
	}
	q->op.kind = STORE_READ_QUEUE;
	q->op.done = message_read;
	c->shard = shard_of_id(c->admin->daemon, q->id);
	admin_submit(c, admin_reader(c), &q->op);
}

/* ---- everything: what is refused, what is wrong now, what waits ---- */

static const enum counter refusals[] = {CTR_SMTP_RCPT_REFUSED, CTR_SMTP_MESSAGES_REFUSED,
	CTR_SMTP_REPLIES_421, CTR_SMTP_REPLIES_452, CTR_SMTP_COMMAND_ERRORS, CTR_SMTP_AUTH_FAILED,
	CTR_STORE_REFUSED_FULL, CTR_STORE_ERRORS, CTR_TCP_SYN_DROPPED, CTR_TCP_PRESSURE_SYN_DROPPED,
	CTR_TCP_ACCEPT_DROPPED, CTR_TCP_SOURCE_CONNECTIONS, CTR_TCP_SOURCE_SYNS,
	CTR_TLS_HANDSHAKES_FAILED, CTR_PORT_NO_MBUF, CTR_STEER_DROPPED};

static void tell_refusals(struct admin_client *c)
{
	const struct daemon *d = c->admin->daemon;

	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		const struct counter_info *info = &counter_table[refusals[i]];
		uint64_t n = counters_sum(refusals[i]);
		if (n)
			admin_send(c, json_pack("{s:s, s:s, s:I, s:f, s:s}", "kind", "refused",
					      "what", info->name, "count", (json_int_t)n, "now",
					      sample_rate(d, -1, refusals[i]), "text", info->help));
	}
}

static void tell_now(struct admin_client *c, const char *what, const char *text, const char *remedy)
{
	admin_send(c, json_pack("{s:s, s:s, s:s, s:s}", "kind", "now", "what", what, "text", text,
			      "remedy", remedy));
}

static unsigned chunks_used_percent(void)
{
	static struct pool_info info[3 * CORES_MAX + PORTS_MAX];
	unsigned n = pool_get_info(info, ARRAY_LEN(info));

	for (unsigned i = 0; i < n; i++) {
		if (strcmp(info[i].name, "chunks") == 0 && info[i].size)
			return (unsigned)((uint64_t)info[i].in_use * 100 / info[i].size);
	}
	return 0;
}

/* Those that are not as they should be; the others go on. */
static void tell_shards(struct admin_client *c)
{
	const struct daemon *d = c->admin->daemon;
	char text[256];

	for (unsigned i = 0; i < shards_count(d->store); i++) {
		const char *health = shard_health(d, i);
		bool failed = strcmp(health, "failed") == 0;
		if (strcmp(health, "ok") == 0)
			continue;
		snprintf(text, sizeof(text),
			"Shard %u of the store %s: it takes no new mail%s; the other shards do.", i,
			failed ? "has failed" : "is full",
			failed ? ", nothing of it is delivered, its mailboxes take nothing" : "");
		tell_now(c, failed ? "shard-failed" : "shard-full", text,
			failed ? "Look at the log and the shard's disk, then restart bypostd."
			       : "Make room on its disk (store.reserve is kept free).");
	}
}

static void tell_states(struct admin_client *c)
{
	const struct daemon *d = c->admin->daemon;
	struct store_info info;
	bool loading = false;

	shards_get_info(d->store, &info);
	for (unsigned i = 0; i < d->core_count; i++)
		loading |= d->rooms[i].gauges.loading;
	if (shards_count(d->store) > 1)
		tell_shards(c);
	else if (info.health == STORE_FAILED)
		tell_now(c, "store-failed",
			"The store has failed: new mail gets 451, nothing is delivered.",
			"Look at the log and the disk, then restart bypostd.");
	if (shards_count(d->store) == 1 && info.health == STORE_FULL)
		tell_now(c, "store-full",
			"The store is full: new mail gets 452; what is there is delivered.",
			"Make room on the disk (store.reserve is kept free).");
	else if (info.disk_free_bytes < info.reserve_bytes)
		tell_now(c, "reserve",
			"Less is free on the disk than store.reserve: new mail gets 452.",
			"Make room on the disk.");
	if (atomic_load(&d->draining))
		tell_now(c, "draining", "bypostd is being stopped: nothing new begins.",
			"Start it again.");
	if (loading)
		tell_now(c, "loading", "The queue is still being read after the start.",
			"Nothing has to be done.");
	if (chunks_used_percent() >= BODY_WAITS)
		tell_now(c, "body-memory",
			"Memory for bodies is scarce: senders wait, then get 452.",
			"limits.body_memory is the limit; a slow disk or slow next hops fill it.");
}

/* What waits, by reason. */
struct why_group {
	char reason[128];
	bool held;
	uint64_t recipients, oldest_ms, next_ms;
	char id[17], address[128];
};

static struct why_group *group_of(struct why_work *w, const char *reason, bool held)
{
	struct why_group *g = w->groups;

	for (uint32_t i = 0; i < w->group_n; i++) {
		if (g[i].held == held && strcmp(g[i].reason, reason) == 0)
			return &g[i];
	}
	if (w->group_n == GROUPS_MAX)
		return &g[GROUPS_MAX]; /* all others */
	g = &g[w->group_n++];
	*g = (struct why_group){.held = held, .oldest_ms = UINT64_MAX, .next_ms = UINT64_MAX};
	snprintf(g->reason, sizeof(g->reason), "%s", reason);
	return g;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static uint64_t number_of(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static void count_rcpt(struct why_work *w, const json_t *message, const json_t *rcpt)
{
	char reason[sizeof(((struct why_group *)0)->reason)];
	const char *said = text_of(rcpt, "reason");

	why_normalise(said[0] ? said : "not tried yet, or being tried now", reason, sizeof(reason));
	struct why_group *g = group_of(w, reason, strcmp(text_of(rcpt, "state"), "held") == 0);
	uint64_t received = number_of(message, "received_ms");
	if (g->recipients++ == 0 || received < g->oldest_ms) {
		g->oldest_ms = received;
		snprintf(g->id, sizeof(g->id), "%s", text_of(message, "id"));
		snprintf(g->address, sizeof(g->address), "%s", text_of(rcpt, "address"));
	}
	g->next_ms = MIN(g->next_ms, number_of(rcpt, "next_ms"));
	w->recipients++;
}

static bool count_message(struct admin_client *c, json_t *message)
{
	const json_t *rcpt;
	size_t i;

	json_array_foreach(json_object_get(message, "recipients"), i, rcpt)
		count_rcpt(&c->work.why, message, rcpt);
	return ++c->work.why.messages < MESSAGES_MAX;
}

static int by_recipients(const void *a, const void *b)
{
	const struct why_group *x = a, *y = b;

	return x->recipients < y->recipients ? 1 : x->recipients > y->recipients ? -1 : 0;
}

static void tell_group(struct admin_client *c, const struct why_group *g)
{
	uint64_t now = clock_wall_ms();

	admin_send(c, json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s}", "kind",
			      g->held ? "held" : "waiting", "text",
			      g->reason[0] ? g->reason : "other reasons", "count",
			      (json_int_t)g->recipients, "oldest_ms",
			      (json_int_t)(now - MIN(g->oldest_ms, now)), "next_ms",
			      (json_int_t)(g->next_ms == UINT64_MAX ? 0 : g->next_ms), "id", g->id,
			      "address", g->address));
}

static void tell_all(struct admin_client *c, bool whole)
{
	struct why_work *w = &c->work.why;
	struct why_group *g = w->groups;
	uint32_t n = w->group_n;

	/* What the others have is worth being told when one shard cannot be read. */
	if (shards_count(c->admin->daemon->store) == 1 && admin_shards_failed(c))
		return;
	if (g[GROUPS_MAX].recipients)
		n = GROUPS_MAX + 1;
	qsort(g, n, sizeof(*g), by_recipients);
	for (uint32_t i = 0; i < MIN(n, w->limit); i++)
		tell_group(c, &g[i]);
	admin_done(c, json_pack("{s:I, s:I, s:b}", "messages", (json_int_t)w->messages,
			      "recipients", (json_int_t)w->recipients, "all", whole));
}

static void why_step(struct admin_client *c);

static void slice_read(struct op *op)
{
	struct queue_list_op *l = container_of(op, struct queue_list_op, op);
	struct admin_client *c = container_of(l, struct admin_client, work.why.u.list);

	if (op->status != 0)
		chain_free(&l->out);
	else
		admin_lines_each(&l->out, count_message, c);
	bool over = op->status != 0 || l->end, enough = c->work.why.messages >= MESSAGES_MAX;
	if (over && !enough && admin_next_shard(c, op->status)) {
		*l = (struct queue_list_op){0};
		over = false;
	}
	if (over || !c->bev || enough)
		tell_all(c, over && !enough);
	else
		why_step(c);
}

static void why_step(struct admin_client *c)
{
	struct queue_list_op *l = &c->work.why.u.list;

	l->op.kind = STORE_READ_QUEUE_LIST;
	l->op.done = slice_read;
	l->max_messages = ADMIN_BATCH;
	admin_submit(c, admin_reader(c), &l->op);
}

void admin_why(struct admin_client *c, const json_t *request)
{
	struct why_work *w = &c->work.why;
	bool ok;

	w->limit = (uint32_t)admin_number(request, "limit", 10, GROUPS_MAX, &ok);
	if (!ok || w->limit == 0) {
		admin_fail(c, "limit must be a number from 1 to %d", GROUPS_MAX);
		return;
	}
	w->groups = c->owned = calloc(GROUPS_MAX + 1, sizeof(*w->groups));
	if (!w->groups) {
		admin_fail(c, "out of memory");
		return;
	}
	w->groups[GROUPS_MAX].next_ms = UINT64_MAX;
	tell_states(c);
	tell_refusals(c);
	why_step(c);
}

/* ---- domains ---- */

static void domains_step(struct admin_client *c);

static uint64_t domain_weight(const struct delivery_domain_info *d)
{
	return d->recipients;
}

static void keep_domain(struct why_work *w, const struct delivery_domain_info *d)
{
	struct delivery_domain_info *all = w->domains;
	uint32_t i = w->domain_n;

	if (i == w->limit && domain_weight(d) <= domain_weight(&all[i - 1]))
		return;
	if (i < w->limit)
		w->domain_n++;
	else
		i--;
	for (; i > 0 && domain_weight(&all[i - 1]) < domain_weight(d); i--)
		all[i] = all[i - 1];
	all[i] = *d;
}

static void domains_done(struct op *op)
{
	struct domains_op *q = container_of(op, struct domains_op, op);
	struct admin_client *c = container_of(q, struct admin_client, work.why.u.domains);
	struct why_work *w = &c->work.why;

	for (uint32_t i = 0; op->status == 0 && i < q->n; i++)
		keep_domain(w, &q->rows[i]);
	w->found += op->status == 0 ? q->n : 0;
	if (op->status != 0 || q->from == DELIVERY_DOMAINS_END) {
		w->core++;
		q->from = 0;
	}
	if (c->bev && w->core < c->admin->daemon->core_count) {
		domains_step(c);
		return;
	}
	for (uint32_t i = 0; i < w->domain_n; i++)
		admin_send(c, domain_json(&w->domains[i]));
	admin_done(c, json_pack("{s:I, s:b}", "domains", (json_int_t)w->domain_n, "more",
			      w->found > w->domain_n));
}

static void domains_step(struct admin_client *c)
{
	struct why_work *w = &c->work.why;

	w->u.domains.op.kind = ASK_DOMAINS;
	w->u.domains.op.done = domains_done;
	admin_submit(c, &c->admin->daemon->rooms[w->core].questions, &w->u.domains.op);
}

void admin_queue_domains(struct admin_client *c, const json_t *request)
{
	struct why_work *w = &c->work.why;
	bool ok;

	w->limit = (uint32_t)admin_number(request, "limit", 20, 1000, &ok);
	if (!ok || w->limit == 0) {
		admin_fail(c, "limit must be a number from 1 to 1000");
		return;
	}
	w->domains = c->owned = calloc(w->limit, sizeof(*w->domains));
	if (!w->domains)
		admin_fail(c, "out of memory");
	else
		domains_step(c);
}
