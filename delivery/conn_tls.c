/* SPDX-License-Identifier: BSD-3-Clause
 * TLS of a connection: what its destination's row of the routing table asks for, the handshake, and
 * what becomes of a host that does not manage one. */
#include <errno.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "delivery/conn_priv.h"
#include "delivery/delivery_priv.h"

#define CLEAR_US (600 * US_PER_SEC) /* a host whose TLS failed goes without so long; chosen */

static const struct hop *hop_of(const struct conn *c)
{
	return c->site->route.hop;
}

void conn_tls_reset(struct conn *c)
{
	const struct hop *hop = hop_of(c);
	uint64_t now_us = c->d->core->now_us;

	c->level = hop->level;
	c->dane.outcome = DANE_NONE;
	c->handshaking = c->secured = c->tied = false;
	c->domain_n = 0;
	snprintf(c->tls, sizeof(c->tls), "-");
	if (hop->transport == HOP_SMTPS)
		c->level = MAX(c->level, (uint8_t)TLS_LEVEL_ENCRYPT);
	else if (hop->level == TLS_LEVEL_MAY &&
		 (!c->d->conf.tls || c->site->clear_until_us[c->address] > now_us))
		c->level = TLS_LEVEL_NONE;
}

bool conn_tls_wants_records(const struct conn *c)
{
	const struct route *r = &c->site->route;

	return c->level == TLS_LEVEL_DANE && c->host[0] &&
	       r->hosts[r->addresses[c->address].host].named;
}

/* `dane` ends as one of the other levels, or as the word of the records. */
bool conn_tls_settle(struct conn *c)
{
	static const uint8_t status[] = {4, 7, 5}; /* RFC 3463 X.7.5: cryptographic failure */
	uint64_t now_us = c->d->core->now_us;

	if (c->level != TLS_LEVEL_DANE)
		return true;
	switch ((enum dane_outcome)c->dane.outcome) {
	case DANE_FAILED:
		conn_end_set_connect(c, status, "its TLSA records cannot be looked up");
		return false;
	case DANE_VERIFY:
		return true;
	case DANE_ENCRYPT:
		c->level = TLS_LEVEL_ENCRYPT;
		return true;
	case DANE_NONE:
		break;
	}
	bool clear = !c->d->conf.tls || c->site->clear_until_us[c->address] > now_us;
	c->level = hop_of(c)->transport == HOP_SMTPS ? TLS_LEVEL_ENCRYPT
		   : clear                           ? TLS_LEVEL_NONE
						     : TLS_LEVEL_MAY;
	return true;
}

void conn_tls_demand(struct conn *c, struct smtp_client_demand *demand)
{
	const struct hop *hop = hop_of(c);

	demand->secured = hop->transport == HOP_SMTPS;
	demand->verified = c->level >= TLS_LEVEL_DANE;
	demand->login = hop->login;
	demand->salted = &c->site->salted;
	demand->sasl = &c->sasl;
	demand->lmtp = hop->transport == HOP_LMTP;
	demand->tls = c->level == TLS_LEVEL_NONE  ? SMTP_CLIENT_TLS_NONE
		      : c->level == TLS_LEVEL_MAY ? SMTP_CLIENT_TLS_MAY
						  : SMTP_CLIENT_TLS_MUST;
}

/* What a session of this connection is trusted for: a ticket is good for no other. */
static uint32_t print_of(const struct conn *c)
{
	return c->level == TLS_LEVEL_DANE ? c->dane.print | 1u : (uint32_t)c->level << 1;
}

static void ticket_use(struct conn *c, struct tls_peer *peer)
{
	struct site *s = c->site;

	if (!s->ticket || s->ticket_print != print_of(c))
		return;
	peer->ticket = s->ticket;
}

void conn_tls_keep_ticket(struct conn *c)
{
	struct tls_ticket *ticket = c->secured ? tls_ticket_take(&c->stream) : NULL;

	if (!ticket || c->tied) {
		tls_ticket_free(&ticket);
		return;
	}
	tls_ticket_free(&c->site->ticket);
	c->site->ticket = ticket;
	c->site->ticket_print = print_of(c);
}

