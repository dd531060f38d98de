/* SPDX-License-Identifier: BSD-3-Clause
 * STORE, COPY and MOVE.  OWNER: one core's thread. */
#include <errno.h>
#include "store/imap/imap_line.h"
#include "store/imap/imap_priv.h"

#define NAMES_MAX 2048 /* octets of keyword names in one STORE; chosen */

/* State of STORE, in the command's chunk. */
struct storing {
	uint8_t mode; /* enum flags_mode */
	bool silent;
	uint32_t flags, keywords;
	uint32_t from; /* cursor of the next batch */
	uint32_t names_n;
	uint8_t names[NAMES_MAX];
};

static struct storing *storing(struct imap_session *s)
{
	return (struct storing *)(void *)s->work->data;
}

static bool read_only(struct imap_session *s)
{
	if (s->read_only)
		imap_finish(s, "NO [READ-ONLY] the mailbox is open read-only");
	return s->read_only;
}

/* Marks the rows of the set argument; else the refusal was said. */
static bool set_arg(struct imap_session *s, struct imap_parse *p)
{
	struct bytes set;

	if (!imap_space(p) || !imap_set(p, &set) || imap_mark_set(s, set, s->uid_form) < 0) {
		imap_bad(s, "the set is not valid");
		return false;
	}
	return true;
}

/* ---- STORE ---- */

static void batch_step(struct imap_session *s);

/* Bits of the keywords named by the command, in this mailbox. */
static uint32_t keyword_bits(struct imap_session *s)
{
	struct bytes names = bytes_make(storing(s)->names, storing(s)->names_n);
	uint32_t bits = 0;

	while (names.n) {
		ptrdiff_t end = bytes_find(names, 0, 0);
		struct bytes name = bytes_first(names, end < 0 ? names.n : (size_t)end);
		for (uint32_t i = 0; i < s->keyword_count; i++) {
			if (bytes_ieq(name, imap_keyword(s, i)))
				bits |= 1u << i;
		}
		names = bytes_skip(names, name.n + 1);
	}
	return bits;
}

static void row_apply(struct imap_session *s, struct imap_row *r, uint32_t keywords)
{
	const struct storing *st = storing(s);

	if (st->mode == FLAGS_REPLACE) {
		r->flags = (uint8_t)st->flags;
		r->keywords = keywords;
	} else if (st->mode == FLAGS_ADD) {
		r->flags |= (uint8_t)st->flags;
		r->keywords |= keywords;
	} else {
		r->flags &= (uint8_t)~st->flags;
		r->keywords &= ~keywords;
	}
	if (st->silent)
		return;
	/* Told with everything else that changed, before the tagged reply. */
	s->changed += !(r->state & ROW_CHANGED);
	r->state |= ROW_CHANGED;
}

static void apply_step(struct imap_session *s)
{
	uint32_t keywords = storing(s)->names_n ? keyword_bits(s) : 0;

	for (uint32_t i = 0; i < s->uid_count; i++)
		row_apply(s, imap_row_at(s, imap_row_find(s, s->uids[i])), keywords);
	s->step = batch_step;
}

static void batch_done(struct imap_session *s)
{
	if (s->u.op.status)
		imap_finish(s, s->u.op.status == -ENOSPC
				       ? "NO [LIMIT] no room for more keywords or data"
				       : imap_error_text(s->u.op.status));
	else if (storing(s)->names_n)
		imap_keywords_load(s, apply_step);
	else
		apply_step(s);
}

static void batch_step(struct imap_session *s)
{
	struct storing *st = storing(s);
	struct chain keywords = {0};

	if (!imap_uids_get(s))
		return;
	if (st->names_n && chain_append(&keywords, bytes_make(st->names, st->names_n)) < 0) {
		imap_retry(s);
		return;
	}
	imap_uids_collect(s, 0, 0, ACCESS_UIDS_MAX);
	if (s->uid_count == 0) {
		chain_free(&keywords);
		imap_finish(s, "OK done");
		return;
	}
	s->u.change = (struct mbox_op){.account = s->account,
		.box = s->box,
		.uids = s->uids,
		.uid_count = s->uid_count,
		.mode = st->mode,
		.flags = st->flags,
		.keywords = keywords};
	imap_submit(s, ACCESS_WRITER, STORE_FLAGS, batch_done);
}

static bool store_args(struct imap_parse *p, struct storing *st)
{
	struct buf names;

	if (!imap_space(p))
		return false;
	st->mode = imap_char(p, '+') ? FLAGS_ADD : imap_char(p, '-') ? FLAGS_REMOVE : FLAGS_REPLACE;
	if (!imap_word(p, "FLAGS"))
		return false;
	st->silent = imap_word(p, ".SILENT");
	buf_init(&names, st->names, sizeof(st->names));
	bool ok = imap_space(p) && imap_flags(p, &st->flags, &names) && imap_end(p);
	st->names_n = (uint32_t)names.n;
	return ok;
}

