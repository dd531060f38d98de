/* SPDX-License-Identifier: BSD-3-Clause
 * Lines, commands and states.  OWNER: one core's thread. */
#include "store/pop3/pop3_priv.h"

static struct pop3_session *session(struct access_engine *e)
{
	return container_of(e, struct pop3_session, engine);
}

void pop3_say(struct pop3_session *s, const char *text)
{
	access_out_str(&s->engine.out, text);
	access_out_str(&s->engine.out, "\r\n");
}

void pop3_refuse(struct pop3_session *s, const char *text)
{
	pop3_say(s, text);
	if (++s->errors < POP3_ERRORS_MAX)
		return;
	s->state = POP3_ENDED;
	s->engine.ended = true;
}

static void op_done(struct op *op)
{
	struct pop3_session *s = container_of(op, struct pop3_session, u.op);

	access_engine_done(&s->engine);
}

void pop3_submit(struct pop3_session *s, enum access_server_kind to, uint16_t kind)
{
	s->u.op.done = op_done;
	s->u.op.kind = kind;
	s->u.op.status = 0;
	access_engine_submit(&s->engine, to, s->account, &s->u.op);
}

struct pop3_row *pop3_row_at(struct pop3_session *s, uint32_t i)
{
	return chunk_array_at(&s->rows, i);
}

/* ---- arguments ---- */

/* Split off the next word; args is what follows it. */
static struct bytes word(struct bytes *args)
{
	size_t from = 0;

	while (from < args->n && args->p[from] == ' ')
		from++;
	ptrdiff_t end = bytes_find(*args, ' ', from);
	size_t to = end < 0 ? args->n : (size_t)end;
	struct bytes w = bytes_make(args->p + from, to - from);
	*args = bytes_skip(*args, to);
	return w;
}

static bool at_end(struct bytes args)
{
	return word(&args).n == 0;
}

/* A message number that names a message not marked deleted; else the refusal has been said. */
static bool message_arg(struct pop3_session *s, struct bytes *args, uint32_t *i_r)
{
	struct bytes w = word(args);
	uint64_t v;

	if (bytes_to_u64(w, &v) < 0) {
		pop3_refuse(s, "-ERR a message number is needed");
		return false;
	}
	if (v == 0 || v > s->rows.n || pop3_row_at(s, (uint32_t)v - 1)->deleted) {
		pop3_refuse(s, "-ERR no such message");
		return false;
	}
	*i_r = (uint32_t)v - 1;
	return true;
}

static bool no_more(struct pop3_session *s, struct bytes args)
{
	if (at_end(args))
		return true;
	pop3_refuse(s, "-ERR too many arguments");
	return false;
}

/* ---- commands ---- */

static void capa(struct pop3_session *s, struct bytes args)
{
	(void)args;
	pop3_say(s, "+OK capabilities follow");
	if (access_engine_may_login(&s->engine) || s->state == POP3_IN_TRANSACTION)
		pop3_say(s, "USER");
	if (access_engine_may_secure(&s->engine) && s->state == POP3_IN_AUTH)
		pop3_say(s, "STLS");
	pop3_say(s, "TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\n"
		    "IMPLEMENTATION bypost\r\n.");
}

static void user(struct pop3_session *s, struct bytes args)
{
	struct bytes name = word(&args);

	s->user_n = 0;
	if (!access_engine_may_login(&s->engine)) {
		pop3_refuse(s, "-ERR [AUTH] no logins without TLS");
		return;
	}
	if (name.n == 0 || name.n > sizeof(s->user) || !at_end(args)) {
		pop3_refuse(s, "-ERR one name is needed");
		return;
	}
	memcpy(s->user, name.p, name.n);
	s->user_n = (uint16_t)name.n;
	pop3_say(s, "+OK send PASS");
}

/* RFC 2595 4.  A name given in clear is forgotten. */
static void stls(struct pop3_session *s, struct bytes args)
{
	if (!no_more(s, args))
		return;
	if (!access_engine_may_secure(&s->engine)) {
		pop3_refuse(s, s->engine.secure ? "-ERR TLS is there already" : "-ERR no TLS here");
		return;
	}
	s->user_n = 0;
	s->engine.wants_tls = true;
	pop3_say(s, "+OK begin TLS");
}

static void login_reply(struct pop3_session *s)
{
	s->step = NULL;
	if (s->login_result == LOGIN_OK) {
		pop3_maildrop_open(s);
		return;
	}
	if (++s->failed_logins >= POP3_LOGINS_MAX)
		s->engine.ended = true;
	pop3_refuse(s, s->login_result == LOGIN_WRONG ? "-ERR [AUTH] wrong name or password"
		       : s->login_result == LOGIN_LIMIT
			       ? "-ERR [IN-USE] too many sessions of this account"
			       : "-ERR [SYS/TEMP] try again later");
}