/* RFC 7672 3.2.2: the domain whose MX records led here is a name that the certificate may have as
 * well.  Of those that share the site it is the one whose mail is next.  NULL: no such name. */
static const char *second_name(struct conn *c)
{
	const struct list *ready = &c->site->ready;

	if (c->level != TLS_LEVEL_DANE || hop_of(c)->host || list_empty(ready))
		return NULL;
	const struct domain *domain = list_entry(ready->next, struct attempt, link)->domain;
	c->tied_to = attempt_domain_hash(domain);
	return domain->name;
}

/* A certificate for that domain alone says nothing to the others of the site. */
static void tie(struct conn *c)
{
	c->tied = true;
	c->domains[0] = c->tied_to;
	c->domain_n = 1;
}

void conn_tls_begin(struct conn *c)
{
	const struct delivery_conf *conf = &c->d->conf;
	struct ip_addr ip;
	bool named = c->host[0] && ip_parse(bytes_str(c->host), &ip) < 0;
	const char *name = c->level == TLS_LEVEL_DANE ? c->dane.name : c->host;
	struct tls_peer peer = {
		.name = named ? name : NULL,
		.second_name = second_name(c),
		.trust = c->level == TLS_LEVEL_VERIFY ? TLS_TRUST_NAME
			 : c->level == TLS_LEVEL_DANE ? TLS_TRUST_DANE
						      : TLS_TRUST_NONE,
		.tlsa = c->dane.tlsa,
		.tlsa_count = c->dane.count,
	};
	int err = -ENOSPC;

	ticket_use(c, &peer);
	c->handshaking = true;
	if (conf->tls)
		err = tls_connect(conf->tls, conf->tls_config, &c->stream, &peer);
	if (err == 0)
		return;
	c->ours = conf->tls && err != -EINVAL;
	/* A want of ours is no reason to do without. */
	c->level = MAX(c->level, (uint8_t)TLS_LEVEL_ENCRYPT);
	smtp_client_give_up(&c->client, err == -EINVAL ? "4.7.5" : "4.3.2",
		err == -EINVAL ? "the host's name or TLSA records are of no use for TLS"
			       : "no room for another TLS session");
}

void conn_tls_secured(struct conn *c)
{
	struct tls_info info;

	tls_get_info(&c->stream, &info);
	c->handshaking = false;
	c->secured = true;
	snprintf(c->tls, sizeof(c->tls), "%s%s", info.version,
		!info.peer_verified          ? ""
		: c->level == TLS_LEVEL_DANE ? "/dane"
					     : "/verified");
	counter_inc(CTR_DELIVERY_TLS);
	if (info.peer_verified)
		counter_inc(CTR_DELIVERY_TLS_VERIFIED);
	if (c->level == TLS_LEVEL_DANE && !tls_peer_has_name(&c->stream))
		tie(c);
	log_debug("delivery", "tls host=%s version=%s cipher=%s resumed=%d verified=%d", c->host,
		info.version, info.cipher, info.resumed, info.peer_verified);
	if (smtp_client_state(&c->client) == SMTP_CLIENT_HANDSHAKE)
		smtp_client_secured(&c->client);
}

void conn_tls_failed(struct conn *c, const char *why)
{
	char text[SMTP_REPLY_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "TLS handshake failed: %.180s", why);
	smtp_client_give_up(&c->client, "4.7.5", text);
	counter_inc(CTR_DELIVERY_TLS_FAILED);
	/* RFC 7435: better in clear than not at all, where that is all the policy asks. */
	c->in_clear = c->level == TLS_LEVEL_MAY && !c->ours;
	if (c->in_clear)
		c->site->clear_until_us[c->address] = c->d->core->now_us + CLEAR_US;
	log_info("delivery", "tls host=%s level=%s error=\"%s\"%s", c->host,
		tls_level_name((enum tls_level)c->level), why, c->in_clear ? " next=clear" : "");
}
