/* SPDX-License-Identifier: BSD-3-Clause
 * The octets of a message for one transaction: from memory, or from the store in slices, one slice
 * ahead.  OWNER: one core's thread. */
#pragma once
#include "dataplane/timer.h"
#include "delivery/job.h"

struct content {
	struct delivery *d;
	struct job *job;                    /* borrowed: lives until the end of the transaction */
	void (*on_more)(struct content *c); /* octets, `failed`, or no longer busy */
	/* memory */
	const struct chunk *chunk;
	uint8_t part; /* prefix, body, end */
	/* both */
	uint32_t at; /* octets of the chunk that were given */
	bool stored, failed, begun;
	/* store */
	struct list waiter; /* for a credit */
	struct timer timer; /* tries again: no chunks */
	struct body_read_op op;
	bool reading;
	uint64_t asked, given, total; /* offsets in the view; total 0: not known */
	struct chain now, ahead;
};

/* Once per connection. */
void content_init(struct content *c, struct delivery *d, void (*on_more)(struct content *c));
void content_begin(struct content *c, struct job *job);
/* Octets of content as it goes out. */
uint64_t content_size(const struct job *job);
/* At most want octets; empty without *end_r: on_more will be called, or `failed` is set. */
struct bytes content_next(struct content *c, size_t want, bool *end_r);
/* Drop what is held.  A read under way goes on: the memory stays until !content_busy. */
void content_end(struct content *c);
static inline bool content_busy(const struct content *c)
{
	return c->reading;
}
/* A reader has credits again. */
void content_on_credit(struct delivery *d);
