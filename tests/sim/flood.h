/* SPDX-License-Identifier: BSD-3-Clause
 * A server beside a flood of SYNs, in virtual time.  One wire leads to it, limited in both
 * directions.  Over it come an established flow of messages that are sent back, paced; visitors who
 * open a connection, are served and leave; and SYNs of sources that do not exist.  Everything
 * follows from the configuration. */
#pragma once
#include "tests/sim/host.h"
#include "tests/sim/wire.h"

#define FLOOD_START_US     (1000 * US_PER_SEC)
#define FLOOD_OPEN_US      (500 * US_PER_MS) /* for the flow's handshake; then everything begins */
#define FLOOD_REST_US      (1 * US_PER_SEC)  /* afterwards, to find what stays behind */
#define FLOOD_RATE         10000000u /* octets a second: the frames take whole microseconds */
#define FLOOD_QUEUE        65536u    /* octets before each link; the tail is dropped */
#define FLOOD_DELAY_US     1000u     /* one way */
#define FLOOD_PORT         25
#define FLOOD_MESSAGE      1000 /* octets, of the flow and of visitors */
#define FLOOD_MESSAGES_MAX 32768u
#define FLOOD_VISITOR_US   (20 * US_PER_MS) /* one comes so often */
#define FLOOD_VISITORS     256u
/* without new visitors: who came must be served while the flood lasts */
#define FLOOD_LAST_US (200 * US_PER_MS)

/* What is planted so that the checks must find it. */
enum flood_fault {
	FLOOD_FAULT_NONE,
	FLOOD_FAULT_LEAK, /* a frame is lost now and then */
	FLOOD_FAULT_SLOW, /* the server's laps take 10 ms during the flood */
};

struct flood_conf {
	bool v6;
	uint64_t us;         /* how long; visitors and messages come as long */
	unsigned share;      /* percent of the SYNs that the wire carries; 0: no flood */
	uint64_t message_us; /* between two messages of the flow, mean; 0: as fast as it can */
	struct stack_tcp_conf tcp; /* of the server */
	enum flood_fault fault;
};

/* The server's frames in use. */
struct flood_frames {
	uint32_t rx, control, tx;
};

struct flood_figures {
	const char *wrong; /* NULL, or static text */
	uint64_t goodput;  /* octets of the flow that came back in a second */
	uint64_t messages;
	uint32_t p50_us, p99_us, max_us; /* round trips of messages, from when they were due */
	unsigned visitors, served;
	uint32_t visit_max_us;                /* from SYN to the last octet */
	uint64_t syns, answers;               /* of and to nobody */
	uint64_t cookies_sent, cookies_taken; /* counters */
	uint64_t overflows, queue_dropped;
	struct flood_frames before, peak, after;
	size_t heap_before, heap_peak; /* octets of rte_malloc, both stacks */
};

/* One end of a connection. */
struct flood_app {
	struct stream s;
	struct flood *flood;
	bool used, open;
	uint64_t sent, received;
	uint64_t began_us;
};

struct flood {
	struct flood_conf conf;
	struct flood_figures figures;
	uint64_t now_us, begin_us, end_us;
	struct host host[2]; /* the server; the client, which is the server's router as well */
	struct wire wire;
	struct listener listener;
	struct flood_app flow, visitor[FLOOD_VISITORS];
	struct flood_app echo[FLOOD_VISITORS + 1]; /* at the server */
	uint64_t message_at, visitor_at, syn_at, sample_at, lap_at;
	uint64_t wire_random, flow_random, syn_random;
	uint64_t counted_from_us, counted; /* octets that came back since */
	uint64_t due_us[FLOOD_MESSAGES_MAX], due, done;
	uint32_t round_trip_us[FLOOD_MESSAGES_MAX];
	uint8_t syn[128]; /* a SYN, to be altered */
	size_t syn_n;
	struct rte_mbuf *leaked[256];
	unsigned leaked_n;
};

/* pools: of the server and of the client.  Prints nothing. */
void flood_run(struct flood *f, const struct flood_conf *conf, struct host_pools *const pools[2]);
/* Octets of one of its SYNs, and how many of them the wire carries in a second. */
unsigned flood_syn_octets(bool v6);
unsigned flood_syns_carried(bool v6);

/* flood_app.c */
struct stream *flood_app_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local);
void flood_app_open(struct flood_app *a, const struct stream_ops *ops);
/* A message of the flow is due. */
void flood_app_message(struct flood *f);
extern const struct stream_ops flood_flow_ops, flood_visitor_ops;
