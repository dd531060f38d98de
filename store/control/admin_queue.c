/* SPDX-License-Identifier: BSD-3-Clause
 * Admin commands that walk the queue: list, and retry, delete, hold, release, bounce of one message
 * or of all that a filter means.  The walk goes in slices; between two of them the loop does other
 * work. */
#include "store/control/admin_priv.h"
#include <errno.h>
#include "dataplane/base/codec.h"
#include "smtp/address.h"

static void walk_step(struct admin_client *c);
static void slice_step(struct admin_client *c);
static void slice_shard(struct admin_client *c);

static bool id_parse(const char *text, uint64_t *id)
{
	return text && hex_to_u64(bytes_str(text), id) == 0 && *id <= INT64_MAX;
}

static json_t *id_json(uint64_t id)
{
	char text[17];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
	return json_string(text);
}

/* ---- filters ---- */

static bool take_text(struct admin_client *c, const json_t *request, const char *key, char *out,
	size_t cap, bool *any)
{
	bool ok;
	const char *text = admin_text(request, key, cap - 1, &ok);

	if (!ok) {
		admin_fail(c, "%s must be a text of at most %zu octets", key, cap - 1);
		return false;
	}
	snprintf(out, cap, "%s", text ? text : "");
	*any |= text != NULL;
	return true;
}

/* An address as the queue has it; what is none will be equal to none. */
static bool take_mailbox(struct admin_client *c, const json_t *request, const char *key, char *out,
	size_t cap, bool *any)
{
	uint8_t memory[ADDRESS_MAX];
	struct address parsed;
	struct buf canonical;

	if (!take_text(c, request, key, out, cap, any))
		return false;
	buf_init(&canonical, memory, MIN(sizeof(memory), cap - 1));
	if (address_parse_mailbox(bytes_str(out), &canonical, &parsed) == 0) {
		memcpy(out, canonical.p, canonical.n);
		out[canonical.n] = '\0';
	}
	return true;
}

static bool take_domain(struct admin_client *c, const json_t *request, struct queue_walk *w)
{
	struct queue_filter *f = &w->filter;
	char canonical[CONFIG_DOMAIN_MAX + 1];

	if (!take_text(c, request, "domain", f->domain, sizeof(f->domain), &w->filtered))
		return false;
	if (config_domain_canonical(f->domain, canonical) && strlen(canonical) < sizeof(f->domain))
		strcpy(f->domain, canonical);
	return true;
}

static bool take_filter(struct admin_client *c, const json_t *request)
{
	struct queue_walk *w = &c->work.walk;
	struct queue_filter *f = &w->filter;
	bool ok;
	uint64_t older_ms = admin_number(request, "older_ms", 0, INT64_MAX, &ok);

	w->filtered = older_ms > 0;
	if (!take_domain(c, request, w) ||
		!take_mailbox(c, request, "sender", f->sender, sizeof(f->sender), &w->filtered) ||
		!take_mailbox(
			c, request, "recipient", f->recipient, sizeof(f->recipient), &w->filtered))
		return false;
	if (!ok || (f->recipient[0] && !strchr(f->recipient, '@'))) {
		admin_fail(c, "older_ms must be a number, recipient an address");
		return false;
	}
	uint64_t now = clock_wall_ms();
	f->received_before_ms = older_ms ? now - MIN(older_ms, now - 1) : 0;
	return true;
}

/* ---- the list ---- */

static bool walk_line(struct admin_client *c, json_t *message)
{
	struct queue_walk *w = &c->work.walk;
	const char *id = json_string_value(json_object_get(message, "id"));

	if (w->listed == w->limit) { /* more than asked for: say where to go on */
		if (!id_parse(id, &w->list.at.id))
			w->list.at.id = 0;
		w->stopped = true;
		return false;
	}
	w->listed++;
	admin_send(c, json_incref(message));
	return true;
}

static void walk_end(struct admin_client *c)
{
	struct queue_walk *w = &c->work.walk;

	if (admin_shards_failed(c))
		return;
	json_t *last = json_pack("{s:I}", "messages", (json_int_t)w->listed);

	/* Along the index of recipients an id is no place to go on. */
	if (w->stopped && !w->filter.recipient[0] && !w->filter.domain[0])
		json_object_set_new(last, "next_id", id_json(w->list.at.id));
	admin_done(c, last);
}

