/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/convert.h"

#define MESSAGE_HEADS_MAX 65535 /* chosen: what the delivery side keeps of accepted messages */

static void port_convert(const struct config_port *p, struct port_conf *out)
{
	snprintf(out->name, sizeof(out->name), "%s", p->name);
	snprintf(out->device, sizeof(out->device), "%s", p->device);
	out->kind = (enum port_kind)p->kind;
	memcpy(out->mac, p->mac.octets, sizeof(out->mac));
	out->mtu = (uint16_t)p->mtu;
	out->vlan = (uint16_t)p->vlan;
	out->queues = (uint16_t)p->queues;
	out->address_count = MIN(p->addresses.n, (uint32_t)PORT_ADDRESSES_MAX);
	for (unsigned i = 0; i < out->address_count; i++)
		out->address[i] = p->addresses.v[i];
	out->gateway = p->gateway.ip;
	out->has_gateway = p->gateway.given;
	out->gateway6 = p->gateway6.ip;
	out->has_gateway6 = p->gateway6.given;
	out->discovery = p->duplicate_check;
	out->trust_rx_checksum = p->trust_rx_checksum;
}

static void tcp_convert(const struct config_tcp *t, struct stack_tcp_conf *out)
{
	*out = (struct stack_tcp_conf){
		.congestion = (uint8_t)t->congestion,
		.ecn = (uint8_t)t->ecn,
		.syn_cookies = (uint8_t)t->syn_cookies,
		.source_connections = (uint32_t)t->source_connections,
		.source_half_open = (uint16_t)t->source_half_open,
		.source_syns = (uint16_t)t->source_syns,
		.stream = {.keepalive_us = t->keepalive,
			   .keepalive_interval_us = t->keepalive_interval,
			   .keepalive_probes = (uint8_t)t->keepalive_probes,
			   .user_timeout_us = t->user_timeout},
	};
}

void config_to_dataplane(const struct config *c, struct dataplane_conf *out)
{
	const struct config_cores *cores = &c->root.cores;

	*out = (struct dataplane_conf){
		.idle = (enum core_idle)cores->idle,
		.connections_max = (uint32_t)c->root.limits.connections,
		.chunks = (uint32_t)(c->root.limits.body_memory / sizeof(struct chunk)),
		.memory_mb = (uint32_t)((cores->memory + (1 << 20) - 1) >> 20),
		.ring_size = (uint32_t)cores->ring_size,
		.telemetry = c->root.metrics.telemetry,
	};
	tcp_convert(&c->root.tcp, &out->tcp);
	out->port_count = MIN(c->root.ports_n, (uint32_t)PORTS_MAX);
	for (unsigned i = 0; i < out->port_count; i++)
		port_convert(&c->root.ports[i], &out->ports[i]);
	out->core_count = MIN(cores->layout_n, (uint32_t)CORES_MAX);
	for (unsigned i = 0; i < out->core_count; i++) {
		out->cores[i].roles = cores->layout[i].roles;
		snprintf(out->cores[i].cpus, sizeof(out->cores[i].cpus), "%s",
			cores->layout[i].cpus);
	}
	if (out->core_count == 0) {
		out->core_count = 1;
		out->cores[0].roles = CORE_DATAPLANE | CORE_DELIVERY | CORE_CONTROL;
	}
	snprintf(out->eal_extra, sizeof(out->eal_extra), "%s", cores->eal_extra);
	snprintf(out->file_prefix, sizeof(out->file_prefix), "%s", cores->file_prefix);
}

void config_to_store(const struct config *c, struct store_conf *out)
{
	const struct config_store *s = &c->root.store;

	*out = (struct store_conf){
		.path = s->path,
		.shards = (uint32_t)s->shards,
		.paths = s->shard_paths.n ? s->shard_paths.v : NULL,
		.relaxed = s->mode == 1,
		.readers = (uint32_t)s->readers,
		.map_bytes = s->map_size,
		.reserve_bytes = s->reserve,
		.group_messages = (uint32_t)s->group_messages,
		.group_bytes = s->group_size,
		.give_back_ms =
			s->give_back ? MAX(s->give_back / US_PER_MS, (uint64_t)1) : UINT64_MAX,
		.queue_lifetime_ms = c->root.delivery.lifetime / US_PER_MS,
		.local_domains = c->root.domains.local.v,
		.local_domain_count = c->root.domains.local.n,
		.quota_bytes = c->root.limits.quota,
		.quota_messages = (uint32_t)c->root.limits.quota_messages,
		.extension = c->root.domains.extension[0],
	};
	snprintf(out->hostname, sizeof(out->hostname), "%s", c->root.node.hostname);
}

void config_to_dns(const struct config *c, struct dns_conf *out)
{
	const struct config_dns *d = &c->root.dns;

	*out = (struct dns_conf){
		.servers = d->servers.v,
		.server_count = d->servers.n,
		.trust_anchor = d->trust_anchor[0] ? d->trust_anchor : NULL,
		.timeout_ms = (uint32_t)(d->timeout / US_PER_MS),
	};
}

