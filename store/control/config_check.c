/* SPDX-License-Identifier: BSD-3-Clause
 * What one key alone cannot tell: required keys, and keys that must fit together. */
#include "store/control/config_priv.h"
#include <errno.h>
#include "dataplane/ip.h"
#include "dataplane/port.h"
#include "delivery/hop.h"

struct check {
	char *path;
	char *problem;
	size_t problem_n;
};

static int PRINTF(3, 4) fail(struct check *k, const char *problem, const char *path, ...)
{
	va_list ap;

	va_start(ap, path);
	vsnprintf(k->path, CONFIG_PATH_MAX, path, ap);
	va_end(ap);
	snprintf(k->problem, k->problem_n, "%s", problem);
	return -EINVAL;
}

static int check_port(struct check *k, const struct config_root *c, unsigned i)
{
	const struct config_port *p = &c->ports[i];

	if (!p->name[0])
		return fail(k, "is required", "ports[%u].name", i);
	for (unsigned j = 0; j < i; j++) {
		if (strcmp(c->ports[j].name, p->name) == 0)
			return fail(k, "is the name of another port", "ports[%u].name", i);
	}
	if (!p->device[0])
		return fail(k, "is required", "ports[%u].device", i);
	if (p->kind != PORT_MEMIF && p->kind != PORT_PCI && strlen(p->device) > 15)
		return fail(
			k, "is longer than an interface name can be (15)", "ports[%u].device", i);
	if (p->addresses.n == 0)
		return fail(k, "needs at least one address", "ports[%u].addresses", i);
	return 0;
}

static int check_addresses(struct check *k, const struct config_port *p, unsigned i)
{
	for (unsigned j = 0; j < p->addresses.n; j++) {
		const struct ip_addr *ip = &p->addresses.v[j].ip;
		if (!ip_is_unicast(ip))
			return fail(k, "is not the address of one host", "ports[%u].addresses", i);
		if (!ip_is_v4(ip) && p->mtu < IP6_MTU_MIN)
			return fail(k, "is below 1280, which IPv6 needs", "ports[%u].mtu", i);
	}
	return 0;
}

/* The gateway must be a neighbour, or nothing could be sent to it. */
static int check_gateway(struct check *k, const struct config_port *p, unsigned i, bool v4)
{
	const struct ip_addr *gateway = v4 ? &p->gateway.ip : &p->gateway6.ip;
	const char *key = v4 ? "gateway" : "gateway6";

	if (!(v4 ? p->gateway.given : p->gateway6.given))
		return 0;
	if (ip_is_v4(gateway) != v4)
		return fail(k, v4 ? "is not IPv4: see gateway6" : "is not IPv6: see gateway",
			"ports[%u].%s", i, key);
	for (unsigned j = 0; j < p->addresses.n; j++) {
		const struct ip_net *net = &p->addresses.v[j];
		if (ip_is_v4(&net->ip) == v4 &&
			(ip_prefix_eq(&net->ip, gateway, net->prefix) || ip_is_link_local(gateway)))
			return 0;
	}
	return fail(k, "is not in a network of the port's addresses", "ports[%u].%s", i, key);
}

static int check_cores(struct check *k, const struct config_root *c)
{
	uint32_t all = c->cores.layout_n ? 0 : UINT32_MAX;

	for (unsigned i = 0; i < c->cores.layout_n; i++) {
		if (!c->cores.layout[i].roles)
			return fail(k, "is required", "cores.layout[%u].roles", i);
		all |= c->cores.layout[i].roles;
	}
	if (!(all & CORE_DELIVERY))
		return fail(k, "no core has the role delivery", "cores.layout");
	if ((c->listen.smtp || c->listen.submission || c->listen.submissions) &&
		!(all & CORE_DATAPLANE))
		return fail(k, "no core has the role dataplane, which SMTP listeners need",
			"cores.layout");
	if ((c->listen.pop3 || c->listen.pop3s || c->listen.imap || c->listen.imaps) &&
		!(all & CORE_CONTROL))
		return fail(k,
			"no core has the role control, which listen.pop3 and listen.imap need",
			"cores.layout");
	return 0;
}

static int check_listen(struct check *k, const struct config_root *c)
{
	const struct {
		const char *key;
		uint64_t port;
		bool tls;
	} services[] = {
		{"listen.smtp",        c->listen.smtp,        false},
		{"listen.submission",  c->listen.submission,  false},
		{"listen.submissions", c->listen.submissions, true },
		{"listen.pop3",        c->listen.pop3,        false},
		{"listen.pop3s",       c->listen.pop3s,       true },
		{"listen.imap",        c->listen.imap,        false},
		{"listen.imaps",       c->listen.imaps,       true },
	};

	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		for (size_t j = 0; j < i; j++) {
			if (services[i].port && services[i].port == services[j].port)
				return fail(
					k, "is the port of another service", "%s", services[i].key);
		}
		if (services[i].tls && services[i].port && c->tls.certificates_n == 0)
			return fail(
				k, "needs a certificate (tls.certificates)", "%s", services[i].key);
	}
	return 0;
}

