/* SPDX-License-Identifier: BSD-3-Clause
 * Ops to the store writer: parts of large bodies, accepts, drops.  A session without a credit
 * waits; once an accept is submitted only the writer may answer. */
#include "smtp/server_priv.h"
#include <errno.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"

static struct handoff_job *job_get(
	struct smtp_server *s, struct smtp_conn *c, uint16_t kind, op_done_fn done)
{
	struct handoff_job *j = s->jobs_free;

	BUG_ON(!j); /* more jobs than credits and completions of one poll */
	s->jobs_free = j->next;
	*j = (struct handoff_job){.server = s, .conn = c, .slot = SMTP_NO_SLOT};
	if (c) {
		j->generation = c->generation;
		j->bucket = c->bucket;
	}
	j->op.kind = kind;
	j->op.done = done;
	return j;
}

static void job_put(struct handoff_job *j)
{
	struct smtp_server *s = j->server;

	j->next = s->jobs_free;
	s->jobs_free = j;
}

/* The job's session, if it is still the same. */
static struct smtp_conn *job_conn(const struct handoff_job *j)
{
	struct smtp_conn *c = j->conn;

	return c->generation == j->generation ? c : NULL;
}

static void give_back(struct handoff_job *j)
{
	j->server->peer_chunks[j->bucket] -= j->charged;
	j->server->held -= j->charged;
}

/* ---- drops ---- */

static void drop_done(struct op *op)
{
	job_put(container_of(op, struct handoff_job, op));
}

static bool drop_submit(struct smtp_server *s, uint64_t blob)
{
	struct channel *writer = server_lane(s, blob)->writer;
	struct handoff_job *j = job_get(s, NULL, HANDOFF_DROP, drop_done);

	j->drop.blob = blob;
	if (channel_submit(writer, &j->op) == 0)
		return true;
	job_put(j);
	return false;
}

/* The last ones first; a lane without credits does not hold up the others. */
void handoff_drops_flush(struct smtp_server *s)
{
	uint32_t refused = 0, all = (1u << s->writers.count) - 1;

	for (uint32_t i = s->drops_n; i > 0 && refused != all; i--) {
		uint64_t blob = s->drops[i - 1];
		uint32_t bit = 1u << handoff_lane(&s->writers, blob);
		if (refused & bit)
			continue;
		if (!drop_submit(s, blob)) {
			refused |= bit;
			continue;
		}
		s->drops[i - 1] = s->drops[--s->drops_n];
		s->drops_reserved--;
	}
}

void handoff_drop(struct smtp_server *s, uint64_t blob)
{
	BUG_ON(s->drops_n == s->drops_max); /* reserved before the first part */
	s->drops[s->drops_n++] = blob;
	handoff_drops_flush(s);
}

/* ---- parts ---- */

static void part_done(struct op *op)
{
	struct handoff_job *j = container_of(op, struct handoff_job, op);
	struct smtp_conn *c = job_conn(j);

	give_back(j);
	if (c && c->message && c->message->id == j->part.blob) {
		c->parts--;
		if (op->status != HANDOFF_OK && c->part_status == HANDOFF_OK)
			c->part_status = (uint8_t)op->status;
		if (c->wait == WAIT_PARTS)
			conn_retry(c);
	}
	job_put(j);
}

static bool is_full(const struct chunk *k)
{
	return k->n == CHUNK_DATA;
}

/* Move the body's full chunks to the part; returns how many. */
static uint32_t cut_full(struct chain *body, struct chain *part)
{
	uint32_t n = 0;

	while (body->head && is_full(body->head)) {
		chain_push(part, chain_pop(body));
		n++;
	}
	return n;
}

static bool reserve_drop(struct smtp_conn *c)
{
	struct smtp_server *s = c->server;

	if (!c->reserved && s->drops_reserved < s->drops_max) {
		s->drops_reserved++;
		c->reserved = true;
	}
	return c->reserved;
}

/* Measuring: the store takes part in nothing. */
static void discard_parts(struct smtp_conn *c)
{
	struct chain gone = {0};
	uint64_t before = c->message->body.bytes;
	uint32_t n = cut_full(&c->message->body, &gone);

	c->message->streamed += before - c->message->body.bytes;
	c->message->streamed_chunks += n;
	body_charge(c, -(int32_t)n);
	chain_free(&gone);
}

