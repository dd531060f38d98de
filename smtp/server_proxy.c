/* SPDX-License-Identifier: BSD-3-Clause
 * Connections of listed load balancers begin with a PROXY header, before TLS and before the
 * greeting.  What is no header, or too long or too late, ends the connection without a word. */
#include "smtp/server_priv.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "smtp/command.h"
#include "smtp/proxy.h"
#include "smtp/relay.h"

static_assert(PROXY_HEADER_MAX <= SMTP_LINE_MAX, "a header lies in line memory");

bool proxy_awaited(const struct smtp_conn *c)
{
	const struct smtp_policy *p = c->session.policy;

	return relay_is_listed(p->proxies, p->proxy_count, &c->stream.peer.ip);
}

void proxy_forget(struct smtp_conn *c)
{
	if (c->proxied && c->proxy)
		body_line_put(c, c->proxy);
	c->proxied = false;
}

void conn_set_peer(struct smtp_conn *c, const struct ip_addr *ip)
{
	struct smtp_server *s = c->server;
	struct ip_addr net = peer_net(ip);

	smtp_session_set_peer(&c->session, ip);
	c->bucket = (uint16_t)(siphash13(&s->key, &net, sizeof(net)) % PEER_BUCKETS);
}

static void refuse(struct smtp_conn *c, const char *why)
{
	char peer[IP_TEXT_MAX];

	counter_inc(CTR_SMTP_PROXY_REFUSED);
	log_info("smtp", "PROXY header %s peer=%s", why, ip_format(&c->stream.peer.ip, peer));
	proxy_forget(c);
	conn_drop(c);
}

static void accept(struct smtp_conn *c, const struct proxy_header *h)
{
	static const struct ip_addr nobody; /* ::, which is in no network of the operator's */
	const struct ip_addr *from = h->unknown ? &nobody : &h->from.ip;

	proxy_forget(c);
	if (h->given || h->unknown)
		conn_set_peer(c, from);
	conn_begin(c);
}

size_t proxy_take(struct smtp_conn *c, struct bytes in)
{
	struct proxy_header h;
	size_t used, before = c->proxy_n;

	if (!c->proxy) {
		struct chunk *k = chunk_get();
		if (!k) {
			refuse(c, "without memory");
			return in.n;
		}
		c->proxy = k->data;
	}
	in = bytes_first(in, PROXY_HEADER_MAX - before);
	if (in.n)
		memcpy(c->proxy + before, in.p, in.n);
	c->proxy_n = (uint16_t)(before + in.n);
	switch (proxy_parse(bytes_make(c->proxy, c->proxy_n), &h, &used)) {
	case PROXY_OK:
		accept(c, &h);
		return used - before;
	case PROXY_BAD:
		refuse(c, "missing or malformed");
		break;
	case PROXY_MORE:
		break;
	}
	return in.n;
}