/* The password is the rest of the line: it may hold spaces (RFC 1939 7). */
static void pass(struct pop3_session *s, struct bytes args)
{
	struct bytes password = bytes_skip(args, 1);

	if (!s->user_n) {
		pop3_refuse(s, "-ERR send USER first");
		return;
	}
	s->step = login_reply;
	s->engine.host->login(s->engine.host_ctx, bytes_make(s->user, s->user_n), password);
	s->user_n = 0;
	explicit_bzero(s->line, sizeof(s->line));
}

static void stat(struct pop3_session *s, struct bytes args)
{
	if (no_more(s, args))
		access_out_printf(&s->engine.out, "+OK %u %llu\r\n", s->rows.n - s->deleted,
			(unsigned long long)(s->bytes - s->deleted_bytes));
}

static void list_line(struct pop3_session *s, uint32_t i, const char *before)
{
	const struct pop3_row *r = pop3_row_at(s, i);

	if (s->uidl)
		access_out_printf(
			&s->engine.out, "%s%u %08x%08x\r\n", before, i + 1, s->uidvalidity, r->uid);
	else
		access_out_printf(&s->engine.out, "%s%u %llu\r\n", before, i + 1,
			(unsigned long long)r->size);
}

static void list_step(struct pop3_session *s)
{
	for (; s->at < s->rows.n; s->at++) {
		if (access_out_bytes(&s->engine.out) >= ACCESS_OUT_HIGH)
			return;
		if (!pop3_row_at(s, s->at)->deleted)
			list_line(s, s->at, "");
	}
	s->step = NULL;
	pop3_say(s, ".");
}

static void listing(struct pop3_session *s, struct bytes args, bool uidl)
{
	uint32_t i;

	s->uidl = uidl;
	if (at_end(args)) {
		pop3_say(s, "+OK the list follows");
		s->at = 0;
		s->step = list_step;
	} else if (message_arg(s, &args, &i) && no_more(s, args)) {
		list_line(s, i, "+OK ");
	}
}

static void list(struct pop3_session *s, struct bytes args)
{
	listing(s, args, false);
}

static void uidl(struct pop3_session *s, struct bytes args)
{
	listing(s, args, true);
}

static void retr(struct pop3_session *s, struct bytes args)
{
	uint32_t i;

	if (message_arg(s, &args, &i) && no_more(s, args))
		pop3_retrieve(s, i, UINT64_MAX);
}

static void top(struct pop3_session *s, struct bytes args)
{
	uint64_t lines;
	uint32_t i;

	if (!message_arg(s, &args, &i))
		return;
	if (bytes_to_u64(word(&args), &lines) < 0)
		pop3_refuse(s, "-ERR a number of lines is needed");
	else if (no_more(s, args))
		pop3_retrieve(s, i, lines);
}

static void dele(struct pop3_session *s, struct bytes args)
{
	uint32_t i;

	if (!message_arg(s, &args, &i) || !no_more(s, args))
		return;
	struct pop3_row *r = pop3_row_at(s, i);
	r->deleted = 1;
	s->deleted++;
	s->deleted_bytes += r->size;
	pop3_say(s, "+OK marked for deletion");
}

static void rset(struct pop3_session *s, struct bytes args)
{
	if (!no_more(s, args))
		return;
	for (uint32_t i = 0; s->deleted && i < s->rows.n; i++)
		pop3_row_at(s, i)->deleted = 0;
	s->deleted = 0;
	s->deleted_bytes = 0;
	pop3_say(s, "+OK");
}

static void noop(struct pop3_session *s, struct bytes args)
{
	(void)args;
	pop3_say(s, "+OK");
}

static void quit(struct pop3_session *s, struct bytes args)
{
	(void)args;
	if (s->state == POP3_IN_TRANSACTION && s->deleted) {
		pop3_maildrop_update(s);
		return;
	}
	pop3_say(s, "+OK goodbye");
	s->engine.ended = true;
}

static const struct pop3_command {
	const char *name;
	unsigned states;
	void (*handler)(struct pop3_session *s, struct bytes args);
} commands[] = {
#define POP3_COMMAND(name, states, handler) {name, states, handler},
#include "store/pop3/pop3_command.def"
#undef POP3_COMMAND
};

static void dispatch(struct pop3_session *s, struct bytes line)
{
	ptrdiff_t space = bytes_find(line, ' ', 0);
	struct bytes name = bytes_first(line, space < 0 ? line.n : (size_t)space);

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (!bytes_ieq(name, bytes_str(commands[i].name)))
			continue;
		if (commands[i].states & s->state)
			commands[i].handler(s, bytes_skip(line, name.n));
		else
			pop3_refuse(s, "-ERR not now");
		return;
	}
	pop3_refuse(s, "-ERR unknown command");
}

/* ---- the engine's calls ---- */

static void start(struct access_engine *e)
{
	access_out_printf(&e->out, "+OK %.255s POP3 ready\r\n", e->hostname);
}

static bool wants_input(const struct access_engine *e)
{
	const struct pop3_session *s = container_of(e, struct pop3_session, engine);

	return !s->step && !e->ended && !e->hung_up && !e->wants_tls &&
	       access_out_bytes(&e->out) < ACCESS_OUT_HIGH;
}

