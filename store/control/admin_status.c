/* SPDX-License-Identifier: BSD-3-Clause
 * `status` and `counters`: one object each, made from counters, gauges and the rooms' info calls.
 */
#include "store/control/admin_priv.h"
#include <unistd.h>
#include "dataplane/base/log.h"
#include "store/control/version.h"

#define POOLS_MAX (3 * CORES_MAX + PORTS_MAX)

static json_int_t sum(enum counter c)
{
	return (json_int_t)counters_sum(c);
}

static void put(json_t *object, const char *key, uint64_t v)
{
	json_object_set_new(object, key, json_integer((json_int_t)v));
}

/* Per second over the samples' window. */
static double rate(const struct sample *a, const struct sample *b, uint64_t from, uint64_t to)
{
	return b->at_us > a->at_us ? (double)(to - from) * 1e6 / (double)(b->at_us - a->at_us)
				   : 0.0;
}

static json_t *messages_json(const struct daemon *d, uint64_t uptime_ms)
{
	const struct sample *a, *b;
	double seconds = (double)MAX(uptime_ms, (uint64_t)1) / 1000.0;
	json_t *m = json_object();

	put(m, "in", counters_sum(CTR_SMTP_MESSAGES_IN));
	put(m, "in_bytes", counters_sum(CTR_SMTP_BYTES_IN));
	put(m, "refused", counters_sum(CTR_SMTP_MESSAGES_REFUSED));
	put(m, "recipients_refused", counters_sum(CTR_SMTP_RCPT_REFUSED));
	put(m, "out", counters_sum(CTR_DELIVERY_DELIVERED));
	put(m, "deferred", counters_sum(CTR_DELIVERY_DEFERRED));
	put(m, "failed", counters_sum(CTR_DELIVERY_FAILED));
	put(m, "bounces", counters_sum(CTR_DELIVERY_BOUNCES));
	json_object_set_new(m, "in_mean", json_real((double)sum(CTR_SMTP_MESSAGES_IN) / seconds));
	json_object_set_new(
		m, "out_mean", json_real((double)sum(CTR_DELIVERY_DELIVERED) / seconds));
	if (sample_window(d, &a, &b)) {
		json_object_set_new(
			m, "in_now", json_real(rate(a, b, a->messages_in, b->messages_in)));
		json_object_set_new(
			m, "out_now", json_real(rate(a, b, a->messages_out, b->messages_out)));
	}
	return m;
}

static json_t *connections_json(const struct daemon *d)
{
	uint64_t smtp = 0, pop3 = 0, imap = 0, out = 0, tcp = 0, time_wait = 0;
	json_t *c = json_object();

	for (unsigned i = 0; i < d->core_count; i++) {
		const struct core_gauges *g = &d->rooms[i].gauges;
		smtp += g->smtp;
		pop3 += g->pop3;
		imap += g->imap;
		out += g->out_connections;
		tcp += g->connections;
		time_wait += g->time_wait;
	}
	put(c, "smtp", smtp);
	put(c, "pop3", pop3);
	put(c, "imap", imap);
	put(c, "out", out);
	put(c, "tcp", tcp);
	put(c, "time_wait", time_wait);
	put(c, "smtp_total", counters_sum(CTR_SMTP_CONNECTIONS));
	put(c, "pop3_total", counters_sum(CTR_POP3_CONNECTIONS));
	put(c, "imap_total", counters_sum(CTR_IMAP_CONNECTIONS));
	put(c, "out_total", counters_sum(CTR_DELIVERY_CONNECTIONS));
	put(c, "logins_failed", counters_sum(CTR_AUTH_FAILED));
	return c;
}

static json_t *queue_json(const struct daemon *d, const struct store_info *info)
{
	uint64_t scheduled = 0, active = 0, domains = 0;
	bool loading = false;
	json_t *q = json_object();

	for (unsigned i = 0; i < d->core_count; i++) {
		const struct core_gauges *g = &d->rooms[i].gauges;
		scheduled += g->scheduled;
		active += g->active;
		domains += g->domains;
		loading |= g->loading;
	}
	put(q, "messages", info->queued_messages);
	put(q, "recipients", info->queued_recipients);
	put(q, "scheduled", scheduled);
	put(q, "active", active);
	put(q, "domains", domains);
	json_object_set_new(q, "loading", json_boolean(loading));
	return q;
}

