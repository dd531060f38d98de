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

static int account_exists(struct writer *w, uint32_t account, bool *exists_r)
{
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_ACCT, key_account(&k, account), &v);

	*exists_r = rc == 0;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* What there is to do for a message, found before the first put. */
struct plan {
	uint32_t local;   /* distinct accounts, in w->scratch */
	uint32_t queued;  /* recipients for the queue */
	uint32_t refused; /* local recipients whose account is gone since RCPT */
	uint64_t owners;  /* delivery workers of the queued recipients' domains */
	uint64_t refused_bits[LMTP_RCPT_WORDS];
};

static uint64_t owner_of(const struct writer *w, const struct message *m, const struct rcpt *r)
{
	unsigned workers = w->store->ready_count;

	return workers ? 1ull << store_domain_owner(message_rcpt_domain(m, r), workers) : 0;
}

/* Its own answer says so: nothing is queued for it. */
static void refuse_one(struct plan *p, uint32_t i)
{
	if (i < LMTP_RCPT_MAX)
		p->refused_bits[i / 64] |= 1ull << i % 64;
}

static int plan_make(struct writer *w, const struct message *m, struct plan *p)
{
	*p = (struct plan){0};
	for (uint32_t i = 0; i < MIN(m->rcpt_count, (uint32_t)MESSAGE_RCPT_MAX); i++) {
		const struct rcpt *r = message_rcpt(m, i);
		bool exists = false;
		int rc = r->route == RCPT_LOCAL ? account_exists(w, r->account, &exists) : 0;
		if (rc)
			return rc;
		if (exists) {
			w->scratch[p->local++] = r->account;
			continue;
		}
		if (m->each && r->route == RCPT_LOCAL) {
			refuse_one(p, i);
			continue;
		}
		p->owners |= owner_of(w, m, r);
		if (r->route == RCPT_LOCAL)
			p->refused++;
		else
			p->queued++;
	}
	/* The peer gets one answer for all.  When it is 250, delivery tells the sender about those
	 * who are gone: they go through the queue and bounce there. */
	if (p->local || p->queued)
		p->queued += p->refused;
	/* Two addresses of one account: one copy. */
	qsort(w->scratch, p->local, sizeof(*w->scratch), u32_compare);
	uint32_t distinct = 0;
	for (uint32_t i = 0; i < p->local; i++) {
		if (i == 0 || w->scratch[i] != w->scratch[i - 1])
			w->scratch[distinct++] = w->scratch[i];
	}
	p->local = distinct;
	return 0;
}

static int deliver(struct writer *w, const struct message *m, uint32_t account)
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

static int queue_row_put(
	struct writer *w, const struct message *m, const struct rcpt *r, uint32_t i)
{
	struct bytes address = message_rcpt_address(m, r), domain = message_rcpt_domain(m, r);
	struct qr_rec qr = {.next_ms = w->now_ms,
		.address_n = (uint16_t)address.n,
		.domain_at = r->domain_at,
		.orcpt_n = r->orcpt_n,
		.state = QUEUE_SCHEDULED,
		.notify = r->notify};
	struct qt_rec qt = {.state = QUEUE_SCHEDULED, .domain_n = (uint8_t)domain.n};
	struct bytes orcpt = message_rcpt_orcpt(m, r);
	uint8_t row[sizeof(qr) + ADDRESS_MAX + DSN_ORCPT_MAX];
	struct key k;

	if (address.n > ADDRESS_MAX || domain.n > DOMAIN_MAX || orcpt.n > DSN_ORCPT_MAX)
		return EINVAL;
	memcpy(row, &qr, sizeof(qr));
	memcpy(row + sizeof(qr), address.p, address.n);
	if (orcpt.n)
		memcpy(row + sizeof(qr) + address.n, orcpt.p, orcpt.n);
	int rc = db_put(w->txn, w->db, DB_QR, key_id_n(&k, m->id, i),
		bytes_make(row, sizeof(qr) + address.n + orcpt.n));
	if (rc)
		return rc;
	memcpy(row, &qt, sizeof(qt));
	if (domain.n)
		memcpy(row + sizeof(qt), domain.p, domain.n);
	return db_put(w->txn, w->db, DB_QT, key_qt(&k, qr.next_ms, m->id, i),
		bytes_make(row, sizeof(qt) + domain.n));
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
	for (uint32_t i = 0; !rc && i < m->rcpt_count; i++) {
		const struct rcpt *r = message_rcpt(m, i);
		bool exists = false;
		if (r->route == RCPT_LOCAL)
			rc = account_exists(w, r->account, &exists);
		if (!rc && !exists && !(m->each && r->route == RCPT_LOCAL))
			rc = queue_row_put(w, m, r, i);
	}
	if (rc)
		return rc;
	/* The message in memory still calls them local; the rows do not. */
	struct effect e = {.value = m->id, .owners = p->owners, .message = p->refused ? NULL : m};
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
		rc = deliver(w, m, w->scratch[i]);
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
