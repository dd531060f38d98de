/* SPDX-License-Identifier: BSD-3-Clause
 * The server's life, and who waits for what. */
#include "smtp/server_priv.h"
#include <rte_malloc.h>
#include "dataplane/base/log.h"

#define USED_SAMPLE_US 1000 /* the pool is asked at most this often: it sums over all lcores */
/* channel_poll returns this many credits before the first of their ops is free; and who finds out
 * that there is no credit has taken one more. */
#define JOBS_SPARE (64 + 1)

struct smtp_lane *server_lane(struct smtp_server *s, uint64_t id)
{
	return &s->lanes[handoff_lane(&s->writers, id)];
}

/* ---- waiting ---- */

void server_wait(struct smtp_conn *c, enum conn_wait why)
{
	struct smtp_server *s = c->server;

	BUG_ON(c->wait != WAIT_NONE);
	c->wait = (uint8_t)(why & 0xf);
	if (why == WAIT_CREDIT) {
		struct smtp_lane *lane = server_lane(s, c->message->id);
		list_push_tail(&lane->waiting, &c->wait_node);
		lane->writer->starved = true; /* on_credit as long as anybody waits */
	}
	if (why != WAIT_MEMORY)
		return;
	list_push_tail(&s->memory, &c->wait_node);
	relief_wait_begins(c);
	if (!timer_armed(&s->memory_timer))
		timer_arm(&s->core->wheel, &s->memory_timer, s->core->now_us + MEMORY_RETRY_US);
}

void server_wait_end(struct smtp_conn *c)
{
	list_remove(&c->wait_node);
	c->wait = WAIT_NONE;
}

unsigned server_used_percent(struct smtp_server *s)
{
	if (s->core->now_us >= s->used_at_us + USED_SAMPLE_US || !s->used_at_us) {
		s->used_percent = chunk_pool_used_percent();
		s->used_at_us = s->core->now_us;
	}
	return s->used_percent;
}

/* Let at most max of those on the list try again; who still has to wait goes to its end. */
static void retry_list(struct list *waiting, unsigned max)
{
	struct list now;

	list_init(&now);
	for (struct list *node; max && (node = list_pop_head(waiting)); max--)
		list_push_tail(&now, node);
	for (struct list *node; (node = list_pop_head(&now));)
		conn_retry(list_entry(node, struct smtp_conn, wait_node));
}

static void on_memory_timer(struct timer *t, uint64_t now_us)
{
	struct smtp_server *s = container_of(t, struct smtp_server, memory_timer);

	retry_list(&s->memory, MEMORY_RETRY_MAX);
	if (!list_empty(&s->memory) && !timer_armed(t))
		timer_arm(&s->core->wheel, t, now_us + MEMORY_RETRY_US);
}

static void on_credit(void *ctx)
{
	struct smtp_lane *lane = ctx;
	struct smtp_server *s = lane->server;

	handoff_drops_flush(s);
	retry_list(&lane->waiting, lane->writer->credits);
	if (s->drops_n || !list_empty(&lane->waiting))
		lane->writer->starved = true;
}

static unsigned poll(void *ctx, uint64_t now_us)
{
	struct smtp_server *s = ctx;
	unsigned work = 0;

	(void)now_us;
	for (; !list_empty(&s->fresh); work++)
		conn_start(list_entry(s->fresh.next, struct smtp_conn, node));
	for (; !list_empty(&s->dead); work++)
		conn_free(list_entry(s->dead.next, struct smtp_conn, node));
	return work;
}

/* ---- life ---- */

static void *alloc(struct smtp_server *s, size_t n, size_t size)
{
	return rte_zmalloc_socket("smtp", n * size, CACHE_LINE, s->core->socket);
}

static int make_conns(struct smtp_server *s)
{
	s->conns = alloc(s, s->conf.sessions_max, sizeof(*s->conns));
	if (!s->conns)
		return -1;
	for (uint32_t i = 0; i < s->conf.sessions_max; i++) {
		struct smtp_conn *c = &s->conns[i];
		c->server = s;
		list_init(&c->node);
		list_init(&c->wait_node);
		timer_init(&c->timer, conn_timer);
		list_push_tail(&s->free, &c->node);
	}
	return 0;
}

