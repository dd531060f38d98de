/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/lane.h"

const char *const lane_box_names[LANE_BOXES] = {"INBOX", "a", "a/b", "c"};
const char *const lane_domain = "example.org";

#define BODY_MAX     9000
#define BODY_LARGE   50000
#define DEFERRED_MS  1800000000000ull /* far ahead: rows that wait keep their time */
#define BOUNCE_BYTES 700

struct random {
	uint64_t state;
};

static uint32_t rnd(struct random *r, uint32_t n)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return (uint32_t)((r->state >> 16) % n);
}

void lane_address(const struct lane *l, char out[40])
{
	snprintf(out, 40, "lane%u@%s", l->number, lane_domain);
}

void lane_init(struct lane *l, uint64_t seed, uint32_t number)
{
	*l = (struct lane){.seed = seed, .number = number};
	l->boxes[0] = (struct lane_box){.exists = true, .uidnext = 1};
}

static uint64_t id_of(const struct lane *l, uint32_t second)
{
	return LANE_ID_BASE + ((uint64_t)l->done * LANES + l->number) * 2 + second;
}

static uint32_t some_bytes(struct random *r)
{
	return rnd(r, 8) ? 1 + rnd(r, BODY_MAX) : 1 + rnd(r, BODY_LARGE);
}

static uint32_t box_where(const struct lane *l, struct random *r, bool exists, bool rows)
{
	uint32_t start = rnd(r, LANE_BOXES);

	for (uint32_t i = 0; i < LANE_BOXES; i++) {
		uint32_t b = (start + i) % LANE_BOXES;
		if (l->boxes[b].exists == exists && (!rows || l->boxes[b].n))
			return b;
	}
	return LANE_BOXES;
}

static void next_result(const struct lane *l, struct random *r, struct lane_op *op)
{
	const struct lane_message *m = &l->queue[rnd(r, l->queue_n)];

	op->id = m->id;
	op->next_ms = DEFERRED_MS + rnd(r, 1000000);
	for (int i = 0; i < LANE_RCPTS_MAX; i++) {
		if (m->rcpts[i].pending && rnd(r, 4))
			op->outcome[i] = (uint8_t)(ATTEMPT_DELIVERED + rnd(r, 3));
	}
	if (rnd(r, 4) == 0 && l->boxes[0].n < LANE_ROWS_MAX)
		op->bounce_id = id_of(l, 1);
}

static bool possible(const struct lane *l, struct random *r, struct lane_op *op)
{
	const struct lane_box *from;

	switch (op->kind) {
	case LANE_ACCEPT:
		op->local = rnd(r, 2) && l->boxes[0].n < LANE_ROWS_MAX;
		op->remote = l->queue_n < LANE_QUEUE_MAX ? rnd(r, LANE_RCPTS_MAX + 1) : 0;
		return op->local || op->remote;
	case LANE_APPEND:
		op->box = box_where(l, r, true, false);
		return l->boxes[op->box].n < LANE_ROWS_MAX;
	case LANE_RESULT:
		if (l->queue_n)
			next_result(l, r, op);
		return l->queue_n > 0;
	case LANE_FLAGS:
	case LANE_EXPUNGE:
	case LANE_COPY:
		op->box = box_where(l, r, true, true);
		if (op->box == LANE_BOXES)
			return false;
		from = &l->boxes[op->box];
		op->uid_count = 1 + rnd(r, from->n);
		op->flags = rnd(r, 32);
		op->mode = (uint8_t)rnd(r, 3);
		op->to = box_where(l, r, true, false);
		return op->kind != LANE_COPY || l->boxes[op->to].n + op->uid_count <= LANE_ROWS_MAX;
	case LANE_CREATE:
		op->box = box_where(l, r, false, false);
		return op->box < LANE_BOXES;
	case LANE_DELETE:
	case LANE_RENAME:
		op->box = 1 + rnd(r, LANE_BOXES - 1);
		if (op->kind == LANE_DELETE)
			return l->boxes[op->box].exists;
		op->to = box_where(l, r, false, false);
		/* "a" would take "a/b" with it. */
		return l->boxes[op->box].exists && op->box == 3 && op->to < LANE_BOXES;
	default:
		op->action = (uint8_t)(rnd(r, 3) ? QUEUE_HOLD + rnd(r, 2) : QUEUE_DELETE);
		if (l->queue_n)
			op->id = l->queue[rnd(r, l->queue_n)].id;
		return l->queue_n > 0;
	}
}

