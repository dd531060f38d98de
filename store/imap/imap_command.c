/* SPDX-License-Identifier: BSD-3-Clause
 * From a whole command to its handler, and the commands that need no mailbox.
 * OWNER: one core's thread. */
#include "dataplane/base/clock.h"
#include "dataplane/base/codec.h"
#include "dataplane/base/counters.h"
#include "store/imap/imap_line.h"
#include "store/imap/imap_priv.h"

static const struct imap_command {
	const char *name;
	unsigned states;
	imap_handler handler;
} commands[] = {
#define IMAP_COMMAND(name, states, handler) {name, states, imap_##handler},
#include "store/imap/imap_command.def"
#undef IMAP_COMMAND
};

void imap_bad(struct imap_session *s, const char *text)
{
	if (++s->errors >= IMAP_ERRORS_MAX)
		s->engine.ended = true;
	access_out_put(imap_out(s), s->tag);
	access_out_str(imap_out(s), " BAD ");
	access_out_str(imap_out(s), text);
	access_out_str(imap_out(s), "\r\n");
	imap_command_over(s);
}

bool imap_args_end(struct imap_session *s, struct imap_parse *p)
{
	if (imap_end(p))
		return true;
	imap_bad(s, "arguments not understood");
	return false;
}

/* ---- dispatch ---- */

static bool is_tag(uint8_t c)
{
	return c > 32 && c < 127 && !memchr("(){%*\"\\+", c, 8);
}

static bool tag_take(struct imap_session *s, struct imap_parse *p)
{
	while (p->at < p->n && is_tag(p->p[p->at]))
		p->at++;
	s->tag = bytes_make(p->p, p->at);
	if (p->at && p->at <= IMAP_TAG_MAX && imap_space(p))
		return true;
	s->tag = BYTES_LIT("*");
	return false;
}

static const struct imap_command *command_find(struct bytes name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (bytes_ieq(name, bytes_str(commands[i].name)))
			return &commands[i];
	}
	return NULL;
}

static bool has_uid_form(const struct imap_command *c)
{
	return c->handler == imap_fetch || c->handler == imap_store || c->handler == imap_copy ||
	       c->handler == imap_move || c->handler == imap_search || c->handler == imap_expunge;
}

void imap_dispatch(struct imap_session *s)
{
	struct imap_parse p = {.p = s->line.p, .n = s->line.n};

	s->expunge_ok = true;
	s->refresh_now = false;
	if (!tag_take(s, &p)) {
		imap_bad(s, "a tag and a command are needed");
		return;
	}
	struct bytes name = imap_atom(&p);
	s->uid_form = bytes_ieq(name, BYTES_LIT("UID")) && imap_space(&p);
	if (s->uid_form)
		name = imap_atom(&p);
	const struct imap_command *c = command_find(name);
	if (!c || (s->uid_form && !has_uid_form(c))) {
		imap_bad(s, "unknown command");
		return;
	}
	if (!(c->states & s->state)) {
		imap_bad(s, "not in this state");
		return;
	}
	c->handler(s, &p);
}

/* ---- any state ---- */

#define IMAP_CAPABILITIES                                                                          \
	"IMAP4rev1 LITERAL+ SASL-IR ID IDLE UIDPLUS NAMESPACE UNSELECT QUOTA "                     \
	"QUOTA=RES-STORAGE QUOTA=RES-MESSAGE SPECIAL-USE CREATE-SPECIAL-USE STATUS=SIZE MOVE"

const char *imap_login_capabilities(const struct access_engine *e)
{
	if (access_engine_may_login(e))
		return access_engine_may_secure(e) ? " STARTTLS AUTH=PLAIN" : " AUTH=PLAIN";
	return access_engine_may_secure(e) ? " STARTTLS LOGINDISABLED" : " LOGINDISABLED";
}

void imap_capability(struct imap_session *s, struct imap_parse *p)
{
	const char *login = "";

	if (!imap_args_end(s, p))
		return;
	if (s->state == IMAP_NOT_AUTHENTICATED)
		login = imap_login_capabilities(&s->engine);
	access_out_printf(imap_out(s), "* CAPABILITY " IMAP_CAPABILITIES "%s\r\n", login);
	imap_finish(s, "OK capabilities listed");
}

void imap_noop(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_args_end(s, p))
		return;
	s->refresh_now = true;
	imap_finish(s, "OK done");
}

void imap_check(struct imap_session *s, struct imap_parse *p)
{
	imap_noop(s, p);
}

void imap_logout(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_args_end(s, p))
		return;
	access_out_str(imap_out(s), "* BYE goodbye\r\n");
	imap_unselect_now(s);
	s->engine.ended = true;
	imap_reply_now(s, "OK logged out");
}

/* What a client says about itself changes nothing (RFC 2971 2). */
void imap_id(struct imap_session *s, struct imap_parse *p)
{
	(void)p;
	access_out_str(imap_out(s), "* ID (\"name\" \"bypost\")\r\n");
	imap_finish(s, "OK done");
}

void imap_namespace(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_args_end(s, p))
		return;
	access_out_str(imap_out(s), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	imap_finish(s, "OK done");
}

