/* SPDX-License-Identifier: BSD-3-Clause
 * STARTTLS (RFC 3207) and AUTH (RFC 4954): what is offered when, and the SASL exchange. */
#include <errno.h>
#include "dataplane/base/codec.h"
#include "dataplane/base/counters.h"
#include "smtp/relay.h"
#include "smtp/sasl.h"
#include "smtp/session_priv.h"

#define AUTH_FAILURES_MAX 3 /* chosen: then the connection is closed */

static bool auth_allowed(const struct smtp_session *s)
{
	return s->tls || s->service->auth_in_clear;
}

static unsigned scram_offer(const struct smtp_session *s)
{
	if (!s->ops->scram)
		return 0;
	return s->tls && s->channel ? EHLO_SCRAM | EHLO_SCRAM_PLUS : EHLO_SCRAM;
}

bool session_may_prioritise(const struct smtp_session *s)
{
	return s->account || s->certified || relay_peer_is_listed(s->policy, &s->peer);
}

unsigned session_ehlo(const struct smtp_session *s)
{
	unsigned offer = s->service->withheld;

	if (s->service->tls && !s->service->implicit_tls && !s->tls)
		offer |= EHLO_STARTTLS;
	if (s->service->auth && auth_allowed(s) && !s->account)
		offer |= EHLO_AUTH | scram_offer(s);
	if (s->tls)
		offer |= EHLO_REQUIRETLS; /* RFC 8689 4.1: never in clear */
	if (session_may_prioritise(s))
		offer |= EHLO_MT_PRIORITY;
	if (s->may_xclient)
		offer |= EHLO_XCLIENT;
	return offer;
}

void session_starttls(struct smtp_session *s, struct bytes argument)
{
	enum reply_id v = REPLY_OK;

	s->sync = true;
	if (s->tls)
		v = REPLY_TLS_ACTIVE;
	else if (!s->service->tls)
		v = REPLY_NOT_OFFERED;
	else if (argument.n)
		v = REPLY_NO_ARGUMENT;
	else if (s->ops->starttls)
		v = s->ops->starttls(s->ctx);
	if (v != REPLY_OK) {
		session_refuse(s, v);
		return;
	}
	session_queue(s, REPLY_TLS_READY);
	session_set_state(s, SMTP_TLS);
}

enum reply_id session_auth_needed(const struct smtp_session *s)
{
	if (!s->service->submission || s->account || s->certified ||
		relay_peer_is_listed(s->policy, &s->peer))
		return REPLY_OK;
	return auth_allowed(s) ? REPLY_AUTH_REQUIRED : REPLY_TLS_REQUIRED;
}

/* ---- the exchange ---- */

void session_auth_end(struct smtp_session *s)
{
	if (s->user) {
		explicit_bzero(s->user, s->user_n);
		s->ops->line_put(s->ctx, s->user);
	}
	s->user = NULL;
	s->user_n = 0;
	s->mechanism = SASL_NONE;
	if (s->state == SMTP_AUTH)
		session_set_state(s, SMTP_READY);
}

static void fail(struct smtp_session *s, enum reply_id reply)
{
	session_auth_end(s);
	session_refuse(s, reply);
}

static struct scram *scram_of(const struct smtp_session *s)
{
	static_assert(sizeof(struct scram) <= SMTP_LINE_MAX, "an exchange lies in line memory");
	return (struct scram *)(void *)s->user;
}

static bool is_scram(const struct smtp_session *s)
{
	return s->mechanism == SASL_SCRAM || s->mechanism == SASL_SCRAM_PLUS;
}

struct bytes session_auth_challenge(const struct smtp_session *s)
{
	return is_scram(s) && s->user ? scram_reply(scram_of(s)) : BYTES_NONE;
}

void session_auth_verdict(struct smtp_session *s, enum reply_id v)
{
	if (v == REPLY_AUTH_CHALLENGE) {
		session_queue(s, v);
		return;
	}
	session_auth_end(s);
	if (v == REPLY_OK) {
		counter_inc(CTR_SMTP_AUTH_OK);
		session_queue(s, REPLY_AUTH_OK);
		return;
	}
	s->account = 0;
	session_refuse(s, v);
	if (v != REPLY_AUTH_FAILED)
		return;
	counter_inc(CTR_SMTP_AUTH_FAILED);
	if (++s->auth_failures >= AUTH_FAILURES_MAX)
		session_close(s, REPLY_TOO_MANY_ERRORS);
}

static void check(struct smtp_session *s, struct bytes user, struct bytes password)
{
	session_decide(s, STAGE_AUTH, s->ops->auth(s->ctx, user, password));
}

static void take_plain(struct smtp_session *s, struct bytes message)
{
	struct bytes user, password;

	if (sasl_plain_parse(message, &user, &password) < 0)
		session_auth_verdict(s, REPLY_AUTH_FAILED);
	else
		check(s, user, password);
}

/* The name is kept in memory of its own until the password has come. */
static void take_login(struct smtp_session *s, struct bytes message)
{
	if (s->user) {
		check(s, bytes_make(s->user, s->user_n), message);
		return;
	}
	s->user = s->ops->line_get(s->ctx);
	if (!s->user) {
		fail(s, REPLY_AUTH_BUSY);
		return;
	}
	memcpy(s->user, message.p, message.n); /* shorter than a line */
	s->user_n = (uint16_t)message.n;
	session_queue(s, REPLY_AUTH_PASSWORD);
}

/* ---- SCRAM ---- */

enum scram_step { SCRAM_LOOKUP, SCRAM_PROOF, SCRAM_DONE };