void config_to_policy(
	const struct config *c, const struct directory *directory, struct smtp_policy *out)
{
	const struct config_limits *l = &c->root.limits;

	*out = (struct smtp_policy){
		.directory = directory,
		.relay_from = c->root.relay.from.v,
		.relay_from_count = c->root.relay.from.n,
		.relay_certificates = c->root.relay.certificates.v,
		.relay_certificate_count = c->root.relay.certificates.n,
		.proxies = c->root.listen.proxies.v,
		.proxy_count = c->root.listen.proxies.n,
		.xclient_from = c->root.listen.xclient.v,
		.xclient_from_count = c->root.listen.xclient.n,
		.relay_domains = c->root.relay.domains.v,
		.relay_domain_count = c->root.relay.domains.n,
		.message_bytes_max = l->message_size,
		.header_bytes_max = (uint32_t)MIN(l->header_size, (uint64_t)UINT32_MAX),
		.recipients_max = (uint32_t)l->recipients,
		.session_messages_max = (uint32_t)l->session_messages,
		.session_domains_max = (uint32_t)l->session_domains,
		.errors_max = (uint32_t)l->errors,
		.strict_helo = c->root.relay.strict_helo,
		.peer_connections = (uint32_t)l->peer_connections,
		.peer_connection_rate = (uint32_t)l->peer_connection_rate,
		.peer_message_rate = (uint32_t)l->peer_message_rate,
		.peer_rcpt_rate = (uint32_t)l->peer_recipient_rate,
		.peer_error_rate = (uint32_t)l->peer_error_rate,
		.peer_handshake_rate = (uint32_t)l->peer_handshake_rate,
		.greet_delay_us = l->greet_delay,
		.received_max = (uint32_t)l->received,
		.inflight_max = (uint32_t)l->inflight,
		.command_timeout_us = l->command_timeout,
		.data_timeout_us = l->data_timeout,
	};
	snprintf(out->hostname, sizeof(out->hostname), "%s", c->root.node.hostname);
}

static void add_services(const struct config *c, struct smtp_server_conf *out)
{
	const struct config_listen *l = &c->root.listen;
	bool tls = c->root.tls.certificates_n > 0;
	const struct smtp_service services[] = {
		{.port = (uint16_t)l->smtp,        .tls = tls        },
		{             .port = (uint16_t)l->submission,                      .tls = tls, .submission = true, .auth = true},
		{ .port = (uint16_t)l->submissions,
                 .tls = tls,
                 .implicit_tls = true,
                 .submission = true,
                 .auth = true},
		{					       .port = (uint16_t)l->lmtp,                     .tls = tls,                                       .lmtp = true},
	};

	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		if (services[i].port)
			out->services[out->service_count++] = services[i];
	}
}

void config_to_smtp(const struct config *c, struct smtp_server_conf *out)
{
	*out = (struct smtp_server_conf){
		.sessions_max =
			(uint32_t)MIN(c->root.limits.smtp_sessions, c->root.limits.connections),
	};
	add_services(c, out);
}

static uint32_t own_addresses(const struct config *c, struct ip_addr *own)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < MIN(c->root.ports_n, (uint32_t)PORTS_MAX); i++) {
		const struct config_nets *a = &c->root.ports[i].addresses;
		for (unsigned j = 0; j < MIN(a->n, (uint32_t)PORT_ADDRESSES_MAX); j++)
			own[n++] = a->v[j].ip;
	}
	return n;
}

void config_to_delivery(const struct config *c, const struct directory *directory,
	struct ip_addr *own, struct delivery_conf *out)
{
	const struct config_delivery *d = &c->root.delivery;

	*out = (struct delivery_conf){
		.smarthost = c->root.relay.smarthost[0] ? c->root.relay.smarthost : NULL,
		.tls_level = (uint8_t)d->tls,
		.delay_warning_ms = d->delay_warning / US_PER_MS,
		.port = (uint16_t)d->port,
		.connections_max = (uint32_t)d->connections,
		.site_connections_max = (uint32_t)d->site_connections,
		.connect_timeout_us = d->connect_timeout,
		.idle_timeout_us = d->idle_timeout,
		.recipients_max = (uint32_t)d->recipients,
		.directory = directory,
		.own = own,
		.own_count = own_addresses(c, own),
	};
	snprintf(out->hostname, sizeof(out->hostname), "%s", c->root.node.hostname);
	out->retry_count = MIN(d->retry.n, (uint32_t)DELIVERY_RETRIES_MAX);
	for (uint32_t i = 0; i < out->retry_count; i++)
		out->retry_ms[i] = d->retry.v[i] / US_PER_MS;
}

void config_to_access(const struct config *c, struct access *out)
{
	snprintf(out->hostname, sizeof(out->hostname), "%s", c->root.node.hostname);
	out->message_bytes_max = c->root.limits.message_size;
	out->idle_timeout_us = c->root.limits.mailbox_timeout;
	out->account_sessions = (uint32_t)c->root.limits.account_sessions;
	out->plaintext_login = c->root.listen.plaintext_login;
}

uint32_t config_message_heads(const struct config *c)
{
	/* A message under way holds a chunk for its sender and one for its recipients at least. */
	uint64_t chunks = c->root.limits.body_memory / sizeof(struct chunk);

	return (uint32_t)MIN(chunks / 2, (uint64_t)MESSAGE_HEADS_MAX);
}
