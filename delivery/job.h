/* SPDX-License-Identifier: BSD-3-Clause
 * Messages in memory while recipients of them are being worked on.  A job comes with the ready hint
 * (message and body in memory) or is read from the store (envelope; the body is read when it is
 * sent).
 *
 * A job rests while all its recipients are in backlogs.  Such jobs give way to others, those first
 * that rest the longest: else the first of a backlog could wait for memory that later ones hold,
 * and the mail of one site that hangs could hold all there is.  Their recipients are as if they had
 * never had one, and are read again in their turn.  OWNER: one core's thread. */
#pragma once
#include "dataplane/base/list.h"
#include "delivery/schedule.h"
#include "store/store.h"

struct delivery;

#define JOBS_MAX 2048 /* messages in memory; chosen */

struct job {
	struct list link; /* free list, or those that rest */
	uint64_t id;
	struct message *message; /* NULL until loaded */
	uint64_t expire_ms;      /* 0: not known, and far away */
	uint64_t held;           /* octets counted against jobs.held_max */
	uint32_t hash_next;      /* 1 + index */
	uint32_t refs;           /* recipients with node->job, and the read under way */
	uint32_t resting;        /* of these, recipients in backlogs */
	uint32_t life;           /* another one after it has given way: names of before are void */
	uint64_t rest_us;        /* since when it rests */
	bool body;               /* the whole body is in message->body */
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
	struct list resting; /* the longest first */
};

/* Returns 0 or -ENOMEM. */
int jobs_init(struct delivery *d, uint32_t max, uint64_t held_max) WARN_UNUSED;
void jobs_fini(struct delivery *d);

/* Are there so many that what waits at a site may not be much? */
static inline bool jobs_scarce(const struct jobs *t)
{
	return t->used > t->max / 2;
}
/* NULL: it has none, or no longer. */
struct job *job_of(const struct delivery *d, const struct schedule_node *n);
/* A job for a message in memory, with one reference for the caller; takes the message's.  What has
 * rested for a while gives way.  NULL: too many, or too much memory is held: the message stays the
 * caller's. */
struct job *job_begin(struct delivery *d, struct message *m);
/* Tie a recipient to the job (a reference; pos: its place in the message). */
void job_tie(struct delivery *d, struct job *j, uint32_t node, uint32_t pos);
void job_untie(struct delivery *d, uint32_t node);
/* The recipient goes into its backlog, or has come out of it. */
void job_rest(struct delivery *d, uint32_t node);
void job_wake(struct delivery *d, uint32_t node);
void job_unref(struct delivery *d, struct job *j);
/* Have the message of a DUE node read; then it is dispatched.  False: not now (no job, no credit);
 * the node is as before. */
bool job_load(struct delivery *d, uint32_t node);
