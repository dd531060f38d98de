/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors from the core that receives a message to the store writer.  smtp/ speaks them, store/
 * executes them.  All are ops of a channel (rt/channel.h): no credit means the session parks.
 *
 * Order: parts of one blob are submitted in order on one channel, before the accept. */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/rt/ids.h"
#include "smtp/envelope.h"

#define HANDOFF_LANES_MAX 16

/* The store's writers, one per shard.  A message goes, with all its parts, to the one that its id
 * names (ids_lane). */
struct handoff_lanes {
	struct channel *writer[HANDOFF_LANES_MAX];
	/* Not 0: that shard takes no mail now.  NULL: always 0. */
	const atomic_uint *trouble[HANDOFF_LANES_MAX];
	unsigned count;
};

static inline unsigned handoff_lane(const struct handoff_lanes *l, uint64_t id)
{
	return ids_lane(id, l->count);
}

/* The id of a new message, of a shard that takes mail if there is any. */
static inline uint64_t handoff_id(const struct handoff_lanes *l, struct ids *ids, uint64_t now_ms)
{
	uint64_t id = ids_next(ids, now_ms);

	/* Chosen: with one shard left of HANDOFF_LANES_MAX this finds it all but always. */
	for (unsigned tries = 16 * l->count; tries > 16; tries--) {
		const atomic_uint *trouble = l->trouble[handoff_lane(l, id)];
		if (!trouble || !atomic_load_explicit(trouble, memory_order_relaxed))
			break;
		id = ids_next(ids, now_ms);
	}
	return id;
}

enum handoff_kind {
	HANDOFF_PART = 1,   /* a run of body chunks of a message that is still being received */
	HANDOFF_DROP,       /* forget the parts of a message that will not be accepted */
	HANDOFF_ACCEPT,     /* make the message durable: mailboxes and queue in one transaction */
	HANDOFF_KIND_N = 16 /* kinds from here on belong to store/ (store/store.h) */
};

/* op.status after completion. */
enum handoff_status {
	HANDOFF_OK = 0,
	HANDOFF_FULL = 1,    /* disk, map or reserve: 452 4.3.1 */
	HANDOFF_FAILED = 2,  /* the shard has failed: 451 4.3.0 */
	HANDOFF_REFUSED = 3, /* every recipient refused in the ack (mailbox gone, quota): 550/552 */
	HANDOFF_ERROR = 4,   /* this one could not be stored: 451 4.3.0 */
};

struct part_op {
	struct op op;        /* HANDOFF_PART */
	uint64_t blob;       /* message id */
	uint32_t first;      /* number of the first chunk within the blob */
	struct chain chunks; /* full chunks; the writer frees them */
};

struct drop_op {
	struct op op; /* HANDOFF_DROP */
	uint64_t blob;
};

/* One per message under way; the session embeds it or takes it from a pool. */
struct accept_op {
	struct op op;            /* HANDOFF_ACCEPT */
	struct message *message; /* the writer takes a reference of its own for the delivery hint */
	uint32_t refused; /* out: local recipients refused by the writer; the others were taken */
	/* out, of a message whose recipients are answered one by one: bit per recipient refused */
	uint64_t refused_bits[LMTP_RCPT_WORDS];
};
