/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/route.h"
#include <errno.h>
#include "delivery/dns/rdata.h"

static void refuse(struct route_query *q, enum route_verdict verdict, const uint8_t enhanced[3],
	const char *what, const char *name)
{
	/* A smarthost is our own configuration: no recipient is to blame for it. */
	bool fail = verdict == ROUTE_FAIL && !q->configured;

	q->verdict = fail ? ROUTE_FAIL : ROUTE_DEFER;
	q->stage = ROUTE_STAGE_DONE;
	memcpy(q->refusal.enhanced, enhanced, 3);
	q->refusal.enhanced[0] = fail ? 5 : 4;
	/* Names come from RCPT or from records that only let host name characters pass. */
	snprintf(q->refusal.reason, sizeof(q->refusal.reason), "%s%s%.100s", what,
		name[0] ? " " : "", name);
}

/* RFC 3463 detail codes of the refusals. */
static const uint8_t status_no_domain[] = {5, 1, 2};
static const uint8_t status_null_mx[] = {5, 1, 10};  /* RFC 7505 4.2 */
static const uint8_t status_directory[] = {4, 4, 3}; /* the name server did not answer */
static const uint8_t status_no_route[] = {5, 4, 4};
static const uint8_t status_loop[] = {5, 4, 6};
static const uint8_t status_policy[] = {4, 7, 0};

static void key_add(struct route *r, const struct route_conf *conf, const struct route_host *h)
{
	uint8_t text[2 + DNS_NAME_MAX + 1] = {
		(uint8_t)(h->preference >> 8), (uint8_t)h->preference};

	memcpy(text + 2, r->names + h->name_at, h->name_n);
	r->key.a += siphash24(&conf->keys[0], text, 2u + h->name_n);
	r->key.b += siphash24(&conf->keys[1], text, 2u + h->name_n);
}

/* Hosts that do not fit are left out: they are the least preferred. */
static void host_add(struct route_query *q, uint16_t preference, struct bytes name)
{
	struct route *r = &q->route;

	if (!hop_allows(r->hop, name)) {
		q->barred = true;
		return;
	}
	if (r->host_count == DNS_RECORDS_MAX || name.n >= (size_t)(ROUTE_NAMES_MAX - r->names_n))
		return;
	struct route_host *h = &r->hosts[r->host_count++];
	*h = (struct route_host){.preference = preference,
		.name_at = r->names_n,
		.name_n = (uint8_t)name.n,
		.named = q->secure,
		.secure = q->secure};
	memcpy(r->names + r->names_n, name.p, name.n);
	r->names[r->names_n + name.n] = '\0';
	r->names_n = (uint16_t)(r->names_n + name.n + 1);
	key_add(r, q->conf, h);
}

static bool is_own(const struct route_conf *conf, const struct ip_addr *ip)
{
	for (uint32_t i = 0; i < conf->own_count; i++) {
		if (ip_eq(&conf->own[i], ip))
			return true;
	}
	return false;
}

/* Have we an address to send from?  The one that is made for a link does not count. */
static bool is_usable(const struct route_conf *conf, bool v4)
{
	for (uint32_t i = 0; i < conf->own_count; i++) {
		if (ip_is_v4(&conf->own[i]) == v4 && !ip_is_link_local(&conf->own[i]))
			return true;
	}
	return v4 && conf->own_count == 0;
}

/* Loopback, "this network", multicast, reserved and broadcast, the link alone: never a mail host.
 */
static bool is_prohibited(const struct ip_addr *ip)
{
	return !ip_is_unicast(ip) || ip_is_link_local(ip);
}

static void address_add(struct route_query *q, const struct ip_addr *ip)
{
	struct route *r = &q->route;

	if (is_own(q->conf, ip))
		q->self = true;
	else if (is_prohibited(ip) || !is_usable(q->conf, ip_is_v4(ip)))
		q->prohibited = true;
	else if (r->address_count < ROUTE_ADDRESSES_MAX)
		r->addresses[r->address_count++] =
			(struct route_address){.ip = *ip, .host = q->host};
}

/* RFC 5321 5.1: records at or after ourselves in preference are not to be used. */
static void drop_from_preference(struct route *r, uint16_t preference)
{
	uint8_t kept = 0;

	for (uint8_t i = 0; i < r->address_count; i++) {
		if (r->hosts[r->addresses[i].host].preference < preference)
			r->addresses[kept++] = r->addresses[i];
	}
	r->address_count = kept;
}