/* A whole line: without its CRLF to the command, or refused. */
static void line_end(struct pop3_session *s)
{
	struct bytes line = bytes_make(s->line, s->line_n);

	if (s->line_skip)
		pop3_refuse(s, "-ERR line too long");
	else if (line.n < 2 || line.p[line.n - 2] != '\r')
		pop3_refuse(s, "-ERR lines end in CRLF");
	else
		dispatch(s, bytes_first(line, line.n - 2));
	s->line_n = 0;
	s->line_skip = false;
}

static size_t input(struct access_engine *e, struct bytes data)
{
	struct pop3_session *s = session(e);
	ptrdiff_t lf = bytes_find(data, '\n', 0);
	size_t n = lf < 0 ? data.n : (size_t)lf + 1;

	if (!wants_input(e))
		return 0;
	if (s->line_skip || n > sizeof(s->line) - s->line_n) {
		s->line_skip = true;
	} else {
		memcpy(s->line + s->line_n, data.p, n);
		s->line_n = (uint16_t)(s->line_n + n);
	}
	if (lf >= 0)
		line_end(s);
	return n;
}

static void run(struct access_engine *e)
{
	struct pop3_session *s = session(e);

	while (s->step && !e->busy && !s->timer_wait && !e->hung_up &&
		access_out_bytes(&e->out) < ACCESS_OUT_HIGH) {
		if (!access_out_reserve(&e->out)) {
			s->timer_wait = true;
			e->host->timer(e->host_ctx, POP3_RETRY_US);
			return;
		}
		s->step(s);
	}
	if (e->hung_up && !e->busy && !s->dropping)
		e->ops->hangup(e);
}

static void timer(struct access_engine *e)
{
	session(e)->timer_wait = false;
}

static void login_done(struct access_engine *e, enum login_result result, uint32_t account)
{
	struct pop3_session *s = session(e);

	s->login_result = result;
	s->account = account;
	if ((result == LOGIN_WRONG || e->login_delay_us) && !e->hung_up) {
		uint64_t least = result == LOGIN_WRONG ? POP3_LOGIN_DELAY_US : 0;
		s->timer_wait = true;
		e->host->timer(e->host_ctx, MAX(least, e->login_delay_us));
	}
}

static void changed(struct access_engine *e)
{
	(void)e; /* the list is that of the login */
}

static void finish(struct access_engine *e)
{
	/* RFC 1939 3: an autologout must not remove messages, and says nothing. */
	session(e)->step = NULL;
	e->ended = true;
}

static void drain(struct access_engine *e)
{
	if (session(e)->step)
		return; /* the command under way is finished; the peer ends or times out */
	pop3_say(session(e), "-ERR [SYS/TEMP] the server is going down");
	e->ended = true;
}

static void hangup(struct access_engine *e)
{
	struct pop3_session *s = session(e);

	if (e->busy)
		return; /* again from run, when the op is done: it may bring chunks */
	s->dropping = true;
	s->step = NULL;
	if (s->u.op.kind == STORE_READ_BODY)
		chain_free(&s->u.body.out);
	else if (s->u.op.kind == STORE_READ_MBOX_OPEN || s->u.op.kind == STORE_READ_MBOX_ROWS)
		chain_free(&s->u.mbox.out);
	chain_free(&s->slice);
	chunk_array_free(&s->rows);
	if (s->uids)
		chunk_put(s->uids);
	s->uids = NULL;
}

static uint32_t held(const struct access_engine *e)
{
	const struct pop3_session *s = (const struct pop3_session *)(const void *)e;
	uint64_t octets = (uint64_t)s->rows.n * sizeof(struct pop3_row) + s->slice.bytes;

	if (e->busy && s->u.op.kind == STORE_READ_BODY)
		octets += s->u.body.max;
	return (uint32_t)((octets + CHUNK_DATA - 1) / CHUNK_DATA);
}

static void describe(const struct access_engine *e, struct buf *out)
{
	const struct pop3_session *s = (const struct pop3_session *)(const void *)e;

	if (s->state == POP3_IN_AUTH)
		buf_str(out, "not logged in");
	else
		buf_printf(out, "account %u, %u messages, %s", s->account, s->rows.n,
			s->state == POP3_ENDED ? "ending"
			: s->blob              ? "retrieving"
			: s->step              ? "busy"
					       : "idle");
}

static const struct access_engine_ops pop3_engine_ops = {
	.describe = describe,
	.held = held,
	.start = start,
	.input = input,
	.wants_input = wants_input,
	.run = run,
	.timer = timer,
	.login_done = login_done,
	.changed = changed,
	.timeout = finish,
	.drain = drain,
	.hangup = hangup,
};

void pop3_session_init(struct access_engine *e)
{
	struct pop3_session *s = session(e);

	e->ops = &pop3_engine_ops;
	s->state = POP3_IN_AUTH;
	chunk_array_init(&s->rows, sizeof(struct pop3_row));
}
