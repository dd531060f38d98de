/* SPDX-License-Identifier: BSD-3-Clause
 * The applications of the simulator: each end sends so many octets, looks at every one that it
 * receives, stops reading now and then, shuts down, closes or aborts. */
#include "tests/sim/sim.h"

#define APP_POLL_US    (100 * US_PER_MS) /* how often one that wants something tries */
#define APP_GIVE_UP_US (90 * US_PER_SEC) /* after the peer has gone, and that may be lost */

static uint8_t content(const struct sim_app *a, unsigned from, uint64_t i)
{
	uint64_t x = (a->sim->seed * 31 + a->conn * 7 + from) * 0x9e3779b97f4a7c15ull + i * i + i;

	return (uint8_t)(x >> 13 ^ i >> 8 ^ i);
}

static uint64_t to_send(const struct sim_app *a)
{
	return sim_app_conf(a)->to_send[a->end];
}

static void app_close(struct sim_app *a)
{
	a->closed = true;
	stream_close(&a->s);
}

static void app_abort(struct sim_app *a)
{
	a->closed = a->aborted = true;
	sim_app_peer(a)->give_up_at = a->sim->now_us + APP_GIVE_UP_US;
	stream_abort(&a->s);
}

static void app_finish(struct sim_app *a)
{
	a->shut = true;
	if (a->eof || sim_app_conf(a)->close_at_once[a->end])
		app_close(a);
	else
		stream_shutdown(&a->s);
}

static void app_send(struct sim_app *a)
{
	uint8_t chunk[5000];

	while (a->sent < to_send(a)) {
		size_t n = sim_app_conf(a)->greedy ? sizeof(chunk)
						   : 1 + sim_random(a->sim, sizeof(chunk));
		n = MIN(n, to_send(a) - a->sent);
		for (size_t i = 0; i < n; i++)
			chunk[i] = content(a, a->end, a->sent + i);
		size_t took = stream_send(&a->s, bytes_make(chunk, n));
		a->sent += took;
		if (took < n)
			return;
		if (!sim_app_conf(a)->greedy && sim_random(a->sim, 8) == 0)
			break;
	}
	if (a->sent == to_send(a) && !a->shut)
		app_finish(a);
}

static void app_on_open(struct stream *s)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->open);
	a->open = true;
	a->opened_us = a->sim->now_us;
	app_send(a);
}

/* How much of n octets the application takes now. */
static size_t app_appetite(struct sim_app *a, size_t n)
{
	uint64_t stop_max_us = sim_app_conf(a)->stop_max_us;

	if (!stop_max_us || sim_random(a->sim, 16))
		return n;
	size_t take = sim_random(a->sim, n + 1);
	if (take < n) {
		a->stopped = true;
		a->resume_at = a->sim->now_us + sim_random(a->sim, stop_max_us);
	}
	return take;
}

static size_t app_on_data(struct stream *s, struct bytes data)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->closed || a->eof || a->stopped);
	size_t take = app_appetite(a, data.n);
	for (size_t i = 0; i < take; i++) {
		if (data.p[i] != content(a, !a->end, a->received + i))
			a->sim->wrong = "a wrong octet arrived";
	}
	a->received += take;
	if (take)
		a->done_us = a->sim->now_us;
	if (sim_app_conf(a)->stop_max_us && a->received % 2)
		stream_answer_follows(s); /* often wrongly: ACKs are late then, and nothing worse */
	if (a->received >= sim_app_conf(a)->abort_after[a->end])
		app_abort(a);
	return take;
}

static void app_on_eof(struct stream *s)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->eof || a->closed);
	a->eof = true;
	if (a->sent == to_send(a) && sim_random(a->sim, 2))
		app_close(a);
}

static void app_on_writable(struct stream *s)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->closed);
	if (!a->open)
		a->opened_us = a->sim->now_us;
	a->open = true;
	app_send(a);
}

static void app_on_close(struct stream *s, enum stream_reason reason)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->closed);
	a->closed = true;
	a->reason = reason;
	a->reset = reason != STREAM_CLOSED;
	if (a->reset && a->sim->conf.scarce)
		sim_app_peer(a)->give_up_at = a->sim->now_us + APP_GIVE_UP_US;
}

static const struct stream_ops app_ops = {
	.on_open = app_on_open,
	.on_data = app_on_data,
	.on_eof = app_on_eof,
	.on_writable = app_on_writable,
	.on_close = app_on_close,
};

