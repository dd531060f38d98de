/* SPDX-License-Identifier: BSD-3-Clause
 * Passwords: asked of the helper, and answers to wrong ones come later and later.  The delay is of
 * the bucket of peers, so that a new connection does not escape it. */
#include "smtp/server_priv.h"
#include "dataplane/base/log.h"

/* Dovecot's steps have proven themselves in the field: seconds after the first, second ... failure.
 */
static const uint8_t delays[] = {2, 4, 8, 15};
#define PENALTY_FORGOTTEN_US (60 * US_PER_SEC) /* chosen: behind the last failure */

static struct auth_penalty *penalty_of(struct smtp_conn *c)
{
	return &c->server->penalties[c->bucket];
}

static uint64_t delay_us(struct smtp_conn *c)
{
	struct auth_penalty *p = penalty_of(c);
	uint64_t now = c->server->core->now_us;

	if (now >= p->until_us)
		p->failures = 0;
	unsigned step = MIN(p->failures, (unsigned)ARRAY_LEN(delays) - 1u);
	p->failures = (uint8_t)(step + 1);
	p->until_us = now + PENALTY_FORGOTTEN_US;
	return delays[step] * US_PER_SEC;
}

void auth_forget(struct smtp_conn *c)
{
	if (c->asking)
		penalty_of(c)->asking--;
	c->asking = false;
	c->late = 0;
}

enum reply_id auth_wrong(void *ctx)
{
	struct smtp_conn *c = ctx;
	char peer[IP_TEXT_MAX];

	log_info("smtp", "authentication failed peer=%s", ip_format(&c->peer, peer));
	conn_verdict_later(c, REPLY_AUTH_FAILED, c->server->core->now_us + delay_us(c));
	return REPLY_PENDING;
}

static void on_answer(void *ctx, uint32_t generation, enum auth_result result, uint32_t account)
{
	struct smtp_conn *c = ctx;

	if (c->generation != generation || !c->asking)
		return;
	auth_forget(c);
	if (c->life != CONN_OPEN || c->session.stage != STAGE_AUTH)
		return;
	if (result == AUTH_WRONG) {
		auth_wrong(c);
		return;
	}
	if (result == AUTH_RIGHT)
		smtp_session_authenticated(&c->session, account);
	smtp_session_verdict(&c->session, result == AUTH_RIGHT ? REPLY_OK : REPLY_AUTH_BUSY);
	conn_kick(c);
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

	if (!a || penalty_of(c)->asking >= AUTH_PEER_MAX || !a->ask(a, &q))
		return REPLY_AUTH_BUSY;
	c->asking = true;
	penalty_of(c)->asking++;
	return REPLY_PENDING;
}

static void on_record(void *ctx, uint32_t generation, bool busy, bool known, uint32_t account,
	const struct scram_record *r)
{
	struct smtp_conn *c = ctx;

	if (c->generation != generation || !c->asking)
		return;
	auth_forget(c);
	if (c->life != CONN_OPEN || c->session.stage != STAGE_AUTH)
		return;
	if (!busy)
		smtp_session_scram(&c->session, r, known, account);
	smtp_session_verdict(&c->session, busy ? REPLY_AUTH_BUSY : REPLY_AUTH_CHALLENGE);
	conn_kick(c);
}

enum reply_id auth_scram(void *ctx, struct bytes user)
{
	struct smtp_conn *c = ctx;
	struct authenticator *a = c->server->conf.authenticator;
	struct auth_lookup q = {
		.user = user, .done = on_record, .ctx = c, .generation = c->generation};

	if (!a || penalty_of(c)->asking >= AUTH_PEER_MAX || !a->look_up(a, &q))
		return REPLY_AUTH_BUSY;
	c->asking = true;
	penalty_of(c)->asking++;
	return REPLY_PENDING;
}

bool auth_channel(void *ctx, uint8_t out[32])
{
	const struct smtp_conn *c = ctx;

	return tls_is_secure(&c->stream) && tls_channel_binding(&c->stream, out) == 0;
}

enum reply_id auth_starttls(void *ctx)
{
	struct smtp_conn *c = ctx;

	return tls_has_room(c->server->conf.tls) && peer_may_handshake(c) ? REPLY_OK
									  : REPLY_TLS_BUSY;
}