static void walk_done(struct op *op)
{
	struct queue_list_op *l = container_of(op, struct queue_list_op, op);
	struct admin_client *c = container_of(l, struct admin_client, work.walk.list);
	struct queue_walk *w = &c->work.walk;

	if (op->status != 0)
		chain_free(&l->out);
	else
		admin_lines_each(&l->out, walk_line, c);
	if (!w->stopped && (op->status != 0 || l->end)) {
		if (!admin_next_shard(c, op->status)) {
			walk_end(c);
			return;
		}
		l->at = (struct queue_at){0};
	}
	if (w->stopped || !c->bev)
		walk_end(c);
	else
		walk_step(c);
}

static void walk_step(struct admin_client *c)
{
	struct queue_list_op *l = &c->work.walk.list;

	if (!admin_may_send(c, walk_step))
		return;
	l->op.kind = STORE_READ_QUEUE_LIST;
	l->op.done = walk_done;
	l->filter = &c->work.walk.filter;
	l->max_messages = ADMIN_BATCH;
	admin_submit(c, admin_reader(c), &l->op);
}

/* ---- changes ---- */

static void changed(struct admin_client *c)
{
	struct queue_walk *w = &c->work.walk;

	if (w->messages == 0)
		admin_not_found(c, "no message matches");
	else
		admin_done(c, json_pack("{s:I, s:I}", "messages", (json_int_t)w->messages,
				      "recipients", (json_int_t)w->recipients));
}

static void act_done(struct op *op)
{
	struct queue_admin_op *a = container_of(op, struct queue_admin_op, op);
	struct admin_client *c = container_of(a, struct admin_client, work.walk.act);
	struct queue_walk *w = &c->work.walk;

	if (op->status != 0 && op->status != -ENOENT) {
		admin_fail(c, "%s", admin_store_error(op->status));
		return;
	}
	w->messages = op->status == 0;
	w->recipients = op->status == 0 ? a->changed : 0;
	changed(c);
}

static void slice_done(struct op *op)
{
	struct queue_slice_op *s = container_of(op, struct queue_slice_op, op);
	struct admin_client *c = container_of(s, struct admin_client, work.walk.slice);
	struct queue_walk *w = &c->work.walk;

	if (op->status == 0) {
		w->messages += s->messages;
		w->recipients += s->recipients;
	}
	/* Whoever began this and went away has said what he wanted: it goes on. */
	if (op->status == 0 && !s->end)
		slice_step(c);
	else if (admin_next_shard(c, op->status))
		slice_shard(c);
	else if (c->shard_status)
		admin_fail(c, "%s (%llu messages were changed)", admin_store_error(c->shard_status),
			(unsigned long long)w->messages);
	else
		changed(c);
}

/* From the start of the next shard. */
static void slice_shard(struct admin_client *c)
{
	struct queue_slice_op *s = &c->work.walk.slice;

	s->at = (struct queue_at){0};
	s->counted_id = 0;
	slice_step(c);
}

static void slice_step(struct admin_client *c)
{
	struct queue_slice_op *s = &c->work.walk.slice;

	s->op.kind = STORE_QUEUE_SLICE;
	s->op.done = slice_done;
	s->filter = &c->work.walk.filter;
	admin_submit(c, admin_writer(c), &s->op);
}

static void act(struct admin_client *c, const json_t *request, enum queue_action action)
{
	struct queue_walk *w = &c->work.walk;
	bool ok;
	const char *id = admin_text(request, "id", 16, &ok);

	w->slice.action = w->act.action = (uint8_t)action;
	w->slice.priority = w->act.priority = w->priority;
	if (!take_filter(c, request))
		return;
	if (!ok || (id && !id_parse(id, &w->act.id))) {
		admin_fail(c, "the id must be up to 16 hexadecimal digits");
	} else if (id) {
		w->act.op.kind = STORE_QUEUE_ADMIN;
		w->act.op.done = act_done;
		c->shard = shard_of_id(c->admin->daemon, w->act.id);
		admin_submit(c, admin_writer(c), &w->act.op);
	} else if (w->filtered || json_is_true(json_object_get(request, "all"))) {
		slice_step(c);
	} else {
		admin_fail(c, "an id, a filter or all is needed");
	}
}

void admin_queue_bounce(struct admin_client *c, const json_t *request)
{
	act(c, request, QUEUE_BOUNCE);
}

void admin_queue_retry(struct admin_client *c, const json_t *request)
{
	act(c, request, QUEUE_RETRY);
}

void admin_queue_delete(struct admin_client *c, const json_t *request)
{
	act(c, request, QUEUE_DELETE);
}

void admin_queue_hold(struct admin_client *c, const json_t *request)
{
	act(c, request, QUEUE_HOLD);
}

void admin_queue_release(struct admin_client *c, const json_t *request)
{
	act(c, request, QUEUE_RELEASE);
}