void smtp_session_scram(
	struct smtp_session *s, const struct scram_record *r, bool known, uint32_t account)
{
	struct scram *x = scram_of(s);

	if (s->state != SMTP_AUTH || !is_scram(s) || !x)
		return;
	/* Without random numbers the proof that is asked for fits nobody. */
	if (scram_challenge(x, r, known) < 0)
		x->known = false;
	x->account = account;
	x->step = SCRAM_PROOF;
}

static void scram_begin(struct smtp_session *s, struct bytes message)
{
	enum scram_binding binding = s->mechanism == SASL_SCRAM_PLUS ? SCRAM_BOUND
				     : s->tls && s->channel          ? SCRAM_OFFERED
								     : SCRAM_UNBOUND;

	s->user = s->ops->line_get(s->ctx);
	if (!s->user) {
		fail(s, REPLY_AUTH_BUSY);
		return;
	}
	s->user_n = sizeof(struct scram);
	if (scram_first(scram_of(s), message, binding) < 0) {
		fail(s, REPLY_BAD_SCRAM);
		return;
	}
	session_decide(s, STAGE_AUTH, s->ops->scram(s->ctx, scram_user(scram_of(s))));
}

static void scram_prove(struct smtp_session *s, struct bytes message)
{
	struct scram *x = scram_of(s);
	uint8_t octets[SCRAM_CHANNEL_MAX];
	size_t n = x->channel && s->ops->channel
			   ? s->ops->channel(s->ctx, (enum scram_channel)x->channel, octets)
			   : 0;

	switch (scram_final(x, message, bytes_make(octets, n))) {
	case 0:
		x->step = SCRAM_DONE;
		session_queue(s, REPLY_AUTH_CHALLENGE);
		break;
	case -EACCES:
		session_decide(s, STAGE_AUTH,
			s->ops->auth_wrong ? s->ops->auth_wrong(s->ctx) : REPLY_AUTH_FAILED);
		break;
	default:
		fail(s, REPLY_BAD_SCRAM);
	}
}

static void take_scram(struct smtp_session *s, struct bytes message)
{
	if (!s->user) {
		scram_begin(s, message);
	} else if (scram_of(s)->step == SCRAM_PROOF) {
		scram_prove(s, message);
	} else if (scram_of(s)->step == SCRAM_DONE && message.n == 0) {
		s->account = scram_of(s)->account;
		session_auth_verdict(s, REPLY_OK);
	} else {
		fail(s, REPLY_BAD_SCRAM);
	}
}

static void take_response(struct smtp_session *s, struct bytes base64)
{
	uint8_t memory[SMTP_LINE_MAX];
	struct buf message;

	buf_init(&message, memory, sizeof(memory));
	if (base64_decode(&message, base64) < 0)
		fail(s, REPLY_BAD_BASE64);
	else if (s->mechanism == SASL_PLAIN)
		take_plain(s, buf_view(&message));
	else if (is_scram(s))
		take_scram(s, buf_view(&message));
	else
		take_login(s, buf_view(&message));
	explicit_bzero(memory, sizeof(memory));
}

void session_auth_line(struct smtp_session *s, enum command_verdict v, struct bytes line)
{
	s->sync = true;
	if (v == COMMAND_TOO_LONG)
		fail(s, REPLY_AUTH_TOO_LONG);
	else if (v != COMMAND_OK)
		fail(s, REPLY_BAD_BASE64);
	else if (bytes_eq(line, BYTES_LIT("*")))
		fail(s, REPLY_AUTH_CANCELLED);
	else
		take_response(s, line);
}

static enum reply_id may_begin(const struct smtp_session *s)
{
	if (!s->service->auth || !s->ops->auth)
		return REPLY_NOT_OFFERED;
	if (s->account)
		return REPLY_AUTH_DONE;
	return auth_allowed(s) ? REPLY_OK : REPLY_AUTH_NEEDS_TLS;
}

static bool mechanism_offered(const struct smtp_session *s)
{
	switch ((enum sasl_mechanism)s->mechanism) {
	case SASL_NONE:
		return false;
	case SASL_SCRAM:
		return scram_offer(s) & EHLO_SCRAM;
	case SASL_SCRAM_PLUS:
		return scram_offer(s) & EHLO_SCRAM_PLUS;
	case SASL_PLAIN:
	case SASL_LOGIN:
		break;
	}
	return true;
}

void session_auth(struct smtp_session *s, struct bytes argument)
{
	ptrdiff_t space = bytes_find(argument, ' ', 0);
	struct bytes name = space < 0 ? argument : bytes_first(argument, (size_t)space);
	struct bytes initial = space < 0 ? BYTES_NONE : bytes_skip(argument, (size_t)space + 1);
	enum reply_id v = may_begin(s);

	s->sync = true;
	if (v == REPLY_OK && (name.n == 0 || bytes_find(initial, ' ', 0) >= 0))
		v = REPLY_AUTH_SYNTAX;
	s->mechanism = (uint8_t)sasl_mechanism_find(name);
	if (v == REPLY_OK && !mechanism_offered(s))
		v = REPLY_AUTH_MECHANISM;
	if (v != REPLY_OK) {
		session_refuse(s, v);
		return;
	}
	session_set_state(s, SMTP_AUTH);
	/* "=": an initial response of no octets (RFC 4954 4). */
	if (bytes_eq(initial, BYTES_LIT("=")))
		take_response(s, BYTES_NONE);
	else if (initial.n)
		take_response(s, initial);
	else
		session_queue(s, s->mechanism == SASL_LOGIN ? REPLY_AUTH_USER : REPLY_AUTH_GO);
}