bool handoff_parts(struct smtp_conn *c)
{
	struct smtp_server *s = c->server;
	struct message *m = c->message;

	if (s->conf.discard) {
		discard_parts(c);
		return true;
	}
	if (c->parts == PARTS_MAX) {
		server_wait(c, WAIT_PARTS);
		return false;
	}
	if (!reserve_drop(c)) {
		server_wait(c, WAIT_CREDIT);
		return false;
	}
	struct handoff_job *j = job_get(s, c, HANDOFF_PART, part_done);
	uint64_t before = m->body.bytes;
	j->charged = cut_full(&m->body, &j->part.chunks);
	j->part.blob = m->id;
	j->part.first = m->streamed_chunks;
	uint64_t bytes = before - m->body.bytes;
	uint32_t chunks = j->charged;
	if (channel_submit(server_lane(s, m->id)->writer, &j->op) < 0) {
		chain_join(&j->part.chunks, &m->body);
		m->body = j->part.chunks;
		job_put(j);
		server_wait(c, WAIT_CREDIT);
		return false;
	}
	m->streamed += bytes;
	m->streamed_chunks += chunks;
	c->charged -= chunks; /* the account is settled when the part is done */
	c->parts++;
	return true;
}

/* ---- accepts ---- */

static enum reply_id reply_of(int32_t status)
{
	switch (status) {
	case HANDOFF_OK:
		return REPLY_QUEUED;
	case HANDOFF_FULL:
		return REPLY_NO_STORAGE;
	case HANDOFF_REFUSED:
		return REPLY_REFUSED;
	default:
		return REPLY_LOCAL_ERROR;
	}
}

/* The parts of a message that was not taken are to be forgotten; of one that was, they are its. */
static void settle_drop(struct handoff_job *j, uint64_t blob)
{
	if (!j->reserved)
		return;
	if (j->op.status == HANDOFF_OK)
		j->server->drops_reserved--;
	else
		handoff_drop(j->server, blob);
}

static void accept_done(struct op *op)
{
	struct handoff_job *j = container_of(op, struct handoff_job, op);
	struct message *m = j->accept.message;
	struct smtp_conn *c = job_conn(j);
	enum reply_id reply = reply_of(op->status);

	give_back(j);
	histogram_add(HIST_SMTP_ACCEPT, j->server->core->now_us - j->submitted_us);
	if (op->status == HANDOFF_OK) {
		message_log_accepted(m);
	} else {
		counter_inc(CTR_SMTP_MESSAGES_REFUSED);
		log_warn("smtp", "not stored id=%016llx status=%d", (unsigned long long)m->id,
			op->status);
	}
	if (reply == REPLY_NO_STORAGE)
		counter_inc(CTR_SMTP_REPLIES_452);
	settle_drop(j, m->id);
	if (c && j->slot != SMTP_NO_SLOT) {
		smtp_session_refused(&c->session, j->accept.refused_bits);
		smtp_session_committed(&c->session, j->slot, reply, m->id);
		conn_kick(c);
	}
	message_unref(m);
	job_put(j);
}

bool handoff_accept(struct smtp_conn *c, unsigned slot)
{
	struct smtp_server *s = c->server;
	struct handoff_job *j = job_get(s, c, HANDOFF_ACCEPT, accept_done);

	j->accept.message = c->message;
	j->slot = (uint8_t)slot;
	j->charged = c->charged;
	j->reserved = c->reserved;
	j->submitted_us = s->core->now_us;
	if (channel_submit(server_lane(s, c->message->id)->writer, &j->op) < 0) {
		job_put(j);
		server_wait(c, WAIT_CREDIT);
		return false;
	}
	if (s->conf.ack_early) {
		/* Forbidden: the crash campaign has to catch it. */
		j->slot = SMTP_NO_SLOT;
		smtp_session_committed(&c->session, slot, REPLY_QUEUED, c->message->id);
	}
	c->message = NULL;
	c->charged = c->envelope = 0;
	c->reserved = false;
	c->parts = 0;
	return true;
}
