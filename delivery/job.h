/* SPDX-License-Identifier: BSD-3-Clause
 * Messages in memory while recipients of them are being worked on.  A job comes with the ready hint
 * (message and body in memory) or is read from the store (envelope; the body is read when it is
 * sent).  OWNER: one core's thread. */
#pragma once
#include "dataplane/base/list.h"
#include "delivery/schedule.h"
#include "store/store.h"

struct delivery;

struct job {
	struct list link; /* free list */
	uint64_t id;
	struct message *message;      /* NULL until loaded */
	uint64_t expire_ms;           /* 0: not known, and far away */
	uint64_t held;                /* octets counted against jobs.held_max */
	uint32_t hash_next;           /* 1 + index */
	uint32_t refs;                /* recipients with node->job, and the read under way */
	bool body;                    /* the whole body is in message->body */
	struct schedule_list waiting; /* recipients that wait for the read */
	struct list attempts;         /* of this message, not begun */
	struct queue_read_op read;
	struct delivery *d;
};

struct jobs {
	struct siphash_key key;
	struct job *jobs;
	uint32_t *table;
	uint32_t max, mask, used;
	uint64_t held, held_max;
	struct list free;
};

/* Returns 0 or -ENOMEM. */
int jobs_init(struct delivery *d, uint32_t max, uint64_t held_max) WARN_UNUSED;
void jobs_fini(struct delivery *d);

struct job *job_of(const struct delivery *d, const struct schedule_node *n);
/* A job for a message in memory, with one reference for the caller; takes the message's.  NULL: too
 * many, or too much memory is held: the message stays the caller's. */
struct job *job_begin(struct delivery *d, struct message *m);
/* Tie a recipient to the job (a reference; pos: its place in the message). */
void job_tie(struct delivery *d, struct job *j, uint32_t node, uint32_t pos);
void job_untie(struct delivery *d, uint32_t node);
void job_unref(struct delivery *d, struct job *j);
/* Have the message of a DUE node read; then it is dispatched.  False: not now (no job, no credit);
 * the node is as before. */
bool job_load(struct delivery *d, uint32_t node);
