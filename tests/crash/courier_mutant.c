/* SPDX-License-Identifier: BSD-3-Clause
 * A courier whose three transactions come in another order, linked in the place of the real one's
 * requests by --wrap=channel_submit.  A step that comes too early is made beside the courier's own;
 * the courier makes it again in its turn, which changes nothing any more. */
#include "tests/crash/courier_mutant.h"
#include <stdlib.h>
#include <string.h>
#include "store/courier_priv.h"

int __real_channel_submit(struct channel *c, struct op *op);
int __wrap_channel_submit(struct channel *c, struct op *op);

static bool out_early;    /* out before in: a crash between loses it */
static bool forget_early; /* forget before out: a crash between brings it twice */

/* The early step, and what was asked for, which follows it.  OWNER: the courier's thread. */
struct early {
	union {
		struct op op;
		struct move_out_op out;
		struct move_forget_op forget;
	} u;
	struct move_rcpt rcpts[MOVE_RCPTS_MAX];
	struct channel *channel;
	struct op *asked;
};

bool mutant_choose(const char *name, struct store_conf *conf)
{
	out_early = strcmp(name, "out-early") == 0;
	forget_early = strcmp(name, "forget-early") == 0;
	conf->mutant_unsynced_ack = strcmp(name, "ack-unsynced") == 0;
	return out_early || forget_early || conf->mutant_unsynced_ack;
}

static void early_done(struct op *op)
{
	struct early *e = container_of(op, struct early, u.op);

	/* There are twice as many credits as transfers. */
	BUG_ON(__real_channel_submit(e->channel, e->asked) < 0);
	free(e);
}

static struct early *early_make(struct channel *c, struct op *asked)
{
	struct early *e = calloc(1, sizeof(*e));

	BUG_ON(!e);
	e->channel = c;
	e->asked = asked;
	return e;
}

static int early_submit(struct early *e, struct channel *c)
{
	int err = __real_channel_submit(c, &e->u.op);

	if (err)
		free(e);
	return err;
}

static int out_first(struct channel *c, struct op *in)
{
	const struct transfer *t = container_of(in, struct transfer, u.op);
	struct early *e = early_make(c, in);

	for (uint32_t i = 0; i < t->count; i++) {
		e->rcpts[i] = t->rcpts[i];
		e->rcpts[i].taken = true;
	}
	e->u.out = (struct move_out_op){
		.op = {.done = early_done, .kind = STORE_MOVE_OUT},
		.id = t->id,
		.shard = t->lane->to,
		.count = t->count,
		.rcpts = e->rcpts
        };
	return early_submit(e, &t->courier->writers[t->lane->from]);
}

static int forget_first(struct channel *c, struct op *out)
{
	const struct transfer *t = container_of(out, struct transfer, u.op);
	struct early *e = early_make(c, out);

	e->u.forget = (struct move_forget_op){
		.op = {.done = early_done, .kind = STORE_MOVE_FORGET},
                  .id = t->id
        };
	return early_submit(e, &t->courier->writers[t->lane->to]);
}

int __wrap_channel_submit(struct channel *c, struct op *op)
{
	if (out_early && op->kind == STORE_MOVE_IN)
		return out_first(c, op);
	if (forget_early && op->kind == STORE_MOVE_OUT)
		return forget_first(c, op);
	return __real_channel_submit(c, op);
}
