/* SPDX-License-Identifier: BSD-3-Clause
 * From a seed to a network, stacks and connections. */
#include "tests/sim/sim.h"

static uint64_t pick(uint64_t *random, uint64_t n)
{
	return host_random(random) % n;
}

/* One in n has it, and then it is between 1 and most. */
static uint64_t some(uint64_t *random, unsigned n, uint64_t most)
{
	return pick(random, n) ? 0 : 1 + pick(random, most);
}

static void profile_wire(uint64_t *random, struct wire_conf *w)
{
	w->loss = pick(random, 3) ? (unsigned)pick(random, 1200) : 0;
	w->duplicate = (unsigned)some(random, 2, 500);
	w->corrupt = (unsigned)some(random, 2, 300);
	w->delay_us = 10 + pick(random, 100000);
	w->jitter_us = some(random, 2, w->delay_us * 2);
	if (pick(random, 2)) {
		w->rate = 200000 + pick(random, 20000000);
		w->queue_bytes = (uint32_t)some(random, 2, 200000);
		if (w->queue_bytes)
			w->queue_bytes += 20000;
		w->mark_bytes = (uint32_t)some(random, 2, 30000);
	}
	w->strip_sack = pick(random, 3) == 0;
	w->strip_wscale = pick(random, 6) == 0;
	w->strip_timestamps = pick(random, 6) == 0;
}

/* A narrow link on the way, from some time on, that says so or not; or one that cuts packets. */
static void profile_path(uint64_t *random, struct wire_conf *w)
{
	static const uint16_t told[] = {1400, 1280, 1000, 600}, silent[] = {1400, 1280, 1100};

	switch (pick(random, 8)) {
	case 0:
		w->mtu = told[pick(random, ARRAY_LEN(told))];
		break;
	case 1:
		w->mtu = silent[pick(random, ARRAY_LEN(silent))];
		w->black_hole = true;
		break;
	case 2:
		w->cut = (uint16_t)(68 + pick(random, 1200));
		if (w->loss > 300) /* of ten pieces one is always lost */
			w->cut = MAX(w->cut, (uint16_t)400);
		break;
	}
	w->mtu_from_us = SIM_START_US + some(random, 2, 20 * US_PER_SEC);
}

static void profile_hosts(uint64_t *random, struct sim_conf *c)
{
	static const uint16_t mtus[] = {1500, 1500, 576, 1280};
	static const uint32_t buffers[] = {4096, 20000, 65536, 262144};

	c->hosts_n = pick(random, 4) ? 2 : 3;
	for (unsigned i = 0; i < c->hosts_n; i++) {
		bool grows = *random & 1; /* nothing is drawn for it */
		c->host[i] = (struct host_conf){
			.address = (198u << 24) + (18u << 16) + 1 + i,
			.mac = (uint8_t)(1 + i),
			.mtu = mtus[pick(random, ARRAY_LEN(mtus))],
			.connections_max = 16,
			.table_slots = grows ? 16 : 0, /* with TIME_WAIT it comes to 128 */
			.rcv_buffer = buffers[pick(random, ARRAY_LEN(buffers))],
			.snd_buffer = buffers[pick(random, ARRAY_LEN(buffers))],
			.hold_tx = pick(random, 2),
			.tcp = {.ecn = (uint8_t)(pick(random, 2) ? STACK_ECN_ACTIVE
								 : pick(random, 3)),
				.congestion = pick(random, 4) ? STACK_CUBIC : STACK_NEWRENO,
				.no_timestamps = pick(random, 8) == 0,
				.stream = {.nagle = pick(random, 4) == 0,
					.keepalive_us = some(random, 6, 60 * US_PER_SEC)}},
		};
	}
}

static uint64_t profile_size(uint64_t *random)
{
	switch (pick(random, 4)) {
	case 0:
		return pick(random, 4);
	case 1:
		return pick(random, 3000);
	default:
		return pick(random, 120000);
	}
}

static void profile_conn(uint64_t *random, const struct sim_conf *c, struct sim_conn_conf *conn)
{
	bool closer = pick(random, 8) == 0, aborter = pick(random, 8) == 0;
	unsigned end = (unsigned)pick(random, 2);

	conn->host[0] = (uint8_t)pick(random, c->hosts_n);
	conn->host[1] = (uint8_t)((conn->host[0] + 1 + pick(random, c->hosts_n - 1)) % c->hosts_n);
	conn->port = (uint16_t)(SIM_PORT + pick(random, SIM_PORTS));
	conn->start_us = some(random, 3, 100 * US_PER_SEC);
	conn->stop_max_us = (pick(random, 8) ? 3 : 50) * US_PER_SEC;
	for (unsigned i = 0; i < 2; i++) {
		conn->to_send[i] = profile_size(random);
		conn->abort_after[i] = SIM_NEVER;
	}
	conn->close_at_once[end] = closer;
	if (aborter)
		conn->abort_after[end] = pick(random, conn->to_send[!end] + 1);
}

/* IPv6 wants links of 1280 octets. */
static void profile_families(uint64_t *random, struct sim_conf *c)
{
	bool narrow = c->wire.mtu && c->wire.mtu < IP6_MTU_MIN;

	for (unsigned i = 0; i < c->hosts_n; i++)
		c->host[i].v6 = !narrow && c->host[i].mtu >= IP6_MTU_MIN;
	for (unsigned i = 0; i < c->conns_n; i++) {
		struct sim_conn_conf *conn = &c->conn[i];
		conn->v6 =
			pick(random, 2) && c->host[conn->host[0]].v6 && c->host[conn->host[1]].v6;
	}
}

void sim_profile(uint64_t seed, struct sim_conf *conf_r)
{
	uint64_t random = seed ^ 0x5eed;

	*conf_r = (struct sim_conf){0};
	profile_wire(&random, &conf_r->wire);
	profile_hosts(&random, conf_r);
	conf_r->conns_n = 1 + (unsigned)pick(&random, SIM_CONNS_MAX);
	for (unsigned i = 0; i < conf_r->conns_n; i++)
		profile_conn(&random, conf_r, &conf_r->conn[i]);
	profile_path(&random, &conf_r->wire);
	for (unsigned i = 0; i < conf_r->hosts_n; i++)
		conf_r->host[i].card = pick(&random, 3) == 0;
	profile_families(&random, conf_r);
}