void imap_store(struct imap_session *s, struct imap_parse *p)
{
	s->expunge_ok = s->uid_form;
	s->work = chunk_get();
	if (!s->work) {
		imap_finish(s, "NO [UNAVAILABLE] no memory now, try later");
		return;
	}
	memset(s->work->data, 0, CHUNK_DATA);
	if (!set_arg(s, p))
		return;
	if (!store_args(p, storing(s))) {
		imap_bad(s, "flags are not understood");
		return;
	}
	if (read_only(s))
		return;
	imap_line_shrink(s, p->n);
	s->at = 0;
	s->step = batch_step;
}

/* ---- COPY ---- */

/* UIDs as a set: runs of neighbours are ranges. */
static void put_uid_set(const struct imap_session *s, struct access_out *o)
{
	const char *comma = "";

	for (uint32_t i = 0, end; i < s->uid_count; i = end) {
		for (end = i + 1; end < s->uid_count && s->uids[end] == s->uids[end - 1] + 1;)
			end++;
		access_out_printf(o, "%s%u", comma, s->uids[i]);
		if (end > i + 1)
			access_out_printf(o, ":%u", s->uids[end - 1]);
		comma = ",";
	}
}

/* RFC 4315 3: only when it is known which copy is whose. */
static void put_copyuid(
	const struct imap_session *s, const struct mbox_op *op, struct access_out *o)
{
	if (op->changed != s->uid_count || s->uid_count == 0)
		return;
	access_out_printf(o, "[COPYUID %u ", op->target_uidvalidity);
	put_uid_set(s, o);
	access_out_printf(o, " %u", op->target_first_uid);
	if (op->changed > 1)
		access_out_printf(o, ":%u", op->target_first_uid + op->changed - 1);
	access_out_str(o, "] ");
}

static void copy_reply(struct imap_session *s)
{
	access_out_put(imap_out(s), s->tag);
	access_out_str(imap_out(s), " OK ");
	access_out_join(imap_out(s), &s->copied);
	access_out_str(imap_out(s), "copied\r\n");
}

static void copy_release(struct imap_session *s)
{
	chain_free(&s->copied);
}

/* Has the reply to a failure been said? */
static bool copy_failed(struct imap_session *s)
{
	if (s->u.op.status)
		imap_finish(s, s->u.op.status == -ENOENT ? "NO [TRYCREATE] no such mailbox"
							 : imap_error_text(s->u.op.status));
	return s->u.op.status != 0;
}

static void copy_done(struct imap_session *s)
{
	if (copy_failed(s))
		return;
	/* Written now: the peer may not read what comes before it, and the UIDs' space is scarce.
	 */
	struct access_out text = {0};
	put_copyuid(s, &s->u.change, &text);
	if (!text.failed)
		s->copied = text.chain;
	else
		chain_free(&text.chain);
	s->release = copy_release;
	s->reply_with = copy_reply;
	imap_finish(s, NULL);
}

/* RFC 6851 4.3: where they are now comes before it is said that they have gone. */
static void move_done(struct imap_session *s)
{
	if (copy_failed(s))
		return;
	access_out_str(imap_out(s), "* OK ");
	put_copyuid(s, &s->u.change, imap_out(s));
	access_out_str(imap_out(s), "moved\r\n");
	s->refresh_now = true;
	imap_finish(s, "OK done");
}

/* One op for all of them, COPY or MOVE. */
static void transfer(struct imap_session *s, uint16_t kind, imap_step then)
{
	if (!imap_uids_get(s))
		return;
	imap_uids_collect(s, 0, 0, ACCESS_UIDS_MAX);
	/* All or nothing (RFC 3501 6.4.7): one op, or none. */
	if (imap_marked_from(s, s->at) != UINT32_MAX) {
		imap_finish(s, "NO [LIMIT] too many messages in one command");
		return;
	}
	if (s->uid_count == 0) {
		imap_finish(s, "OK there are none");
		return;
	}
	s->u.change = (struct mbox_op){.account = s->account,
		.box = s->box,
		.uids = s->uids,
		.uid_count = s->uid_count,
		.target = bytes_make(s->name, s->name_n)};
	imap_submit(s, ACCESS_WRITER, kind, then);
}

static void copy_step(struct imap_session *s)
{
	transfer(s, STORE_COPY, copy_done);
}

static void move_step(struct imap_session *s)
{
	transfer(s, STORE_TRANSFER, move_done);
}

static bool copy_args(struct imap_session *s, struct imap_parse *p)
{
	s->at = 0;
	return set_arg(s, p) && imap_mailbox_arg(s, p, s->name, &s->name_n) && imap_args_end(s, p);
}

void imap_copy(struct imap_session *s, struct imap_parse *p)
{
	if (!copy_args(s, p))
		return;
	imap_line_shrink(s, p->n);
	s->step = copy_step;
}

void imap_move(struct imap_session *s, struct imap_parse *p)
{
	if (!copy_args(s, p) || read_only(s))
		return;
	imap_line_shrink(s, p->n);
	s->step = move_step;
}
