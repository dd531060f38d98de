/* SPDX-License-Identifier: BSD-3-Clause
 * SELECT, EXAMINE, CLOSE, UNSELECT.  OWNER: one core's thread. */
#include <errno.h>
#include "store/imap/imap_line.h"
#include "store/imap/imap_priv.h"

static void put_keywords(struct imap_session *s)
{
	for (uint32_t i = 0; i < s->keyword_count; i++) {
		access_out_str(imap_out(s), " ");
		access_out_put(imap_out(s), imap_keyword(s, i));
	}
}

static void put_mailbox(struct imap_session *s)
{
	static const char flags[] = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";
	struct access_out *o = imap_out(s);

	access_out_printf(o, "* FLAGS (%s", flags);
	put_keywords(s);
	access_out_printf(o, ")\r\n* %u EXISTS\r\n* 0 RECENT\r\n", s->rows.n);
	if (s->first_unseen)
		access_out_printf(o, "* OK [UNSEEN %u] first unseen\r\n", s->first_unseen);
	if (s->read_only) {
		access_out_str(o, "* OK [PERMANENTFLAGS ()] read-only\r\n");
	} else {
		access_out_printf(o, "* OK [PERMANENTFLAGS (%s", flags);
		put_keywords(s);
		access_out_str(o, " \\*)] kept\r\n");
	}
	access_out_printf(o, "* OK [UIDVALIDITY %u] valid\r\n* OK [UIDNEXT %u] predicted\r\n",
		s->uidvalidity, s->uidnext);
}

static void selected_step(struct imap_session *s)
{
	int err = s->u.op.status;

	if (err) {
		imap_unselect_now(s);
		imap_finish(s, err == -E2BIG ? "NO [LIMIT] the mailbox has too many messages"
					     : imap_error_text(err));
		return;
	}
	s->state = IMAP_SELECTED;
	put_mailbox(s);
	imap_reply_now(s,
		s->read_only ? "OK [READ-ONLY] mailbox opened" : "OK [READ-WRITE] mailbox opened");
}

static void open_mailbox(struct imap_session *s, struct imap_parse *p, bool read_only)
{
	uint16_t n;

	if (!imap_mailbox_arg(s, p, s->name, &n) || !imap_args_end(s, p))
		return;
	/* RFC 3501 6.3.1: the one selected before is left, also when this fails. */
	imap_unselect_now(s);
	memcpy(s->box_name, s->name, n);
	s->box_name_n = n;
	s->read_only = read_only;
	imap_index_load(s, selected_step);
}

void imap_select(struct imap_session *s, struct imap_parse *p)
{
	open_mailbox(s, p, false);
}

void imap_examine(struct imap_session *s, struct imap_parse *p)
{
	open_mailbox(s, p, true);
}

void imap_unselect(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_args_end(s, p))
		return;
	imap_unselect_now(s);
	imap_finish(s, "OK mailbox left");
}

/* ---- EXPUNGE and CLOSE ---- */

static void expunge_step(struct imap_session *s);

static void expunge_end(struct imap_session *s, const char *reply)
{
	imap_uids_put(s);
	if (s->closing)
		imap_unselect_now(s);
	imap_finish(s, reply);
}

static void expunge_done(struct imap_session *s)
{
	if (s->u.op.status != 0) {
		expunge_end(s, imap_error_text(s->u.op.status));
		return;
	}
	for (uint32_t i = 0; i < s->uid_count; i++) {
		struct imap_row *r = imap_row_at(s, imap_row_find(s, s->uids[i]));
		s->gone += !(r->state & ROW_GONE);
		r->state |= ROW_GONE;
	}
	s->step = expunge_step;
}

static void expunge_step(struct imap_session *s)
{
	if (!imap_uids_get(s))
		return;
	imap_uids_collect(s, MSG_DELETED, 0, ACCESS_UIDS_MAX);
	if (s->uid_count == 0) {
		expunge_end(s, "OK done");
		return;
	}
	s->u.change = (struct mbox_op){
		.account = s->account, .box = s->box, .uids = s->uids, .uid_count = s->uid_count};
	imap_submit(s, ACCESS_WRITER, STORE_EXPUNGE, expunge_done);
}

static void expunge_begin(struct imap_session *s, bool close)
{
	s->at = 0;
	s->closing = close; /* CLOSE says nothing about what it removes */
	s->step = expunge_step;
}

void imap_expunge(struct imap_session *s, struct imap_parse *p)
{
	struct bytes set = BYTES_LIT("1:*");

	if (s->uid_form && (!imap_space(p) || !imap_set(p, &set))) {
		imap_bad(s, "a set of UIDs is needed");
		return;
	}
	if (!imap_args_end(s, p))
		return;
	if (s->read_only) {
		imap_finish(s, "NO [READ-ONLY] the mailbox is open read-only");
		return;
	}
	if (imap_mark_set(s, set, s->uid_form) < 0) {
		imap_bad(s, "the set is not valid");
		return;
	}
	imap_line_shrink(s, p->n);
	expunge_begin(s, false);
}

void imap_close(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_args_end(s, p))
		return;
	if (s->read_only) {
		imap_unselect_now(s);
		imap_finish(s, "OK mailbox left");
		return;
	}
	imap_mark_set(s, BYTES_LIT("1:*"), false);
	expunge_begin(s, true);
}