/* RFC 3501 6.2.1. */
void imap_starttls(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_args_end(s, p))
		return;
	if (!access_engine_may_secure(&s->engine)) {
		imap_bad(s, s->engine.secure ? "TLS is there already" : "no TLS here");
		return;
	}
	s->engine.wants_tls = true;
	imap_reply_now(s, "OK begin TLS");
}

/* ---- login ---- */

static void login_step(struct imap_session *s)
{
	if (s->login_result == LOGIN_OK) {
		s->state = IMAP_AUTHENTICATED;
		s->errors = 0;
		imap_finish(s, "OK [CAPABILITY " IMAP_CAPABILITIES "] logged in");
		return;
	}
	if (++s->failed_logins >= IMAP_LOGINS_MAX)
		s->engine.ended = true;
	imap_finish(s,
		s->login_result == LOGIN_WRONG ? "NO [AUTHENTICATIONFAILED] wrong name or password"
		: s->login_result == LOGIN_LIMIT ? "NO [LIMIT] too many sessions of this account"
						 : "NO [UNAVAILABLE] try again later");
}

static void login_begin(struct imap_session *s, struct bytes user, struct bytes password)
{
	s->continuation = NULL;
	s->parked = false;
	s->step = login_step;
	s->engine.host->login(s->engine.host_ctx, user, password);
}

static bool login_allowed(struct imap_session *s)
{
	if (access_engine_may_login(&s->engine))
		return true;
	imap_finish(s, "NO [PRIVACYREQUIRED] no logins without TLS");
	return false;
}

void imap_login(struct imap_session *s, struct imap_parse *p)
{
	struct bytes user, password;

	if (!imap_space(p) || !imap_astring(p, &user) || !imap_space(p) ||
		!imap_astring(p, &password) || !imap_end(p))
		imap_bad(s, "a name and a password are needed");
	else if (login_allowed(s))
		login_begin(s, user, password);
}

/* RFC 4616: [authzid] NUL authcid NUL passwd. */
static void plain_response(struct imap_session *s, struct bytes base64)
{
	uint8_t text[ADDRESS_MAX * 2 + PASSWORD_MAX + 2];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	int err = base64_decode(&b, bytes_eq(base64, BYTES_LIT("=")) ? BYTES_NONE : base64);
	struct bytes all = buf_view(&b);
	ptrdiff_t first = bytes_find(all, 0, 0);
	ptrdiff_t second = first < 0 ? -1 : bytes_find(all, 0, (size_t)first + 1);
	if (err || second < 0) {
		imap_bad(s, "the response is not one of PLAIN");
	} else {
		struct bytes authzid = bytes_first(all, (size_t)first);
		struct bytes user = bytes_make(all.p + first + 1, (size_t)(second - first - 1));
		if (authzid.n && !bytes_ieq(authzid, user))
			imap_finish(s, "NO [AUTHORIZATIONFAILED] not for another user");
		else
			login_begin(s, user, bytes_skip(all, (size_t)second + 1));
	}
	explicit_bzero(text, sizeof(text));
}

static void waiting_step(struct imap_session *s)
{
	s->parked = true;
}

static void plain_line(struct imap_session *s, struct bytes line)
{
	s->continuation = NULL;
	if (bytes_eq(line, BYTES_LIT("*")))
		imap_bad(s, "cancelled");
	else
		plain_response(s, line);
}

void imap_authenticate(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_space(p)) {
		imap_bad(s, "a mechanism is needed");
		return;
	}
	if (!bytes_ieq(imap_atom(p), BYTES_LIT("PLAIN"))) {
		imap_finish(s, "NO mechanism not supported");
		return;
	}
	if (!login_allowed(s))
		return;
	if (imap_space(p)) {
		plain_response(s, bytes_make(p->p + p->at, p->n - p->at));
		return;
	}
	access_out_str(imap_out(s), "+ \r\n");
	s->line.from = s->line.n;
	s->continuation = plain_line;
	s->step = waiting_step;
}

/* ---- IDLE: RFC 2177 ---- */

static void idle_step(struct imap_session *s);

static void idle_announced(struct imap_session *s)
{
	uint64_t since_us = s->engine.changed_us;

	s->engine.changed_us = 0;
	if (since_us)
		histogram_add(HIST_IMAP_ANNOUNCE, clock_mono_us() - since_us);
	s->step = idle_step;
}

static void idle_announce(struct imap_session *s)
{
	imap_announce(s, idle_announced);
}

static void idle_step(struct imap_session *s)
{
	if (s->state == IMAP_SELECTED && s->dirty)
		imap_index_refresh(s, idle_announce);
	else
		s->parked = true;
}

static void idle_line(struct imap_session *s, struct bytes line)
{
	bool done = bytes_ieq(line, BYTES_LIT("DONE"));

	s->continuation = NULL;
	s->idling = false;
	if (done)
		imap_finish(s, "OK done");
	else
		imap_bad(s, "DONE was expected");
}

void imap_idle(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_args_end(s, p))
		return;
	access_out_str(imap_out(s), "+ idling\r\n");
	s->line.from = s->line.n;
	s->continuation = idle_line;
	s->idling = true;
	s->dirty = true;
	s->step = idle_step;
}
