/* SPDX-License-Identifier: BSD-3-Clause
 * The engine's calls: running steps, ending commands.  OWNER: one core's thread. */
#include <errno.h>
#include "store/imap/imap_line.h"
#include "store/imap/imap_priv.h"

static struct imap_session *session(struct access_engine *e)
{
	return container_of(e, struct imap_session, engine);
}

const char *imap_error_text(int status)
{
	switch (status) {
	case -ENOENT:
		return "NO [NONEXISTENT] no such mailbox";
	case -EEXIST:
		return "NO [ALREADYEXISTS] the mailbox exists";
	case -ENOSPC:
		return "NO [UNAVAILABLE] no space now, try later";
	case -EDQUOT:
		return "NO [OVERQUOTA] no room left in this account";
	case -EBUSY:
		return "NO [USEATTR] another mailbox has that use";
	case -ENOBUFS:
		return "NO [LIMIT] no memory now, try later";
	case -EINVAL:
		return "NO [CANNOT] not possible with this mailbox";
	default:
		return "NO [UNAVAILABLE] try later";
	}
}

/* ---- ops and memory ---- */

static void op_done(struct op *op)
{
	struct imap_session *s = container_of(op, struct imap_session, u.op);

	access_engine_done(&s->engine);
}

void imap_submit(struct imap_session *s, enum access_server_kind to, uint16_t kind, imap_step then)
{
	s->u.op.done = op_done;
	s->u.op.kind = kind;
	s->u.op.status = 0;
	s->reading = to == ACCESS_READER;
	s->step = then;
	s->parked = false;
	access_engine_submit(&s->engine, to, s->account, &s->u.op);
}

void imap_retry(struct imap_session *s)
{
	s->timer_wait = true;
	s->engine.host->timer(s->engine.host_ctx, IMAP_RETRY_US);
}

bool imap_work_get(struct imap_session *s)
{
	if (!s->work)
		s->work = chunk_get();
	if (!s->work) {
		imap_retry(s);
		return false;
	}
	memset(s->work->data, 0, CHUNK_DATA);
	return true;
}

bool imap_uids_get(struct imap_session *s)
{
	if (!s->uids)
		s->uids = s->engine.host->space_get(s->engine.host_ctx, ACCESS_SPACE_UIDS);
	if (!s->uids)
		imap_retry(s);
	return s->uids != NULL;
}

void imap_uids_put(struct imap_session *s)
{
	if (s->uids)
		s->engine.host->space_put(s->engine.host_ctx, ACCESS_SPACE_UIDS, s->uids);
	s->uids = NULL;
}

/* ---- the end of a command ---- */

void imap_command_over(struct imap_session *s)
{
	if (s->release)
		s->release(s);
	s->release = NULL;
	s->parked = false;
	imap_uids_put(s);
	if (s->work)
		chunk_put(s->work);
	s->work = NULL;
	s->step = NULL;
	s->continuation = NULL;
	s->reply_with = NULL;
	s->idling = s->uid_form = false;
	s->engine.content_comes = false;
	s->names_octets = 0;
	imap_line_reset(s);
}

void imap_reply_now(struct imap_session *s, const char *reply)
{
	access_out_put(imap_out(s), s->tag);
	access_out_str(imap_out(s), " ");
	access_out_str(imap_out(s), reply);
	access_out_str(imap_out(s), "\r\n");
	imap_command_over(s);
}

static void tagged_step(struct imap_session *s)
{
	if (s->reply_with) {
		s->reply_with(s);
		imap_command_over(s);
	} else {
		imap_reply_now(s, s->reply);
	}
}

static void announce_step(struct imap_session *s)
{
	imap_announce(s, tagged_step);
}

static void finish_step(struct imap_session *s)
{
	if (s->state != IMAP_SELECTED)
		tagged_step(s);
	else if (s->dirty || s->refresh_now)
		imap_index_refresh(s, announce_step);
	else
		announce_step(s);
}

void imap_finish(struct imap_session *s, const char *reply)
{
	imap_uids_put(s); /* what follows may wait for a peer that does not read */
	s->reply = reply;
	s->parked = false;
	s->errors = 0;
	s->step = finish_step;
}

/* ---- the engine's calls ---- */

static void start(struct access_engine *e)
{
	access_out_printf(&e->out,
		"* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID IDLE%s] %.255s IMAP ready\r\n",
		imap_login_capabilities(e), e->hostname);
}

static bool wants_input(const struct access_engine *e)
{
	const struct imap_session *s = container_of(e, struct imap_session, engine);

	if (e->ended || e->hung_up || e->wants_tls || s->timer_wait ||
		!imap_room((struct imap_session *)(uintptr_t)s))
		return false;
	if (s->append.message || s->append.refused)
		return imap_append_wants(s);
	return !s->step || (s->continuation && s->parked);
}