void admin_queue_priority(struct admin_client *c, const json_t *request)
{
	const json_t *v = json_object_get(request, "priority");

	if (!json_is_integer(v) || json_integer_value(v) < MESSAGE_PRIORITY_MIN ||
		json_integer_value(v) > MESSAGE_PRIORITY_MAX) {
		admin_fail(c, "priority must be a number from %d to %d", MESSAGE_PRIORITY_MIN,
			MESSAGE_PRIORITY_MAX);
		return;
	}
	c->work.walk.priority = (int8_t)json_integer_value(v);
	act(c, request, QUEUE_PRIORITY);
}

/* Shard by shard; an id to go on from names its own. */
static void walk_begin(struct admin_client *c, bool from_given)
{
	if (from_given)
		c->shard = shard_of_id(c->admin->daemon, c->work.walk.list.at.id);
	walk_step(c);
}

void admin_queue_list(struct admin_client *c, const json_t *request)
{
	struct queue_walk *w = &c->work.walk;
	bool from_ok, limit_ok;
	const char *from = admin_text(request, "from_id", 16, &from_ok);

	w->limit = admin_number(request, "limit", ADMIN_LIST_LIMIT, UINT32_MAX, &limit_ok);
	if (!take_filter(c, request))
		return;
	if (!from_ok || (from && !id_parse(from, &w->list.at.id)) || !limit_ok)
		admin_fail(c, "from_id must be hexadecimal digits and limit a number");
	else
		walk_begin(c, from != NULL);
}

/* ---- one message ---- */

static json_t *rcpt_json(const struct message *m, uint32_t i, const struct queue_rcpt_row *row)
{
	const struct rcpt *r = message_rcpt(m, i);
	struct bytes address = message_rcpt_address(m, r);

	return json_pack("{s:o, s:s, s:i, s:I, s:I, s:i, s:o}", "address",
		json_stringn((const char *)address.p, address.n), "state",
		store_state_name(row->state), "priority", (int)row->priority, "attempts",
		(json_int_t)row->attempts, "next_ms", (json_int_t)row->next_ms, "code",
		(int)row->code, "reason",
		json_stringn(row->reason, MIN((size_t)row->reason_n, sizeof(row->reason))));
}

static json_t *show_json(const struct queue_read_op *q)
{
	const struct message *m = q->message;
	struct bytes sender = message_sender(m);
	json_t *rcpts = json_array();
	struct queue_rcpt_row row;
	char peer[IP_TEXT_MAX];

	/* Rows are not packed over chunk borders: walk the chunks. */
	uint32_t i = 0;
	for (const struct chunk *k = q->rows.head; k; k = k->next) {
		for (size_t at = 0; at + sizeof(row) <= k->n && i < m->rcpt_count;
			at += sizeof(row)) {
			memcpy(&row, k->data + at, sizeof(row));
			json_array_append_new(rcpts, rcpt_json(m, i++, &row));
		}
	}
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:s, s:o}", "id", id_json(m->id), "sender",
		json_stringn((const char *)sender.p, sender.n), "size", (json_int_t)q->body_bytes,
		"received_ms", (json_int_t)m->received_ms, "expire_ms", (json_int_t)q->expire_ms,
		"peer", ip_format(&m->peer, peer), "recipients", rcpts);
}

static void show_done(struct op *op)
{
	struct queue_read_op *q = container_of(op, struct queue_read_op, op);
	struct admin_client *c = container_of(q, struct admin_client, work.show.read);

	json_t *object = op->status == 0 ? show_json(q) : NULL;
	int status = op->status;
	if (status == 0)
		message_unref(q->message);
	chain_free(&q->rows);
	if (status == -ENOENT) {
		admin_not_found(c, "no such message");
	} else if (status != 0 || !object) {
		admin_fail(c, "%s",
			status ? admin_store_error(status) : "the message cannot be shown");
	} else {
		admin_send(c, object);
		admin_done(c, NULL);
	}
}

void admin_queue_show(struct admin_client *c, const json_t *request)
{
	struct queue_read_op *q = &c->work.show.read;
	bool ok;
	const char *id = admin_text(request, "id", 16, &ok);

	if (!ok || !id_parse(id, &q->id)) {
		admin_fail(c, "the id must be up to 16 hexadecimal digits");
		return;
	}
	q->op.kind = STORE_READ_QUEUE;
	q->op.done = show_done;
	c->shard = shard_of_id(c->admin->daemon, q->id);
	admin_submit(c, admin_reader(c), &q->op);
}
