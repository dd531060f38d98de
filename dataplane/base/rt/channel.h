/* SPDX-License-Identifier: BSD-3-Clause
 * Rings between threads, of the first two kinds there are (the third, packets, is in dataplane/).
 *
 * Request/completion: a `channel` joins one requester thread to one server thread by two SP/SC
 * rings of descriptors (struct op).  The requester spends a credit per request; there are as many
 * credits as the completion ring has slots, so a completion can never fail and nobody ever waits
 * in an enqueue.  No credit is the requester's own back-pressure: it parks what it is doing and is
 * told by on_credit.
 *
 * Hint: a `hints` ring may drop, because the truth is in the store.  The producer then marks the
 * lowest value it dropped and the consumer rescans from there.
 *
 * A struct op is embedded in memory of the requester, which must not touch it between submit and
 * its done().  The server must not touch it after channel_complete(). */
#pragma once
#include "dataplane/base/rt/ring_watch.h"
#include "dataplane/base/rt/waker.h"

struct rte_ring;
struct op;

typedef void (*op_done_fn)(struct op *op);

struct op {
	op_done_fn done; /* called on the requester's thread, credit already returned */
	uint16_t kind;   /* the server's vocabulary */
	uint16_t flags;
	int32_t status;          /* set by the server: 0 or -errno or a positive verdict */
	struct channel *channel; /* set by channel_submit, for the server's answer */
};

struct channel {
	/* requester's line */
	alignas(CACHE_LINE) uint32_t credits;
	uint32_t credits_max;
	bool starved; /* a submit was refused; on_credit is due */
	void (*on_credit)(void *ctx);
	void *ctx;
	struct ring_watch watch; /* requests under way; refused ones */
	/* read-only after creation */
	alignas(CACHE_LINE) struct rte_ring *requests;
	struct rte_ring *completions;
	struct waker *server, *requester;
};

/* capacity: requests that may be under way, >= 1 (any number).  server and requester are woken by
 * the other side and outlive the channel.  Returns 0, -ENOMEM or -EINVAL.  NUMA socket -1: any. */
int channel_init(struct channel *c, const char *name, uint32_t capacity, struct waker *requester,
	struct waker *server, int socket) WARN_UNUSED;
void channel_fini(struct channel *c);

/* Requester.  Returns 0, or -EAGAIN: no credit; on_credit (if set) will be called once from
 * channel_poll after completions have come. */
int channel_submit(struct channel *c, struct op *op) WARN_UNUSED;
/* Requester: run done() of what has completed, at most 64 a call.  Returns how many. */
unsigned channel_poll(struct channel *c);
static inline uint32_t channel_in_flight(const struct channel *c)
{
	return c->credits_max - c->credits;
}

/* Server. */
unsigned channel_take(struct channel *c, struct op **ops, unsigned max);
void channel_complete(struct op *op);
bool channel_has_requests(const struct channel *c);

/* All channels of one server thread, filled before the thread starts. */
#define SERVICE_CHANNELS_MAX 80
struct service {
	struct waker waker;
	struct channel *channels[SERVICE_CHANNELS_MAX];
	unsigned channel_count;
	unsigned next; /* round robin, so that no requester starves another */
	atomic_bool stop;
};

int service_init(struct service *s) WARN_UNUSED;
void service_fini(struct service *s);
/* Adds a channel; -ENOSPC when there are too many. */
int service_add(struct service *s, struct channel *c) WARN_UNUSED;
/* Server thread: up to max requests, fairly over the channels.  Never waits. */
unsigned service_take(struct service *s, struct op **ops, unsigned max);
/* Server thread: is anything waiting to be taken? */
bool service_has_requests(const struct service *s);
/* Server thread: how many are waiting. */
unsigned service_waiting(const struct service *s);
/* Server thread: sleep until there are requests, a kick, stop, or the timeout. */
void service_sleep(struct service *s, uint64_t timeout_us);
/* Any thread: make the server's loop end. */
void service_stop(struct service *s);
static inline bool service_stopping(const struct service *s)
{
	return atomic_load_explicit(&s->stop, memory_order_acquire);
}

/* Hints: SP/SC ring of 64-bit values or pointers that may be dropped. */
struct hints {
	struct rte_ring *ring;
	struct waker *consumer;
	struct ring_watch watch;                       /* producer's */
	alignas(CACHE_LINE) _Atomic uint64_t overflow; /* lowest value dropped; UINT64_MAX: none */
};

int hints_init(struct hints *h, const char *name, uint32_t capacity, struct waker *consumer,
	int socket) WARN_UNUSED;
void hints_fini(struct hints *h);
/* Producer.  rank orders the values for the rescan (a queue id, a modseq).  Returns false when the
 * hint was dropped: the producer still owns what value points to. */
bool hints_put(struct hints *h, void *value, uint64_t rank);
/* Consumer. */
unsigned hints_take(struct hints *h, void **values, unsigned max);
/* Consumer: the lowest rank dropped since the last call, or UINT64_MAX.  Clears it. */
uint64_t hints_overflow_take(struct hints *h);