static void finish_without_address(struct route_query *q)
{
	const char *name =
		q->configured && q->route.host_count ? route_host_name(&q->route, 0) : q->domain;

	if (q->self || q->prohibited)
		refuse(q, ROUTE_FAIL, status_loop,
			q->self ? "mail loops back to this host: it is the mail server of"
				: "no usable address (loopback or the like) for",
			name);
	else if (q->barred && q->route.host_count == 0)
		refuse(q, ROUTE_DEFER, status_policy,
			"no mail server is among the names allowed for", name);
	else if (q->failed)
		refuse(q, ROUTE_DEFER, status_directory, "name server failure for", name);
	else if (q->implicit)
		refuse(q, ROUTE_FAIL, status_no_domain, "no mail server and no address for", name);
	else
		refuse(q, ROUTE_FAIL, status_no_route, "no mail server has an address for", name);
}

static void finish(struct route_query *q)
{
	if (q->self && q->route.host_count > 0)
		drop_from_preference(&q->route, q->route.hosts[q->host].preference);
	q->stage = ROUTE_STAGE_DONE;
	if (q->route.address_count > 0)
		q->verdict = ROUTE_OK;
	else
		finish_without_address(q);
}

static bool host_is_us(const struct route_query *q, uint8_t host)
{
	return !q->configured &&
	       bytes_ieq(bytes_str(route_host_name(&q->route, host)), bytes_str(q->conf->hostname));
}

/* Go on with the next host that needs a look-up, or finish. */
static void host_begin(struct route_query *q)
{
	q->stage = ROUTE_STAGE_HOSTS;
	if (q->host >= q->route.host_count || q->route.address_count == ROUTE_ADDRESSES_MAX) {
		q->host = q->route.host_count ? (uint8_t)(q->route.host_count - 1) : 0;
		finish(q);
		return;
	}
	q->first = q->route.address_count;
	q->six = is_usable(q->conf, false);
	if (host_is_us(q, q->host)) {
		q->self = true;
		finish(q);
	}
}

static void literal_begin(struct route_query *q, struct bytes text, uint8_t host)
{
	struct ip_addr ip;

	if (bytes_istarts(text, BYTES_LIT("IPv6:")))
		text = bytes_skip(text, 5);
	if (ip_parse(text, &ip) < 0) {
		refuse(q, ROUTE_FAIL, status_no_domain, "bad address literal", q->domain);
		return;
	}
	q->host = host;
	host_add(q, 0, text);
	if (!q->barred)
		address_add(q, &ip);
	finish(q);
}

static void smarthost_begin(struct route_query *q)
{
	char host[DNS_NAME_MAX + 1];
	struct ip_addr ip;

	q->configured = true;
	q->secure = true; /* the configuration's name; its addresses are still to be seen */
	if (route_smarthost_parse(q->route.hop->host, host, &q->route.port) < 0) {
		refuse(q, ROUTE_DEFER, status_no_route, "bad smarthost", q->route.hop->host);
		return;
	}
	if (ip_parse(bytes_str(host), &ip) == 0) {
		literal_begin(q, bytes_str(host), 0);
		return;
	}
	host_add(q, 0, bytes_str(host));
	host_begin(q);
}

void route_query_init(struct route_query *q, const struct route_conf *conf, struct bytes domain)
{
	*q = (struct route_query){.conf = conf, .verdict = ROUTE_PENDING};
	q->route.hop = hop_find(conf->hops, conf->hop_count, domain);
	if (!q->route.hop)
		q->route.hop = &conf->rest;
	q->route.port = hop_port(q->route.hop, conf->port);
	q->route.ttl = DNS_CACHE_TTL_MAX;
	domain = bytes_first(domain, DNS_NAME_MAX);
	memcpy(q->domain, domain.p, domain.n);
	if (q->route.hop->host)
		smarthost_begin(q);
	else if (domain.n > 2 && domain.p[0] == '[' && domain.p[domain.n - 1] == ']')
		literal_begin(q, bytes_make(q->domain + 1, domain.n - 2), 0);
	else if (!dns_name_valid(domain))
		refuse(q, ROUTE_FAIL, status_no_domain, "no such domain:", "");
	/* Port and row of the table are part of what makes two sites the same. */
	q->route.key.a += q->route.port;
	q->route.key.b += (uintptr_t)q->route.hop;
}

const char *route_query_wants(const struct route_query *q, enum dns_type *type_r)
{
	BUG_ON(q->verdict != ROUTE_PENDING);
	*type_r = q->stage == ROUTE_STAGE_MX ? DNS_MX : q->six ? DNS_AAAA : DNS_A;
	return q->stage == ROUTE_STAGE_MX ? q->domain : route_host_name(&q->route, q->host);
}

