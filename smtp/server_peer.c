/* SPDX-License-Identifier: BSD-3-Clause
 * What one peer may do in a minute, and at once.  Networks that may relay are not limited: they are
 * the operator's own. */
#include "smtp/server_priv.h"
#include "dataplane/base/counters.h"
#include "smtp/relay.h"

#define PEER_FEW                                                                                   \
	4u /* connections of one peer when sessions are scarce; chosen: what mailers open */

static bool is_free(const struct smtp_conn *c)
{
	return relay_peer_is_listed(c->session.policy, &c->session.peer);
}

static struct peer *peer_of(struct smtp_conn *c)
{
	return c->place ? c->place : peers_get(&c->server->peers, &c->session.peer);
}

static bool may(struct smtp_conn *c, enum peer_event event, uint32_t limit)
{
	/* One that has a place was not free when it came. */
	if (limit == 0 || (!c->place && is_free(c)))
		return true;
	return peer_may(peer_of(c), event, limit, c->server->core->now_us);
}

void peer_leave(struct smtp_conn *c)
{
	if (c->place)
		c->place->connections--;
	c->place = NULL;
}

/* The last sessions are for peers that have few, so that some with many do not have them all. */
static bool has_too_many(const struct smtp_conn *c, const struct peer *peer)
{
	uint32_t max = c->session.policy->peer_connections;

	if (max && relief_sessions_scarce(c->server))
		max = MIN(max, PEER_FEW);
	return max && peer->connections >= max;
}

enum reply_id peer_connect(void *ctx)
{
	struct smtp_conn *c = ctx;
	const struct smtp_policy *p = c->session.policy;

	if (is_free(c))
		return REPLY_OK;
	struct peer *peer = peer_of(c);
	if (has_too_many(c, peer)) {
		counter_inc(CTR_SMTP_PEER_CONNECTIONS_REFUSED);
		return REPLY_PEER_CONNECTIONS;
	}
	if (!peer_may(peer, PEER_CONNECT, p->peer_connection_rate, c->server->core->now_us)) {
		counter_inc(CTR_SMTP_PEER_RATE_REFUSED);
		return REPLY_PEER_RATE;
	}
	peer->connections++;
	c->place = peer;
	return REPLY_OK;
}

bool peer_may_handshake(struct smtp_conn *c)
{
	bool ok = may(c, PEER_HANDSHAKE, c->session.policy->peer_handshake_rate);

	if (!ok)
		counter_inc(CTR_SMTP_PEER_HANDSHAKES_REFUSED);
	return ok;
}

bool peer_error(void *ctx)
{
	struct smtp_conn *c = ctx;
	bool ok = may(c, PEER_ERROR, c->session.policy->peer_error_rate);

	if (!ok)
		counter_inc(CTR_SMTP_PEER_ERRORS);
	return !ok;
}

enum reply_id peer_mail(struct smtp_conn *c)
{
	if (may(c, PEER_MESSAGE, c->session.policy->peer_message_rate))
		return REPLY_OK;
	counter_inc(CTR_SMTP_PEER_MESSAGES_REFUSED);
	return REPLY_PEER_MESSAGES;
}

enum reply_id peer_rcpt(struct smtp_conn *c)
{
	if (may(c, PEER_RCPT, c->session.policy->peer_rcpt_rate))
		return REPLY_OK;
	counter_inc(CTR_SMTP_PEER_RCPTS_REFUSED);
	return REPLY_PEER_RCPTS;
}
