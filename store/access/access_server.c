/* SPDX-License-Identifier: BSD-3-Clause
 * OWNER: the core's thread, after creation by main. */
#include "store/access/access_conn.h"
#include <rte_malloc.h>
#include "dataplane/base/clock.h"

#define RUNS_PER_LAP  64 /* sessions run in one lap by the poller; chosen */
#define TURNS_PER_LAP 4  /* of those whose octets had to wait; chosen */

static const size_t space_bytes[ACCESS_SPACE_N] = {
	[ACCESS_SPACE_COMMAND] = ACCESS_COMMAND_BYTES,
	[ACCESS_SPACE_UIDS] = ACCESS_UIDS_MAX * sizeof(uint32_t),
	[ACCESS_SPACE_SCAN] = ACCESS_SCAN_BYTES,
};

static size_t conn_bytes(const struct access_proto *p)
{
	size_t n = sizeof(struct access_conn) + p->engine_bytes;

	return (n + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

/* All sessions are taken: the oldest that has not logged in goes, unless it is about to. */
static void stranger_evict(struct access_server *s)
{
	uint64_t now = s->access->core->now_us;

	list_for_each(it, &s->strangers)
	{
		struct access_conn *c = list_entry(it, struct access_conn, stranger_node);
		if (now < c->opened_us + ACCESS_STRANGER_US)
			return; /* and all behind it */
		if (!c->open || c->engine->busy || c->asking || c->in_service)
			continue;
		counter_inc(CTR_MAILBOX_EVICTED);
		access_conn_evict(c);
		return;
	}
}

static struct stream *server_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct access_server *s = l->ctx;

	if (!s->draining && list_empty(&s->idle))
		stranger_evict(s);
	struct list *node = s->draining ? NULL : list_pop_head(&s->idle);

	(void)peer;
	(void)local;
	if (!node)
		return NULL;
	struct access_conn *c = list_entry(node, struct access_conn, node);
	list_push_tail(&s->active, &c->node);
	list_push_tail(&s->strangers, &c->stranger_node);
	s->sessions++;
	counter_inc(s->proto->connections);
	access_conn_open(c, l == &s->tls_listener);
	return &c->stream;
}

bool access_server_turn(struct access_server *s)
{
	uint64_t now = s->access->core->now_us;

	if (now != s->lap_us) {
		s->lap_us = now;
		s->spent_us = 0;
	}
	return list_empty(&s->inputs) && s->spent_us < ACCESS_LAP_US && now >= s->rest_until_us;
}

void access_server_spent(struct access_server *s, uint64_t us)
{
	s->last_us = us;
	s->spent_us += us;
	if (us > ACCESS_LAP_US)
		s->rest_until_us = s->access->core->now_us + 2 * us;
}

/* Turns of those whose octets wait: on_data follows in this lap. */
static unsigned turns_give(struct access_server *s)
{
	/* One, when the last was no short one. */
	unsigned n = 0, max = s->last_us > ACCESS_LAP_US / TURNS_PER_LAP ? 1 : TURNS_PER_LAP;

	if (s->access->core->now_us < s->rest_until_us)
		return !list_empty(&s->inputs);
	for (struct list *it; n < max && (it = list_pop_head(&s->inputs)); n++) {
		struct access_conn *c = list_entry(it, struct access_conn, input_node);
		c->turn = true;
		c->held = false;
		stream_resume(&c->stream);
	}
	return n;
}

/* What is under way goes on, whatever comes in. */
static void batch_run(struct list *batch)
{
	uint64_t until_us = clock_mono_us() + ACCESS_LAP_US;

	for (struct list *it; (it = list_pop_head(batch));) {
		access_conn_service(list_entry(it, struct access_conn, run_node));
		if (clock_mono_us() >= until_us)
			return;
	}
}

static unsigned server_poll(void *ctx, uint64_t now_us)
{
	struct access_server *s = ctx;
	struct list batch;
	unsigned n = 0, turns = turns_give(s);

	(void)now_us;
	if (list_empty(&s->runnable))
		return turns;
	/* Those that ask for another run meanwhile have it in the next lap. */
	list_init(&batch);
	for (struct list *it; n < RUNS_PER_LAP && (it = list_pop_head(&s->runnable)); n++)
		list_push_tail(&batch, it);
	batch_run(&batch);
	/* What is left is first in the next lap. */
	while (!list_empty(&batch)) {
		struct list *last = batch.prev;
		list_remove(last);
		list_push_head(&s->runnable, last);
	}
	return n + turns;
}

static void conns_init(struct access_server *s)
{
	size_t each = conn_bytes(s->proto);

	for (uint32_t i = s->sessions_max; i > 0; i--) {
		struct access_conn *c =
			(struct access_conn *)(void *)(s->conn_memory + each * (i - 1));
		c->server = s;
		c->engine = (struct access_engine *)(void *)(c + 1);
		list_init(&c->run_node);
		list_init(&c->input_node);
		list_init(&c->lock_node);
		list_init(&c->stranger_node);
		list_init(&c->account_node);
		list_init(&c->node);
		list_push_head(&s->idle, &c->node);
	}
}

static void spaces_init(struct access_server *s)
{
	uint8_t *at = s->space_memory;

	for (unsigned kind = 0; kind < ACCESS_SPACE_N; kind++) {
		for (unsigned i = 0; i < s->proto->spaces[kind]; i++) {
			*(void **)(void *)at = s->spaces[kind];
			s->spaces[kind] = at;
			at += space_bytes[kind];
		}
	}
}

static bool memory_get(struct access_server *s)
{
	size_t n = CACHE_LINE;

	for (unsigned kind = 0; kind < ACCESS_SPACE_N; kind++)
		n += s->proto->spaces[kind] * space_bytes[kind];
	s->conn_memory = rte_zmalloc_socket(s->proto->name, conn_bytes(s->proto) * s->sessions_max,
		CACHE_LINE, s->access->core->socket);
	s->space_memory =
		rte_zmalloc_socket(s->proto->name, n, CACHE_LINE, s->access->core->socket);
	return s->conn_memory && s->space_memory;
}

struct access_server *access_server_create(struct access *a, const struct access_proto *proto,
	struct access_ports ports, uint32_t sessions_max)
{
	struct access_server *s =
		rte_zmalloc_socket(proto->name, sizeof(*s), CACHE_LINE, a->core->socket);

	if (!s)
		return NULL;
	s->access = a;
	s->proto = proto;
	s->ports = ports;
	s->sessions_max = sessions_max;
	s->listener = s->tls_listener = (struct listener){.accept = server_accept, .ctx = s};
	list_init(&s->active);
	list_init(&s->idle);
	list_init(&s->runnable);
	list_init(&s->inputs);
	list_init(&s->strangers);
	for (unsigned i = 0; i < ACCESS_LOCK_BUCKETS; i++) {
		list_init(&s->locks[i]);
		list_init(&s->accounts[i]);
	}
	if (!memory_get(s) || access_prepare(a) < 0 ||
		core_add_poller(a->core, (struct poller){.poll = server_poll, .ctx = s}) < 0) {
		access_server_destroy(&s);
		return NULL;
	}
	conns_init(s);
	spaces_init(s);
	return s;
}

int access_server_listen(struct access_server *s)
{
	struct stack *st = s->access->core->stack;
	int err = s->ports.clear ? stack_listen(st, s->ports.clear, &s->listener) : 0;

	if (err == 0 && s->ports.tls)
		err = stack_listen(st, s->ports.tls, &s->tls_listener);
	return err;
}

void access_server_drain(struct access_server *s)
{
	s->draining = true;
	if (s->ports.clear)
		stack_unlisten(s->access->core->stack, s->ports.clear);
	if (s->ports.tls)
		stack_unlisten(s->access->core->stack, s->ports.tls);
	list_for_each_safe(it, tmp, &s->active)
	{
		struct access_conn *c = list_entry(it, struct access_conn, node);
		if (!c->open)
			continue;
		c->engine->ops->drain(c->engine);
		if (list_empty(&c->run_node))
			list_push_tail(&s->runnable, &c->run_node);
	}
}

uint32_t access_server_sessions(const struct access_server *s)
{
	return s->sessions;
}

void access_server_destroy(struct access_server **s)
{
	if (!*s)
		return;
	list_for_each(it, &(*s)->active)
	{
		struct access_conn *c = list_entry(it, struct access_conn, node);
		access_out_free(&c->engine->out);
	}
	rte_free((*s)->conn_memory);
	rte_free((*s)->space_memory);
	rte_free(*s);
	*s = NULL;
}
