/* SPDX-License-Identifier: BSD-3-Clause
 * Passwords: asked of the helper, and answers to wrong ones come later and later (smtp/guess.h). */
#include "smtp/server_priv.h"
#include "dataplane/base/log.h"
#include "smtp/binding.h"
#include "smtp/relay.h"

/* False: too many logins of the peer are under way. */
static bool asking_begin(struct smtp_conn *c)
{
	if (c->place && c->place->asking >= AUTH_PEER_MAX)
		return false;
	if (c->place)
		c->place->asking++;
	c->asking = true;
	return true;
}

void auth_forget(struct smtp_conn *c)
{
	if (c->asking && c->place)
		c->place->asking--;
	c->asking = false;
	c->late = 0;
}

/* The answer is late; until it is given the peer has one login less. */
static void wrong(struct smtp_conn *c)
{
	uint64_t now_us = c->server->core->now_us;
	char peer[IP_TEXT_MAX];

	log_info("smtp", "authentication failed peer=%s", ip_format(&c->session.peer, peer));
	uint64_t at_us = now_us + guess_wrong_us(&c->guess, now_us);

	conn_verdict_later(c, REPLY_AUTH_FAILED, MAX(at_us, c->answer_us));
}

enum reply_id auth_wrong(void *ctx)
{
	struct smtp_conn *c = ctx;

	/* Between look-up and proof others may have begun: it counts as one of them. */
	if (!c->asking && c->place)
		c->place->asking++;
	c->asking = true;
	wrong(c);
	return REPLY_PENDING;
}

/* Networks that may relay are the operator's own: only their accounts count. */
static void guess_begin(struct smtp_conn *c, struct bytes user, struct bytes password)
{
	bool own = relay_peer_is_listed(c->session.policy, &c->session.peer);
	uint64_t now_us = c->server->core->now_us;

	guess_make(&c->guess, own ? NULL : &c->session.peer, user, password);
	c->answer_us = now_us + guess_wait_us(&c->guess, now_us);
}

/* What is not to be told yet waits, and the login stays under way meanwhile. */
static void tell(struct smtp_conn *c, enum reply_id verdict)
{
	if (c->server->core->now_us < c->answer_us) {
		conn_verdict_later(c, verdict, c->answer_us);
		return;
	}
	auth_forget(c);
	smtp_session_verdict(&c->session, verdict);
	conn_kick(c);
}

static bool is_awaited(const struct smtp_conn *c, uint32_t generation)
{
	return c->generation == generation && c->asking && c->life == CONN_OPEN &&
	       c->session.stage == STAGE_AUTH;
}

static void on_answer(void *ctx, uint32_t generation, enum auth_result result, uint32_t account)
{
	struct smtp_conn *c = ctx;

	if (!is_awaited(c, generation))
		return;
	if (result == AUTH_WRONG) {
		wrong(c);
		return;
	}
	if (result == AUTH_RIGHT)
		smtp_session_authenticated(&c->session, account);
	tell(c, result == AUTH_RIGHT ? REPLY_OK : REPLY_AUTH_BUSY);
}

enum reply_id auth_password(void *ctx, struct bytes user, struct bytes password)
{
	struct smtp_conn *c = ctx;
	struct authenticator *a = c->server->conf.authenticator;
	struct auth_question q = {.user = user,
		.password = password,
		.done = on_answer,
		.ctx = c,
		.generation = c->generation};

	if (!a || !asking_begin(c))
		return REPLY_AUTH_BUSY;
	guess_begin(c, user, password);
	if (a->ask(a, &q))
		return REPLY_PENDING;
	auth_forget(c);
	return REPLY_AUTH_BUSY;
}

static void on_record(void *ctx, uint32_t generation, bool busy, bool known, uint32_t account,
	const struct scram_record *r)
{
	struct smtp_conn *c = ctx;

	if (!is_awaited(c, generation))
		return;
	if (!busy)
		smtp_session_scram(&c->session, r, known, account);
	tell(c, busy ? REPLY_AUTH_BUSY : REPLY_AUTH_CHALLENGE);
}

enum reply_id auth_scram(void *ctx, struct bytes user)
{
	struct smtp_conn *c = ctx;
	struct authenticator *a = c->server->conf.authenticator;
	struct auth_lookup q = {
		.user = user, .done = on_record, .ctx = c, .generation = c->generation};

	if (!a || !asking_begin(c))
		return REPLY_AUTH_BUSY;
	guess_begin(c, user, BYTES_NONE);
	if (a->look_up(a, &q))
		return REPLY_PENDING;
	auth_forget(c);
	return REPLY_AUTH_BUSY;
}

size_t auth_channel(void *ctx, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX])
{
	const struct smtp_conn *c = ctx;

	return binding_of(&c->stream, kind, out);
}

enum reply_id auth_starttls(void *ctx)
{
	struct smtp_conn *c = ctx;

	return tls_has_room(c->server->conf.tls) && peer_may_handshake(c) ? REPLY_OK
									  : REPLY_TLS_BUSY;
}
