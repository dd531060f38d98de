/* SPDX-License-Identifier: BSD-3-Clause
 * The courier from the inside.  OWNER of everything: its thread, but for the atomics. */
#pragma once
#include "dataplane/base/rt/ids.h"
#include "store/courier.h"

#define COURIER_TRANSFERS 64 /* messages under way at once; chosen: a group's worth, 16 MiB */
#define COURIER_LANE_MAX  32 /* of these between two shards */
#define COURIER_CREDITS   (2 * COURIER_TRANSFERS)
#define COURIER_RETRY_US  US_PER_SEC
#define COURIER_SWEEP_US  (5 * US_PER_SEC)    /* until a sweep is tried again; chosen: no hurry */
#define COURIER_EXPIRE_US (60 * US_PER_SEC)   /* how often a lane that is shut is looked over */
#define COURIER_CORE      (IDS_CORES_MAX - 1) /* its number in ids; no core has it */
#define COURIER_SLICE     (64 * CHUNK_DATA)   /* octets of a body at a time: whole chunks */

/* From one shard to another. */
struct lane {
	struct courier *courier;
	unsigned from, to;
	bool due;     /* there may be rows that nobody has looked at */
	bool reading; /* op is under way */
	bool news;    /* rows were added since the scan began */
	bool skipped; /* it has met rows while the shard they go to was shut */
	unsigned active;
	uint64_t next_id;       /* where the scan goes on */
	uint64_t not_before_us; /* after a failure */
	struct moves_read_op op;
};

struct transfer {
	struct courier *courier;
	struct lane *lane; /* NULL: free */
	/* What is to be submitted as soon as there is a credit; NULL: something is under way. */
	bool (*submit)(struct transfer *t);
	uint64_t wait_until_us; /* no submit before this */
	uint64_t id;            /* of the message in the queue */
	struct message *message;
	uint64_t body_at, body_bytes, prefix_bytes;
	bool leaving; /* counted in courier.leaving */
	union {
		struct op op;
		struct queue_read_op envelope;
		struct body_read_op body;
		struct part_op part;
		struct drop_op drop;
		struct move_in_op in;
		struct move_out_op out;
		struct move_forget_op forget;
	} u;
	uint32_t count;
	struct move_rcpt rcpts[MOVE_RCPTS_MAX];
};

/* Rows of `dedup` whose recipients are no longer in `move`: left by a crash or a failure. */
struct sweep {
	unsigned shard; /* the one that is being looked over */
	bool due, busy;
	bool again;             /* a row could not be looked at, or not be forgotten */
	uint64_t not_before_us; /* after that */
	uint64_t from_id;
	union {
		struct op op;
		struct dedup_read_op dedup;
		struct moves_read_op moves;
		struct move_forget_op forget;
	} u;
	uint64_t id;
};

struct courier {
	struct waker waker;
	pthread_t thread;
	atomic_bool stop, hold;
	atomic_uint leaving; /* transfers whose recipients are leaving */
	unsigned count;
	struct store *const *store;
	struct channel writers[STORE_SHARDS_MAX], readers[STORE_SHARDS_MAX];
	struct ids ids;
	struct lane lanes[STORE_SHARDS_MAX][STORE_SHARDS_MAX];
	struct transfer *transfers;
	struct sweep sweep;
	uint64_t now_us;
};

static inline bool courier_stopping(const struct courier *c)
{
	return atomic_load_explicit(&c->stop, memory_order_acquire);
}

/* courier_transfer.c: a message's way.  False: no transfer is free. */
bool transfer_begin(struct lane *l, uint64_t id, const struct move_row *rows, uint32_t count,
	bool expired) WARN_UNUSED;
/* Its rows are being worked on. */
bool transfer_has(const struct lane *l, uint64_t id);
/* Submits what waits.  Returns how many. */
unsigned transfers_poll(struct courier *c);
/* courier_sweep.c */
unsigned sweep_poll(struct courier *c);
