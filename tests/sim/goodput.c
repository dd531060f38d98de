/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/goodput.h"
#include <math.h>
#include "tests/sim/sim.h"

#define GOODPUT_US       (300 * US_PER_SEC) /* of virtual time */
#define GOODPUT_MSS      1460.0
#define GOODPUT_BUFFER   (4u << 20)
#define GOODPUT_SEEDS    3
#define GOODPUT_FRACTION 0.9 /* of the response function, or of the link */

static const struct row {
	const char *name;
	struct wire_conf wire;
} rows[] = {
	{"1 % loss, 50 ms",                      {.loss = 100, .loss_to = 2, .delay_us = 25000}},
	{"0.1 % loss, 50 ms",                    {.loss = 10, .loss_to = 2, .delay_us = 25000} },
	{"0.1 % loss, 10 ms",                    {.loss = 10, .loss_to = 2, .delay_us = 5000}  },
	{"10 Mbit/s, 50 ms, queue 62 kB",
         {.rate = 1250000, .queue_bytes = 62500, .delay_us = 25000}                            },
	{"10 Mbit/s, 50 ms, queue 31 kB",
         {.rate = 1250000, .queue_bytes = 31250, .delay_us = 25000}                            },
	{"10 Mbit/s, 50 ms, 62 kB, marks at 31",
         {.rate = 1250000, .queue_bytes = 62500, .mark_bytes = 31250, .delay_us = 25000}       },
};

/* RFC 9438 5.1 and 4.3, segments: the larger of CUBIC's own and of what Reno would have. */
static double window_cubic(double p, double rtt)
{
	const double c = 0.4, beta = 0.7, alpha = 3 * (1 - beta) / (1 + beta);
	double own = pow(c * (3 + beta) / (4 * (1 - beta)), 0.25) * pow(rtt, 0.75) / pow(p, 0.75);
	double friendly = sqrt(alpha * (1 + beta) / (2 * (1 - beta) * p));

	return fmax(own, friendly);
}

/* Octets a second that theory promises; Mathis: "The macroscopic behavior of the TCP congestion
 * avoidance algorithm", 1997. */
static double promised(const struct row *r, bool cubic)
{
	double rtt = 2e-6 * (double)r->wire.delay_us;
	double p = (double)r->wire.loss / WIRE_CHANCE;

	if (r->wire.rate)
		return (double)r->wire.rate * GOODPUT_MSS / (GOODPUT_MSS + 54);
	double window = cubic ? window_cubic(p, rtt) : sqrt(1.5 / p);
	return window * GOODPUT_MSS / rtt;
}

static void conf_make(const struct row *r, struct sim_conf *c)
{
	*c = (struct sim_conf){
		.wire = r->wire, .hosts_n = 2, .conns_n = 1, .measure_us = GOODPUT_US};
	for (unsigned i = 0; i < 2; i++) {
		c->host[i] = (struct host_conf){.address = (198u << 24) + (18u << 16) + 1 + i,
			.mac = (uint8_t)(1 + i),
			.mtu = 1500,
			.connections_max = 16,
			.rcv_buffer = GOODPUT_BUFFER,
			.snd_buffer = GOODPUT_BUFFER};
	}
	c->conn[0] = (struct sim_conn_conf){
		.host = {0,              1        },
		.port = SIM_PORT,
		.to_send = {UINT64_MAX / 2, 0        },
		.abort_after = {SIM_NEVER,      SIM_NEVER},
		.greedy = true
        };
}

static struct sim sim;

/* Octets a second, the mean over seeds. */
static double measured(const struct row *r, struct host_pools *const pools[SIM_HOSTS_MAX])
{
	struct sim_conf conf;
	double sum = 0;

	conf_make(r, &conf);
	for (uint64_t seed = 1; seed <= GOODPUT_SEEDS; seed++) {
		const char *wrong = sim_run(&sim, &conf, seed, pools);
		if (wrong)
			printf("%s: %s\n", r->name, wrong);
		sum += (double)sim.app[1][0].received;
	}
	return sum / GOODPUT_SEEDS / ((double)GOODPUT_US / US_PER_SEC);
}

bool goodput_run(void)
{
	static struct host_pools pools[2];
	struct host_pools *const set[SIM_HOSTS_MAX] = {&pools[0], &pools[1], NULL};
	bool reached = true;

	host_pools_init(&pools[0], "ga", 8191, 16383);
	host_pools_init(&pools[1], "gb", 8191, 1023);
	sim_init(&sim, 0);
	printf("%-38s %10s %10s %7s\n", "link", "kB/s", "theory", "share");
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		double got = measured(&rows[i], set), want = promised(&rows[i], true);
		printf("%-38s %10.0f %10.0f %6.0f%%\n", rows[i].name, got / 1000, want / 1000,
			100 * got / want);
		reached &= got >= GOODPUT_FRACTION * want;
	}
	sim_fini(&sim);
	return reached;
}
