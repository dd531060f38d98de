/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/conn.h"
#include <errno.h>
#include <stdlib.h>

int conns_init(struct conns *all, uint32_t n, size_t step, struct engine *e,
	const struct conn_tls *tls, timer_fn on_timer, void *owner)
{
	*all = (struct conns){.engine = e,
		.tls = tls->tls,
		.tls_config = tls->config,
		.owner = owner,
		.step = step,
		.n = n};
	list_init(&all->unused);
	all->memory = calloc(n, step);
	if (!all->memory)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct conn *c = conns_at(all, i);
		c->all = all;
		timer_init(&c->timer, on_timer);
		list_push_tail(&all->unused, &c->node);
	}
	return 0;
}

void conns_fini(struct conns *all)
{
	free(all->memory);
	all->memory = NULL;
}

struct conn *conn_take(struct conns *all, const struct stream_ops *ops)
{
	struct list *node = list_pop_head(&all->unused);

	if (!node)
		return NULL;
	struct conn *c = list_entry(node, struct conn, node);
	list_init(&c->node);
	c->stream = (struct stream){.ops = ops};
	c->life = CONN_FRESH;
	c->handshaking = false;
	atomic_fetch_add_explicit(&all->open, 1, memory_order_relaxed);
	return c;
}

void conn_put(struct conn *c)
{
	timer_cancel(c->all->engine->wheel, &c->timer);
	c->life = CONN_FREE;
	list_remove(&c->node);
	/* the last one again: what it needs is in the cache */
	list_push_head(&c->all->unused, &c->node);
	atomic_fetch_sub_explicit(&c->all->open, 1, memory_order_relaxed);
}

void conn_close(struct conn *c)
{
	stream_close(&c->stream);
	conn_put(c);
}

void conn_abort(struct conn *c)
{
	stream_abort(&c->stream);
	conn_put(c);
}

static bool handshake(struct conn *c, int rc)
{
	if (rc == 0)
		return true;
	conn_abort(c);
	return false;
}

bool conn_tls_connect(struct conn *c)
{
	static const struct tls_peer anybody = {.trust = TLS_TRUST_NONE};

	c->handshaking = true;
	return handshake(c, tls_connect(c->all->tls, c->all->tls_config, &c->stream, &anybody));
}

bool conn_tls_accept(struct conn *c)
{
	c->handshaking = true;
	return handshake(c, tls_accept(c->all->tls, c->all->tls_config, &c->stream));
}