static int check_tls(struct check *k, const struct config_root *c)
{
	for (unsigned i = 0; i < c->tls.certificates_n; i++) {
		if (!c->tls.certificates[i].chain[0])
			return fail(k, "is required", "tls.certificates[%u].chain", i);
		if (!c->tls.certificates[i].key[0])
			return fail(k, "is required", "tls.certificates[%u].key", i);
	}
	if (c->tls.client_chain[0] && !c->tls.client_key[0])
		return fail(k, "is required with tls.client_chain", "tls.client_key");
	return 0;
}

/* dane is nothing without validated answers, and verify nothing without issuers. */
static int check_level(
	struct check *k, const struct config_root *c, enum tls_level level, const char *path)
{
	if (level == TLS_LEVEL_DANE && !c->dns.trust_anchor[0])
		return fail(k, "dane needs dns.trust_anchor", "%s", path);
	if (level == TLS_LEVEL_VERIFY && !c->tls.ca_file[0])
		return fail(k, "verify needs tls.ca_file", "%s", path);
	return 0;
}

/* "198.18.0.1", "198.18.0.1:25" */
static bool is_address(const char *host)
{
	struct bytes text = bytes_str(host);
	ptrdiff_t colon = bytes_rfind(text, ':');
	struct ip_addr ip;

	return ip_parse(text, &ip) == 0 ||
	       (colon > 0 && ip_parse(bytes_first(text, (size_t)colon), &ip) == 0);
}

static int check_route(struct check *k, const struct config_root *c, unsigned i)
{
	const struct config_route *r = &c->relay.routes[i];
	char path[CONFIG_PATH_MAX];

	snprintf(path, sizeof(path), "relay.routes[%u].tls", i);
	if (!r->domain[0])
		return fail(k, "is required", "relay.routes[%u].domain", i);
	if (r->transport != HOP_SMTP && !r->host[0])
		return fail(k, "is required with this transport", "relay.routes[%u].host", i);
	for (unsigned j = 0; j < i; j++) {
		if (strcmp(c->relay.routes[j].domain, r->domain) == 0)
			return fail(k, "has an entry already", "relay.routes[%u].domain", i);
	}
	enum tls_level level = (enum tls_level)(r->tls ? r->tls - 1 : c->delivery.tls);
	if (level >= TLS_LEVEL_DANE && is_address(r->host))
		return fail(k, "needs the name of a host, not an address, with dane and verify",
			"relay.routes[%u].host", i);
	if (r->user[0] && !r->host[0])
		return fail(k, "needs a host", "relay.routes[%u].user", i);
	if (r->user[0] && !r->password_file[0])
		return fail(k, "is required with user", "relay.routes[%u].password_file", i);
	if (r->user[0] && r->transport != HOP_SMTPS && level < TLS_LEVEL_ENCRYPT)
		return fail(k, "must be encrypt, dane or verify with user", "%s", path);
	return r->tls == 0 ? 0 : check_level(k, c, (enum tls_level)(r->tls - 1), path);
}

static int check_delivery(struct check *k, const struct config_root *c)
{
	int err = check_level(k, c, (enum tls_level)c->delivery.tls, "delivery.tls");

	for (unsigned i = 0; i < c->relay.routes_n && err == 0; i++)
		err = check_route(k, c, i);
	return err;
}

static int check_store(struct check *k, const struct config_root *c)
{
	const struct config_store *s = &c->store;

	if (s->shard_paths.n && s->shard_paths.n != s->shards - 1)
		return fail(k, "must have one directory for each shard but the first",
			"store.shard_paths");
	for (unsigned i = 0; i < s->shard_paths.n; i++) {
		bool again = strcmp(s->shard_paths.v[i], s->path) == 0;
		for (unsigned j = 0; j < i; j++)
			again |= strcmp(s->shard_paths.v[i], s->shard_paths.v[j]) == 0;
		if (again)
			return fail(
				k, "is the directory of another shard", "store.shard_paths[%u]", i);
	}
	return 0;
}

int config_check(
	const struct config_root *c, char path[CONFIG_PATH_MAX], char *problem, size_t problem_n)
{
	struct check k = {.path = path, .problem = problem, .problem_n = problem_n};
	int err = 0;

	if (!c->node.hostname[0])
		return fail(&k, "is required", "node.hostname");
	if (c->ports_n == 0)
		return fail(&k, "needs at least one port", "ports");
	for (unsigned i = 0; i < c->ports_n && err == 0; i++) {
		err = check_port(&k, c, i);
		if (err == 0)
			err = check_addresses(&k, &c->ports[i], i);
		if (err == 0)
			err = check_gateway(&k, &c->ports[i], i, true);
		if (err == 0)
			err = check_gateway(&k, &c->ports[i], i, false);
	}
	if (err == 0)
		err = check_cores(&k, c);
	if (err == 0)
		err = check_listen(&k, c);
	if (err == 0)
		err = check_tls(&k, c);
	if (err == 0)
		err = check_store(&k, c);
	if (err == 0)
		err = check_delivery(&k, c);
	return err;
}
