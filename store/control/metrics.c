/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/metrics.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include "dataplane/base/log.h"
#include "store/control/expose.h"

#define TIMEOUT_S   10   /* chosen: a client that is slower than that is none */
#define HEADERS_MAX 8192 /* octets of a request; chosen */
#define POOLS_MAX   (3 * CORES_MAX + PORTS_MAX)

struct metrics {
	struct daemon *d;
	struct evhttp *http;
};

/* ---- gauges: what is now ---- */

static void expose_rooms(struct evbuffer *out, const struct daemon *d)
{
	static const struct {
		const char *name, *help;
		size_t at;
	} gauges[] = {
		{"smtp_sessions",             "SMTP sessions open",                  offsetof(struct core_gauges, smtp)           },
		{"pop3_sessions",             "POP3 sessions open",                  offsetof(struct core_gauges, pop3)           },
		{"imap_sessions",             "IMAP sessions open",                  offsetof(struct core_gauges, imap)           },
		{"delivery_connections_open", "connections to next hops",
                 offsetof(struct core_gauges,								     out_connections)},
		{"delivery_scheduled",        "recipients that wait in memory",
                 offsetof(struct core_gauges,								     scheduled)      },
		{"delivery_active",           "deliveries under way",                offsetof(struct core_gauges, active)         },
		{"delivery_domains",          "domains with mail in the queue",
                 offsetof(struct core_gauges,								     domains)        },
		{"core_ops_in_flight",        "requests to other threads under way",
                 offsetof(struct core_gauges,								     in_flight)      },
	};

	for (size_t k = 0; k < ARRAY_LEN(gauges); k++) {
		uint64_t sum = 0;
		for (unsigned i = 0; i < d->core_count; i++) {
			const char *base = (const char *)&d->rooms[i].gauges;
			sum += atomic_load_explicit(
				(const _Atomic uint32_t *)(const void *)(base + gauges[k].at),
				memory_order_relaxed);
		}
		expose_gauge(out, gauges[k].name, gauges[k].help, (double)sum);
	}
}

static void expose_states(struct evbuffer *out, const struct daemon *d)
{
	expose_family(out, "tcp_connections", "gauge", "TCP connections by state");
	for (unsigned s = STACK_STATE_SYN_SENT; s < STACK_STATE_N; s++) {
		uint64_t n = 0;
		for (unsigned i = 0; i < d->core_count; i++)
			n += d->rooms[i].gauges.states[s];
		expose_value(out, "tcp_connections", "state", stack_state_text(s), (double)n);
	}
}

static void expose_store(struct evbuffer *out, const struct daemon *d)
{
	struct store_info info;

	shards_get_info(d->store, &info);
	expose_gauge(out, "queue_messages", "messages in the queue", (double)info.queued_messages);
	expose_gauge(
		out, "queue_recipients", "recipients in the queue", (double)info.queued_recipients);
	expose_gauge(out, "store_accounts", "mailbox users", (double)info.accounts);
	expose_gauge(out, "store_file_bytes", "octets that the store has on disk",
		(double)info.file_bytes);
	expose_gauge(out, "store_disk_free_bytes", "octets free on its disk",
		(double)info.disk_free_bytes);
	expose_gauge(out, "store_reserve_bytes", "octets of those that are kept free",
		(double)info.reserve_bytes);
	expose_gauge(out, "store_health", "0: ok, 1: full, 2: failed; of the worst shard",
		(double)info.health);
	expose_family(out, "store_shard_health", "gauge", "0: ok, 1: full, 2: failed");
	for (unsigned i = 0; i < shards_count(d->store); i++) {
		char shard[16];
		snprintf(shard, sizeof(shard), "%u", i);
		expose_value(out, "store_shard_health", "shard", shard,
			atomic_load(shards_health(d->store, i)));
	}
}

static void expose_ports(struct evbuffer *out)
{
	static struct port_info info[PORTS_MAX];
	static const struct {
		const char *name, *help;
		size_t at;
	} counts[] = {
		{"device_rx_packets_total", "frames that the device received",
                 offsetof(struct port_info, rx_packets)},
		{"device_rx_missed_total",  "frames that no core took in time",
                 offsetof(struct port_info, rx_missed) },
		{"device_rx_errors_total",  "frames received with errors, or without memory",
                 offsetof(struct port_info, rx_errors) },
		{"device_tx_packets_total", "frames that the device sent",
                 offsetof(struct port_info, tx_packets)},
		{"device_tx_errors_total",  "frames that it could not send",
                 offsetof(struct port_info, tx_errors) },
	};
	unsigned n = port_get_info(info, PORTS_MAX);

	for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
		expose_family(out, counts[k].name, "counter", counts[k].help);
		for (unsigned i = 0; i < n; i++) {
			uint64_t v;
			memcpy(&v, (const char *)&info[i] + counts[k].at, sizeof(v));
			expose_value(out, counts[k].name, "port", info[i].name, (double)v);
		}
	}
	expose_family(out, "device_link_up", "gauge", "1: the link is up");
	for (unsigned i = 0; i < n; i++)
		expose_value(out, "device_link_up", "port", info[i].name, info[i].link_up);
}