static size_t input(struct access_engine *e, struct bytes data)
{
	struct imap_session *s = session(e);

	if (!wants_input(e))
		return 0;
	/* Refusals and continuation requests are small, but the first chunk must be there. */
	if (!access_out_reserve(&e->out)) {
		imap_retry(s);
		return 0;
	}
	if (s->append.message || s->append.refused)
		return imap_append_input(s, data);
	return imap_line_input(s, data);
}

/* What an op under way at the hangup brought. */
static void op_drop(struct imap_session *s)
{
	if (!s->reading)
		return;
	if (s->u.op.kind == STORE_READ_BODY)
		chain_free(&s->u.body.out);
	else if (s->u.op.kind == STORE_READ_MBOX_LIST)
		chain_free(&s->u.list.out);
	else if (s->u.op.kind == STORE_READ_SHAPE)
		chain_free(&s->u.shape_read.out);
	else if (s->u.op.kind != STORE_READ_QUOTA)
		chain_free(&s->u.mbox.out);
	s->reading = false;
}

static void hangup(struct access_engine *e)
{
	struct imap_session *s = session(e);

	if (e->busy)
		return; /* again from run */
	op_drop(s);
	s->dropping = true;
	if (s->append.message) {
		imap_append_drop(s);
		if (e->busy)
			return; /* the writer is asked to forget the parts */
	}
	imap_command_over(s);
	imap_unselect_now(s);
}

static bool is_runnable(struct imap_session *s)
{
	const struct access_engine *e = &s->engine;

	return s->step && !s->parked && !e->busy && !s->timer_wait && !e->hung_up && imap_room(s);
}

static void run(struct access_engine *e)
{
	struct imap_session *s = session(e);
	uint32_t spent = 0;

	while (is_runnable(s)) {
		if (spent >= IMAP_RUN_COST) {
			e->host->again(e->host_ctx); /* others of this core wait */
			return;
		}
		if (!access_out_reserve(&e->out)) {
			imap_retry(s);
			return;
		}
		s->cost = 1;
		s->step(s);
		spent += s->cost;
	}
	if (e->hung_up && !e->busy)
		hangup(e);
}

static void timer(struct access_engine *e)
{
	session(e)->timer_wait = false;
}

static void login_done(struct access_engine *e, enum login_result result, uint32_t account)
{
	struct imap_session *s = session(e);

	s->login_result = result;
	s->account = account;
	e->logged_in = result == LOGIN_OK;
	if ((result == LOGIN_WRONG || e->login_delay_us) && !e->hung_up) {
		uint64_t least = result == LOGIN_WRONG ? IMAP_LOGIN_DELAY_US : 0;
		s->timer_wait = true;
		e->host->timer(e->host_ctx, MAX(least, e->login_delay_us));
	}
}

static void changed(struct access_engine *e)
{
	struct imap_session *s = session(e);

	s->dirty = true;
	if (s->idling)
		s->parked = false;
	else
		e->changed_us = 0; /* told with the next command: nobody waits for it */
}

static void timeout(struct access_engine *e)
{
	access_out_str(&e->out, "* BYE autologout, idle for too long\r\n");
	e->ended = true;
}

static void drain(struct access_engine *e)
{
	struct imap_session *s = session(e);

	s->drain = true;
	if (s->step && !s->idling)
		return; /* after the command under way: imap_line_reset */
	access_out_str(&e->out, "* BYE the server is going down\r\n");
	e->ended = true;
}

/* ---- memory ---- */

static uint32_t held(const struct access_engine *e)
{
	const struct imap_session *s = (const struct imap_session *)(const void *)e;
	uint64_t octets =
		(uint64_t)s->rows.n * sizeof(struct imap_row) + s->copied.bytes + s->names_octets;

	if (s->append.message)
		octets += s->append.message->body.bytes;
	if (e->busy && s->reading && s->u.op.kind == STORE_READ_BODY)
		octets += s->u.body.max;
	return (uint32_t)((octets + CHUNK_DATA - 1) / CHUNK_DATA);
}

static void describe(const struct access_engine *e, struct buf *out)
{
	const struct imap_session *s = (const struct imap_session *)(const void *)e;

	if (s->state == IMAP_NOT_AUTHENTICATED) {
		buf_str(out, "not logged in");
		return;
	}
	buf_printf(out, "account %u, ", s->account);
	if (s->state == IMAP_SELECTED)
		buf_printf(out, "mailbox %u with %u messages, ", s->box, s->announced);
	buf_str(out, s->idling ? "IDLE" : s->append.message ? "APPEND" : s->step ? "busy" : "idle");
}

static const struct access_engine_ops imap_engine_ops = {
	.describe = describe,
	.held = held,
	.start = start,
	.input = input,
	.wants_input = wants_input,
	.run = run,
	.timer = timer,
	.login_done = login_done,
	.changed = changed,
	.timeout = timeout,
	.drain = drain,
	.hangup = hangup,
};

void imap_session_init(struct access_engine *e)
{
	struct imap_session *s = session(e);

	e->ops = &imap_engine_ops;
	s->state = IMAP_NOT_AUTHENTICATED;
	s->expunge_ok = true;
	chunk_array_init(&s->rows, sizeof(struct imap_row));
}
