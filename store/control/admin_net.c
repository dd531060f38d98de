/* SPDX-License-Identifier: BSD-3-Clause
 * `net` and `tcp`: ports, cores, rings, pools and the stack's counters from what everybody may
 * read; neighbours and routes by asking the cores. */
#include "store/control/admin_priv.h"

#define POOLS_MAX (3 * CORES_MAX + PORTS_MAX)

static void real(json_t *o, const char *key, double v)
{
	json_object_set_new(o, key, json_real(v));
}

/* ---- cores ---- */

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

static json_t *long_laps_json(const struct core *core)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < CORE_STAGE_N; i++) {
		uint64_t n = atomic_load_explicit(&core->long_laps[i], memory_order_relaxed);
		if (n)
			admin_put(o, core_stage_text(i), n);
	}
	return o;
}

static json_t *core_json(const struct daemon *d, unsigned i)
{
	const struct core *core = &d->cores[i];
	const struct core_gauges *g = &d->rooms[i].gauges;
	json_t *c = json_object();

	admin_put(c, "core", i);
	admin_put(c, "lcore", core->lcore);
	json_object_set_new(c, "roles", roles_json(core->roles));
	real(c, "busy", sample_busy(d, i));
	admin_put(c, "laps", core_counter(i, CTR_CORE_LAPS));
	real(c, "laps_now", sample_rate(d, (int)i, CTR_CORE_LAPS));
	real(c, "rx_packets_now", sample_rate(d, (int)i, CTR_PORT_RX_PACKETS));
	real(c, "tx_packets_now", sample_rate(d, (int)i, CTR_PORT_TX_PACKETS));
	admin_put(c, "sleeps", core_counter(i, CTR_CORE_SLEEPS));
	real(c, "sleeps_now", sample_rate(d, (int)i, CTR_CORE_SLEEPS));
	admin_put(c, "long_laps", core_counter(i, CTR_CORE_LONG_LAPS));
	json_object_set_new(c, "long_laps_by_stage", long_laps_json(core));
	admin_put(c, "worst_lap_us", core->worst_lap_us);
	json_object_set_new(
		c, "worst_lap_stage", json_string(core_stage_text(core->worst_lap_stage)));
	admin_put(c, "steered", core_counter(i, CTR_STEER_OUT));
	admin_put(c, "strays", core_counter(i, CTR_STEER_STRAYS));
	admin_put(c, "ops_in_flight", g->in_flight);
	admin_put(c, "ops_max", g->credits);
	admin_put(c, "connections", g->connections);
	return c;
}

json_t *admin_cores_json(const struct daemon *d)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < d->core_count; i++)
		json_array_append_new(all, core_json(d, i));
	return all;
}

/* ---- ports, pools, rings ---- */

json_t *admin_ports_json(void)
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
		admin_put(o, "rx_queues", p->rx_queues);
		admin_put(o, "tx_queues", p->tx_queues);
		admin_put(o, "rx_packets", p->rx_packets);
		admin_put(o, "rx_bytes", p->rx_bytes);
		admin_put(o, "rx_missed", p->rx_missed);
		admin_put(o, "rx_errors", p->rx_errors);
		admin_put(o, "tx_packets", p->tx_packets);
		admin_put(o, "tx_bytes", p->tx_bytes);
		admin_put(o, "tx_errors", p->tx_errors);
		json_array_append_new(all, o);
	}
	return all;
}

json_t *admin_pools_json(void)
{
	static struct pool_info info[POOLS_MAX];
	unsigned n = pool_get_info(info, POOLS_MAX);
	json_t *all = json_array();

	for (unsigned i = 0; i < n; i++) {
		json_t *o = json_object();
		json_object_set_new(o, "name", json_string(info[i].name));
		admin_put(o, "size", info[i].size);
		admin_put(o, "in_use", info[i].in_use);
		admin_put(o, "element_bytes", info[i].element_bytes);
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *rings_json(void)
{
	struct ring_info info;
	json_t *all = json_array();

	for (unsigned i = 0; ring_watch_get(i, &info); i++) {
		json_t *o = json_object();
		json_object_set_new(o, "name", json_string(info.name));
		json_object_set_new(o, "kind", json_string(ring_kind_text(info.kind)));
		admin_put(o, "size", info.size);
		admin_put(o, "depth", info.depth);
		admin_put(o, "high", info.high);
		admin_put(o, "drops", info.drops);
		json_array_append_new(all, o);
	}
	return all;
}

/* ---- the stack's counters ---- */

/* Those of a room, by the beginning of their names. */
static json_t *counters_json(const char *room)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < COUNTER_N; i++) {
		const char *name = counter_table[i].name;
		if (strncmp(name, room, strlen(room)) == 0)
			admin_put(o, name + strlen(room), counters_sum((enum counter)i));
	}
	return o;
}

static json_t *states_json(const struct daemon *d)
{
	uint64_t n[STACK_STATE_N] = {0};
	json_t *o = json_object();

	for (unsigned i = 0; i < d->core_count; i++) {
		for (unsigned s = 0; s < STACK_STATE_N; s++)
			n[s] += d->rooms[i].gauges.states[s];
	}
	for (unsigned s = STACK_STATE_SYN_SENT; s < STACK_STATE_N; s++)
		admin_put(o, stack_state_text(s), n[s]);
	return o;
}

