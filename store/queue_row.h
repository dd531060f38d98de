/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of the queue taken apart: the one place that knows in which order their octets stand, for
 * whoever reads them. */
#pragma once
#include <errno.h>
#include "store/db.h"

struct q_view {
	struct q_rec r;
	struct bytes sender, envid;
};

struct qr_view {
	uint32_t rcpt;
	struct qr_rec r;
	struct bytes address, orcpt, reason;
};

/* Views into v.  0 or EIO. */
static inline int q_parse(struct bytes v, struct q_view *q)
{
	if (!rec_read(v, &q->r, sizeof(q->r)) ||
		v.n != sizeof(q->r) + q->r.sender_n + q->r.envid_n || q->r.sender_n > ADDRESS_MAX ||
		q->r.envid_n > DSN_ENVID_MAX)
		return EIO;
	q->sender = bytes_first(bytes_skip(v, sizeof(q->r)), q->r.sender_n);
	q->envid = bytes_skip(v, sizeof(q->r) + q->r.sender_n);
	return 0;
}

static inline int qr_parse(struct bytes key, struct bytes v, struct qr_view *q)
{
	if (key.n != 12 || !rec_read(v, &q->r, sizeof(q->r)) ||
		v.n != sizeof(q->r) + q->r.address_n + q->r.orcpt_n + q->r.reason_n ||
		q->r.reason_n > STORE_REASON_MAX || q->r.address_n > ADDRESS_MAX ||
		q->r.orcpt_n > DSN_ORCPT_MAX || q->r.domain_at > q->r.address_n)
		return EIO;
	q->rcpt = key_get_u32(key, 8);
	q->address = bytes_first(bytes_skip(v, sizeof(q->r)), q->r.address_n);
	q->orcpt = bytes_first(bytes_skip(v, sizeof(q->r) + q->r.address_n), q->r.orcpt_n);
	q->reason = bytes_skip(v, sizeof(q->r) + q->r.address_n + q->r.orcpt_n);
	return 0;
}

/* Does an operator mean this message, and this recipient? */
static inline bool queue_filter_message(const struct queue_filter *f, const struct q_view *q)
{
	if (f->received_before_ms && q->r.received_ms >= f->received_before_ms)
		return false;
	if (f->sender[0] == '<' && f->sender[1] == '>')
		return q->sender.n == 0;
	return f->sender[0] == '\0' || bytes_ieq(q->sender, bytes_str(f->sender));
}

static inline bool queue_filter_recipient(
	const struct queue_filter *f, struct bytes address, size_t domain_at)
{
	if (f->domain[0] && !bytes_ieq(bytes_skip(address, domain_at), bytes_str(f->domain)))
		return false;
	return f->recipient[0] == '\0' || bytes_ieq(address, bytes_str(f->recipient));
}

/* The domain of a recipient, at most DOMAIN_MAX octets. */
static inline struct bytes qr_domain(const struct qr_view *q)
{
	return bytes_first(bytes_skip(q->address, q->r.domain_at), DOMAIN_MAX);
}