static void ttl_lower(struct route_query *q, const struct dns_answer *a)
{
	q->route.ttl = MIN(q->route.ttl, MAX(a->ttl, DNS_CACHE_TTL_MIN));
}

static void feed_mx(struct route_query *q, const struct dns_answer *a)
{
	switch (a->status) {
	case DNS_OK:
		if (a->count == 1 && a->records[0].name_n == 0) {
			refuse(q, ROUTE_FAIL, status_null_mx,
				"the domain takes no mail (null MX):", q->domain);
			return;
		}
		ttl_lower(q, a);
		q->secure = a->secure;
		for (uint32_t i = 0; i < a->count; i++)
			host_add(q, a->records[i].preference,
				bytes_make(a->records[i].name, a->records[i].name_n));
		break;
	case DNS_NODATA:
		q->implicit = true;
		q->secure = a->secure;
		host_add(q, 0, bytes_str(q->domain));
		break;
	case DNS_NXDOMAIN:
		refuse(q, ROUTE_FAIL, status_no_domain, "no such domain:", q->domain);
		return;
	case DNS_FAIL:
		refuse(q, ROUTE_DEFER, status_directory, "name server failure for", q->domain);
		return;
	}
	host_begin(q);
}

/* Of one host, IPv6 and IPv4 in turn, IPv6 first (RFC 6724 2.1): when one family does not get
 * through, the second attempt is of the other (RFC 8305 4). */
static void alternate(struct route *r, uint8_t first)
{
	for (uint8_t at = first; at < r->address_count; at++) {
		bool v4 = (at - first) % 2;
		uint8_t from = at;
		while (from < r->address_count && ip_is_v4(&r->addresses[from].ip) != v4)
			from++;
		if (from == r->address_count)
			return; /* the rest is of one family */
		struct route_address a = r->addresses[from];
		memmove(&r->addresses[at + 1], &r->addresses[at], (from - at) * sizeof(a));
		r->addresses[at] = a;
	}
}

static void feed_address(struct route_query *q, const struct dns_answer *a)
{
	if (a->status == DNS_FAIL)
		q->failed = true;
	if (a->status == DNS_OK)
		ttl_lower(q, a);
	/* RFC 7672 2.2.2: no TLSA records below a name whose addresses are not validated. */
	if (!a->secure)
		q->route.hosts[q->host].secure = false;
	for (uint32_t i = 0; a->status == DNS_OK && i < MIN(a->count, ROUTE_HOST_ADDRESSES); i++)
		address_add(q, &a->records[i].ip);
	if (q->self) {
		finish(q);
		return;
	}
	if (q->six && is_usable(q->conf, true) && q->route.address_count < ROUTE_ADDRESSES_MAX) {
		q->six = false;
		return;
	}
	alternate(&q->route, q->first);
	q->host++;
	host_begin(q);
}

void route_query_feed(struct route_query *q, const struct dns_answer *answer)
{
	BUG_ON(q->verdict != ROUTE_PENDING);
	if (q->stage == ROUTE_STAGE_MX)
		feed_mx(q, answer);
	else
		feed_address(q, answer);
}

static int port_parse(struct bytes text, uint16_t *port_r)
{
	uint64_t v;

	if (bytes_to_u64(text, &v) < 0 || v == 0 || v > UINT16_MAX)
		return -EINVAL;
	*port_r = (uint16_t)v;
	return 0;
}

int route_smarthost_parse(const char *text, char host_r[DNS_NAME_MAX + 1], uint16_t *port_r)
{
	struct bytes t = bytes_str(text), host = t, rest = BYTES_NONE;

	if (t.n > 0 && t.p[0] == '[') {
		ptrdiff_t close = bytes_find(t, ']', 1);
		if (close < 0)
			return -EINVAL;
		host = bytes_make(t.p + 1, (size_t)close - 1);
		rest = bytes_skip(t, (size_t)close + 1);
	} else if (bytes_find(t, ':', 0) == bytes_rfind(t, ':') && bytes_rfind(t, ':') >= 0) {
		host = bytes_first(t, (size_t)bytes_rfind(t, ':'));
		rest = bytes_skip(t, host.n);
	}
	if (host.n == 0 || host.n > DNS_NAME_MAX)
		return -EINVAL;
	if (rest.n > 0 && (rest.p[0] != ':' || port_parse(bytes_skip(rest, 1), port_r) < 0))
		return -EINVAL;
	for (size_t i = 0; i < host.n; i++)
		host_r[i] = (char)ascii_lower(host.p[i]);
	host_r[host.n] = '\0';
	struct ip_addr ip;
	return ip_parse(host, &ip) == 0 || dns_name_valid(host) ? 0 : -EINVAL;
}