static void expose_pools(struct evbuffer *out)
{
	static struct pool_info info[POOLS_MAX];
	unsigned n = pool_get_info(info, POOLS_MAX);

	expose_family(out, "pool_size", "gauge", "objects of a memory pool");
	for (unsigned i = 0; i < n; i++)
		expose_value(out, "pool_size", "pool", info[i].name, info[i].size);
	expose_family(out, "pool_in_use", "gauge", "objects of it in use");
	for (unsigned i = 0; i < n; i++)
		expose_value(out, "pool_in_use", "pool", info[i].name, info[i].in_use);
}

static void expose_rings(struct evbuffer *out)
{
	struct ring_info info;

	expose_family(out, "ring_depth", "gauge", "entries in a ring between two threads");
	for (unsigned i = 0; ring_watch_get(i, &info); i++)
		expose_value(out, "ring_depth", "ring", info.name, info.depth);
	expose_family(out, "ring_depth_max", "gauge", "the most that were in it since the start");
	for (unsigned i = 0; ring_watch_get(i, &info); i++)
		expose_value(out, "ring_depth_max", "ring", info.name, info.high);
	expose_family(out, "ring_drops_total", "counter", "entries that found no room in it");
	for (unsigned i = 0; ring_watch_get(i, &info); i++)
		expose_value(out, "ring_drops_total", "ring", info.name, (double)info.drops);
}

static void expose_all(struct evbuffer *out, const struct daemon *d)
{
	uint64_t now_ms = clock_wall_ms();

	expose_gauge(out, "uptime_seconds", "since the start",
		(double)(now_ms - MIN(d->started_ms, now_ms)) / 1000.0);
	expose_gauge(out, "draining", "1: it is being stopped", atomic_load(&d->draining));
	expose_counters(out);
	expose_histograms(out);
	expose_rooms(out, d);
	expose_states(out, d);
	expose_store(out, d);
	expose_ports(out);
	expose_pools(out);
	expose_rings(out);
}

/* ---- the server ---- */

static void on_metrics(struct evhttp_request *request, void *ctx)
{
	struct metrics *m = ctx;
	struct evbuffer *out = evbuffer_new();

	if (!out) {
		evhttp_send_error(request, HTTP_INTERNAL, NULL);
		return;
	}
	expose_all(out, m->d);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
		"text/plain; version=0.0.4; charset=utf-8");
	evhttp_send_reply(request, HTTP_OK, "OK", out);
	evbuffer_free(out);
}

static void on_other(struct evhttp_request *request, void *ctx)
{
	(void)ctx;
	evhttp_send_error(request, HTTP_NOTFOUND, NULL);
}

int metrics_create(struct daemon *d, char *error, size_t error_n)
{
	const struct config_metrics *c = &d->config->root.metrics;
	char ip[IP_TEXT_MAX];

	if (c->port == 0)
		return 0;
	struct metrics *m = d->metrics = calloc(1, sizeof(*m));
	if (m)
		m->http = evhttp_new(d->events);
	if (!m || !m->http) {
		snprintf(error, error_n, "cannot serve metrics: out of memory");
		return -ENOMEM;
	}
	m->d = d;
	evhttp_set_timeout(m->http, TIMEOUT_S);
	evhttp_set_max_headers_size(m->http, HEADERS_MAX);
	evhttp_set_max_body_size(m->http, 0);
	evhttp_set_allowed_methods(m->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_cb(m->http, "/metrics", on_metrics, m);
	evhttp_set_gencb(m->http, on_other, NULL);
	ip_format(&c->address.ip, ip);
	if (evhttp_bind_socket(m->http, ip, (uint16_t)c->port) == 0)
		return 0;
	int err = errno ? -errno : -EADDRNOTAVAIL;
	snprintf(error, error_n, "key metrics.port: cannot listen on %s port %u: %s", ip,
		(unsigned)c->port, strerror(-err));
	return err;
}

void metrics_destroy(struct daemon *d)
{
	if (!d->metrics)
		return;
	if (d->metrics->http)
		evhttp_free(d->metrics->http);
	free(d->metrics);
	d->metrics = NULL;
}