static json_t *store_json(const struct daemon *d, const struct store_info *info)
{
	static const char *const health[] = {
		[STORE_OK] = "ok", [STORE_FULL] = "full", [STORE_FAILED] = "failed"};
	json_t *s = json_object();
	uint64_t commits = counters_sum(CTR_STORE_COMMITS);

	json_object_set_new(s, "health", json_string(health[MIN(info->health, STORE_FAILED)]));
	json_object_set_new(s, "path", json_string(d->config->root.store.path));
	json_object_set_new(s, "group_mean", json_real(info->group_mean));
	put(s, "file_bytes", info->file_bytes);
	put(s, "disk_free_bytes", info->disk_free_bytes);
	put(s, "reserve_bytes", info->reserve_bytes);
	put(s, "accounts", info->accounts);
	put(s, "commits", commits);
	put(s, "commit_us_mean", commits ? counters_sum(CTR_STORE_COMMIT_US) / commits : 0);
	put(s, "errors", counters_sum(CTR_STORE_ERRORS));
	put(s, "refused_full", counters_sum(CTR_STORE_REFUSED_FULL));
	return s;
}

static json_t *roles_json(uint32_t roles)
{
	json_t *a = json_array();

	if (roles & CORE_DATAPLANE)
		json_array_append_new(a, json_string("dataplane"));
	if (roles & CORE_DELIVERY)
		json_array_append_new(a, json_string("delivery"));
	if (roles & CORE_CONTROL)
		json_array_append_new(a, json_string("control"));
	return a;
}

static double busy_share(const struct sample *a, const struct sample *b, unsigned i)
{
	double busy = (double)(b->busy_us[i] - a->busy_us[i]);
	double idle = (double)(b->idle_us[i] - a->idle_us[i]);

	return busy + idle > 0 ? busy / (busy + idle) : 0.0;
}

static json_t *cores_json(const struct daemon *d)
{
	const struct sample *a, *b;
	bool sampled = sample_window(d, &a, &b);
	json_t *all = json_array();

	for (unsigned i = 0; i < d->core_count; i++) {
		const struct core *core = &d->cores[i];
		json_t *c = json_object();
		put(c, "core", i);
		put(c, "lcore", core->lcore);
		json_object_set_new(c, "roles", roles_json(core->roles));
		json_object_set_new(c, "busy", json_real(sampled ? busy_share(a, b, i) : 0.0));
		put(c, "laps", core_counter(i, CTR_CORE_LAPS));
		put(c, "sleeps", core_counter(i, CTR_CORE_SLEEPS));
		put(c, "long_laps", core_counter(i, CTR_CORE_LONG_LAPS));
		put(c, "worst_lap_us", core->worst_lap_us);
		put(c, "ops_in_flight", d->rooms[i].gauges.in_flight);
		put(c, "ops_max", d->rooms[i].gauges.credits);
		put(c, "connections", d->rooms[i].gauges.connections);
		json_array_append_new(all, c);
	}
	return all;
}

