/* SPDX-License-Identifier: BSD-3-Clause
 * When each deferred recipient is due: compact nodes from a pool of fixed size, a heap in order of
 * due time, and a keyed table by (message, recipient).  The truth is in the store; what does not
 * fit here stays there and is read again.  OWNER: one core's thread.  Nodes are named by index. */
#pragma once
#include "dataplane/base/siphash.h"

#define SCHEDULE_NONE UINT32_MAX

enum schedule_state {
	SCHEDULE_FREE,
	SCHEDULE_WAITING, /* in the heap */
	SCHEDULE_DUE,     /* out of it: its owner has it on a list, in an attempt or at the store */
	SCHEDULE_GONE, /* finished; kept so that an older read of the store does not bring it back
			*/
};

/* One recipient of one queued message. */
struct schedule_node {
	uint64_t next_ms; /* wall clock of the next attempt */
	uint64_t id;      /* message */
	uint32_t rcpt;    /* index in the message, as results name it */
	uint32_t domain;  /* index in struct dest */
	uint32_t pos; /* WAITING: place in the heap; DUE: recipient's place in the job's message */
	uint32_t next, prev; /* on a schedule_list */
	uint32_t hash_next;
	uint32_t job; /* DUE: name of the message in memory (job.h), 0: none yet */
	uint16_t attempts;
	uint8_t state : 7;      /* enum schedule_state */
	uint8_t backlogged : 1; /* in its domain's backlog */
	int8_t priority;        /* RFC 6710 */
};
static_assert(sizeof(struct schedule_node) + 2 * sizeof(uint32_t) <= 64,
	"a deferred recipient: node, heap slot and table slot in 64 octets");

/* First in, first out; a node is on one list at most. */
struct schedule_list {
	uint32_t head, tail, count;
};
#define SCHEDULE_LIST_EMPTY ((struct schedule_list){SCHEDULE_NONE, SCHEDULE_NONE, 0})

struct schedule {
	struct siphash_key key;
	struct schedule_node *nodes;
	uint32_t *heap, *table;
	uint32_t max;          /* nodes, places in the heap, slots of the table */
	uint32_t used, heap_n; /* nodes taken, nodes in the heap */
	uint32_t free;         /* free list through next */
	uint32_t fresh;        /* nodes from here on were never used */
	uint32_t sweep;        /* where schedule_evict goes on */
	struct schedule_list gone;
};

/* max: nodes.  Memory is touched as nodes are used.  Returns 0 or -ENOMEM. */
int schedule_init(struct schedule *s, uint32_t max) WARN_UNUSED;
void schedule_fini(struct schedule *s);

static inline struct schedule_node *schedule_node(const struct schedule *s, uint32_t i)
{
	return &s->nodes[i];
}
static inline uint32_t schedule_room(const struct schedule *s)
{
	return s->max - s->used;
}

/* A new node in state DUE, on no list.  (id, rcpt) must not be there.  SCHEDULE_NONE: full. */
uint32_t schedule_add(
	struct schedule *s, uint64_t id, uint32_t rcpt, uint32_t domain, uint16_t attempts);
/* SCHEDULE_NONE: not in memory. */
uint32_t schedule_find(const struct schedule *s, uint64_t id, uint32_t rcpt);
/* Put a DUE node into the heap, or move one that is there. */
void schedule_wait(struct schedule *s, uint32_t i, uint64_t next_ms);
/* Take the earliest node out of the heap if it is due; it becomes DUE.  Else SCHEDULE_NONE. */
uint32_t schedule_take_due(struct schedule *s, uint64_t now_ms);
/* UINT64_MAX: nothing waits. */
uint64_t schedule_next_ms(const struct schedule *s);
/* Forget a node (WAITING, or DUE and on no list). */
void schedule_remove(struct schedule *s, uint32_t i);
/* The same, but the node stays in the table as GONE until schedule_bury. */
void schedule_retire(struct schedule *s, uint32_t i);
void schedule_bury(struct schedule *s);

/* A due time such that about an eighth of the waiting nodes are later (by sampling; random: any).
 */
uint64_t schedule_late_ms(const struct schedule *s, uint64_t random);
/* The next WAITING node due after late_ms, looking at no more than *budget nodes (lowered);
 * SCHEDULE_NONE: none among them. */
uint32_t schedule_evict_next(struct schedule *s, uint64_t late_ms, uint32_t *budget);

void schedule_list_push(struct schedule *s, struct schedule_list *l, uint32_t i);
void schedule_list_push_head(struct schedule *s, struct schedule_list *l, uint32_t i);
uint32_t schedule_list_pop(struct schedule *s, struct schedule_list *l);
bool schedule_list_has(const struct schedule *s, const struct schedule_list *l, uint32_t i);
/* i is on l. */
void schedule_list_remove(struct schedule *s, struct schedule_list *l, uint32_t i);