static int make_jobs(struct smtp_server *s)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < s->writers.count; i++)
		n += s->writers.writer[i]->credits_max + JOBS_SPARE;
	s->drops_max = s->conf.sessions_max + n;
	s->jobs = alloc(s, n, sizeof(*s->jobs));
	s->drops = alloc(s, s->drops_max, sizeof(*s->drops));
	uint32_t shared = MAX(s->conf.sessions_max / PEERS_SHARING, (uint32_t)PEERS_SHARED);
	s->peer_table = alloc(s, PEERS_MAX + shared, sizeof(*s->peer_table));
	if (!s->jobs || !s->drops || !s->peer_table)
		return -1;
	peers_init(&s->peers, s->peer_table, PEERS_MAX, shared);
	for (uint32_t i = 0; i < n; i++) {
		s->jobs[i].next = s->jobs_free;
		s->jobs_free = &s->jobs[i];
	}
	return 0;
}

static void init_lists(struct smtp_server *s)
{
	list_init(&s->free);
	list_init(&s->fresh);
	list_init(&s->dead);
	list_init(&s->memory);
	timer_init(&s->memory_timer, on_memory_timer);
	relief_init(s);
}

static void attach_lanes(struct smtp_server *s)
{
	for (unsigned i = 0; i < s->writers.count; i++) {
		struct smtp_lane *lane = &s->lanes[i];
		*lane = (struct smtp_lane){.server = s, .writer = s->writers.writer[i]};
		list_init(&lane->waiting);
		lane->writer->on_credit = on_credit;
		lane->writer->ctx = lane;
	}
}

struct smtp_server *smtp_server_create(struct core *core, const struct handoff_lanes *writers,
	const struct smtp_policy *policy, const struct smtp_server_conf *conf)
{
	struct smtp_server *s = rte_zmalloc_socket("smtp", sizeof(*s), CACHE_LINE, core->socket);

	if (!s)
		return NULL;
	s->core = core;
	s->writers = *writers;
	s->policy = policy;
	s->conf = *conf;
	for (unsigned i = 0; i < SMTP_SERVICES_MAX; i++) {
		s->doors[i].server = s;
		s->doors[i].listener =
			(struct listener){.accept = conn_accept, .ctx = &s->doors[i]};
	}
	s->peer_chunks_max = MAX(chunk_pool_size() / PEER_SHARE, (uint32_t)PARTS_MAX);
	siphash_key_random(&s->key);
	init_lists(s);
	if (make_conns(s) < 0 || make_jobs(s) < 0 ||
		core_add_poller(core, (struct poller){poll, s}) < 0) {
		smtp_server_destroy(&s);
		return NULL;
	}
	attach_lanes(s);
	if (conf->discard)
		log_warn("smtp", "discard mode: messages are answered 250 and thrown away");
	return s;
}

int smtp_server_listen(struct smtp_server *s, uint16_t *port_r)
{
	int err = 0;

	for (unsigned i = 0; i < s->conf.service_count && err == 0; i++) {
		struct smtp_door *door = &s->doors[i];
		*port_r = s->conf.services[i].port;
		err = stack_listen(s->core->stack, *port_r, &door->listener);
		door->listening = err == 0;
	}
	return err;
}

void smtp_server_set_policy(struct smtp_server *s, const struct smtp_policy *policy)
{
	s->policy = policy;
}

void smtp_server_set_tls(struct smtp_server *s, struct tls_config *config)
{
	s->conf.tls_config = config;
}

bool smtp_server_uses_policy(const struct smtp_server *s, const struct smtp_policy *policy)
{
	if (s->policy == policy)
		return true;
	for (uint32_t i = 0; i < s->conf.sessions_max; i++) {
		if (s->conns[i].life != CONN_FREE && s->conns[i].session.policy == policy)
			return true;
	}
	return false;
}

void smtp_server_drain(struct smtp_server *s)
{
	for (unsigned i = 0; i < s->conf.service_count; i++) {
		if (s->doors[i].listening)
			stack_unlisten(s->core->stack, s->conf.services[i].port);
		s->doors[i].listening = false;
	}
	s->draining = true;
	for (uint32_t i = 0; i < s->conf.sessions_max; i++) {
		struct smtp_conn *c = &s->conns[i];
		if (c->life != CONN_OPEN)
			continue;
		/* nothing can be said yet */
		if (c->handshaking || c->proxied) {
			conn_drop(c);
			continue;
		}
		smtp_session_drain(&c->session);
		conn_kick(c);
	}
}

uint32_t smtp_server_sessions(const struct smtp_server *s)
{
	return s->open;
}

void smtp_server_destroy(struct smtp_server **s)
{
	if (!*s)
		return;
	rte_free((*s)->conns);
	rte_free((*s)->jobs);
	rte_free((*s)->drops);
	rte_free((*s)->peer_table);
	rte_free(*s);
	*s = NULL;
}
