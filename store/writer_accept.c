/* SPDX-License-Identifier: BSD-3-Clause
 * Taking a message: body, mailbox rows and queue rows in the transaction of its group.  Writer
 * thread. */
#include <errno.h>
#include <stdlib.h>
#include "store/body.h"
#include "store/writer.h"

int writer_apply_part(struct writer *w, struct op *op)
{
	struct part_op *p = container_of(op, struct part_op, op);

	return body_put_part(w, p->blob, p->first, &p->chunks, &op->status);
}

int writer_apply_drop(struct writer *w, struct op *op)
{
	return body_drop_parts(w, container_of(op, struct drop_op, op)->blob);
}

static int u32_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* What there is to do for a message, found before the first put; accounts and addresses behind
 * aliases are in w->expansion. */
struct plan {
	uint32_t local;   /* distinct accounts */
	uint32_t queued;  /* recipients for the queue */
	uint32_t refused; /* local recipients whose account is gone or full since RCPT */
	uint64_t owners;  /* delivery workers of the queued recipients' domains */
	uint64_t refused_bits[LMTP_RCPT_WORDS];
	uint64_t queued_bits[MESSAGE_RCPT_MAX / 64 + 1];   /* recipients of the message */
	uint64_t report_bits[MESSAGE_RCPT_MAX / 64 + 1];   /* of these: it is in their mailbox */
	uint64_t expanded_bits[MESSAGE_RCPT_MAX / 64 + 1]; /* ... or with many behind an alias */
	uint32_t reports;
};

static void bit_set(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= 1ull << i % 64;
}

