/* SPDX-License-Identifier: BSD-3-Clause
 * `status` and `counters`: one object each, made from counters, gauges and the rooms' info calls.
 */
#include "store/control/admin_priv.h"
#include "dataplane/base/log.h"
#include "store/control/convert.h"
#include "store/control/renew.h"
#include <unistd.h>
#include "dataplane/base/log.h"
#include "store/control/version.h"

static json_int_t sum(enum counter c)
{
	return (json_int_t)counters_sum(c);
}

static json_t *messages_json(const struct daemon *d, uint64_t uptime_ms)
{
	double seconds = (double)MAX(uptime_ms, (uint64_t)1) / 1000.0;
	json_t *m = json_object();

	admin_put(m, "in", counters_sum(CTR_SMTP_MESSAGES_IN));
	admin_put(m, "in_bytes", counters_sum(CTR_SMTP_BYTES_IN));
	admin_put(m, "refused", counters_sum(CTR_SMTP_MESSAGES_REFUSED));
	admin_put(m, "recipients_refused", counters_sum(CTR_SMTP_RCPT_REFUSED));
	admin_put(m, "out", counters_sum(CTR_DELIVERY_DELIVERED));
	admin_put(m, "deferred", counters_sum(CTR_DELIVERY_DEFERRED));
	admin_put(m, "failed", counters_sum(CTR_DELIVERY_FAILED));
	admin_put(m, "bounces", counters_sum(CTR_DELIVERY_BOUNCES));
	json_object_set_new(m, "in_mean", json_real((double)sum(CTR_SMTP_MESSAGES_IN) / seconds));
	json_object_set_new(
		m, "out_mean", json_real((double)sum(CTR_DELIVERY_DELIVERED) / seconds));
	json_object_set_new(m, "in_now", json_real(sample_rate(d, -1, CTR_SMTP_MESSAGES_IN)));
	json_object_set_new(m, "out_now", json_real(sample_rate(d, -1, CTR_DELIVERY_DELIVERED)));
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
	admin_put(c, "smtp", smtp);
	admin_put(c, "pop3", pop3);
	admin_put(c, "imap", imap);
	admin_put(c, "out", out);
	admin_put(c, "tcp", tcp);
	admin_put(c, "time_wait", time_wait);
	admin_put(c, "smtp_total", counters_sum(CTR_SMTP_CONNECTIONS));
	admin_put(c, "pop3_total", counters_sum(CTR_POP3_CONNECTIONS));
	admin_put(c, "imap_total", counters_sum(CTR_IMAP_CONNECTIONS));
	admin_put(c, "out_total", counters_sum(CTR_DELIVERY_CONNECTIONS));
	admin_put(c, "logins_failed", counters_sum(CTR_AUTH_FAILED));
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
	admin_put(q, "messages", info->queued_messages);
	admin_put(q, "recipients", info->queued_recipients);
	admin_put(q, "scheduled", scheduled);
	admin_put(q, "active", active);
	admin_put(q, "domains", domains);
	json_object_set_new(q, "loading", json_boolean(loading));
	return q;
}

static const char *durability(const struct daemon *d)
{
	if (d->options.discard)
		return "discard";
	if (d->options.mutant_no_sync)
		return "none";
	return d->config->root.store.mode == 1 ? "relaxed" : "sync";
}

static const char *const health[] = {
	[STORE_OK] = "ok", [STORE_FULL] = "full", [STORE_FAILED] = "failed"};

