/* SPDX-License-Identifier: BSD-3-Clause
 * A core answers questions.  Runs on the core. */
#include "store/control/agent.h"
#include <errno.h>
#include "dataplane/io.h"

static int32_t tcp_list(struct core_rooms *r, struct op *op)
{
	struct tcp_list_op *q = container_of(op, struct tcp_list_op, op);

	q->n = stack_list(
		r->core->stack, &q->filter, &q->from, AGENT_LOOK, q->rows, ARRAY_LEN(q->rows));
	return 0;
}

static int32_t tcp_show(struct core_rooms *r, struct op *op)
{
	struct tcp_show_op *q = container_of(op, struct tcp_show_op, op);

	return stack_find(r->core->stack, q->id, &q->row) ? 0 : -ENOENT;
}

static int32_t net(struct core_rooms *r, struct op *op)
{
	struct net_op *q = container_of(op, struct net_op, op);
	const struct stack *st = r->core->stack;

	q->neigh_n = stack_neighs(st, &q->from, q->neighs, ARRAY_LEN(q->neighs));
	q->route_n = stack_routes(st, q->routes, ARRAY_LEN(q->routes));
	return 0;
}

static int32_t trace(struct core_rooms *r, struct op *op)
{
	struct capture_op *q = container_of(op, struct capture_op, op);

	if (!r->core->io)
		return -EINVAL;
	core_io_capture(r->core->io, q->ring);
	return 0;
}

static int32_t recipient(struct core_rooms *r, struct op *op)
{
	struct recipient_op *q = container_of(op, struct recipient_op, op);

	if (!r->delivery)
		return -EINVAL;
	delivery_inspect(r->delivery, q->id, q->rcpt, bytes_str(q->domain), &q->info);
	return 0;
}

static int32_t domains(struct core_rooms *r, struct op *op)
{
	struct domains_op *q = container_of(op, struct domains_op, op);

	if (!r->delivery)
		return -EINVAL;
	q->n = delivery_domains(r->delivery, &q->from, AGENT_LOOK, q->rows, ARRAY_LEN(q->rows));
	return 0;
}

static int32_t (*const answers[AGENT_QUESTION_N])(struct core_rooms *r, struct op *op) = {
	[ASK_TCP_LIST] = tcp_list,
	[ASK_TCP_SHOW] = tcp_show,
	[ASK_NET] = net,
	[ASK_RECIPIENT] = recipient,
	[ASK_DOMAINS] = domains,
	[ASK_CAPTURE] = trace,
};

static unsigned answer_one(struct core_rooms *r, struct channel *from)
{
	struct op *op;

	if (channel_take(from, &op, 1) == 0)
		return 0;
	bool known = op->kind < AGENT_QUESTION_N && answers[op->kind];
	op->status = known && r->core->stack ? answers[op->kind](r, op) : -EINVAL;
	channel_complete(op);
	return 1;
}

unsigned agent_answer(struct core_rooms *r)
{
	unsigned n = answer_one(r, &r->questions);

	return r->telemetry.requests ? n + answer_one(r, &r->telemetry) : n;
}
