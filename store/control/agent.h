/* SPDX-License-Identifier: BSD-3-Clause
 * Questions to a core: what only the core's own thread may look at is asked over a channel and
 * answered by the core's agent, one bounded slice in a lap, so that nobody blocks and nobody waits.
 * Each op is the asker's memory until its done(); what a core answers is a copy. */
#pragma once
#include "dataplane/inspect.h"
#include "delivery/inspect.h"
#include "dataplane/capture.h"
#include "store/control/daemon.h"

#define AGENT_CREDITS 8   /* questions under way per core and asker; chosen */
#define AGENT_LOOK    512 /* places looked at in one slice; chosen: some 10 us */
#define AGENT_ROWS    16  /* rows of one slice */
#define AGENT_NEIGHS  64

enum agent_question {
	ASK_TCP_LIST = 1, /* tcp_list_op */
	ASK_TCP_SHOW,     /* tcp_show_op */
	ASK_NET,          /* net_op */
	ASK_RECIPIENT,    /* recipient_op */
	ASK_DOMAINS,      /* domains_op */
	ASK_CAPTURE,      /* capture_op */
	AGENT_QUESTION_N
};

/* A slice of the connections. */
struct tcp_list_op {
	struct op op; /* ASK_TCP_LIST */
	struct stack_filter filter;
	uint32_t from; /* in: place to begin at; out: where to go on, STACK_LIST_END */
	uint32_t n;    /* out */
	struct stack_conn_info rows[AGENT_ROWS];
};

/* One connection; status -ENOENT: it is gone. */
struct tcp_show_op {
	struct op op; /* ASK_TCP_SHOW */
	struct conn_id id;
	struct stack_conn_info row;
};

/* Neighbours in slices; networks and gauges with each. */
struct net_op {
	struct op op;  /* ASK_NET */
	uint32_t from; /* as tcp_list_op */
	uint32_t neigh_n, route_n;
	struct stack_neigh_info neighs[AGENT_NEIGHS];
	struct stack_route_info routes[PORTS_MAX * STACK_ROUTES_MAX];
};

/* Where a recipient is; -EINVAL: the core delivers nothing. */
struct recipient_op {
	struct op op; /* ASK_RECIPIENT */
	uint64_t id;
	uint32_t rcpt;
	char domain[DNS_NAME_MAX + 1];
	struct delivery_recipient_info info;
};

/* A slice of the domains that have mail. */
struct domains_op {
	struct op op;  /* ASK_DOMAINS */
	uint32_t from; /* in: place to begin at; out: where to go on, DELIVERY_DOMAINS_END */
	uint32_t n;    /* out */
	struct delivery_domain_info rows[AGENT_ROWS];
};

/* Begin to copy frames, or (ring NULL) end it: after done() the core has let go of the ring. */
struct capture_op {
	struct op op; /* ASK_CAPTURE */
	struct capture_ring *ring;
};

/* The core's thread: at most one question of each asker in a lap.  Returns work done. */
unsigned agent_answer(struct core_rooms *r);