static json_t *ports_json(void)
{
	static struct port_info info[PORTS_MAX];
	unsigned n = port_get_info(info, PORTS_MAX);
	json_t *all = json_array();

	for (unsigned i = 0; i < n; i++) {
		const struct port_info *p = &info[i];
		char mac[18];
		json_t *o = json_object();
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", p->mac[0], p->mac[1],
			p->mac[2], p->mac[3], p->mac[4], p->mac[5]);
		json_object_set_new(o, "name", json_string(p->name));
		json_object_set_new(o, "driver", json_string(p->driver));
		json_object_set_new(o, "device", json_string(p->device));
		json_object_set_new(o, "mac", json_string(mac));
		json_object_set_new(o, "link_up", json_boolean(p->link_up));
		json_object_set_new(o, "offloads", json_string(p->offloads));
		put(o, "rx_queues", p->rx_queues);
		put(o, "tx_queues", p->tx_queues);
		put(o, "rx_packets", p->rx_packets);
		put(o, "rx_bytes", p->rx_bytes);
		put(o, "rx_missed", p->rx_missed);
		put(o, "rx_errors", p->rx_errors);
		put(o, "tx_packets", p->tx_packets);
		put(o, "tx_bytes", p->tx_bytes);
		put(o, "tx_errors", p->tx_errors);
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *tcp_json(void)
{
	static const enum counter shown[] = {CTR_TCP_ACTIVE_OPENS, CTR_TCP_PASSIVE_OPENS,
		CTR_TCP_ATTEMPT_FAILS, CTR_TCP_ESTAB_RESETS, CTR_TCP_IN_SEGS, CTR_TCP_OUT_SEGS,
		CTR_TCP_RETRANS_SEGS, CTR_TCP_FAST_RETRANS, CTR_TCP_RTO_EXPIRED, CTR_TCP_IN_ERRS,
		CTR_TCP_OUT_RSTS, CTR_TCP_IN_OOO, CTR_TCP_SYN_DROPPED};
	json_t *t = json_object();

	for (size_t i = 0; i < ARRAY_LEN(shown); i++)
		put(t, counter_table[shown[i]].name + strlen("tcp_"), counters_sum(shown[i]));
	return t;
}

static json_t *pools_json(void)
{
	static struct pool_info info[POOLS_MAX];
	unsigned n = pool_get_info(info, POOLS_MAX);
	json_t *all = json_array();

	for (unsigned i = 0; i < n; i++) {
		json_t *o = json_object();
		json_object_set_new(o, "name", json_string(info[i].name));
		put(o, "size", info[i].size);
		put(o, "in_use", info[i].in_use);
		put(o, "element_bytes", info[i].element_bytes);
		json_array_append_new(all, o);
	}
	return all;
}

void admin_status(struct admin_client *c, const json_t *request)
{
	const struct daemon *d = c->admin->daemon;
	uint64_t uptime_ms = clock_wall_ms() - MIN(d->started_ms, clock_wall_ms());
	struct store_info info;
	json_t *o = json_object();

	(void)request;
	store_get_info(d->store, &info);
	json_object_set_new(o, "version", json_string(BYPOST_VERSION));
	json_object_set_new(o, "hostname", json_string(d->config->root.node.hostname));
	put(o, "pid", (uint64_t)getpid());
	put(o, "uptime_ms", uptime_ms);
	json_object_set_new(
		o, "state", json_string(atomic_load(&d->draining) ? "draining" : "running"));
	json_object_set_new(
		o, "durability", json_string(d->options.mutant_no_sync ? "none" : "sync"));
	json_object_set_new(o, "dnssec", json_boolean(d->config->root.dns.trust_anchor[0] != '\0'));
	put(o, "config_generation", d->config->generation);
	json_object_set_new(o, "messages", messages_json(d, uptime_ms));
	json_object_set_new(o, "connections", connections_json(d));
	json_object_set_new(o, "queue", queue_json(d, &info));
	json_object_set_new(o, "store", store_json(d, &info));
	json_object_set_new(o, "cores", cores_json(d));
	json_object_set_new(o, "ports", ports_json());
	json_object_set_new(o, "tcp", tcp_json());
	json_object_set_new(o, "pools", pools_json());
	put(o, "log_dropped", log_dropped());
	admin_send(c, o);
	admin_done(c, NULL);
}

static json_t *block_json(const struct counters *block)
{
	json_t *values = json_object();

	for (unsigned i = 0; i < COUNTER_N; i++) {
		uint64_t v = block ? atomic_load_explicit(&block->value[i], memory_order_relaxed)
				   : counters_sum((enum counter)i);
		put(values, counter_table[i].name, v);
	}
	return values;
}

/* One line per thread, and the sums first. */
void admin_counters(struct admin_client *c, const json_t *request)
{
	(void)request;
	admin_send(c, json_pack("{s:s, s:o}", "thread", "all", "counters", block_json(NULL)));
	for (unsigned i = 0; i < counters_count(); i++)
		admin_send(c, json_pack("{s:s, s:o}", "thread", counters_get(i)->thread, "counters",
				      block_json(counters_get(i))));
	admin_done(c, NULL);
}
