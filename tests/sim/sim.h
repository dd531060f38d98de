/* SPDX-License-Identifier: BSD-3-Clause
 * Stacks on a seeded wire with a virtual clock, and applications that send each other octets.
 * Everything that happens follows from the seed and the configuration. */
#pragma once
#include "tests/sim/flows.h"
#include "tests/sim/host.h"
#include "tests/sim/wire.h"

#define SIM_HOSTS_MAX 3
#define SIM_CONNS_MAX 6
#define SIM_START_US  (1000 * US_PER_SEC)
#define SIM_PORT      25 /* and the next SIM_PORTS - 1 */
#define SIM_PORTS     3
#define SIM_NEVER     UINT64_MAX

struct sim_conn_conf {
	uint8_t host[2]; /* who opens, and to whom */
	uint16_t port;
	bool v6;
	uint64_t start_us;       /* after the beginning */
	uint64_t to_send[2];     /* octets, by the opener and by the other end */
	uint64_t abort_after[2]; /* octets received; SIM_NEVER */
	bool close_at_once[2];   /* stream_close when all is sent, whatever the peer has to say */
	uint64_t stop_max_us;    /* the reader stops now and then, for up to so long; 0: never */
	bool greedy;             /* the send buffers are always full */
};

struct sim_conf {
	struct wire_conf wire;
	struct wire_rule rules[WIRE_RULES_MAX];
	unsigned rules_n;
	struct host_conf host[SIM_HOSTS_MAX];
	unsigned hosts_n;
	struct sim_conn_conf conn[SIM_CONNS_MAX];
	unsigned conns_n;
	uint64_t time_max_us; /* 0: hours */
	uint64_t measure_us;  /* stop after so long, whatever is under way; 0: play to the end */
	bool scarce;          /* pools so small that connections may be given up, as designed */
};

/* Faults that the checks must find: proof that they look. */
enum sim_mutant {
	SIM_MUTANT_NONE,
	SIM_MUTANT_OCTET, /* the wire alters an octet of payload and repairs the checksum */
	SIM_MUTANT_EDGE,  /* a stack takes back window */
	SIM_MUTANT_ACK,   /* a stack takes back an acknowledgment */
	SIM_MUTANT_LEAK,  /* a driver loses an mbuf */
	SIM_MUTANT_TIMER, /* something leaves a timer armed */
	SIM_MUTANT_STALL, /* from some time on nothing arrives any more */
	SIM_MUTANT_N
};

/* One application end. */
struct sim_app {
	struct stream s;
	struct sim *sim;
	uint8_t end, conn;
	bool started, open, eof, closed, shut, stopped, reset, aborted;
	bool given_up; /* closed, and what was queued made no progress for TCP_LINGER_US */
	uint64_t sent, received;
	uint64_t resume_at;
	uint64_t give_up_at; /* the peer has aborted, and that may have been lost; 0: it has not */
	uint64_t opened_us, done_us; /* established; the last octet received */
	enum stream_reason reason;
};

struct sim {
	uint64_t seed, random, now_us;
	struct sim_conf conf;
	enum sim_mutant mutant;
	struct host host[SIM_HOSTS_MAX];
	struct wire wire;
	struct flows flows;
	struct pcap pcap;
	struct listener listener[SIM_HOSTS_MAX];
	struct sim_app app[2][SIM_CONNS_MAX];
	struct timer left_over; /* of a mutant */
	const char *wrong;
	unsigned laps;
	uint64_t given_up; /* connections, in all runs */
	bool verbose;
};

/* Once per struct sim. */
void sim_init(struct sim *sim, size_t pcap_max);
void sim_fini(struct sim *sim);
/* One pair of pools for each host.  Returns NULL, or what went wrong (static text); what was on the
 * wire is in sim->pcap until the next run. */
const char *sim_run(struct sim *sim, const struct sim_conf *conf, uint64_t seed,
	struct host_pools *const pools[SIM_HOSTS_MAX]);
uint64_t sim_random(struct sim *sim, uint64_t n);

/* sim_profile.c: everything that a seed decides */
void sim_profile(uint64_t seed, struct sim_conf *conf_r);

/* sim_app.c */
void sim_app_start(struct sim *sim, unsigned conn);
struct stream *sim_app_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local);
struct sim_app *sim_app_of(struct sim *sim, unsigned host, const struct tcp_conn *c);
void sim_app_step(struct sim_app *a);
/* When an application wants to do something by itself; UINT64_MAX: it waits to be called. */
uint64_t sim_app_next_us(const struct sim_app *a);
/* After the end: NULL, or what the application at this end of a connection missed. */
const char *sim_app_verdict(const struct sim_app *a);
static inline struct sim_app *sim_app_peer(const struct sim_app *a)
{
	return &a->sim->app[!a->end][a->conn];
}
static inline const struct sim_conn_conf *sim_app_conf(const struct sim_app *a)
{
	return &a->sim->conf.conn[a->conn];
}