static json_t *shards_json(const struct daemon *d)
{
	json_t *all = json_array();
	struct store_conf conf;
	char path[1024];

	config_to_store(d->config, &conf);
	for (unsigned i = 0; i < shards_count(d->store); i++) {
		struct store_info info;
		json_t *o = json_object();
		store_get_info(shards_get(d->store, i), &info);
		shards_path(&conf, i, path, sizeof(path));
		admin_put(o, "shard", i);
		json_object_set_new(o, "path", json_string(path));
		json_object_set_new(
			o, "health", json_string(health[MIN(info.health, STORE_FAILED)]));
		json_object_set_new(o, "group_mean", json_real(info.group_mean));
		admin_put(o, "file_bytes", info.file_bytes);
		admin_put(o, "disk_free_bytes", info.disk_free_bytes);
		admin_put(o, "queued_messages", info.queued_messages);
		admin_put(o, "queued_recipients", info.queued_recipients);
		admin_put(o, "accounts", info.accounts);
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *store_json(const struct daemon *d, const struct store_info *info)
{
	json_t *s = json_object();
	uint64_t commits = counters_sum(CTR_STORE_COMMITS);

	json_object_set_new(s, "health", json_string(health[MIN(info->health, STORE_FAILED)]));
	json_object_set_new(s, "path", json_string(d->config->root.store.path));
	json_object_set_new(s, "group_mean", json_real(info->group_mean));
	if (shards_count(d->store) > 1)
		json_object_set_new(s, "shards", shards_json(d));
	admin_put(s, "file_bytes", info->file_bytes);
	admin_put(s, "disk_free_bytes", info->disk_free_bytes);
	admin_put(s, "reserve_bytes", info->reserve_bytes);
	admin_put(s, "accounts", info->accounts);
	admin_put(s, "commits", commits);
	admin_put(s, "commit_us_mean", commits ? counters_sum(CTR_STORE_COMMIT_US) / commits : 0);
	admin_put(s, "errors", counters_sum(CTR_STORE_ERRORS));
	admin_put(s, "refused_full", counters_sum(CTR_STORE_REFUSED_FULL));
	return s;
}

/* Of the last one or two minutes. */
static json_t *latency_json(const struct daemon *d)
{
	static struct histogram_view v;
	json_t *all = json_object();

	for (unsigned i = 0; i < HISTOGRAM_N; i++) {
		json_t *o = json_object();
		sample_histogram(d, (enum histogram_id)i, &v);
		admin_put(o, "count", v.count);
		admin_put(o, "mean", v.count ? v.sum / v.count : 0);
		admin_put(o, "p50", histogram_quantile(&v, 0.5));
		admin_put(o, "p99", histogram_quantile(&v, 0.99));
		json_object_set_new(all, histogram_table[i].name, o);
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
	shards_get_info(d->store, &info);
	json_object_set_new(o, "version", json_string(BYPOST_VERSION));
	json_object_set_new(o, "hostname", json_string(d->config->root.node.hostname));
	admin_put(o, "pid", (uint64_t)getpid());
	admin_put(o, "uptime_ms", uptime_ms);
	json_object_set_new(
		o, "state", json_string(atomic_load(&d->draining) ? "draining" : "running"));
	json_object_set_new(o, "durability", json_string(durability(d)));
	json_object_set_new(o, "dnssec", json_boolean(d->config->root.dns.trust_anchor[0] != '\0'));
	admin_put(o, "config_generation", d->config->generation);
	json_object_set_new(o, "messages", messages_json(d, uptime_ms));
	json_object_set_new(o, "connections", connections_json(d));
	json_object_set_new(o, "queue", queue_json(d, &info));
	json_object_set_new(o, "store", store_json(d, &info));
	json_object_set_new(o, "cores", admin_cores_json(d));
	json_object_set_new(o, "ports", admin_ports_json());
	json_object_set_new(o, "tcp", admin_tcp_json(d));
	json_object_set_new(o, "pools", admin_pools_json());
	json_object_set_new(o, "latency", latency_json(d));
	admin_put(o, "log_dropped", log_dropped());
	admin_send(c, o);
	admin_done(c, NULL);
}

static json_t *block_json(const struct counters *block)
{
	json_t *values = json_object();

	for (unsigned i = 0; i < COUNTER_N; i++) {
		uint64_t v = block ? atomic_load_explicit(&block->value[i], memory_order_relaxed)
				   : counters_sum((enum counter)i);
		admin_put(values, counter_table[i].name, v);
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

void admin_reload(struct admin_client *c, const json_t *request)
{
	char error[512];

	(void)request;
	if (renew_certificates(c->admin->daemon, error, sizeof(error)) < 0) {
		admin_fail(c, "certificates not renewed, nothing has changed: %s", error);
		return;
	}
	log_info("control", "certificates renewed");
	admin_done(c, NULL);
}
