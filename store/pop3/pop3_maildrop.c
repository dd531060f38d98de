/* SPDX-License-Identifier: BSD-3-Clause
 * The message list at login, and its update at QUIT.  OWNER: one core's thread. */
#include "store/pop3/pop3_priv.h"
#include <errno.h>

#define UIDS_PER_CHUNK (CHUNK_DATA / sizeof(uint32_t))
#define SCAN_PER_STEP  4096 /* rows looked at for deletions in one step; chosen */

static void open_failed(struct pop3_session *s, const char *text)
{
	s->step = NULL;
	chunk_array_free(&s->rows);
	s->engine.host->unlock(s->engine.host_ctx);
	s->engine.logged_in = false;
	pop3_refuse(s, text);
}

static void open_ready(struct pop3_session *s)
{
	s->step = NULL;
	s->state = POP3_IN_TRANSACTION;
	access_out_printf(&s->engine.out, "+OK %u messages (%llu octets)\r\n", s->rows.n,
		(unsigned long long)s->bytes);
}

/* Copy one chunk of mbox_row records; false: no memory. */
static bool rows_take(struct pop3_session *s, const struct chunk *c)
{
	for (uint32_t at = 0; at + sizeof(struct mbox_row) <= c->n; at += sizeof(struct mbox_row)) {
		struct mbox_row row;
		memcpy(&row, c->data + at, sizeof(row));
		/* A maildrop beyond the array's size shows its first messages: they can be
		 * fetched and deleted, and the others come at the next login. */
		if (s->rows.n == chunk_array_max(&s->rows))
			return true;
		struct pop3_row *r = chunk_array_push(&s->rows);
		if (!r)
			return false;
		*r = (struct pop3_row){.uid = row.uid, .size = row.size, .blob = row.blob};
		s->bytes += row.size;
	}
	return true;
}

static void rows_step(struct pop3_session *s);

static void rows_ask(struct pop3_session *s, uint32_t from_uid)
{
	s->u.mbox = (struct mbox_read_op){
		.account = s->account, .box = s->box, .from_uid = from_uid, .max_rows = 1024};
	s->step = rows_step;
	pop3_submit(s, ACCESS_READER, STORE_READ_MBOX_ROWS);
}

static void rows_step(struct pop3_session *s)
{
	bool ok = s->u.op.status == 0;

	for (const struct chunk *c = s->u.mbox.out.head; c && ok; c = c->next)
		ok = rows_take(s, c);
	chain_free(&s->u.mbox.out);
	ok = ok && (s->u.mbox.end || pop3_may_grow(s, ACCESS_USE_LIST));
	if (!ok)
		open_failed(s, "-ERR [SYS/TEMP] the mailbox cannot be read now");
	else if (s->u.mbox.end || s->rows.n == chunk_array_max(&s->rows))
		open_ready(s);
	else
		rows_ask(s, s->u.mbox.from_uid);
}

static void box_step(struct pop3_session *s)
{
	chain_free(&s->u.mbox.out);
	if (s->u.op.status != 0) {
		open_failed(s, "-ERR [SYS/TEMP] the mailbox cannot be read now");
		return;
	}
	if (!pop3_may_grow(s, ACCESS_USE_LIST)) {
		open_failed(s, "-ERR [SYS/TEMP] no memory now");
		return;
	}
	s->box = s->u.mbox.box;
	s->uidvalidity = s->u.mbox.state.uidvalidity;
	rows_ask(s, 1);
}

void pop3_maildrop_open(struct pop3_session *s)
{
	s->bytes = 0;
	if (!s->engine.host->lock(s->engine.host_ctx, s->account)) {
		pop3_refuse(s, "-ERR [IN-USE] another session has this mailbox");
		return;
	}
	s->engine.logged_in = true;
	s->u.mbox = (struct mbox_read_op){.account = s->account, .name = BYTES_LIT("INBOX")};
	s->step = box_step;
	pop3_submit(s, ACCESS_READER, STORE_READ_MBOX_OPEN);
}

/* ---- QUIT ---- */

static void update_end(struct pop3_session *s)
{
	chunk_put(s->uids);
	s->uids = NULL;
	s->step = NULL;
	s->engine.host->unlock(s->engine.host_ctx);
	pop3_say(s, s->expunge_failed ? "-ERR [SYS/TEMP] some messages were not deleted"
				      : "+OK goodbye");
	s->engine.ended = true;
}

static void expunge_step(struct pop3_session *s);

static void expunge_done_step(struct pop3_session *s)
{
	s->expunge_failed = s->expunge_failed || s->u.op.status != 0;
	s->uids->n = 0;
	s->step = expunge_step;
}

/* Collect marked UIDs, up to a chunk of them for one op: one transaction for all but the largest
 * clean-ups. */
static void expunge_step(struct pop3_session *s)
{
	uint32_t *uids = (uint32_t *)(void *)s->uids->data;
	uint32_t n = s->uids->n / (uint32_t)sizeof(uint32_t);
	uint32_t stop = MIN(s->rows.n, s->at + SCAN_PER_STEP);

	for (; s->at < stop && n < UIDS_PER_CHUNK; s->at++) {
		const struct pop3_row *r = pop3_row_at(s, s->at);
		if (r->deleted)
			uids[n++] = r->uid;
	}
	s->uids->n = n * (uint32_t)sizeof(uint32_t);
	if (s->at < s->rows.n && n < UIDS_PER_CHUNK)
		return;
	if (n == 0) {
		update_end(s);
		return;
	}
	s->u.change = (struct mbox_op){
		.account = s->account, .box = s->box, .uids = uids, .uid_count = n};
	s->step = expunge_done_step;
	pop3_submit(s, ACCESS_WRITER, STORE_EXPUNGE);
}

static void update_begin(struct pop3_session *s)
{
	s->uids = chunk_get();
	if (!s->uids) {
		s->timer_wait = true;
		s->engine.host->timer(s->engine.host_ctx, POP3_RETRY_US);
		return;
	}
	s->step = expunge_step;
}

void pop3_maildrop_update(struct pop3_session *s)
{
	s->at = 0;
	s->expunge_failed = false;
	s->step = update_begin;
}
