/* SPDX-License-Identifier: BSD-3-Clause
 * What carries bypost-bench's connections: the kernel's sockets, so that any server can be
 * measured, or bypost's own stack on a DPDK port, without a kernel in the way.  Both are one
 * polling thread with a wheel of timers and connections as struct stream, so that source and sink
 * are written once.  TLS goes over either. */
#pragma once
#include <stdatomic.h>
#include "dataplane/dataplane.h"
#include "dataplane/port.h"

struct engine;

struct engine_conf {
	bool dpdk;
	uint32_t connections_max;
	/* kernel: where to listen; backlog */
	int backlog;
	char cpus[64];   /* of the polling thread; empty: any */
	uint32_t window; /* octets that a connection takes in advance; 0: as is usual */
	/* dpdk */
	struct port_conf port;
	uint32_t memory_mb; /* 0: computed */
	bool adaptive;      /* sleeps when there is nothing to do */
	char eal_extra[256];
};

struct engine_ops {
	int (*listen)(struct engine *e, const struct endpoint *at, struct listener *l);
	int (*connect)(
		struct engine *e, struct stream *s, const struct endpoint *to, uint64_t timeout_us);
	int (*start)(struct engine *e);
	void (*stop)(struct engine *e);
	void (*destroy)(struct engine *e);
};

struct engine {
	const struct engine_ops *ops;
	const uint64_t *now_us; /* of the lap */
	struct timer_wheel *wheel;
	struct engine_conf conf;
	struct poller poller; /* the program's part of each lap */
	uint64_t wake_us;     /* a lap is wanted then; 0: whenever something comes */
	const char *name;     /* for results */
};

/* Main thread.  NULL with error[]. */
struct engine *engine_kernel_create(const struct engine_conf *conf, char *error, size_t error_n);
struct engine *engine_dpdk_create(const struct engine_conf *conf, char *error, size_t error_n);

/* Before engine_start.  Returns 0 or -errno. */
static inline int engine_listen(struct engine *e, const struct endpoint *at, struct listener *l)
{
	return e->ops->listen(e, at, l);
}
/* In the engine's thread.  As stream_connect: s->local.ip is the address to connect from. */
static inline int engine_connect(
	struct engine *e, struct stream *s, const struct endpoint *to, uint64_t timeout_us)
{
	return e->ops->connect(e, s, to, timeout_us);
}
/* The thread begins.  Returns 0 or -errno. */
static inline int engine_start(struct engine *e)
{
	return e->ops->start(e);
}
/* Waits for the thread's end. */
static inline void engine_stop(struct engine *e)
{
	e->ops->stop(e);
}
static inline void engine_destroy(struct engine *e)
{
	e->ops->destroy(e);
}