void lane_next(const struct lane *l, struct lane_op *op)
{
	struct random r = {
		(l->seed + 1) * 0x9e3779b97f4a7c15ull ^ ((uint64_t)l->done << 20 | l->number << 4)};

	for (int i = 0; i < 8; i++)
		rnd(&r, 2);
	do {
		*op = (struct lane_op){.kind = (enum lane_kind)rnd(&r, LANE_KIND_N),
			.id = id_of(l, 0),
			.bytes = some_bytes(&r)};
		op->streamed = op->bytes >= CHUNK_DATA && rnd(&r, 2);
	} while (!possible(l, &r, op));
}

/* ---- what it does ---- */

static void row_add(struct lane_box *b, uint64_t blob, uint32_t bytes, uint32_t flags)
{
	b->rows[b->n++] = (struct lane_row){b->uidnext++, flags, blob, bytes};
}

static struct lane_message *message_of(struct lane *l, uint64_t id)
{
	for (uint32_t i = 0; i < l->queue_n; i++) {
		if (l->queue[i].id == id)
			return &l->queue[i];
	}
	BUG_ON(true);
}

static void message_settle(struct lane *l, struct lane_message *m)
{
	for (int i = 0; i < LANE_RCPTS_MAX; i++) {
		if (m->rcpts[i].pending)
			return;
	}
	*m = l->queue[--l->queue_n];
}

static void apply_accept(struct lane *l, const struct lane_op *op)
{
	if (op->local)
		row_add(&l->boxes[0], op->id, op->bytes, 0);
	if (!op->remote)
		return;
	struct lane_message *m = &l->queue[l->queue_n++];
	*m = (struct lane_message){.id = op->id, .bytes = op->bytes};
	/* The local recipient, if any, is the last of the message. */
	for (uint32_t i = 0; i < op->remote; i++)
		m->rcpts[i].pending = true;
}

static void apply_result(struct lane *l, const struct lane_op *op)
{
	struct lane_message *m = message_of(l, op->id);

	if (op->bounce_id)
		row_add(&l->boxes[0], op->bounce_id, BOUNCE_BYTES, 0);
	for (int i = 0; i < LANE_RCPTS_MAX; i++) {
		struct lane_rcpt *r = &m->rcpts[i];
		if (op->outcome[i] == ATTEMPT_DEFERRED) {
			r->attempts++;
			r->next_ms = op->next_ms;
		} else if (op->outcome[i]) {
			r->pending = false;
		}
	}
	message_settle(l, m);
}

static void apply_flags(struct lane_box *b, const struct lane_op *op)
{
	for (uint32_t i = 0; i < op->uid_count; i++) {
		uint32_t *f = &b->rows[i].flags;
		*f = op->mode == FLAGS_ADD      ? *f | op->flags
		     : op->mode == FLAGS_REMOVE ? *f & ~op->flags
						: op->flags;
	}
}

static void apply_copy(struct lane *l, const struct lane_op *op)
{
	/* A mailbox may be copied into itself. */
	for (uint32_t i = 0; i < op->uid_count; i++) {
		struct lane_row r = l->boxes[op->box].rows[i];
		row_add(&l->boxes[op->to], r.blob, r.bytes, r.flags);
	}
}

static void apply_expunge(struct lane_box *b, const struct lane_op *op)
{
	b->n -= op->uid_count;
	memmove(b->rows, b->rows + op->uid_count, b->n * sizeof(*b->rows));
}

static void apply_admin(struct lane *l, const struct lane_op *op)
{
	struct lane_message *m = message_of(l, op->id);

	if (op->action == QUEUE_DELETE) {
		*m = l->queue[--l->queue_n];
		return;
	}
	for (int i = 0; i < LANE_RCPTS_MAX; i++)
		m->rcpts[i].held = op->action == QUEUE_HOLD;
}

void lane_apply(struct lane *l, const struct lane_op *op)
{
	struct lane_box *b = &l->boxes[op->box];

	l->done++;
	switch (op->kind) {
	case LANE_ACCEPT:
		apply_accept(l, op);
		break;
	case LANE_APPEND:
		row_add(b, op->id, op->bytes, op->flags);
		break;
	case LANE_RESULT:
		apply_result(l, op);
		break;
	case LANE_FLAGS:
		apply_flags(b, op);
		break;
	case LANE_COPY:
		apply_copy(l, op);
		break;
	case LANE_EXPUNGE:
		apply_expunge(b, op);
		break;
	case LANE_CREATE:
		*b = (struct lane_box){.exists = true, .uidnext = 1};
		break;
	case LANE_DELETE:
		b->exists = false;
		break;
	case LANE_RENAME:
		l->boxes[op->to] = *b;
		b->exists = false;
		break;
	default:
		apply_admin(l, op);
	}
}
