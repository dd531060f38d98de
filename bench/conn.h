/* SPDX-License-Identifier: BSD-3-Clause
 * What connections of source, sink and reader have in common: a place in a fixed table, a stream on
 * an engine, a timer, TLS.  OWNER: the engine's thread. */
#pragma once
#include "bench/engine.h"
#include "dataplane/tls/tls.h"

enum conn_life {
	CONN_FREE,
	CONN_FRESH, /* connecting, or accepted and nothing said yet */
	CONN_OPEN,
};

struct conns;

/* Embedded first in what the user has for each connection. */
struct conn {
	struct stream stream;
	struct conns *all;
	struct list node; /* free, or where the user wants it */
	struct timer timer;
	uint8_t life; /* enum conn_life */
	bool handshaking;
};

struct conns {
	struct engine *engine;
	struct tls *tls; /* NULL: none; its poller is the program's */
	struct tls_config *tls_config;
	void *owner;
	uint8_t *memory;
	size_t step;
	uint32_t n;
	struct list unused;
	_Atomic uint32_t open; /* in use */
};

/* TLS of a program, borrowed. */
struct conn_tls {
	struct tls *tls;
	struct tls_config *config;
};

/* n places of step octets each, zeroed, with a struct conn at the front.  owner: for the user.
 * Returns 0 or -ENOMEM.  Main thread. */
int conns_init(struct conns *all, uint32_t n, size_t step, struct engine *e,
	const struct conn_tls *tls, timer_fn on_timer, void *owner) WARN_UNUSED;
void conns_fini(struct conns *all);
static inline void *conns_at(const struct conns *all, uint32_t i)
{
	return all->memory + (size_t)i * all->step;
}

/* A free place, with its stream for these upcalls, CONN_FRESH and in no list; NULL: none. */
struct conn *conn_take(struct conns *all, const struct stream_ops *ops);
/* The stream is gone: the place is free. */
void conn_put(struct conn *c);
/* Orderly, and RST: then conn_put. */
void conn_close(struct conn *c);
void conn_abort(struct conn *c);
/* Begin a handshake; on_secure follows.  False: no room, and the connection is gone (conn_abort).
 */
bool conn_tls_connect(struct conn *c);
bool conn_tls_accept(struct conn *c);
static inline struct conn *conn_of(struct stream *s)
{
	return container_of(s, struct conn, stream);
}
static inline uint64_t conn_now_us(const struct conn *c)
{
	return *c->all->engine->now_us;
}
static inline void conn_timer(struct conn *c, uint64_t after_us)
{
	timer_arm(c->all->engine->wheel, &c->timer, conn_now_us(c) + after_us);
}
