/* SPDX-License-Identifier: BSD-3-Clause
 * QUOTA (RFC 9208): one root, "", for all mailboxes of an account.  OWNER: one core's thread. */
#include "store/imap/imap_priv.h"

#define QUOTA_UNIT 1024 /* octets in a unit of STORAGE; RFC 9208 5.1 */

static const char *put_resource(
	struct access_out *o, const char *before, const char *name, uint64_t used, uint64_t limit)
{
	if (limit == 0)
		return before;
	access_out_printf(o, "%s%s %llu %llu", before, name, (unsigned long long)used,
		(unsigned long long)limit);
	return " ";
}

static void quota_done(struct imap_session *s)
{
	const struct quota_read_op *q = &s->u.quota;
	struct access_out *o = imap_out(s);

	if (s->u.op.status) {
		imap_finish(s, imap_error_text(s->u.op.status));
		return;
	}
	access_out_str(o, "* QUOTA \"\" (");
	/* What is used is rounded up, so that a full mailbox looks full. */
	const char *before =
		put_resource(o, "", "STORAGE", (q->bytes + QUOTA_UNIT - 1) / QUOTA_UNIT,
			(q->bytes_max + QUOTA_UNIT - 1) / QUOTA_UNIT);
	put_resource(o, before, "MESSAGE", q->messages, q->messages_max);
	access_out_str(o, ")\r\n");
	imap_finish(s, "OK done");
}

static void quota_ask(struct imap_session *s)
{
	s->u.quota = (struct quota_read_op){.account = s->account};
	imap_submit(s, ACCESS_READER, STORE_READ_QUOTA, quota_done);
}

void imap_getquota(struct imap_session *s, struct imap_parse *p)
{
	struct bytes root;

	if (!imap_space(p) || !imap_astring(p, &root) || !imap_end(p))
		imap_bad(s, "a quota root is needed");
	else if (root.n)
		imap_finish(s, "NO [NONEXISTENT] no such quota root");
	else
		quota_ask(s);
}

/* RFC 9208 4.1.2: the mailbox need not exist. */
void imap_getquotaroot(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_mailbox_arg(s, p, s->name, &s->name_n) || !imap_args_end(s, p))
		return;
	access_out_str(imap_out(s), "* QUOTAROOT ");
	imap_put_name(imap_out(s), bytes_make(s->name, s->name_n));
	access_out_str(imap_out(s), " \"\"\r\n");
	quota_ask(s);
}