void sim_app_start(struct sim *sim, unsigned conn)
{
	struct sim_app *a = &sim->app[0][conn];
	const struct sim_conn_conf *conf = sim_app_conf(a);
	const struct host *to = &sim->host[conf->host[1]];
	struct endpoint remote = {conf->v6 ? host_ip6(to) : host_ip(to), conf->port};

	a->started = true;
	a->s.ops = &app_ops;
	if (stream_connect(sim->host[conf->host[0]].stack, &a->s, &remote, 600 * US_PER_SEC) < 0)
		sim->wrong = "a connection could not be opened";
}

struct stream *sim_app_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct sim *sim = l->ctx;

	for (unsigned i = 0; i < sim->conf.conns_n; i++) {
		struct sim_app *opener = &sim->app[0][i], *a = &sim->app[1][i];
		if (l != &sim->listener[sim->conf.conn[i].host[1]])
			continue;
		if (opener->started && opener->s.local.port == peer->port && !a->started &&
			ip_eq(&opener->s.local.ip, &peer->ip) &&
			sim->conf.conn[i].port == local->port) {
			a->started = true;
			a->s.ops = &app_ops;
			return &a->s;
		}
	}
	return NULL;
}

/* The application of a connection of a host. */
struct sim_app *sim_app_of(struct sim *sim, unsigned host, const struct tcp_conn *c)
{
	for (unsigned i = 0; i < sim->conf.conns_n; i++) {
		const struct sim_conn_conf *conf = &sim->conf.conn[i];
		uint16_t port[2] = {sim->app[0][i].s.local.port, conf->port};
		const struct ip_addr *opener = &sim->app[0][i].s.local.ip;
		for (unsigned end = 0; end < 2; end++) {
			if (conf->host[end] == host && sim->app[0][i].started &&
				c->key.local_port == port[end] && c->key.peer_port == port[!end] &&
				ip_eq(opener, end ? &c->key.peer : &c->key.local))
				return &sim->app[end][i];
		}
	}
	return NULL;
}

void sim_app_step(struct sim_app *a)
{
	if (!a->started || a->closed)
		return;
	if (a->give_up_at && a->give_up_at <= a->sim->now_us) {
		app_close(a);
		return;
	}
	if (!a->open)
		return;
	if (a->stopped && a->resume_at <= a->sim->now_us) {
		a->stopped = false;
		stream_resume(&a->s);
	}
	if (a->sent < to_send(a) && sim_random(a->sim, 4) == 0)
		app_send(a);
	else if (a->shut && a->eof && sim_random(a->sim, 8) == 0)
		app_close(a);
}

uint64_t sim_app_next_us(const struct sim_app *a)
{
	uint64_t next = UINT64_MAX;

	if (a->end == 0 && !a->started)
		return SIM_START_US + sim_app_conf(a)->start_us;
	if (!a->started || a->closed)
		return next;
	if (a->give_up_at)
		next = a->give_up_at;
	if (!a->open)
		return next;
	if (a->stopped)
		return MIN(next, a->resume_at);
	if ((a->sent < to_send(a) && !sim_app_conf(a)->greedy) || (a->shut && a->eof))
		next = MIN(next, a->sim->now_us + APP_POLL_US);
	return next;
}

const char *sim_app_verdict(const struct sim_app *a)
{
	const struct sim_app *peer = sim_app_peer(a);
	const struct sim_conn_conf *conf = sim_app_conf(a);

	if (a->aborted || peer->aborted)
		return a->closed || !a->started ? NULL : "an application was not told of an abort";
	if (a->sim->conf.scarce && (a->reset || peer->reset) && (a->closed || !a->started))
		return NULL;
	if (!a->closed)
		return "an application was never told of the end";
	if (conf->close_at_once[a->end])
		return a->sent == to_send(a) ? NULL : "not all was sent";
	if (a->reset && conf->close_at_once[!a->end])
		return NULL; /* its peer would not listen any more */
	if (a->reset && peer->given_up)
		return NULL; /* TCP_LINGER_US without progress: the limit is meant */
	if (a->reset)
		return "a connection was reset or timed out";
	if (a->sent != to_send(a))
		return "not all was sent";
	if (a->received != to_send(peer))
		return "the streams differ in length";
	return NULL;
}