json_t *admin_tcp_json(const struct daemon *d)
{
	double out = sample_rate(d, -1, CTR_TCP_OUT_SEGS);
	double again = sample_rate(d, -1, CTR_TCP_RETRANS_SEGS);
	json_t *o = counters_json("tcp_");

	json_object_set_new(o, "states", states_json(d));
	real(o, "in_segs_now", sample_rate(d, -1, CTR_TCP_IN_SEGS));
	real(o, "out_segs_now", out);
	real(o, "retrans_segs_now", again);
	real(o, "retrans_share_now", out + again > 0 ? again / (out + again) : 0.0);
	real(o, "opens_now",
		sample_rate(d, -1, CTR_TCP_ACTIVE_OPENS) +
			sample_rate(d, -1, CTR_TCP_PASSIVE_OPENS));
	return o;
}

void admin_tcp(struct admin_client *c, const json_t *request)
{
	(void)request;
	admin_send(c, admin_tcp_json(c->admin->daemon));
	admin_done(c, NULL);
}

void admin_net(struct admin_client *c, const json_t *request)
{
	const struct daemon *d = c->admin->daemon;
	json_t *o = json_object();

	(void)request;
	json_object_set_new(o, "ports", admin_ports_json());
	json_object_set_new(o, "cores", admin_cores_json(d));
	json_object_set_new(o, "rings", rings_json());
	json_object_set_new(o, "pools", admin_pools_json());
	json_object_set_new(o, "steer", counters_json("steer_"));
	json_object_set_new(o, "ip", counters_json("ip_"));
	json_object_set_new(o, "pressure", counters_json("pressure_"));
	admin_send(c, o);
	admin_done(c, NULL);
}

/* ---- neighbours and routes ---- */

static void ask(struct admin_client *c);

static const char *port_name(const struct daemon *d, unsigned port)
{
	return port < d->dataplane.port_count ? d->dataplane.ports[port].name : "?";
}

static void send_neighs(struct admin_client *c, const struct net_op *q)
{
	char ip[IP_TEXT_MAX], mac[18];

	for (uint32_t i = 0; i < q->neigh_n; i++) {
		const struct stack_neigh_info *n = &q->neighs[i];
		const uint8_t *m = n->mac;
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			m[4], m[5]);
		admin_send(c,
			json_pack("{s:i, s:s, s:s, s:s, s:s, s:i}", "core", (int)c->work.net.core,
				"port", port_name(c->admin->daemon, n->port), "address",
				ip_format(&n->ip, ip), "mac", mac, "state", n->state, "queued",
				(int)n->queued));
	}
	c->work.net.sent += q->neigh_n;
}

static void send_routes(struct admin_client *c, const struct net_op *q)
{
	char ip[IP_TEXT_MAX], via[IP_TEXT_MAX], net[IP_TEXT_MAX + 8];

	for (uint32_t i = 0; i < q->route_n; i++) {
		const struct stack_route_info *r = &q->routes[i];
		bool v4 = r->has_gateway ? ip_is_v4(&r->gateway) : ip_is_v4(&r->net.ip);
		if (r->has_gateway)
			snprintf(net, sizeof(net), "%s", v4 ? "0.0.0.0/0" : "::/0");
		else
			snprintf(net, sizeof(net), "%s/%d", ip_format(&r->net.ip, ip),
				r->net.prefix - (v4 ? 96 : 0));
		admin_send(c, json_pack("{s:s, s:s, s:s, s:i, s:s}", "network", net, "port",
				      port_name(c->admin->daemon, r->port), "via",
				      r->has_gateway ? ip_format(&r->gateway, via) : "", "mtu",
				      (int)r->mtu, "state", r->state));
	}
	c->work.net.sent += q->route_n;
}

static void net_done(struct op *op)
{
	struct net_op *q = container_of(op, struct net_op, op);
	struct admin_client *c = container_of(q, struct admin_client, work.net.op);
	struct net_work *w = &c->work.net;

	if (op->status == 0 && w->routes)
		send_routes(c, q);
	else if (op->status == 0)
		send_neighs(c, q);
	if (op->status != 0 || q->from == STACK_LIST_END || w->routes) {
		w->core++;
		q->from = 0;
	}
	/* Every core has the same routes. */
	if (!c->bev || w->routes || w->core == c->admin->daemon->core_count)
		admin_done(c, json_pack("{s:I}", "rows", (json_int_t)w->sent));
	else
		ask(c);
}

static void ask(struct admin_client *c)
{
	struct net_work *w = &c->work.net;

	if (!admin_may_send(c, ask))
		return;
	w->op.op.kind = ASK_NET;
	w->op.op.done = net_done;
	admin_submit(c, &c->admin->daemon->rooms[w->core].questions, &w->op.op);
}

void admin_net_neighbours(struct admin_client *c, const json_t *request)
{
	(void)request;
	ask(c);
}

void admin_net_routes(struct admin_client *c, const json_t *request)
{
	(void)request;
	c->work.net.routes = true;
	ask(c);
}
