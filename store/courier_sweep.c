/* SPDX-License-Identifier: BSD-3-Clause
 * After a crash or a failure: rows of `dedup` that nobody will ask for any more are forgotten, one
 * message after the other.  Courier thread. */
#include <errno.h>
#include "store/courier_priv.h"

static struct courier *courier_of(struct op *op)
{
	return container_of(container_of(op, struct sweep, u.op), struct courier, sweep);
}

/* On to the next shard, or done. */
static void next_shard(struct courier *c)
{
	struct sweep *s = &c->sweep;

	s->from_id = 0;
	s->shard++;
	if (s->shard < c->count)
		return;
	s->shard = 0;
	s->due = s->again;
	s->not_before_us = s->again ? c->now_us + COURIER_SWEEP_US : 0;
	s->again = false;
}

static void forget_done(struct op *op)
{
	struct sweep *s = &courier_of(op)->sweep;

	s->busy = false;
	s->again |= op->status != 0;
}

static void moves_done(struct op *op)
{
	struct courier *c = courier_of(op);
	struct sweep *s = &c->sweep;
	const struct chunk *first = s->u.moves.out.head;
	uint64_t id = s->id;
	bool waits = op->status != 0; /* cannot be known now */

	s->again |= waits;
	if (first && first->n >= sizeof(struct move_row)) {
		struct move_row row;
		memcpy(&row, first->data, sizeof(row));
		waits |= row.id == id;
	}
	chain_free(&s->u.moves.out);
	s->busy = false;
	if (waits)
		return;
	s->u.forget = (struct move_forget_op){
		.op = {.done = forget_done, .kind = STORE_MOVE_FORGET},
                  .id = id
        };
	s->busy = channel_submit(&c->writers[s->shard], &s->u.op) == 0;
	if (!s->busy)
		s->from_id = id; /* again */
}

/* Is it still to be brought? */
static void ask_home(struct courier *c, uint64_t id)
{
	struct sweep *s = &c->sweep;
	unsigned home = ids_lane(id, c->count);

	s->id = id;
	s->from_id = id + 1;
	s->u.moves = (struct moves_read_op){
		.op = {.done = moves_done, .kind = STORE_READ_MOVES},
		.shard = s->shard,
		.from_id = id,
		.max_rows = 1
        };
	s->busy = channel_submit(&c->readers[home], &s->u.op) == 0;
	if (!s->busy)
		s->from_id = id;
}

static void dedup_done(struct op *op)
{
	struct courier *c = courier_of(op);
	struct sweep *s = &c->sweep;

	s->busy = false;
	s->again |= op->status != 0;
	if (op->status != 0 || s->u.dedup.end)
		next_shard(c);
	else
		ask_home(c, s->u.dedup.id);
}

unsigned sweep_poll(struct courier *c)
{
	struct sweep *s = &c->sweep;

	if (!s->due || s->busy || courier_stopping(c) || s->not_before_us > c->now_us)
		return 0;
	s->u.dedup = (struct dedup_read_op){
		.op = {.done = dedup_done, .kind = STORE_READ_DEDUP},
                  .from_id = s->from_id
        };
	s->busy = channel_submit(&c->readers[s->shard], &s->u.op) == 0;
	return s->busy;
}