static bool bit_is_set(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static uint64_t owner_of(const struct writer *w, struct bytes domain)
{
	unsigned workers = w->store->ready_count;

	return workers ? 1ull << store_domain_owner(domain, workers) : 0;
}

/* Whoever is local, taken into the expansion; *taken_r false: gone, or full. */
static int plan_local(struct writer *w, const struct message *m, uint32_t account, bool *taken_r)
{
	struct writer_expansion *e = w->expansion;
	struct acct a;
	int rc = account >= ALIAS_FIRST ? writer_expand(w, account, body_view_bytes(m))
					: writer_acct_get(w, account, &a);

	*taken_r = rc == 0;
	if (!rc && account < ALIAS_FIRST) {
		*taken_r =
			a.r.state == ACCT_OK && writer_acct_has_room(w, &a, 1, body_view_bytes(m));
		if (*taken_r)
			e->accounts[e->account_n++] = account;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A local recipient that cannot have it.  Its own answer says so, or delivery tells the sender: it
 * goes through the queue and bounces there. */
static void plan_refuse(struct plan *p, const struct message *m, uint32_t i)
{
	if (m->each) {
		if (i < LMTP_RCPT_MAX)
			bit_set(p->refused_bits, i);
		return;
	}
	p->refused++;
	bit_set(p->queued_bits, i);
}

/* Two addresses of one account: one copy. */
static uint32_t accounts_distinct(struct writer_expansion *e)
{
	uint32_t distinct = 0;

	qsort(e->accounts, e->account_n, sizeof(*e->accounts), u32_compare);
	for (uint32_t i = 0; i < e->account_n; i++) {
		if (i == 0 || e->accounts[i] != e->accounts[i - 1])
			e->accounts[distinct++] = e->accounts[i];
	}
	return distinct;
}

static bool wants_report(const struct message *m, const struct rcpt *r)
{
	return m->sender_n && r->notify & NOTIFY_SUCCESS;
}

/* How many were reached before a recipient was looked at. */
struct reach {
	uint32_t accounts, remote, moved;
};

/* RFC 3461 5.2.7: one address behind an alias inherits what was asked, SUCCESS too, and is told of
 * by whoever delivers it; of several the sender hears now.  False: no report is ours to make. */
static bool plan_alias(
	struct plan *p, struct writer_expansion *e, uint32_t i, const struct reach *before)
{
	uint32_t more = e->account_n - before->accounts, far = e->remote_n - before->remote;
	uint32_t moved = e->moved_n - before->moved;

	if (more + far + moved == 1 && more == 0) {
		struct writer_target *t =
			far ? &e->remote[before->remote] : &e->moved[before->moved].to;
		t->alone = true;
		return false;
	}
	if (more + far + moved > 1)
		bit_set(p->expanded_bits, i);
	return true;
}

/* An account of another shard.  False: it cannot have it. */
static bool plan_move(struct writer *w, struct plan *p, const struct message *m, uint32_t i)
{
	const struct rcpt *r = message_rcpt(m, i);
	bool again;

	if (!writer_move_add(w, r->account, message_rcpt_address(m, r), i, &again))
		return false;
	if (again || !wants_report(m, r))
		return true;
	bit_set(p->report_bits, i); /* made when it has come there */
	return true;
}

static int plan_make(struct writer *w, const struct message *m, struct plan *p)
{
	struct writer_expansion *e = w->expansion;

	*p = (struct plan){0};
	e->account_n = e->remote_n = e->moved_n = 0;
	for (uint32_t i = 0; i < MIN(m->rcpt_count, (uint32_t)MESSAGE_RCPT_MAX); i++) {
		const struct rcpt *r = message_rcpt(m, i);
		const struct reach before = {e->account_n, e->remote_n, e->moved_n};
		bool taken = false;
		e->rcpt = (uint16_t)i;
		if (r->route == RCPT_LOCAL && writer_move_wanted(w, r->account)) {
			if (plan_move(w, p, m, i))
				continue;
		} else if (r->route == RCPT_LOCAL) {
			int rc = plan_local(w, m, r->account, &taken);
			if (rc)
				return rc;
		}
		if (taken && r->account >= ALIAS_FIRST && !plan_alias(p, e, i, &before))
			continue;
		if (taken && !wants_report(m, r))
			continue;
		if (taken) {
			/* The report is delivery's to make: a row of the queue asks for it. */
			bit_set(p->queued_bits, i);
			bit_set(p->report_bits, i);
			p->reports++;
			p->owners |= owner_of(w, message_rcpt_domain(m, r));
			continue;
		}
		if (r->route == RCPT_LOCAL) {
			plan_refuse(p, m, i);
			if (m->each)
				continue;
		} else {
			bit_set(p->queued_bits, i);
			p->queued++;
		}
		p->owners |= owner_of(w, message_rcpt_domain(m, r));
	}
	p->local = accounts_distinct(e);
	p->queued += e->remote_n + e->moved_n;
	for (uint32_t i = 0; i < e->remote_n; i++)
		p->owners |= owner_of(w, writer_target_domain(&e->remote[i]));
	/* The peer gets one answer for all: when nobody is left, it is no. */
	if (p->local || p->queued)
		p->queued += p->refused;
	p->queued += p->reports;
	return 0;
}

int writer_deliver(struct writer *w, const struct message *m, uint32_t account)
{
	struct acct a;
	struct box b;
	struct mbox_row row = {
		.blob = m->id, .size = body_view_bytes(m), .internal_ms = m->received_ms};
	int rc = writer_acct_get(w, account, &a);

	if (!rc)
		rc = writer_box_get(w, account, a.r.inbox, &b);
	if (rc)
		return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
	a.r.modseq++;
	rc = writer_box_add(w, &a, &b, &row);
	if (!rc)
		rc = writer_box_put(w, &b);
	if (!rc)
		rc = writer_acct_put(w, &a);
	return rc ? rc : writer_event(w, account, b.box);
}

/* One recipient of the queue. */
struct queue_rcpt {
	uint32_t number;
	struct bytes address, orcpt;
	uint16_t domain_at;
	uint8_t notify;
	uint32_t account; /* on its way to another shard; 0: to be delivered from here */
};

/* Where it is found when its time has come. */
static int queue_turn_put(struct writer *w, const struct message *m, const struct queue_rcpt *r)
{
	struct bytes domain = bytes_skip(r->address, r->domain_at);
	struct qt_rec qt = {.state_priority = qt_state_priority(QUEUE_SCHEDULED, m->priority),
		.domain_n = (uint8_t)domain.n};
	uint8_t row[sizeof(qt) + DOMAIN_MAX];
	struct key k;

	if (r->account)
		return writer_move_put(w, r->account, m->id, r->number);
	memcpy(row, &qt, sizeof(qt));
	if (domain.n)
		memcpy(row + sizeof(qt), domain.p, domain.n);
	return db_put(w->txn, w->db, DB_QT, key_qt(&k, w->now_ms, m->id, r->number),
		bytes_make(row, sizeof(qt) + domain.n));
}

static int queue_row_put(struct writer *w, const struct message *m, const struct queue_rcpt *r)
{
	struct bytes domain = bytes_skip(r->address, r->domain_at);
	struct qr_rec qr = {.next_ms = w->now_ms,
		.attempts = r->account,
		.address_n = (uint16_t)r->address.n,
		.domain_at = r->domain_at,
		.orcpt_n = (uint16_t)r->orcpt.n,
		.state = r->account ? QUEUE_MOVING : QUEUE_SCHEDULED,
		.notify = r->notify,
		.priority = m->priority};
	uint8_t row[sizeof(qr) + ADDRESS_MAX + DSN_ORCPT_MAX];
	struct key k;

	if (r->address.n > ADDRESS_MAX || domain.n > DOMAIN_MAX || r->orcpt.n > DSN_ORCPT_MAX)
		return EINVAL;
	memcpy(row, &qr, sizeof(qr));
	memcpy(row + sizeof(qr), r->address.p, r->address.n);
	if (r->orcpt.n)
		memcpy(row + sizeof(qr) + r->address.n, r->orcpt.p, r->orcpt.n);
	int rc = db_put(w->txn, w->db, DB_QR, key_id_n(&k, m->id, r->number),
		bytes_make(row, sizeof(qr) + r->address.n + r->orcpt.n));
	if (rc)
		return rc;
	rc = queue_turn_put(w, m, r);
	if (rc)
		return rc;
	return writer_index_recipient(w, r->address, r->domain_at, m->id, r->number);
}

/* What is asked of one behind an alias: of success among several the sender was told already. */
static uint8_t target_notify(const struct message *m, const struct writer_target *t)
{
	uint8_t asked = message_rcpt(m, t->rcpt)->notify & NOTIFY_FROM_PEER;
	uint8_t left = (uint8_t)(asked & ~NOTIFY_SUCCESS);

	if (t->alone || asked == 0)
		return asked;
	return left ? left : NOTIFY_NEVER;
}

/* behind: its number when it is not a recipient of the message itself. */
static int queue_moved_put(struct writer *w, const struct message *m, const struct plan *p,
	const struct writer_moved *moved, uint32_t behind)
{
	struct queue_rcpt q = {.number = behind,
		.address = bytes_make(moved->to.address, moved->to.n),
		.domain_at = moved->to.domain_at,
		.account = moved->account};

	const struct rcpt *r = message_rcpt(m, moved->to.rcpt);
	q.orcpt = message_rcpt_orcpt(m, r);
	if (moved->number == MOVED_BEHIND) {
		q.notify = target_notify(m, &moved->to);
		if (moved->to.alone && wants_report(m, r))
			q.notify |= NOTIFY_DELIVERED;
	} else {
		q.number = moved->number;
		q.notify = r->notify;
		if (bit_is_set(p->report_bits, moved->number))
			q.notify |= NOTIFY_DELIVERED;
	}
	return queue_row_put(w, m, &q);
}

static int queue_rows_put(struct writer *w, const struct message *m, const struct plan *p)
{
	const struct writer_expansion *e = w->expansion;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < MIN(m->rcpt_count, (uint32_t)MESSAGE_RCPT_MAX); i++) {
		const struct rcpt *r = message_rcpt(m, i);
		struct queue_rcpt q = {.number = i,
			.address = message_rcpt_address(m, r),
			.orcpt = message_rcpt_orcpt(m, r),
			.domain_at = r->domain_at,
			.notify = r->notify};
		if (bit_is_set(p->report_bits, i))
			q.notify |= NOTIFY_DELIVERED;
		if (bit_is_set(p->expanded_bits, i) && bit_is_set(p->report_bits, i))
			q.notify |= NOTIFY_EXPANDED;
		if (bit_is_set(p->queued_bits, i))
			rc = queue_row_put(w, m, &q);
	}
	/* Behind them, so that their numbers are nobody else's. */
	for (uint32_t i = 0; !rc && i < e->remote_n; i++) {
		const struct writer_target *t = &e->remote[i];
		struct queue_rcpt q = {.number = m->rcpt_count + i,
			.address = bytes_make(t->address, t->n),
			.orcpt = message_rcpt_orcpt(m, message_rcpt(m, t->rcpt)),
			.domain_at = t->domain_at,
			.notify = target_notify(m, t)};
		rc = queue_row_put(w, m, &q);
	}
	for (uint32_t i = 0; !rc && i < e->moved_n; i++)
		rc = queue_moved_put(w, m, p, &e->moved[i], m->rcpt_count + e->remote_n + i);
	return rc;
}

static int queue_put(struct writer *w, struct message *m, const struct plan *p)
{
	struct bytes sender = message_sender(m), envid = message_envid(m);
	struct q_rec q = {.received_ms = m->received_ms,
		.expire_ms = w->now_ms + w->store->conf.queue_lifetime_ms,
		.peer = m->peer,
		.pending = p->queued,
		.sender_n = (uint16_t)sender.n,
		.body_type = m->body_type,
		.smtputf8 = m->smtputf8,
		.bare = m->bare,
		.ret = m->ret,
		.requiretls = m->requiretls,
		.priority = m->priority,
		.envid_n = (uint8_t)envid.n};
	uint8_t row[sizeof(q) + ADDRESS_MAX + DSN_ENVID_MAX];
	struct key k;

	if (sender.n > ADDRESS_MAX || envid.n > DSN_ENVID_MAX)
		return EINVAL;
	memcpy(row, &q, sizeof(q));
	if (sender.n)
		memcpy(row + sizeof(q), sender.p, sender.n);
	if (envid.n)
		memcpy(row + sizeof(q) + sender.n, envid.p, envid.n);
	int rc = db_put(w->txn, w->db, DB_Q, key_id(&k, m->id),
		bytes_make(row, sizeof(q) + sender.n + envid.n));
	if (!rc)
		rc = writer_index_sender(w, sender, m->id);
	if (!rc)
		rc = queue_rows_put(w, m, p);
	if (rc)
		return rc;
	/* The message in memory still calls them local, or knows the alias only; the rows do not.
	 */
	bool whole = p->refused == 0 && p->reports == 0 && w->expansion->remote_n == 0;
	struct effect e = {.value = m->id, .owners = p->owners, .message = whole ? m : NULL};
	return p->owners ? writer_effect(w, &e) : 0;
}

int writer_message_store(struct writer *w, struct message *m, struct stored *stored_r)
{
	struct plan p;
	int rc = plan_make(w, m, &p);

	if (rc)
		return rc;
	*stored_r = (struct stored){.any = p.local || p.queued, .refused = p.refused};
	memcpy(stored_r->refused_bits, p.refused_bits, sizeof(p.refused_bits));
	if (!stored_r->any)
		return 0;
	rc = body_put(w, m, p.local + (p.queued ? 1 : 0));
	for (uint32_t i = 0; !rc && i < p.local; i++)
		rc = writer_deliver(w, m, w->expansion->accounts[i]);
	if (!rc && p.queued)
		rc = queue_put(w, m, &p);
	w->messages_done++;
	w->bytes_done += body_view_bytes(m);
	return rc;
}

int writer_apply_accept(struct writer *w, struct op *op)
{
	struct accept_op *a = container_of(op, struct accept_op, op);
	struct stored stored = {0};
	int rc = body_check(w, a->message, &op->status);

	if (!rc && !op->status)
		rc = writer_message_store(w, a->message, &stored);
	a->refused = stored.refused;
	memcpy(a->refused_bits, stored.refused_bits, sizeof(a->refused_bits));
	if (rc || op->status || stored.any)
		return rc;
	op->status = HANDOFF_REFUSED;
	return body_drop_parts(w, a->message->id);
}
